"""Measure a method's decisions and probabilities by source: means over all networks that judged a source.

Each network decides alone; the mean of their decisions is the source's. Calibration is reported where the method was
shown to beat chance, and slopes where each fold tests enough sources to have its own: probabilities that were
calibrated fold by fold are never pooled.
"""

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import f_oneway

from pcos_utils.audit.summary import design_effect
from pcos_utils.evaluation.auc import networks
from pcos_utils.evaluation.intervals import FEW, Interval, bca, share

BENEFIT_AT = (0.10, 0.30)  # thresholds of the probability at which net benefit is reported
STEPS, CLOSE = 60, 1e-10  # of Newton's method, and the step that ends it
FITS = 100  # of a regression, at a time
CALIBRATION = ("brier", "brier_of_share", "slope", "in_the_large") + tuple(
    f"{name}_{at:.2f}" for at in BENEFIT_AT for name in ("net_benefit", "call_all")
)
DECISIONS = ("recall", "specificity", "precision", "accuracy")
LINE = "a line of reference"  # why a value has no interval
REPETITION = ["model", "protocol", "label", "sources", "images", "correlation", "design_effect", "effective_images"]
NOT_SHOWN = "the method is not shown to beat chance"


def decisions(judged: pd.DataFrame, weights: np.ndarray) -> dict[str, Interval]:
    """Return recall, specificity, precision and accuracy over sources. ``weights``: of the sorted sources."""
    sources = judged.groupby("source", sort=True)
    called, label = sources.called.mean().to_numpy(), sources.label.max().to_numpy()
    right = np.where(label == 1, called, 1 - called)
    recall, specificity, accuracy = map(share, (right[label == 1], right[label == 0], right))
    if not called.any():
        precision = Interval(np.nan, reason="none is called")
    elif np.isin(called, (0, 1)).all():
        precision = share(label[called == 1])
    else:
        with np.errstate(invalid="ignore"):
            precision = bca(lambda each: each @ (called * label) / (each @ called), label, weights)
    return dict(zip(DECISIONS, (recall, specificity, precision, accuracy), strict=True))


def calibration(judged: pd.DataFrame, weights: np.ndarray, shown: bool) -> dict[str, Interval]:
    """Return Brier score, slope, calibration in the large and net benefit; NaN unless ``shown`` to beat chance."""
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
    return {name: bca(lambda each, of=of: of(*data, each[..., at]), y, weights) for name, of in statistics.items()}


def slope(logit: np.ndarray, label: np.ndarray, group: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the slope of the logistic regression of the label on the logit, with an intercept for each group.

    Cox 1958. Shape (...) for weights (..., n); NaN where the classes are separated. ``group``: numbers from 0, (n,).
    """
    scale = logit.std() or 1.0  # Newton's steps are tame on a standardised logit
    design = np.column_stack([logit / scale, np.eye(group.max() + 1)[group]])
    return _logistic(design, 0.0, label, weights)[..., 0] / scale


def in_the_large(logit: np.ndarray, label: np.ndarray, group: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return, as ``slope`` does, the mean intercept at slope 1 (Van Calster et al. 2019): 0 where probabilities fit."""
    of_group = np.eye(group.max() + 1)[group]
    intercepts = _logistic(of_group, logit, label, weights)
    return (intercepts * (weights @ of_group)).sum(-1) / weights.sum(-1)


def _logistic(design: np.ndarray, offset: np.ndarray | float, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the coefficients, shape (..., p), of weighted logistic regressions on a design (n, p), by Newton's method.

    NaN where the classes are separated. ``offset``: a known part of the logit; ``weights``: (..., n).
    """
    p = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(-1, p * p)

    def fit(each: np.ndarray) -> np.ndarray:
        """Return the coefficients (m, p) for weights (m, n); what has settled leaves, and separated classes do not."""
        # From another start, such as the fit of all sources, steps may cycle where few logits are extreme.
        at, found, moving = np.zeros((len(each), p)), np.full((len(each), p), np.nan), np.arange(len(each))
        for _ in range(STEPS):
            chance = expit(at @ design.T + offset)
            held = each * chance
            gradient = (each * label - held) @ design
            curvature = ((held - held * chance) @ products).reshape(-1, p, p)
            step = np.linalg.solve(curvature + 1e-12 * np.eye(p), gradient[..., None])[..., 0]
            largest = np.abs(step).max(-1)
            at = at + 2 * step / np.maximum(2, largest[:, None])  # a full step can overshoot
            done = (largest < CLOSE) & (np.abs(at) < 30).all(-1)
            if done.any():
                found[moving[done]] = at[done]
                at, moving, each = at[~done], moving[~done], each[~done]
            if not len(moving):
                break
        return found

    rows = weights.reshape(-1, weights.shape[-1])
    parts = np.array_split(rows, -(-len(rows) // FITS))  # small enough for a processor's cache
    return np.concatenate([fit(part) for part in parts]).reshape(*weights.shape[:-1], p)


def repetition(grouped: dict[str, pd.DataFrame], published: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return how much the images of one source repeat each other, for every network that the published split judged.

    A row per network, protocol and class (whose difference is skill): the intra-source correlation of the logits, the
    design effect and the images that it leaves. No row where every source has one image. Both as in ``Loaded``.
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

    NaN where no value differs or none is repeated; negative where a source differs more than several do.
    """
    images = [rows.to_numpy() for _, rows in pd.Series(np.asarray(values, float)).groupby(np.asarray(source))]
    sizes, n = np.array([len(rows) for rows in images]), len(values)
    if len(sizes) < 2 or n == len(sizes):
        return np.nan
    ratio, size = f_oneway(*images).statistic, (n - (sizes**2).sum() / n) / (len(sizes) - 1)
    return float(1 / (1 + size / (ratio - 1)))
