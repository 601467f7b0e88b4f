"""The AUC of scores from several folds: only sources that one fold tested together are compared.

Whoever is left out shifts the base rate of the rest the other way, and each fold's calibration learns that rate, so
scores pooled over folds rank backwards even where they know nothing. Parker, Gunter and Bedo 2007 call it
stratification bias; Airola et al. 2011 show that pairs left out together are free of it.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from pcos_utils.config import StudyError
from pcos_utils.evaluation import bootstrap, delong, metrics


class Meetings(NamedTuple):
    """Who was tested with whom: sources and labels, shape (n,), sorted by source, and two tables, shape (n, n)."""

    source: np.ndarray
    label: np.ndarray
    above: np.ndarray  # how often the row's source scored above the column's in a fold that tested both, ties half
    met: np.ndarray  # how often one fold tested both


def meetings(judged: pd.DataFrame) -> Meetings:
    """The meetings of sources in ``judged``: source, label, logit, and where there are any repeat and fold.

    One row per source and repeat. Without folds all meet once. A source never meets itself. Raises StudyError where a
    source stands twice in a fold, or a logit is no number.
    """
    label = judged.groupby("source", sort=True).label.max()
    above, met = np.zeros((2, len(label), len(label)))
    keys = [key for key in ("repeat", "fold") if key in judged]
    for _, rows in judged.groupby(keys) if keys else [("", judged)]:
        at, score = label.index.get_indexer(rows.source), rows.logit.to_numpy()
        if not (rows.source.is_unique and np.isfinite(score).all()):
            raise StudyError("A source stands twice in a fold, or its logit is no number; judge the predictions again.")
        where = np.ix_(at, at)
        above[where] += (score[:, None] > score) + (score[:, None] == score) / 2
        met[where] += 1
    for table in (above, met):
        np.fill_diagonal(table, 0)
    return Meetings(label.index.to_numpy(), label.to_numpy(int), above, met)


def auc(found: Meetings, weights: np.ndarray) -> np.ndarray:
    """The chance that a polycystic source scores above a normal one tested with it; shape (...) for (..., n).

    NaN where no such two met.
    """
    positives, negatives = weights * found.label, weights * (1 - found.label)
    with np.errstate(invalid="ignore"):
        return ((positives @ found.above) * negatives).sum(-1) / ((positives @ found.met) * negatives).sum(-1)


def auc_in_folds(y_true: np.ndarray, score: np.ndarray, fold: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``auc`` of one repeat in rows of any kind, such as images, without a table of all pairs: (...) for (..., n)."""
    right = pairs = 0.0
    for one in np.unique(fold):
        own = fold == one
        positives, negatives = metrics.weight_by_score(y_true[own], score[own], weights[..., own])
        right = right + (positives * (negatives.cumsum(-1) - negatives / 2)).sum(-1)
        pairs = pairs + positives.sum(-1) * negatives.sum(-1)
    with np.errstate(invalid="ignore"):
        return right / pairs


def roc(judged: pd.DataFrame, weights: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Recall at each false positive rate of ``grid``, its shape: the mean of the folds' curves, by the pairs they hold.

    So the area under it is ``auc``. ``judged``: as of ``meetings``; ``weights``: of its rows, shape (n,).
    """
    keys = [key for key in ("repeat", "fold") if key in judged]
    groups = judged.groupby(keys).indices.values() if keys else [np.arange(len(judged))]
    label, score, height, pairs = judged.label.to_numpy(), judged.logit.to_numpy(), np.zeros(len(grid)), 0.0
    for own in groups:
        found = metrics.weight_by_score(label[own], score[own], weights[own])
        recall, alarms = (np.r_[0, part[::-1].cumsum()] for part in found)
        held = recall[-1] * alarms[-1]
        if held:
            height += held * np.interp(grid, alarms / alarms[-1], recall / recall[-1])
            pairs += held
    return height / pairs if pairs else np.full(len(grid), np.nan)


def permuted(found: Meetings, *, permutations: int = 4000, seed: int = 0) -> float:
    """One-sided p that a score ranks no better than chance: labels are dealt anew to the sources.

    The score stays as it is, so this asks about these answers; whether training finds anything in noise needs
    training on dealt labels.
    """
    rng, ones = np.random.default_rng(seed), np.ones(len(found.label))
    drawn = rng.permuted(np.tile(found.label, (permutations, 1)), axis=1)
    dealt = auc(found._replace(label=drawn), ones)
    return float((1 + (dealt >= auc(found, ones) - 1e-9).sum()) / (1 + permutations))


def auc_row(found: Meetings, *, resamples: int, seed: int = 0) -> dict:
    """The AUC with its BCa interval over sources: value, low, high, and ``reason`` where there is no interval.

    Where few pairs met, as in a single repeat of many folds, it is wider than it need be, and so is ``covariance``:
    both count what is a pair's own once for each of its two sources.
    """
    if len(np.unique(found.label)) < 2:
        return {"value": np.nan, "low": np.nan, "high": np.nan, "reason": "a class is missing"}
    table = pd.DataFrame({"source": found.source, "label": found.label})
    left_out, classes = bootstrap.jackknife_weights(table)
    value = float(auc(found, np.ones(len(table))))
    draws = auc(found, bootstrap.source_weights(table, resamples, seed))
    low, high, reason = bootstrap.bca_interval(value, draws, auc(found, left_out), classes)
    return {"value": value, "low": low, "high": high, "reason": reason}


def covariance(found: list[Meetings]) -> tuple[np.ndarray, np.ndarray]:
    """AUC of each reader on the same sources, shape (k,), and their covariance, shape (k, k): ``delong.covariance``'s,
    where every source meets every other.

    Each source's share of the AUC counts by how often it met the other class.
    """
    label, values, shares = found[0].label, [], []
    for one in found:
        above, met = (table[np.ix_(label == 1, label == 0)] for table in (one.above, one.met))
        values.append(above.sum() / met.sum() if met.any() else np.nan)
        excess = (above - values[-1] * met) / max(met.sum(), 1)
        shares.append((excess.sum(axis=1) * len(above), excess.sum(axis=0) * above.shape[1]))
    spread = [delong.spread(np.stack(side)) for side in zip(*shares, strict=True)]
    return np.array(values), spread[0] + spread[1]
