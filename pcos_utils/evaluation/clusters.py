"""How much the images of one source repeat each other: intra-source correlation, design effect, effective number."""

import numpy as np
import pandas as pd
from scipy.stats import t

from pcos_utils.evaluation import metrics
from pcos_utils.evaluation.bootstrap import LEVEL

COLUMNS = ["of", "label", "sources", "images", "correlation", "design_effect", "effective_images"]


def correlation(values: np.ndarray, source: np.ndarray) -> float:
    """The intra-source correlation by one-way analysis of variance; NaN where no value differs or none is repeated.

    Negative where images of one source differ more than images of several. Sizes may differ (Donner 1986).
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


def design_effect(correlation: float, source: np.ndarray) -> float:
    """By how much the copies inflate the variance of a mean over images (Kish 1965); at least 1."""
    sizes = pd.Series(np.asarray(source)).value_counts().to_numpy()
    return float(1 + ((sizes**2).sum() / sizes.sum() - 1) * np.maximum(correlation, 0.0))


def repetition(table: pd.DataFrame) -> pd.DataFrame:
    """Per class, of right answers and of the score: the correlation, design effect and number of images it leaves.

    ``table``: one row per image: source, label, probability, optionally called. Within a class, because the difference
    between classes is skill, not repetition.
    """
    called = metrics.decisions(table.probability.to_numpy(), table.called if "called" in table else None)
    inside = np.clip(table.probability.to_numpy(float), 1e-9, 1 - 1e-9)
    values = {"right answer": called == (table.label == 1).to_numpy(), "score": np.log(inside / (1 - inside))}
    rows = []
    for name, value in values.items():
        for label in (1, 0):
            own = (table.label == label).to_numpy()
            source = table.source[own].to_numpy()
            rho = correlation(value[own], source)
            effect = design_effect(rho, source)
            rows.append((name, label, len(set(source)), len(source), rho, effect, len(source) / effect))
    return pd.DataFrame(rows, columns=COLUMNS)


def cluster_t_interval(hits: np.ndarray, images: np.ndarray) -> tuple[float, float]:
    """The t interval of a share over images, from each source's ``hits`` among its ``images``; cut to [0, 1].

    Linearised ratio, sources - 1 degrees of freedom. Simulated coverage .92 to .96 at 54 positive-and-negative sources
    and more, down to .82 at 16 with a correlation of .9 (reports/benchmarks/interval_coverage.csv): no claim there.
    """
    share, k = hits.sum() / images.sum(), len(hits)
    if k < 2:
        return np.nan, np.nan
    error = np.sqrt(k / (k - 1) * ((hits - share * images) ** 2).sum()) / images.sum()
    half = t.ppf((1 + LEVEL) / 2, k - 1) * error
    return float(max(share - half, 0)), float(min(share + half, 1))
