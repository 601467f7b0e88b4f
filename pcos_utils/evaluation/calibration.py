"""Calibrate, and choose the threshold beforehand: both from the selection sources of each fold, never from test ones.

Platt 1999, pulled weakly towards leaving the logit as it is, so that a handful of sources that happen to be separated
cannot blow it up. One network decides on one source: nothing is averaged before it decides.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from pcos_utils.config import CLASS_NAMES, StudyError
from pcos_utils.data.splits import source_labels
from pcos_utils.evaluation.auc import TOGETHER

RECALL = 0.90  # that the threshold reaches among the selection sources
# Strength of the pull on log slope and intercept: standard deviations of 1.4 and 3.2 around the identity.
RIDGE = np.array([0.5, 0.1])
STARTS = (-3.0, 0.0, 2.0)  # log slopes
STEPS, HALVINGS, CLOSE = 100, 20, 1e-9  # of Fisher scoring, and of a step that leads up
STEEPEST = 5.0  # no source can ask for a slope beyond e^5


class Rule(NamedTuple):
    """What one fold fixed before its test sources were read."""

    slope: float
    intercept: float
    threshold: float  # on the calibrated logit
    fitted: str  # "Platt", or why the logit is left as it is


def platt(logit: np.ndarray, label: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope (above 0) and intercept of the calibrated logit, each of shape (k,), for ``weights`` (k, n).

    A class without weight leaves them at 1 and 0. ``logit``, ``label``: shape (n,).
    """
    # The loss of a log slope can have two valleys, flat and steep: the lowest minimum of several starts counts.
    minima, losses = zip(*(_descend(logit, label, weights, start) for start in STARTS), strict=True)
    at = np.stack(minima)[np.argmin(losses, axis=0), np.arange(len(weights))]
    empty = ((weights * label).sum(1) == 0) | ((weights * (1 - label)).sum(1) == 0)
    return np.where(empty, 1.0, np.exp(at[:, 0])), np.where(empty, 0.0, at[:, 1])


def _descend(logit: np.ndarray, label: np.ndarray, weights: np.ndarray, start: float) -> tuple[np.ndarray, np.ndarray]:
    """Return log slope and intercept, shape (k, 2), by Fisher scoring from a log slope, and their loss, (k,)."""

    def loss(at: np.ndarray) -> np.ndarray:
        """Return the penalised log loss of each fit, (k,), at its log slope and intercept, (k, 2)."""
        margin = (2 * label - 1) * (np.exp(at[:, :1]) * logit + at[:, 1:])
        return (weights * np.logaddexp(0, -margin)).sum(1) + (RIDGE * at**2).sum(1) / 2

    at = np.tile([start, 0.0], (len(weights), 1))
    cost = loss(at)
    for _ in range(STEPS):
        bent = np.exp(at[:, :1]) * logit
        p = probability(bent + at[:, 1:])
        miss, curve = weights * (p - label), weights * p * (1 - p)
        down = np.stack([(miss * bent).sum(1), miss.sum(1)], axis=1) + RIDGE * at
        mixed = (curve * bent).sum(1)
        bend = np.stack([(curve * bent**2).sum(1) + RIDGE[0], mixed, mixed, curve.sum(1) + RIDGE[1]], axis=1)
        step = np.linalg.solve(bend.reshape(-1, 2, 2), down[..., None])[..., 0]
        for _ in range(HALVINGS):
            moved = at - step
            moved[:, 0] = np.clip(moved[:, 0], -STEEPEST, STEEPEST)
            worse = loss(moved) > cost
            if not worse.any():
                break
            step[worse] /= 2
        moved, costs = np.where(worse[:, None], at, moved), np.where(worse, cost, loss(moved))
        done, at, cost = np.abs(moved - at).max(initial=0) < CLOSE, moved, costs
        if done:
            break
    return at, cost


def probability(logit: np.ndarray) -> np.ndarray:
    """Return the probability of a calibrated logit."""
    return 1 / (1 + np.exp(-np.clip(logit, -500, 500)))


def fit(logit: np.ndarray, label: np.ndarray) -> Rule:
    """Return calibration and threshold of independent sources, (n,). A missing class leaves the logit as it is."""
    logit, label = np.asarray(logit, float), np.asarray(label, int)
    missing = [CLASS_NAMES[value] for value in (1, 0) if not (label == value).any()]
    fitted = f"identity: no {' and no '.join(missing)} selection source" if missing else "Platt"
    slope, intercept = (float(part[0]) for part in platt(logit, label, np.ones((1, len(logit)))))
    return Rule(slope, intercept, threshold(slope * logit + intercept, label), fitted)


def threshold(logit: np.ndarray, label: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the highest threshold that still calls a share ``RECALL`` of the positives; 0 without any."""
    weights = np.ones(len(logit)) if weights is None else weights
    scores, held = logit[label == 1], weights[label == 1]
    if not len(scores):
        return 0.0
    highest_first = np.argsort(-scores, kind="stable")
    # The small number undoes rounding: .9 of ten is nine.
    last = np.searchsorted(held[highest_first].cumsum(), RECALL * held.sum() - 1e-9)
    return float(scores[highest_first][last])


def by_network(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per source and network: source, repeat, fold, inner, label, images and mean raw logit."""
    keys = ["source", *(key for key in TOGETHER if key in rows)]
    table = rows.groupby(keys, sort=True).agg(images=("image", "nunique"), raw_logit=("logit", "mean")).reset_index()
    return table.assign(label=table.source.map(source_labels(rows)))


def judge(predictions: pd.DataFrame) -> pd.DataFrame:
    """Apply each fold's rule to its test sources: return one row per test source and network.

    With images, calibrated logit, raw_logit, probability, called, the rule, and ``margin``, the calibrated logit minus
    the threshold. ``predictions``: as in predictions.csv, with selection and test rows. A fold has one rule, from its
    selection sources; where inner networks take turns to select, each of these is judged by the network that did not
    train on it. Raises StudyError where a test source helped to choose, or is tested in two folds.
    """
    parts = []
    for (repeat, fold), rows in predictions.assign(inner=predictions.get("inner", 0)).groupby(["repeat", "fold"]):
        selection, test = (by_network(rows[rows.role == role]) for role in ("selection", "test"))
        if both := sorted(set(selection.source) & set(test.source)):
            where = f"repeat {repeat}, fold {fold} ({len(both)} in all); draw the split by source again"
            raise StudyError(f"Source {both[0]} is a selection and a test source of {where}.")
        rule = fit(selection.raw_logit.to_numpy(), selection.label.to_numpy())
        logit = rule.slope * test.raw_logit + rule.intercept
        parts.append(test.assign(logit=logit, margin=logit - rule.threshold, **rule._asdict()))
    judged = pd.concat(parts, ignore_index=True)
    twice = judged[judged.duplicated(["source", "repeat", "inner"])]
    if len(twice):
        first = twice.iloc[0]
        raise StudyError(f"Source {first.source} is tested twice in repeat {first['repeat']}; draw the folds again.")
    return judged.assign(probability=probability(judged.logit), called=judged.margin >= 0)


def by_source(judged: pd.DataFrame) -> pd.DataFrame:
    """Return one row per source: label, images, mean probability, and the share of networks that ``called`` it."""
    how = {"label": "max", "images": "max", "probability": "mean", "called": "mean"}
    return judged.groupby("source", sort=True).agg(how).reset_index()
