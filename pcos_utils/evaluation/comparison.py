"""Test what is shown: is a method better than chance, and is one of two better than the other?

Training labels of one fold are test labels of another. Two sources in different folds so speak twice about each other,
once in either direction, and a bootstrap that leaves the trained methods as they are sees half of the variance that
labels without meaning give a trained method's AUC. The variance of what was trained is therefore doubled. The sizes of
all tests here, training included, were simulated (reports/studies/test_sizes.csv).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import multivariate_normal, norm

from pcos_utils.config import StudyError
from pcos_utils.evaluation import auc as ranks
from pcos_utils.evaluation.auc import Pairs
from pcos_utils.evaluation.intervals import LEVEL, RESAMPLES, Interval, bca, resample

DOUBLED = 2.0  # the variance of a trained method's AUC, in units of the bootstrap's
WIDEN = float(np.sqrt(DOUBLED))  # of an interval
ONE_SIDED = (1 - LEVEL) / 2
SEEDS, NEAR = 50, 0.02  # resampling seeds that must agree on a verdict, and how near an end must be to ask them
PERMUTATIONS = 20_000
CLEAR = ONE_SIDED - 3 * (ONE_SIDED * (1 - ONE_SIDED) / PERMUTATIONS) ** 0.5  # whatever the seed of permuting
BETTER, WORSE, NOT_SHOWN = "better than chance", "worse than chance", "not shown to be better than chance"
COLUMNS = ["first", "second", "value_first", "value_second", "difference", *Interval._fields[1:], "p", "sources"]


class Chance(NamedTuple):
    """A test of one method against chance: the AUC with its interval, the one-sided p, the test's name, the verdict."""

    auc: Interval
    p: float
    test: str
    verdict: str


class Difference(NamedTuple):
    """The paired difference of two AUCs, first minus second: both values, the interval, and the two-sided p."""

    first: float
    second: float
    difference: Interval
    p: float


def against_chance(
    ranking: Pairs, *, trained: bool, dealt: np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Chance:
    """Return whether a method ranks better than chance.

    ``trained``: that its ranking was fitted to labels of other folds; then its interval is widened. ``dealt``: AUCs of
    the same method trained again on permuted labels of the sources, where there are any: they give the p. Without them
    a trained method's p is normal on the logit's scale with the doubled variance; a score that nothing was fitted to is
    tested by permuting labels. A verdict needs the p and the interval, and no resampling seed may change it.
    """

    def interval(seed: int) -> Interval:
        """Return the interval under one resampling seed."""
        return ranks.interval(ranking, resample(ranking.label, resamples, seed), WIDEN if trained else 1.0)

    observed = interval(seed)
    if not np.isfinite(observed.value):
        return Chance(observed, np.nan, "none", NOT_SHOWN)
    if not trained:
        p, test = ranks.permuted(ranking, permutations=PERMUTATIONS), f"{PERMUTATIONS:,} permutations of the labels"
    elif dealt is not None and len(dealt):
        p = float((1 + (dealt >= observed.value - 1e-9).sum()) / (1 + len(dealt)))
        test = f"trained again on {len(dealt)} dealings of the labels"
    else:
        p, test = _normal(ranking), "doubled variance"
    side, clear = _side(observed, 0.5, interval), ONE_SIDED if trained else CLEAR
    verdict = BETTER if side > 0 and p <= clear else WORSE if side < 0 and p >= 1 - clear else NOT_SHOWN
    return Chance(observed, p, test, verdict)


def _normal(ranking: Pairs) -> float:
    (value,), variance = ranks.covariance([ranking])
    if not 0 < value < 1 or not variance[0, 0] > 0:
        return ranks.permuted(ranking, permutations=PERMUTATIONS)  # separated, or one source of a class
    error = np.sqrt(DOUBLED * variance[0, 0]) / (value * (1 - value))
    return float(norm.sf(np.log(value / (1 - value)) / error))


def _side(observed: Interval, null: float, interval: Callable[[int], Interval]) -> int:
    """Return on which side of the null the interval lies: 1 above, -1 below, 0 neither.

    Near the null the same ``SEEDS`` resampling seeds are tried, whatever seed gave ``observed``, and must agree.
    """
    near = min(abs(observed.low - null), abs(observed.high - null)) < NEAR
    tried = map(interval, range(SEEDS)) if near else [observed]
    sides = {int(each.low > null) - int(each.high < null) for each in tried}
    return sides.pop() if len(sides) == 1 else 0


def paired(
    first: Pairs, second: Pairs, trained: tuple[bool, bool], *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Return the difference of two methods' AUCs over the same pairs. Raises StudyError where they are not the same.

    The p is DeLong's with the variance of what was trained doubled; the interval is widened by as much.
    """
    # Several inner networks test a pair several times, and all pairs alike.
    same = np.array_equal(first.source, second.source) and np.array_equal(first.label, second.label)
    if not same or not np.allclose(first.met / max(first.met.max(), 1), second.met / max(second.met.max(), 1)):
        raise StudyError("The two methods were judged on other sources, labels or folds; judge both on the same ones.")
    values, plain = ranks.covariance([first, second])
    doubled = plain * np.where(np.logical_and.outer(trained, trained), DOUBLED, 1.0)
    before, after = (table[0, 0] + table[1, 1] - 2 * table[0, 1] for table in (plain, doubled))
    value = float(values[0] - values[1])
    if not after > 1e-15:  # NaN, or the two agree everywhere
        reason = "the two methods rank alike" if value == 0 else "a class has a single source"
        return Difference(*map(float, values), Interval(value, reason=reason), 1.0 if value == 0 else np.nan)
    widen = float(np.sqrt(after / before)) if before > 1e-15 else 1.0
    weights = resample(first.label, resamples, seed)
    interval = bca(lambda each: ranks.auc(first, each) - ranks.auc(second, each), first.label, weights, widen)
    return Difference(*map(float, values), interval, float(2 * norm.sf(abs(value) / np.sqrt(after))))


def holm(p: np.ndarray, planned: int) -> np.ndarray:
    """Return each p after Holm's correction (1979) for all ``planned``; what was not made, or has no p, counts as 1."""
    p = np.nan_to_num(np.asarray(p, float), nan=1.0)
    order, corrected = np.argsort(p), np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * (planned - np.arange(len(p)))), 1)
    return corrected


