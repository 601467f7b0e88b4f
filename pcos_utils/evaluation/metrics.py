"""Point metrics of a binary classifier, for weighted images, so that one code serves points and bootstraps.

Every function takes ``y_true`` and ``y_prob``, shape (n,), and ``weights``, shape (..., n), and returns shape (...).
Polycystic = 1 is positive. A metric that is not defined (no positive, nothing called positive) is NaN.
``called``, shape (n,), is a decision that was made otherwise, as by ``calibration.by_source``; without it an image is
called polycystic from ``THRESHOLD`` on. Definitions as in scikit-learn, which the tests compare with; what needs a
probability, a prevalence or a cost is in ``clinical.py``.
"""

import numpy as np
import pandas as pd

THRESHOLD = 0.5  # of the probability; fixed beforehand, never chosen on test data
METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "recall": "recall (sensitivity)",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "mcc": "MCC",
    "auc": "ROC AUC",
    "average_precision": "average precision",
    "brier": "Brier score",
}


def all_metrics(
    y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray, called: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Every metric of ``METRICS``, by its key."""
    tp, fn, fp, tn = confusion(y_true, y_prob, weights, called)
    with np.errstate(divide="ignore", invalid="ignore"):
        recall, specificity, precision = tp / (tp + fn), tn / (tn + fp), tp / (tp + fp)
        # scikit-learn calls MCC 0 where a row or a column of the matrix is empty.
        spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        mcc = np.where(spread > 0, (tp * tn - fp * fn) / np.where(spread > 0, spread, 1), 0.0)
        return {
            "accuracy": accuracy(y_true, y_prob, weights, called),
            "balanced_accuracy": (recall + specificity) / 2,
            "recall": recall,
            "specificity": specificity,
            "precision": precision,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "mcc": mcc,
            "auc": auc(y_true, y_prob, weights),
            "average_precision": average_precision(y_true, y_prob, weights),
            "brier": (weights * (y_prob - y_true) ** 2).sum(-1) / weights.sum(-1),
        }


def decisions(y_prob: np.ndarray, called: np.ndarray | None) -> np.ndarray:
    """Who is called polycystic, shape (n,): ``called`` where it is given, else whoever reaches ``THRESHOLD``."""
    return y_prob >= THRESHOLD if called is None else np.asarray(called, bool)


def accuracy(y_true, y_prob, weights, called=None) -> np.ndarray:
    """The share of right answers."""
    return weights @ (decisions(y_prob, called) == (y_true == 1)).astype(float) / weights.sum(-1)


def confusion(y_true, y_prob, weights, called=None) -> tuple[np.ndarray, ...]:
    """True positives, false negatives, false positives, true negatives."""
    positive, called = y_true == 1, decisions(y_prob, called)
    return tuple(
        weights @ mask.astype(float)
        for mask in (positive & called, positive & ~called, ~positive & called, ~positive & ~called)
    )


def auc(y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The chance that a random positive scores above a random negative, ties counted half."""
    positives, negatives = weight_by_score(y_true, y_prob, weights)
    below = negatives.cumsum(-1) - negatives
    with np.errstate(divide="ignore", invalid="ignore"):
        return (positives * (below + negatives / 2)).sum(-1) / (positives.sum(-1) * negatives.sum(-1))


def average_precision(y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Precision averaged over the recalls gained at each distinct score, from the highest down."""
    positives, negatives = (part[..., ::-1] for part in weight_by_score(y_true, y_prob, weights))
    tp, fp = positives.cumsum(-1), negatives.cumsum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(tp + fp > 0, tp / (tp + fp), 0.0)
        return (positives * precision).sum(-1) / positives.sum(-1)


def weight_by_score(y_true, y_prob, weights) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of negatives at each distinct score, lowest first: shape (..., scores)."""
    order = np.argsort(y_prob, kind="stable")
    starts = np.flatnonzero(np.diff(y_prob[order], prepend=-np.inf))
    ordered, truth = weights[..., order], y_true[order]
    return (
        np.add.reduceat(ordered * (truth == 1), starts, axis=-1),
        np.add.reduceat(ordered * (truth == 0), starts, axis=-1),
    )


def by_source(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per source: its label and the probability of its mean logit over images and repeats.

    A source whose images carry two labels takes the one that most of them carry.
    """
    grouped = predictions.groupby("source", sort=True)
    table = grouped.agg(label=("label", "mean"), logit=("logit", "mean"), images=("image", "nunique")).reset_index()
    table["label"] = (table.label >= 0.5).astype(int)
    table["probability"] = 1 / (1 + np.exp(-table.logit))
    return table


def by_image(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per image: source, label and the probability of its mean logit over repeats."""
    table = predictions.groupby(["source", "image", "label"], sort=True).logit.mean().reset_index()
    return table.assign(probability=1 / (1 + np.exp(-table.logit)))
