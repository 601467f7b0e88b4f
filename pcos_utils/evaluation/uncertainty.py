"""Intervals whose unit is the source: copies of a picture move together, so they are drawn together."""

import numpy as np
import pandas as pd
from scipy.stats import beta

from pcos_utils.evaluation import metrics

LEVEL = 0.95
FEW = 10  # sources of a class below which a bootstrap interval is too narrow; the tables then say so


def source_weights(table: pd.DataFrame, resamples: int, seed: int) -> np.ndarray:
    """Bootstrap weights, shape (resamples, rows): how often each row's source was drawn.

    Sources are drawn with replacement within each class, so that every resample has both. Source, label: columns of
    ``table``.
    """
    rng = np.random.default_rng(seed)
    label_of = table.groupby("source", sort=True).label.max()
    drawn = np.zeros((resamples, len(label_of)))
    for label in (0, 1):
        where = np.flatnonzero(label_of == label)
        if len(where):
            drawn[:, where] = rng.multinomial(len(where), np.full(len(where), 1 / len(where)), size=resamples)
    return drawn[:, label_of.index.get_indexer(table.source)]


def metric_table(table: pd.DataFrame, *, resamples: int, seed: int = 0) -> pd.DataFrame:
    """Every metric with its interval: columns metric, value, low, high, method, sources, images, few_sources.

    ``table``: source, label, probability; one row per source or per image. Shares of sources get the exact binomial
    interval, all else a percentile bootstrap over sources, stratified by class. Where every resample gives the same
    value, a bootstrap knows nothing of the uncertainty: the interval is then empty and ``method`` is "none".
    ``few_sources`` marks rows that rest on fewer than ten sources of a class: their bootstrap is too narrow.
    """
    y_true, y_prob = table.label.to_numpy(), table.probability.to_numpy()
    points = metrics.all_metrics(y_true, y_prob, np.ones(len(table)))
    draws = metrics.all_metrics(y_true, y_prob, source_weights(table, resamples, seed))
    tail = (1 - LEVEL) / 2
    per_class = table.groupby("label").source.nunique()
    rows = []
    shares = _shares(y_true, y_prob) if table.source.is_unique else {}
    for name, value in points.items():
        finite = draws[name][np.isfinite(draws[name])]
        if shares.get(name, (0, 0))[1]:
            rows.append((name, float(value), *exact_interval(*shares[name]), "exact"))
        elif len(finite) and np.ptp(finite) > 0:
            rows.append((name, float(value), *np.quantile(finite, [tail, 1 - tail]), "bootstrap"))
        else:
            rows.append((name, float(value), np.nan, np.nan, "none"))
    made = pd.DataFrame(rows, columns=["metric", "value", "low", "high", "method"])
    images = int(table.images.sum()) if "images" in table else len(table)
    return made.assign(sources=table.source.nunique(), images=images, few_sources=bool(per_class.min() < FEW))


def _shares(y_true: np.ndarray, y_prob: np.ndarray) -> dict[str, tuple[int, int]]:
    """Hits and trials behind the metrics that are shares of independent sources."""
    counts = metrics.confusion(y_true, y_prob, np.ones(len(y_true)))
    tp, fn, fp, tn = (int(count) for count in counts)
    return {
        "accuracy": (tp + tn, tp + fn + fp + tn),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "precision": (tp, tp + fp),
    }


def exact_interval(hits: int, n: int) -> tuple[float, float]:
    """The Clopper-Pearson interval of a proportion of ``hits`` in ``n`` independent sources."""
    tail = (1 - LEVEL) / 2
    low = beta.ppf(tail, hits, n - hits + 1) if hits else 0.0
    high = beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)


def curve_band(table: pd.DataFrame, curve, grid: np.ndarray, *, resamples: int, seed: int = 0) -> np.ndarray:
    """Lower and upper edge, shape (2, len(grid)), of a curve over resampled sources.

    ``curve(table, weights, grid)`` gives the curve's height on the grid for one vector of row weights.
    """
    tail = (1 - LEVEL) / 2
    draws = [curve(table, weights, grid) for weights in source_weights(table, resamples, seed)]
    return np.nanquantile(draws, [tail, 1 - tail], axis=0)
