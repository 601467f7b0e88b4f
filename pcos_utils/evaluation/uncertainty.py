"""Intervals whose unit is the source: copies of a picture move together, so they are drawn together.

What each interval covers is measured by ``benchmarks/interval_coverage.py``.
"""

import numpy as np
import pandas as pd
from scipy.stats import beta

from pcos_utils.evaluation import bootstrap, calibration, clinical, delong, metrics, within
from pcos_utils.evaluation.bootstrap import LEVEL, source_weights

FEW = 10  # sources of a class below which a bootstrap interval is too narrow; the tables then say so
AT_HALF, BEFOREHAND = "0.5", "beforehand"  # where a decision is made: probability .5, or the inner folds' threshold
DECIDED = {"accuracy", "balanced_accuracy", "recall", "specificity", "precision", "f1", "mcc"} | set(
    clinical.AT_A_DECISION
)


def metric_table(
    table: pd.DataFrame, *, resamples: int, seed: int = 0, at: str = AT_HALF, further: bool = False
) -> pd.DataFrame:
    """Every metric with its interval: columns metric, value, low, high, method, sources, images, few_sources, reason.

    ``table``: source, label, probability; one row per source or per image. Where ``at`` is "beforehand" its column
    ``called`` decides, else a probability of .5. ``further`` adds the metrics of ``clinical.py``. Shares of sources
    get the exact binomial interval, all else a BCa bootstrap over sources, stratified by class. Where that is not
    defined the interval is empty, ``method`` is "none" and ``reason`` says why. ``few_sources`` marks rows that rest
    on fewer than ten sources of a class: their bootstrap is too narrow.
    """
    y_true, y_prob = table.label.to_numpy(), table.probability.to_numpy()
    called = table.called.to_numpy(bool) if at == BEFOREHAND else None

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every metric, shape (...) for weights (..., n)."""
        found = metrics.all_metrics(y_true, y_prob, weights, called)
        return found | clinical.clinical_metrics(y_true, y_prob, weights, called) if further else found

    left_out, classes = bootstrap.jackknife_weights(table)
    points, draws = measure(np.ones(len(table))), measure(source_weights(table, resamples, seed))
    influence = measure(left_out)
    per_class = table.groupby("label").source.nunique()
    rows = []
    shares = _shares(y_true, y_prob, called) if table.source.is_unique else {}
    for name, value in points.items():
        if shares.get(name, (0, 0))[1]:
            rows.append((name, float(value), *exact_interval(*shares[name]), "exact", ""))
            continue
        low, high, reason = bootstrap.bca_interval(float(value), draws[name], influence[name], classes)
        rows.append((name, float(value), low, high, "none" if reason else "BCa", reason))
    made = pd.DataFrame(rows, columns=["metric", "value", "low", "high", "method", "reason"])
    images = int(table.images.sum()) if "images" in table else len(table)
    made = made.assign(sources=table.source.nunique(), images=images, few_sources=bool(per_class.min() < FEW))
    return made[[name for name in made if name != "reason"] + ["reason"]]


def evidence_table(judged: pd.DataFrame, *, resamples: int, seed: int = 0) -> pd.DataFrame:
    """Every metric of judged sources at both operating points, with second intervals: metric_table's columns, and two.

    ``at``: "0.5", "beforehand", or "" where no decision is needed. ``auc`` is that of ``within.py``; ``auc_pooled``
    ranks the calibrated scores of all folds as one. ``beside``: a second interval of a metric that has a row already
    (AUC: DeLong on the logit's scale; pooled: Newcombe's, which exists at an AUC of 1, too). ``p``: of
    ``within.permuted``, of the AUC alone. ``judged``: as ``calibration.judged`` makes it.
    """
    parts, table = [], calibration.by_source(judged)
    for at in (AT_HALF, BEFOREHAND):
        made = metric_table(table, resamples=resamples, seed=seed, at=at, further=True)
        decided = made.metric.isin(DECIDED)
        parts.append(made[decided].assign(at=at))
        if at == AT_HALF:
            parts.insert(0, made[~decided].assign(at=""))
    rows = pd.concat(parts, ignore_index=True).assign(beside=False)
    pooled, found = rows.metric == "auc", within.meetings(judged)
    row = within.auc_row(found, resamples=resamples, seed=seed)
    own = rows[pooled].assign(**row, method="none" if row["reason"] else "BCa", p=within.permuted(found, seed=seed))
    low, high = delong.score_interval(table.label.to_numpy(), table.probability.to_numpy())
    rows.loc[pooled, "metric"] = "auc_pooled"
    by_score = rows[pooled].assign(low=low, high=high, reason="", method="Newcombe", beside=True)
    (value,), variance = within.covariance([found])
    low, high, reason = delong.interval(value, variance[0, 0])
    by_variance = own.drop(columns="p").assign(
        low=low, high=high, reason=reason, method="none" if reason else "DeLong", beside=True
    )
    return pd.concat([own, rows, by_variance, by_score], ignore_index=True)


def _shares(y_true, y_prob, called=None) -> dict[str, tuple[int, int]]:
    """Hits and trials behind the metrics that are shares of independent sources."""
    counts = metrics.confusion(y_true, y_prob, np.ones(len(y_true)), called)
    tp, fn, fp, tn = (int(count) for count in counts)
    return {
        "accuracy": (tp + tn, tp + fn + fp + tn),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "precision": (tp, tp + fp),
    }


def exact_interval(hits: int, n: int) -> tuple[float, float]:
    """The Clopper-Pearson interval of a proportion of ``hits`` in ``n`` independent sources.

    Simulated coverage .96 to 1 at every number of sources and correlation: wide, never short of .95.
    """
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
