"""Measure a method's decisions and probabilities by source: means over all networks that judged a source.

Each network decides alone; the mean of their decisions is the source's. Calibration is reported where the method was
shown to beat chance, and slopes where each fold tests enough sources to have its own: probabilities that were
calibrated fold by fold are never pooled.
"""

import numpy as np
import pandas as pd

from pcos_utils.audit.summary import design_effect
from pcos_utils.evaluation.auc import networks
from pcos_utils.evaluation.calibration import probability
from pcos_utils.evaluation.intervals import FEW, Interval, bca, share

BENEFIT_AT = (0.10, 0.30)  # thresholds of the probability at which net benefit is reported
STEPS = 60  # of Newton's method
CALIBRATION = ("brier", "brier_of_share", "slope", "in_the_large") + tuple(
    f"{name}_{at:.2f}" for at in BENEFIT_AT for name in ("net_benefit", "call_all")
)
DECISIONS = ("recall", "specificity", "precision", "accuracy")
LINE = "a line of reference"  # why a value has no interval
REPETITION = ["model", "protocol", "label", "sources", "images", "correlation", "design_effect", "effective_images"]
NOT_SHOWN = "the method is not shown to beat chance"


def decisions(judged: pd.DataFrame, weights: np.ndarray) -> dict[str, Interval]:
    """Return recall, specificity, precision and accuracy with their intervals over sources.

    ``judged``: source, label, called; ``weights``: from ``intervals.resample`` over the sorted sources.
    """
    sources = judged.groupby("source", sort=True)
    called, label = sources.called.mean().to_numpy(), sources.label.max().to_numpy()
    right = np.where(label == 1, called, 1 - called)
    parts = right[label == 1], right[label == 0], right
    recall, specificity, accuracy = map(share, parts)
    return dict(zip(DECISIONS, (recall, specificity, _precision(called, label, weights), accuracy), strict=True))


def _precision(called: np.ndarray, label: np.ndarray, weights: np.ndarray) -> Interval:
    if np.isin(called, (0, 1)).all():
        return share(label[called == 1]) if called.any() else Interval(np.nan, reason="none is called")

    def precision(each: np.ndarray) -> np.ndarray:
        """Return the precision of each resample, where ``each`` (..., n) counts the sources drawn."""
        with np.errstate(invalid="ignore"):
            return each @ (called * label) / (each @ called)

    return bca(precision, label, weights)


def calibration(judged: pd.DataFrame, weights: np.ndarray, shown: bool) -> dict[str, Interval]:
    """Return Brier score, slope, calibration in the large and net benefit with their intervals over sources.

    ``shown``: that the method beats chance. Otherwise every value is NaN, and ``reason`` says so.
    """
    if not shown:
        return dict.fromkeys(CALIBRATION, Interval(np.nan, reason=NOT_SHOWN))
    label = judged.label.to_numpy()
    y = judged.groupby("source", sort=True).label.max().to_numpy()

    def mean_of(values: np.ndarray) -> Interval:
        """Return the mean over sources of each source's mean over its networks."""
        each = judged.assign(value=values).groupby("source", sort=True).value.mean().to_numpy()
        return bca(lambda at: at @ each / at.sum(-1), y, weights)

    intervals = {"brier": mean_of((judged.probability - label) ** 2)}
    intervals["brier_of_share"] = Interval(float(y.mean() * (1 - y.mean())), reason=LINE)
    intervals |= _recalibration(judged, y, weights)
    for at in BENEFIT_AT:
        gain = np.where(label == 1, 1.0, -at / (1 - at))
        intervals[f"net_benefit_{at:.2f}"] = mean_of(gain * (judged.probability >= at))
        intervals[f"call_all_{at:.2f}"] = Interval(float(y.mean() - (1 - y.mean()) * at / (1 - at)), reason=LINE)
    return intervals


def _recalibration(judged: pd.DataFrame, y: np.ndarray, weights: np.ndarray) -> dict[str, Interval]:
    statistics, group = {"slope": slope, "in_the_large": in_the_large}, networks(judged)
    sizes = judged.groupby([group, "label"]).source.nunique().unstack(fill_value=0)
    if sizes.reindex(columns=[0, 1], fill_value=0).to_numpy().min() < FEW:
        return dict.fromkeys(statistics, Interval(np.nan, reason=f"a fold tests fewer than {FEW} sources of a class"))
    at = np.searchsorted(np.sort(judged.source.unique()), judged.source)
    data = judged.logit.to_numpy(), judged.label.to_numpy(), group
    return {
        name: bca(lambda each, statistic=statistic: statistic(*data, each[..., at]), y, weights)
        for name, statistic in statistics.items()
    }


