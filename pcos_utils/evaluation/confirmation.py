"""Measure a frozen method on new sources: its endpoint, and what so many sources could show."""

import numpy as np
import pandas as pd

from pcos_utils.evaluation import auc, power
from pcos_utils.evaluation.intervals import Interval, resample
from pcos_utils.evaluation.metrics import decisions

ANSWERED, WORST = "sources with a value", "every refused source counted as wrong"
ENDPOINT = {
    "unit": "the source picture: its score is the mean of its images' scores, on the logit's scale for a served model",
    "primary": "AUC over all pairs of a polycystic and a normal source; 95 % BCa interval over sources",
    "secondary": "recall and specificity at the frozen threshold; exact 95 % intervals over sources",
    "left out": "sources that developed the method; sources without a label, or with both labels",
    "refusals": f"an image without a value counts nowhere; the endpoint is of {ANSWERED}, and beside it {WORST}",
}
COLUMNS = ["of", "metric", *Interval._fields, "sources", "polycystic"]
USUAL = 0.9  # AUC, recall and specificity for which the precision of a study is told
ROUNDING = 1e-9  # a score so little below the threshold reaches it


def by_source(answers: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return source, label, images, mean score, ``called``. ``answers``: image, source, label, score (NaN: refused)."""
    how = {"label": ("label", "max"), "images": ("image", "nunique"), "score": ("score", "mean")}
    each = answers.groupby("source", sort=True).agg(**how).reset_index()
    return each.assign(called=each.score >= threshold - ROUNDING)


def endpoint(each: pd.DataFrame) -> pd.DataFrame:
    """Return AUC, recall and specificity with their intervals, COLUMNS, twice: of ANSWERED and of WORST.

    ``each``: from ``by_source``. A missing class gives values without a number, and ``reason`` says so.
    """
    refused, rows = each.score.isna(), []
    # Below all others if polycystic, above all others if normal: on the wrong side of every pair.
    wrong = np.where(each.label == 1, each.score.min() - 1, each.score.max() + 1)
    called = each.called ^ (refused & (each.label == 0))  # nobody called a refused source
    worst = each.assign(score=each.score.fillna(pd.Series(wrong, each.index)), called=called)
    for name, part in ((ANSWERED, each[~refused]), (WORST, worst if refused.any() else each[:0])):
        if len(part):
            ranking = auc.pairs(part.rename(columns={"score": "logit"}))
            weights = resample(ranking.label)
            values = {"auc": auc.interval(ranking, weights)} | decisions(part, weights)
            sizes = len(part), int(part.label.sum())
            rows += [(name, metric, *values[metric], *sizes) for metric in ("auc", "recall", "specificity")]
    return pd.DataFrame(rows, columns=COLUMNS)


def could_show(positives: int, negatives: int, expected: float | None = None) -> dict[str, float]:
    """Return what so many sources of each class could show, whatever they did show.

    ``expected``: the AUC to expect, USUAL by default; half-widths are of 95 % intervals, ``detectable_auc`` is shown to
    beat chance with 80 % power.
    """
    expected = expected or USUAL
    return {
        "expected_auc": expected,
        "half_width_auc": power.half_width(expected, positives, negatives),
        "detectable_auc": power.detectable(positives, negatives),
        "half_width_recall": power.half_width_of_share(USUAL, positives),
        "half_width_specificity": power.half_width_of_share(USUAL, negatives),
    }
