"""The AUC of scores from several folds: only sources that one fold tested together are compared.

Whoever is left out shifts the base rate of the rest the other way, and each fold's calibration learns that rate, so
scores pooled over folds rank backwards even where they know nothing. Parker, Gunter and Bedo 2007 call it
stratification bias; Airola et al. 2011 show that pairs left out together are free of it.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from pcos_utils.evaluation import bootstrap, delong


class Meetings(NamedTuple):
    """Who was tested with whom: sources and labels, shape (n,), sorted by source, and two tables, shape (n, n)."""

    source: np.ndarray
    label: np.ndarray
    above: np.ndarray  # how often the row's source scored above the column's in a fold that tested both, ties half
    met: np.ndarray  # how often one fold tested both


def meetings(judged: pd.DataFrame) -> Meetings:
    """The meetings of sources in ``judged``: source, label, logit, and where there are any repeat and fold.

    One row per source and repeat. Without folds all meet once. A source never meets itself.
    """
    label = judged.groupby("source", sort=True).label.max()
    above, met = np.zeros((2, len(label), len(label)))
    keys = [key for key in ("repeat", "fold") if key in judged]
    for _, rows in judged.groupby(keys) if keys else [("", judged)]:
        at, score = label.index.get_indexer(rows.source), rows.logit.to_numpy()
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


def auc_row(found: Meetings, *, resamples: int, seed: int = 0) -> dict:
    """The AUC with its BCa interval over sources: value, low, high, and ``reason`` where there is no interval."""
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
