"""The AUC of independent sources with an analytic variance, alone and for several scores of the same sources.

DeLong, DeLong and Clarke-Pearson 1988, by ranks as Sun and Xu 2014. The rows must be independent: one per source.
"""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

from pcos_utils.evaluation.bootstrap import LEVEL


def covariance(y_true: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC of each score, shape (k,), and their covariance, shape (k, k). Scores: shape (k, n), ties counted half.

    The covariance is NaN where a class has a single source.
    """
    scores = np.atleast_2d(scores)
    positives, negatives = scores[:, y_true == 1], scores[:, y_true == 0]
    m, n = positives.shape[1], negatives.shape[1]
    ranks = rankdata(np.concatenate([positives, negatives], axis=1), axis=1)
    # How much of the other class lies on the right side of each source: its own share of the AUC.
    of_positives = (ranks[:, :m] - rankdata(positives, axis=1)) / n
    of_negatives = 1 - (ranks[:, m:] - rankdata(negatives, axis=1)) / m
    return of_positives.mean(axis=1), spread(of_positives) + spread(of_negatives)


def spread(shares: np.ndarray) -> np.ndarray:
    """Covariance, shape (k, k), that the sources of one class give AUCs of which they hold ``shares``, shape (k, n).

    NaN where the class has a single source.
    """
    k, n = shares.shape
    return np.atleast_2d(np.cov(shares) / n) if n > 1 else np.full((k, k), np.nan)


def interval(value: float, variance: float) -> tuple[float, float, str]:
    """Lower and upper end of an AUC on the logit's scale, inside (0, 1), and "" or the reason why there is none.

    Simulated coverage .93 to .99 from 16 sources on; undefined in half of the studies with 4
    (reports/benchmarks/interval_coverage.csv).
    """
    if not np.isfinite(value):
        return np.nan, np.nan, "no AUC"
    if not 0 < value < 1:
        return np.nan, np.nan, "the classes are separated"
    if not variance > 0:
        return np.nan, np.nan, "no variance"
    middle, half = np.log(value / (1 - value)), np.sqrt(variance) / (value * (1 - value))
    z = norm.ppf((1 + LEVEL) / 2)
    return float(1 / (1 + np.exp(z * half - middle))), float(1 / (1 + np.exp(-z * half - middle))), ""


def score_interval(y_true: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Lower and upper end of the AUC by Newcombe's method 5 (2006), which needs no variance and exists at an AUC of 1.

    The ends are the AUCs from which the observed one is 1.96 standard errors away, by Hanley and McNeil's variance
    with equal class sizes put for the two. Simulated coverage .93 to .98 at 4 to 200 sources, an AUC of .80
    (reports/benchmarks/interval_coverage.csv).
    """
    value = float(covariance(y_true, score)[0][0])
    m, n = int((y_true == 1).sum()), int((y_true == 0).sum())
    z2, more = norm.ppf((1 + LEVEL) / 2) ** 2, (m + n) / 2 - 1

    def excess(auc: float) -> float:
        """By how much the observed AUC lies further than 1.96 standard errors, squared."""
        spread = auc * (1 - auc) * (1 + more * ((1 - auc) / (2 - auc) + auc / (1 + auc))) / (m * n)
        return (value - auc) ** 2 - z2 * spread

    edge = 1e-9  # at 0 and 1 the variance is none, which is a root of its own
    low = 0.0 if value <= edge else brentq(excess, 0, min(value, 1 - edge))
    high = 1.0 if value >= 1 - edge else brentq(excess, max(value, edge), 1)
    return float(low), float(high)


def paired(values: np.ndarray, covariance: np.ndarray) -> tuple[float, float, float, float]:
    """Difference of two AUCs on the same sources, its lower and upper end, and the two-sided p of no difference."""
    difference = float(values[0] - values[1])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if not variance > 1e-15:
        return difference, np.nan, np.nan, 1.0 if difference == 0 else np.nan
    error = float(np.sqrt(variance))
    half = norm.ppf((1 + LEVEL) / 2) * error
    return difference, difference - half, difference + half, float(2 * norm.sf(abs(difference) / error))
