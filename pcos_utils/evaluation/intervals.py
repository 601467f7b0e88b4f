"""Compute 95 % intervals whose unit is the source: bootstraps over sources, and exact intervals for shares.

One vector of weights, one weight a source, is one resample, so that a statistic is computed for all resamples at once.
How often each interval covers the truth was simulated (reports/studies/interval_coverage.csv, test_sizes.csv).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.stats import beta, norm, t

LEVEL = 0.95
RESAMPLES = 20_000  # so that the ends move by a fiftieth of a standard error from seed to seed
UNDEFINED = 0.05  # share of resamples that may leave a statistic undefined
FEW = 10  # sources of a class below which a bootstrap interval is too narrow; the tables then say so
SAME = {"rtol": 1e-12, "atol": 1e-12}  # values that differ by rounding alone
Statistic = Callable[[np.ndarray], np.ndarray]  # of weights, shape (..., n), to values, shape (...)


class Interval(NamedTuple):
    """A value with its interval, how the interval was made, and why there is none."""

    value: float
    low: float = np.nan
    high: float = np.nan
    method: str = "none"
    reason: str = ""


def resample(label: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return bootstrap weights, shape (resamples, n): how often each source was drawn, with replacement within class.

    ``label``: 0 or 1, shape (n,). Each class keeps its number. Read-only, because the methods of a study share it.
    """
    return _resample(np.asarray(label).astype(np.int8).tobytes(), resamples, seed)


@lru_cache(maxsize=2)  # all methods are judged on the same sources, and drawing takes longer than using the draws
def _resample(labels: bytes, resamples: int, seed: int) -> np.ndarray:
    label = np.frombuffer(labels, np.int8)
    rng, weights = np.random.default_rng(seed), np.zeros((resamples, len(label)))
    for value in (0, 1):
        where = np.flatnonzero(label == value)
        if len(where):
            weights[:, where] = rng.multinomial(len(where), np.full(len(where), 1 / len(where)), size=resamples)
    weights.flags.writeable = False
    return weights


def leave_one_out(label: np.ndarray) -> np.ndarray:
    """Return weights that leave out one source each, shape (n, n).

    The rest of its class weighs more in turn, because the stratified bootstrap keeps the class's total, too.
    """
    n = np.bincount(label, minlength=2)[label]
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(label[:, None] == label, (n / (n - 1))[:, None], 1.0)
    np.fill_diagonal(weights, 0)
    return weights


def bca(statistic: Statistic, label: np.ndarray, weights: np.ndarray, widen: float = 1.0) -> Interval:
    """Return the bias-corrected and accelerated bootstrap interval (Efron 1987) of a statistic.

    ``weights``: from ``resample`` for ``label``. ``widen`` multiplies the normal quantile, where the resamples are
    known to spread too little (``comparison.WIDEN``). Ties with the value count half; the acceleration is that of two
    samples, as in scipy.stats.bootstrap. Without an interval the ends are NaN and ``reason`` says why.
    """
    value, all_draws = float(statistic(np.ones(len(label)))), statistic(weights)
    left_out, draws = statistic(leave_one_out(label)), all_draws[~np.isnan(all_draws)]
    if not np.isfinite(value):
        return Interval(value, reason="the value is not finite")
    if len(draws) < (1 - UNDEFINED) * len(all_draws):
        return Interval(value, reason=f"undefined in {1 - len(draws) / len(all_draws):.0%} of the resamples")
    if np.isclose(draws, draws[0], **SAME).all():
        return Interval(value, reason="all resamples agree")
    if not np.isfinite(left_out).all():
        return Interval(value, reason="undefined where one source is left out")
    tied = np.isclose(draws, value, **SAME)
    below = ((draws < value) & ~tied).mean() + tied.mean() / 2
    skew = spread = 0.0
    for of_class in (left_out[label == one_class] for one_class in np.unique(label)):
        influence = (of_class.mean() - of_class) * (len(of_class) - 1) / len(of_class)
        skew, spread = skew + (influence**3).sum(), spread + (influence**2).sum()
    if not 0 < below < 1 or spread < 1e-24:
        return Interval(value, reason="no resample on one side of the value")
    z0, acceleration = norm.ppf(below), skew / (6 * spread**1.5)
    z = z0 + widen * norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Beyond its pole the transformation has run out of the distribution.
    at = np.where(acceleration * z < 1, norm.cdf(z0 + z / np.maximum(1 - acceleration * z, 1e-9)), z > 0)
    low, high = np.quantile(draws, at, method="linear" if np.isfinite(draws).all() else "inverted_cdf")
    return Interval(value, float(low), float(high), "BCa" if widen == 1 else "BCa, widened")


def exact(hits: float, n: float) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of ``hits`` among ``n`` independent sources; both may be fractions."""
    tail = (1 - LEVEL) / 2
    low = beta.ppf(tail, hits, n - hits + 1) if hits > 0 else 0.0
    high = beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)


def share(parts: np.ndarray) -> Interval:
    """Return the mean of one share in [0, 1] for each source, shape (n,), with its interval.

    Exact where all are 0 or 1; else Korn and Graubard's (1998): a source that several networks decide counts in part.
    """
    n = len(parts)
    if not n:  # a test folder may hold one class alone
        return Interval(np.nan, reason="no source")
    value = float(parts.mean())
    if np.isin(parts, (0, 1)).all():
        return Interval(value, *exact(round(parts.sum()), n), "exact")
    variance = parts.var(ddof=1) / n if n > 1 else 0.0
    # The sources may agree by chance, and are still worth no more than their number.
    worth = min(korn_graubard(value * (1 - value) / variance if variance > 0 else np.inf, n), n)
    return Interval(value, *exact(value * worth, worth), "Korn-Graubard")


def korn_graubard(worth: float, clusters: int, images: float = np.inf) -> float:
    """Return the sample size to use in an exact interval for images in clusters (Korn and Graubard 1998).

    ``worth``: independent images that the ``images`` are worth. It is reduced by the squared ratio of the t quantiles
    of images and of clusters, because few clusters know little of their own spread.
    """
    if clusters < 2:
        return worth
    return worth * (t.ppf((1 + LEVEL) / 2, images - 1) / t.ppf((1 + LEVEL) / 2, clusters - 1)) ** 2
