"""Compute the AUC of judged sources over pairs that one network tested together, with its variance and intervals.

Whoever is left out of a fold shifts the base rate of the rest the other way, and each fold's calibration learns that
rate, so scores pooled over folds rank backwards even where they know nothing (stratification bias: Parker, Gunter and
Bedo 2007). Pairs tested together are free of it (Airola et al. 2011).
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm

from pcos_utils.config import StudyError
from pcos_utils.evaluation.intervals import LEVEL, Interval, bca

TOGETHER = ("repeat", "fold", "inner")  # columns that name the one network that tested a source
FLIPS = ["flips", "ways", "lowest", "median", "highest", "to_lowest", "to_highest"]
BLOCK = 2000  # labellings whose AUCs are computed together


class Pairs(NamedTuple):
    """Which sources were tested together: sources and labels, shape (n,), sorted by source, and two (n, n) tables."""

    source: np.ndarray
    label: np.ndarray
    above: np.ndarray  # how often the row's source scored above the column's where both were tested, ties half
    met: np.ndarray  # how often both were tested together

    @property
    def opposite(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ``above`` and ``met`` of polycystic rows and normal columns."""
        where = np.ix_(self.label == 1, self.label == 0)
        return self.above[where], self.met[where]


def networks(judged: pd.DataFrame) -> np.ndarray:
    """Return the number, from 0, of the network that tested each row of ``judged``: all 0 without folds."""
    keys = [key for key in TOGETHER if key in judged]
    return judged.groupby(keys).ngroup().to_numpy() if keys else np.zeros(len(judged), int)


def by_source(images: pd.DataFrame, score: ArrayLike) -> pd.DataFrame:
    """Return source, label, and as ``logit`` the mean score of each source's images, which have source and label."""
    each = images[["source", "label"]].assign(logit=np.asarray(score, float))
    return each.groupby("source").agg(label=("label", "max"), logit=("logit", "mean")).reset_index()


def pairs(judged: pd.DataFrame) -> Pairs:
    """Return the pairs of sources in ``judged``: source, label, logit, and where there are folds repeat, fold, inner.

    Raises StudyError where a source is tested twice by one network, or a logit is no number.
    """
    label = judged.groupby("source", sort=True).label.max()
    above, met = np.zeros((2, len(label), len(label)))
    for _, rows in judged.groupby(networks(judged)):
        at, score = label.index.get_indexer(rows.source), rows.logit.to_numpy()
        if not (rows.source.is_unique and np.isfinite(score).all()):
            raise StudyError("A source stands twice in a fold, or its logit is no number; judge the predictions again.")
        where = np.ix_(at, at)
        above[where] += (score[:, None] > score) + (score[:, None] == score) / 2
        met[where] += 1
    return Pairs(label.index.to_numpy(), label.to_numpy(int), above, met)


