"""Tabulate what out-of-fold predictions say about a logit, once, so that an answer only looks it up.

The unit is the source. Each network's prediction counts as a part of it, so that the calibration is that of one network
and not of their mean. The interval is a bootstrap's over sources; the conformal sets are class-wise (Vovk 2012).
"""

import numpy as np
import pandas as pd

from pcos_utils.config import CLASS_NAMES
from pcos_utils.evaluation import auc
from pcos_utils.evaluation.calibration import RECALL, by_network, platt, probability, threshold
from pcos_utils.evaluation.intervals import resample
from pcos_utils.files import PACKAGE

# The counts of the kept network on the real sources of a public data set: numbers alone, made by studies.real_answers.
REAL, DATA = PACKAGE / "weights" / "real_counts.csv", "Dataset B"
ALPHA = 0.10  # at most this share of either class is left out of its own conformal set
GRID = 65  # logits at which the interval is tabulated
RESAMPLES = 2_000  # of the sources


def tabulate(predictions: pd.DataFrame, *, is_count: bool = False, seed: int = 0, resamples: int = RESAMPLES) -> dict:
    """Return calibration, threshold, intervals and conformal limits from test rows (image, source, label, logit)."""
    table = by_network(predictions)
    ranked = float(auc.auc(auc.pairs(table.rename(columns={"raw_logit": "logit"}))))  # refuses what is no number
    logit, label = table.raw_logit.to_numpy(), table.label.to_numpy()
    # A count is standardised, because the calibration is pulled towards the identity.
    middle, spread = (float(logit.mean()), float(logit.std()) or 1.0) if is_count else (0.0, 1.0)

    def calibrate(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return slopes and intercepts of Platt's fit, (fits,) each, for weights (fits, n)."""
        slopes, intercepts = platt((logit - middle) / spread, label, weights)
        return slopes / spread, intercepts - slopes * middle / spread

    part = (1 / table.groupby("source").source.transform("size")).to_numpy()
    of_source = table.groupby("source", sort=True).label.max().to_numpy()
    at = np.searchsorted(np.sort(table.source.unique()), table.source)
    slope, intercept = (float(fitted[0]) for fitted in calibrate(part[None]))
    values = probability(slope * logit + intercept)
    reach = max(1.0, 0.25 * float(np.ptp(logit)))
    grid = np.linspace(logit.min() - reach, logit.max() + reach, GRID)
    slopes, intercepts = calibrate(resample(of_source, resamples, seed)[:, at] * part)
    drawn = probability(slopes[:, None] * grid + intercepts[:, None])  # (resamples, GRID)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    curve = probability(slope * grid + intercept)
    interval = {"logit": grid, "low": np.minimum(low, curve), "high": np.maximum(high, curve)}
    interval = {name: row.round(5).tolist() for name, row in interval.items()}
    away = np.abs(values - label)  # of each prediction from its class
    limits = {name: limit(away[label == sign], part[label == sign]) for sign, name in CLASS_NAMES.items()}
    return {
        "calibration": {"slope": slope, "intercept": intercept}, "target_recall": RECALL,
        "threshold": float(probability(threshold(slope * logit + intercept, label, part))),
        "interval": interval | {"level": 0.95, "resamples": resamples}, "conformal": {"alpha": ALPHA} | limits,
        "sources": {name: int((of_source == sign).sum()) for sign, name in CLASS_NAMES.items()}, "auc": ranked,
    }  # fmt: skip


def real_frames() -> pd.DataFrame:
    """Return the count of each real source as the predictions that ``tabulate`` takes."""
    table = pd.read_csv(REAL)
    return table.assign(image=table.source, logit=table["count"].astype(float))


def limit(score: np.ndarray, part: np.ndarray) -> float:
    """Return the largest score, (n,), with which a class stays in its conformal set; 1 where sources are few.

    ``part``: what share of a source each score counts for, (n,).
    """
    order, sources = np.argsort(score, kind="stable"), part.sum()
    rank = np.ceil((sources + 1) * (1 - ALPHA) - 1e-9)
    if rank > sources + 1e-9:
        return 1.0
    return float(score[order][np.searchsorted(part[order].cumsum(), rank - 1e-9)])