def table(
    rankings: dict[str, Pairs], planned: list[tuple[str, str]], trained: dict[str, bool], *,
    resamples: int = RESAMPLES, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Return one row per planned pair whose methods are there: COLUMNS, ``p_holm``, ``verdict`` and ``planned``.

    Better or worse: the p, corrected for all planned, is at most .05 and the interval leaves out 0 under every seed.
    """
    rows, tests = [], []
    for names in (pair for pair in planned if set(pair) <= set(rankings)):
        both, fitted = [rankings[name] for name in names], tuple(trained[name] for name in names)
        compare = partial(paired, *both, fitted, resamples=resamples)
        first, second, difference, p = compare(seed=seed)
        tests.append((difference, compare))
        rows.append((*names, first, second, *difference, p, len(both[0].label)))
    compared = pd.DataFrame(rows, columns=COLUMNS)
    compared["p_holm"], verdicts = holm(compared.p.to_numpy(), len(planned)), []
    for p, (difference, compare) in zip(compared.p_holm, tests, strict=True):
        small = p <= 1 - LEVEL + 1e-12  # elsewhere the other seeds, which take seconds, decide nothing
        side = _side(difference, 0.0, lambda at, of=compare: of(seed=at).difference) if small else 0
        verdicts.append({1: "better", -1: "worse", 0: "not shown"}[side])
    return compared.assign(verdict=verdicts, planned=len(planned))


def power(auc: float, positives: int, negatives: int, *, trained: bool = True) -> float:
    """Return the chance that a study of so many sources shows an AUC to be above .5, by the normal approximation.

    Scores are binormal with equal variances, and the variance is DeLong's at that AUC.
    """
    variance = binormal(auc, auc, 1.0) * (1 / positives + 1 / negatives) * (DOUBLED if trained else 1.0)
    return float(norm.sf(norm.ppf(1 - ONE_SIDED) - (auc - 0.5) / np.sqrt(variance)))


def power_of_difference(high: float, low: float, positives: int, negatives: int, correlation: float = 0.5) -> float:
    """Return the chance that a study of so many sources shows one AUC to be above another on the same sources."""
    variance = binormal(high, high, 1.0) + binormal(low, low, 1.0) - 2 * binormal(high, low, correlation)
    error = np.sqrt(variance * (1 / positives + 1 / negatives))
    return float(norm.sf(norm.ppf(1 - ONE_SIDED) - (high - low) / error))


def binormal(first: float, second: float, correlation: float) -> float:
    """Return the covariance of one source's shares of two AUCs, of binormal scores with a correlation.

    A source's share is its chance to be ranked rightly. By symmetry it has the same distribution in both classes.
    """
    both = multivariate_normal.cdf(norm.ppf([first, second]), cov=[[1, correlation / 2], [correlation / 2, 1]])
    return float(both - first * second)
