"""Resampled sources as weights of rows, and the interval that their draws support.

One vector of weights is one resample, so that every metric is computed for all resamples at once.
"""

import numpy as np
import pandas as pd
from scipy.stats import norm

LEVEL = 0.95
UNDEFINED = 0.05  # share of resamples that may leave a metric undefined


def source_weights(table: pd.DataFrame, resamples: int, seed: int) -> np.ndarray:
    """Bootstrap weights, shape (resamples, rows): how often each row's source was drawn.

    Sources are drawn with replacement within each class, so that every resample has both. Source, label: columns of
    ``table``.
    """
    rng = np.random.default_rng(seed)
    label_of = table.groupby("source", sort=True).label.max()
    drawn = np.zeros((resamples, len(label_of)))
    for label in (0, 1):
        where = np.flatnonzero(label_of == label)
        if len(where):
            drawn[:, where] = rng.multinomial(len(where), np.full(len(where), 1 / len(where)), size=resamples)
    return drawn[:, label_of.index.get_indexer(table.source)]


def jackknife_weights(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Weights that leave out one source each, shape (sources, rows), and each left-out source's class.

    The rest of its class weighs more in turn, because the stratified bootstrap keeps the class's total, too.
    """
    label_of = table.groupby("source", sort=True).label.max()
    classes = label_of.to_numpy()
    n = np.bincount(classes, minlength=2)[classes]
    kept = 1.0 - np.eye(len(classes))
    with np.errstate(divide="ignore", invalid="ignore"):
        same = np.where(classes[:, None] == classes, (n / (n - 1))[:, None], 1.0)
    return np.where(kept > 0, same, 0.0)[:, label_of.index.get_indexer(table.source)], classes


def percentile_interval(draws: np.ndarray) -> tuple[float, float, str]:
    """Lower and upper end, and "" or the reason why there is none: the middle 95 % of the draws, as they are.

    Simulated coverage of an AUC: .88 to .92 at 16 sources, .89 to .94 at 54, .93 to .95 at 200
    (reports/benchmarks/interval_coverage.csv); hence not used where BCa can be.
    """
    reason = _reason(draws)
    if reason:
        return np.nan, np.nan, reason
    tail = (1 - LEVEL) / 2
    return *_quantiles(draws, [tail, 1 - tail]), ""


def bca_interval(value: float, draws: np.ndarray, left_out: np.ndarray, classes: np.ndarray) -> tuple:
    """Lower and upper end, and "" or the reason why there is none: bias-corrected and accelerated (Efron 1987).

    ``draws``: the metric in stratified resamples; ``left_out``: with one source left out each, of class ``classes``.
    Simulated coverage (reports/benchmarks/interval_coverage.csv): of an AUC .93 to .97 from 16 sources on; at 4 it is
    [0, 1] or undefined. Of an image-level recall .92 to .95 at 54 sources, .77 to .85 at 16 and about .5 at 4: no claim
    below 54. Ties with the value count half; the acceleration is that of several samples, as in scipy.stats.bootstrap.
    """
    reason = _reason(draws)
    if not reason and not np.isfinite(value):
        reason = "the value is not finite"
    if not reason and not np.isfinite(left_out).all():
        reason = "undefined where one source is left out"
    if reason:
        return np.nan, np.nan, reason
    draws = draws[~np.isnan(draws)]
    # A draw may differ from the value by rounding alone.
    near = np.isclose(draws, value, rtol=1e-12, atol=1e-12)
    below = ((draws < value) & ~near).mean() + near.mean() / 2
    top = bottom = 0.0
    for label in np.unique(classes):
        own = left_out[classes == label]
        influence = (own.mean() - own) * (len(own) - 1) / len(own)
        top, bottom = top + (influence**3).sum(), bottom + (influence**2).sum()
    if not 0 < below < 1 or bottom < 1e-24:
        return np.nan, np.nan, "no resample on one side of the value"
    z0, acceleration = norm.ppf(below), top / (6 * bottom**1.5)
    z = z0 + norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return *_quantiles(draws, norm.cdf(z0 + z / (1 - acceleration * z))), ""


def _reason(draws: np.ndarray) -> str:
    defined = draws[~np.isnan(draws)]
    if len(defined) < (1 - UNDEFINED) * len(draws):
        return f"undefined in {1 - len(defined) / len(draws):.0%} of the resamples"
    # inf - inf is no number, hence the comparison.
    return "all resamples agree" if np.all(np.isclose(defined, defined[0], rtol=1e-12, atol=1e-12)) else ""


def _quantiles(draws: np.ndarray, ends) -> tuple[float, float]:
    defined = draws[~np.isnan(draws)]
    how = "linear" if np.isfinite(defined).all() else "inverted_cdf"  # nothing lies between a number and infinity
    low, high = np.quantile(defined, ends, method=how)
    return float(low), float(high)
