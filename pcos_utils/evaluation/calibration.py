"""Calibration and the threshold fixed beforehand: both from the selection sources of each fold, never from test ones.

Platt 1999, pulled weakly towards leaving the logit as it is, so that a handful of sources that happen to be separated
cannot blow it up.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from pcos_utils.config import CLASS_NAMES, StudyError

RECALL = 0.90  # that the threshold reaches among the selection sources
# Strength of the pull on log slope and intercept: standard deviations of 1.4 and 3.2 around the identity.
RIDGE = np.array([0.5, 0.1])
NEEDED = ["image", "source", "label", "role", "repeat", "fold", "logit"]


class Rule(NamedTuple):
    """What one fold decided before its test sources were read. Threshold: on the calibrated logit."""

    slope: float
    intercept: float
    threshold: float
    fitted: str  # "Platt", or why the logit is left as it is


def fit(logit: np.ndarray, label: np.ndarray) -> Rule:
    """Calibration and threshold from independent sources, shapes (n,).

    Where a class is missing nothing can be fitted: the logit stays, and without a positive the threshold is
    probability .5.
    """
    logit, label = np.asarray(logit, float), np.asarray(label, int)
    missing = [CLASS_NAMES[value] for value in (1, 0) if not (label == value).any()]
    slope, intercept, fitted = 1.0, 0.0, "identity: no " + " and no ".join(missing) + " selection source"
    if not missing:
        sign = 2 * label - 1

        def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            """The penalised loss of log slope and intercept, and its gradient."""
            log_slope, shift = parameters
            margin = sign * (np.exp(log_slope) * logit + shift)
            pull = -sign / (1 + np.exp(np.clip(margin, -500, 500)))
            value = np.logaddexp(0, -margin).sum() + (RIDGE * parameters**2).sum() / 2
            return value, np.array([(pull * logit).sum() * np.exp(log_slope), pull.sum()]) + RIDGE * parameters

        # No source can ask for more than e^5; the bound keeps the line search from overflowing.
        found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-5, 5), (None, None)])
        slope, intercept, fitted = float(np.exp(found.x[0])), float(found.x[1]), "Platt"
    return Rule(slope, intercept, threshold(slope * logit + intercept, label), fitted)


def threshold(logit: np.ndarray, label: np.ndarray, recall: float = RECALL) -> float:
    """The highest threshold that still calls a share ``recall`` of the positives; 0 without any."""
    positives = np.sort(logit[label == 1])[::-1]
    # The small number undoes rounding: .9 of ten is nine.
    return float(positives[int(np.ceil(recall * len(positives) - 1e-9)) - 1]) if len(positives) else 0.0


def judged(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per test source and repeat: source, label, repeat, fold, images, logit (calibrated), raw_logit, margin,
    threshold, slope, intercept, fitted.

    ``predictions``: as in predictions.csv, with selection and test rows. A source's score is its mean logit over all
    its rows. ``margin`` is the calibrated logit less the threshold, so that 0 and above is called polycystic. Raises
    StudyError where a column is missing, a test source helped to choose, or a source is tested in two folds of a
    repeat.
    """
    absent = [name for name in NEEDED if name not in predictions]
    if absent:
        raise StudyError(f"The predictions lack {', '.join(absent)}; predict again.")
    parts = []
    for (repeat, fold), rows in predictions.groupby(["repeat", "fold"], sort=True):
        selection, test = (_scores(rows[rows.role == role]) for role in ("selection", "test"))
        both = sorted(set(selection.source) & set(test.source))
        if both:
            raise StudyError(
                f"Source {both[0]} is a selection and a test source of repeat {repeat}, fold {fold} ({len(both)} in "
                "all); draw the split by source again."
            )
        rule = fit(selection.raw_logit.to_numpy(), selection.label.to_numpy())
        logit = rule.slope * test.raw_logit + rule.intercept
        made = test.assign(repeat=repeat, fold=fold, logit=logit, margin=logit - rule.threshold, **rule._asdict())
        parts.append(made)
    columns = ["source", "label", "repeat", "fold", "images", "logit", "raw_logit", "margin", *Rule._fields]
    made = pd.concat(parts, ignore_index=True)[columns]
    twice = made[made.duplicated(["source", "repeat"])]
    if len(twice):
        first = twice.iloc[0]
        raise StudyError(f"Source {first.source} is tested twice in repeat {first['repeat']}; draw the folds again.")
    return made


def _scores(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per source: its label, as most of its images have it, images and mean logit."""
    table = rows.groupby("source", sort=True).agg(
        label=("label", "mean"), images=("image", "nunique"), raw_logit=("logit", "mean")
    )
    return table.assign(label=(table.label >= 0.5).astype(int)).reset_index()


def by_source(judged: pd.DataFrame) -> pd.DataFrame:
    """One row per source over repeats: source, label, images, logit (mean), probability, margin (mean), called."""
    grouped = judged.groupby("source", sort=True)
    table = grouped.agg(
        label=("label", "max"), images=("images", "max"), logit=("logit", "mean"), margin=("margin", "mean")
    ).reset_index()
    table.insert(4, "probability", 1 / (1 + np.exp(-table.logit)))
    return table.assign(called=table.margin >= 0)