def auc(ranking: Pairs, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the chance that a polycystic source scores above a normal one tested with it, shape (...).

    ``weights``: of the sources, shape (..., n); all 1 by default. NaN where no such two were tested together.
    """
    weights = np.ones(len(ranking.label)) if weights is None else weights
    return _share_above(*ranking.opposite, weights[..., ranking.label == 1], weights[..., ranking.label == 0])


@np.errstate(invalid="ignore")
def _share_above(above: np.ndarray, met: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    return ((positive @ above) * negative).sum(-1) / ((positive @ met) * negative).sum(-1)


def interval(ranking: Pairs, weights: np.ndarray, widen: float = 1.0) -> Interval:
    """Return the AUC with its BCa interval, or Newcombe's where there is none, as at 1. Arguments: as in ``bca``."""
    if len(np.unique(ranking.label)) < 2:
        return Interval(np.nan, reason="a class is missing")
    bootstrap = bca(lambda each: auc(ranking, each), ranking.label, weights, widen)
    return with_newcombe(bootstrap, ranking.opposite[1], widen)


def with_newcombe(bootstrap: Interval, met: np.ndarray, widen: float) -> Interval:
    """Return a bootstrap's interval of an AUC, or Newcombe's where the bootstrap has a value and no interval."""
    if not bootstrap.reason or not np.isfinite(bootstrap.value):
        return bootstrap
    ends = newcombe(bootstrap.value, met, widen)
    return Interval(bootstrap.value, *ends, "Newcombe" if widen == 1 else "Newcombe, widened")


def newcombe(value: float, met: np.ndarray, widen: float = 1.0) -> tuple[float, float]:
    """Return the ends of Newcombe's interval of an AUC (2006, method 5), which exists at an AUC of 1, too.

    They are the AUCs from which ``value`` is 1.96 standard errors away, by Hanley and McNeil's variance. ``met``: how
    often each polycystic source was tested with each normal one; a source counts by how many of them it met.
    """
    there = met > 0
    pairs_met, of_positive, of_negative = there.sum(), there.sum(axis=1), there.sum(axis=0)
    # Further pairs that share a pair's polycystic, or its normal, source; on average over pairs and over both.
    shared = ((of_positive * (of_positive - 1)).sum() + (of_negative * (of_negative - 1)).sum()) / (2 * pairs_met)
    z2 = (widen * norm.ppf((1 + LEVEL) / 2)) ** 2

    def excess(at: float) -> float:
        """Return the squared distance of ``value`` from an AUC, minus that of so many standard errors."""
        variance = at * (1 - at) * (1 + shared * ((1 - at) / (2 - at) + at / (1 + at))) / pairs_met
        return (value - at) ** 2 - z2 * variance

    edge = 1e-9  # at 0 and 1 the variance is 0, which is a root of its own
    low = 0.0 if value <= edge else brentq(excess, 0, min(value, 1 - edge))
    high = 1.0 if value >= 1 - edge else brentq(excess, max(value, edge), 1)
    return float(low), float(high)


def covariance(rankings: list[Pairs]) -> tuple[np.ndarray, np.ndarray]:
    """Return the AUC of each method on the same sources, shape (k,), and their covariance, shape (k, k).

    It is that of DeLong, DeLong and Clarke-Pearson (1988) where every source meets every other; else each source's
    share of the AUC counts by how often it met the other class. NaN where a class has a single source.
    """
    values, total = np.array([float(auc(ranking)) for ranking in rankings]), np.zeros((len(rankings),) * 2)
    above, met = map(np.stack, zip(*(ranking.opposite for ranking in rankings), strict=True))
    excess = (above - values[:, None, None] * met) / np.maximum(met.sum((1, 2), keepdims=True), 1)
    for shares in (excess.sum(2) * excess.shape[1], excess.sum(1) * excess.shape[2]):
        n = shares.shape[1]
        total += np.cov(shares) / n if n > 1 else np.nan
    return values, total


def roc(judged: pd.DataFrame, weights: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the recall at each false positive rate of ``grid``: the mean of the folds' curves, by the pairs they hold.

    So the area under it is ``auc``. ``weights``: of the sorted sources, shape (..., n); the result (..., len(grid)).
    """
    sources = np.sort(judged.source.unique())
    height, held = np.zeros((*weights.shape[:-1], len(grid))), np.zeros(weights.shape[:-1])
    for _, rows in judged.groupby(networks(judged)):
        of_rows = weights[..., np.searchsorted(sources, rows.source)]
        classes = by_score(rows.label.to_numpy(), rows.logit.to_numpy(), of_rows)
        recall, alarms = (np.insert(part[..., ::-1].cumsum(-1), 0, 0, axis=-1) for part in classes)
        pairs_held = recall[..., -1] * alarms[..., -1]
        for place in np.ndindex(pairs_held.shape):
            if pairs_held[place]:
                curve = np.interp(grid, alarms[place] / alarms[place][-1], recall[place])
                height[place] += alarms[place][-1] * curve
        held += pairs_held
    with np.errstate(invalid="ignore"):
        return height / held[..., None]


def by_score(label: np.ndarray, score: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of positives and of negatives at each distinct score, lowest first: shape (..., scores)."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    ordered, truth = weights[..., order], label[order]
    return tuple(np.add.reduceat(ordered * (truth == value), starts, axis=-1) for value in (1, 0))


def within(label: np.ndarray, score: np.ndarray, group: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUC over pairs of rows in one group, shape (...), for weights of the rows (..., n)."""
    right = pairs_held = 0.0
    for number in np.unique(group):
        rows = group == number
        positive, negative = by_score(label[rows], score[rows], weights[..., rows])
        right = right + (positive * (negative.cumsum(-1) - negative / 2)).sum(-1)
        pairs_held = pairs_held + positive.sum(-1) * negative.sum(-1)
    with np.errstate(invalid="ignore"):
        return right / pairs_held


def relabelled(ranking: Pairs, labels: np.ndarray) -> np.ndarray:
    """Return the AUC that other labels of the sources would give, shape (k,) for labels (k, n); NaN without a pair."""
    parts = (part.astype(float) for part in np.array_split(labels, len(labels) // BLOCK + 1))
    return np.concatenate([_share_above(ranking.above, ranking.met, part, 1 - part) for part in parts])


def permuted(ranking: Pairs, *, permutations: int, seed: int = 0) -> float:
    """Return the one-sided p that a score ranks no better than chance, by permuting the labels of the sources.

    Exact for a score that nothing was fitted to. Where something was fitted, labels must be permuted before the fit.
    """
    labels = np.tile(ranking.label.astype(np.int8), (permutations, 1))
    dealt = np.random.default_rng(seed).permuted(labels, axis=1)
    return float((1 + (relabelled(ranking, dealt) >= auc(ranking) - 1e-9).sum()) / (1 + permutations))


def flips(ranking: Pairs) -> pd.DataFrame:
    """Return the range of the AUC over every way in which up to two labels might be wrong: a row for 0, 1, 2 flips.

    ``ways``: those that leave two sources of unlike label that met; ``to_lowest``, ``to_highest``: the sources behind.
    """
    rows = []
    for number in range(3):
        turned = np.array(list(combinations(range(len(ranking.label)), number)), int)
        labels = np.tile(ranking.label.astype(np.int8), (len(turned), 1))
        np.put_along_axis(labels, turned, 1 - ranking.label[turned], axis=1)
        values = relabelled(ranking, labels)
        low, high = np.nanargmin(values), np.nanargmax(values)
        names = [" and ".join(ranking.source[turned[at]].astype(str)) for at in (low, high)]
        known = values[np.isfinite(values)]
        rows.append((number, len(known), values[low], np.median(known), values[high], *names))
    return pd.DataFrame(rows, columns=FLIPS)
