"""What the out-of-fold predictions say about a logit, tabulated once, so that an answer only looks it up.

The unit is the source. Platt (1999) for the probability, with a ridge towards leaving logits as they are; a bootstrap
over sources, the calibration fitted anew in each, for its interval; class-wise split conformal sets (Vovk 2012).
"""

import numpy as np
import pandas as pd

from pcos_utils.evaluation import within
from pcos_utils.evaluation.metrics import by_source
from pcos_utils.evaluation.uncertainty import source_weights

RIDGE = 0.5  # pseudo-observations that hold slope and intercept at 1 and 0
STEPS = 30  # of Newton's method
TARGET_RECALL = 0.90  # of the threshold, fixed before any test
ALPHA = 0.10  # of the conformal sets: at most this share of either class is left out of its own set
GRID = 65  # logits at which the interval is tabulated


def platt(logit: np.ndarray, label: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope (at least 0) and intercept of the calibrated logit, each of shape (k,), for ``weights`` (k, n) of n rows.

    A class without weight leaves them at 1 and 0.
    """
    scale = max(1.0, float(np.std(logit)))  # so that the ridge means the same for large and for small logits
    x, y = logit / scale, label.astype(float)
    a, b = np.full(len(weights), scale), np.zeros(len(weights))
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(a[:, None] * x + b[:, None], -30, 30)))
        miss, bend = weights * (p - y), weights * np.maximum(p * (1 - p), 1e-6)
        down = np.stack([miss @ x + RIDGE * (a - scale), miss.sum(1) + RIDGE * b], axis=1)
        twice = np.stack([bend @ x**2 + RIDGE, bend @ x, bend @ x, bend.sum(1) + RIDGE], axis=1).reshape(-1, 2, 2)
        step = np.linalg.solve(twice, down[..., None])[..., 0]
        a, b = np.maximum(a - np.clip(step[:, 0], -2, 2), 0), b - np.clip(step[:, 1], -2, 2)
    empty = ((weights * y).sum(1) == 0) | ((weights * (1 - y)).sum(1) == 0)
    return np.where(empty, 1.0, a / scale), np.where(empty, 0.0, b)


def tabulate(predictions: pd.DataFrame, *, resamples: int, seed: int) -> dict:
    """Calibration, threshold, intervals and conformal limits from out-of-fold ``predictions``, as plain numbers.

    ``predictions``: image, source, label, logit; test rows alone, in any number of repeats.
    """
    table = by_source(predictions)
    logit, label = table.logit.to_numpy(), table.label.to_numpy()
    slope, intercept = (float(part[0]) for part in platt(logit, label, np.ones((1, len(table)))))
    probability = calibrated(logit, slope, intercept)
    reach = max(1.0, 0.25 * float(np.ptp(logit)))
    grid = np.linspace(logit.min() - reach, logit.max() + reach, GRID)
    slopes, intercepts = platt(logit, label, source_weights(table, resamples, seed))
    drawn = calibrated(grid[None], slopes[:, None], intercepts[:, None])  # (resamples, GRID)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    middle = calibrated(grid, slope, intercept)
    return {
        "calibration": {"slope": slope, "intercept": intercept},
        "threshold": threshold(probability, label),
        "target_recall": TARGET_RECALL,
        "interval": {
            "logit": grid.round(5).tolist(),
            "low": np.minimum(low, middle).round(5).tolist(),
            "high": np.maximum(high, middle).round(5).tolist(),
            "level": 0.95,
            "resamples": resamples,
        },
        "conformal": {
            "alpha": ALPHA,
            "normal": limit(probability[label == 0]),
            "polycystic": limit(1 - probability[label == 1]),
        },
        "sources": {"normal": int((label == 0).sum()), "polycystic": int((label == 1).sum())},
    }


def ranking(predictions: pd.DataFrame) -> float:
    """The AUC of the out-of-fold predictions, by source, within folds where the predictions name them."""
    keys = [key for key in ("repeat", "fold") if key in predictions]
    parts = predictions.groupby(keys) if keys else [((), predictions)]
    table = pd.concat(by_source(rows).assign(**dict(zip(keys, key, strict=True))) for key, rows in parts)
    found = within.meetings(table)
    return float(within.auc(found, np.ones(len(found.label))))


def calibrated(logit, slope, intercept) -> np.ndarray:
    """Probability of polycystic morphology for a raw logit."""
    return 1 / (1 + np.exp(-np.clip(slope * logit + intercept, -30, 30)))


def threshold(probability: np.ndarray, label: np.ndarray) -> float:
    """The highest threshold at which TARGET_RECALL of the polycystic sources are called; ``probability``: (n,)."""
    positive = np.sort(probability[label == 1])[::-1]
    return float(positive[int(np.ceil(TARGET_RECALL * len(positive))) - 1])


def limit(score: np.ndarray) -> float:
    """The score up to which a class stays in the set: its conformal quantile, 1 where the sources are too few."""
    rank = int(np.ceil((len(score) + 1) * (1 - ALPHA)))
    return float(np.sort(score)[rank - 1]) if rank <= len(score) else 1.0