def slope(logit: np.ndarray, label: np.ndarray, group: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the slope of the logistic regression of the label on the logit, with an intercept for each group.

    Cox 1958. Shape (...) for weights (..., n); NaN where the classes are separated. ``group``: numbers from 0, (n,).
    """
    scale = logit.std() or 1.0  # Newton's steps are tame on a standardised logit
    x, groups = logit / scale, [group == number for number in range(group.max() + 1)]
    a, b = np.zeros((*weights.shape[:-1], len(groups))), np.zeros(weights.shape[:-1])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(STEPS):
            bottom, top, moves = 0.0, 0.0, []
            for place, rows in enumerate(groups):
                p = probability(a[..., place, None] + b[..., None] * x[rows])
                miss, curve = weights[..., rows] * (label[rows] - p), weights[..., rows] * p * (1 - p)
                g, h, mixed = miss.sum(-1), curve.sum(-1), curve @ x[rows]
                bottom, top = bottom + curve @ x[rows] ** 2 - mixed**2 / h, top + miss @ x[rows] - mixed * g / h
                moves.append((g, h, mixed))
            db = top / bottom
            da = np.stack([(g - mixed * db) / h for g, h, mixed in moves], axis=-1)
            short = 2 / np.maximum(2, np.maximum(np.abs(db), np.abs(da).max(-1)))  # a full step can overshoot
            a, b = a + short[..., None] * da, b + short * db
            if not np.any(np.abs(db) > 1e-10):
                break
        # Separated classes have no maximum: the steps go on, or the curvature is gone.
        converged = (np.abs(db) < 1e-6) & (np.abs(b) < 30) & (bottom > 1e-6 * weights.sum(-1))
    return np.where(converged, b / scale, np.nan)


def in_the_large(logit: np.ndarray, label: np.ndarray, group: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean over groups, by weight, of the intercept at slope 1: 0 where probabilities fit on average.

    Van Calster et al. 2019. Shapes as in ``slope``.
    """
    total, whole = 0.0, weights.sum(-1)
    for rows in (group == number for number in range(group.max() + 1)):
        a = np.zeros(weights.shape[:-1])
        for _ in range(STEPS):
            p = probability(a[..., None] + logit[rows])
            miss, curve = (weights[..., rows] * part for part in (label[rows] - p, p * (1 - p)))
            step = miss.sum(-1) / np.maximum(curve.sum(-1), 1e-12)
            a = a + np.clip(step, -2, 2)
            if not np.any(np.abs(step) > 1e-10):
                break
        total = total + weights[..., rows].sum(-1) * np.where(np.abs(a) < 30, a, np.nan)
    return total / whole


def repetition(grouped: dict[str, pd.DataFrame], published: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return how much the images of one source repeat each other, for every network that the published split judged.

    A row per network, protocol and class: the intra-source correlation of the logits, the design effect and the number
    of images that it leaves. Within a class, because the difference between classes is skill, not repetition. No row
    where every source has one image. ``grouped``, ``published``: as in ``predictions.Loaded``.
    """
    rows = []
    for model, copies in published.items():
        for protocol, table in (("grouped", grouped[model].query("role == 'test'")), ("published", copies)):
            images = table.groupby(["source", "image", "label"], sort=True).logit.mean().reset_index()
            for label, of_class in images.groupby("label", sort=False):
                sizes, n = of_class.source.value_counts(), len(of_class)
                if n > len(sizes):
                    rho = correlation(of_class.logit.to_numpy(), of_class.source.to_numpy())
                    effect = design_effect(sizes, max(rho, 0.0) if np.isfinite(rho) else np.nan)
                    rows.append((model, protocol, label, len(sizes), n, rho, effect, n / effect))
    return pd.DataFrame(rows, columns=REPETITION)


def correlation(values: np.ndarray, source: np.ndarray) -> float:
    """Return the intra-source correlation by one-way analysis of variance (Donner 1986). Sizes may differ.

    NaN where no value differs or none is repeated; negative where images of one source differ more than images of
    several.
    """
    groups = pd.Series(np.asarray(values, float)).groupby(np.asarray(source))
    sizes, means = groups.size().to_numpy(), groups.mean().to_numpy()
    k, n = len(sizes), sizes.sum()
    if k < 2 or n == k:
        return np.nan
    between = (sizes * (means - np.mean(values)) ** 2).sum() / (k - 1)
    within = (groups.var(ddof=0).to_numpy() * sizes).sum() / (n - k)
    size = (n - (sizes**2).sum() / n) / (k - 1)
    whole = between + (size - 1) * within
    return float((between - within) / whole) if whole > 1e-24 else np.nan
