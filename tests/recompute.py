"""The numbers of a report again, from its CSV files, with numpy, pandas, scipy and scikit-learn alone.

    python tests/recompute.py reports/phantom-demo

Nothing of pcos_utils is imported: what agrees here agrees with somebody else's arithmetic.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import beta, bootstrap, norm, t
from sklearn.linear_model import LogisticRegression

DOUBLED = 2.0  # the variance of a trained method's AUC, in units of the bootstrap's
PLAIN, TRAINED = 0.95, 2 * norm.cdf(np.sqrt(DOUBLED) * norm.ppf(0.975)) - 1  # levels of the bootstrap
TOGETHER = ["repeat", "fold", "inner"]  # rows that agree in these were tested together; without them all were


def pairs(rows: pd.DataFrame, score: str = "logit") -> tuple[np.ndarray, np.ndarray]:
    """Return how often each polycystic source scored above each normal one, ties half, and how often they met."""
    names = [sorted(rows.source[rows.label == label].unique()) for label in (1, 0)]
    above, met = np.zeros((2, *map(len, names)))
    for _, together in rows.groupby(TOGETHER, dropna=False) if "fold" in rows else [("", rows)]:
        one, other = (together[together.label == label] for label in (1, 0))
        at = np.ix_(np.searchsorted(names[0], one.source), np.searchsorted(names[1], other.source))
        higher, lower = one[score].to_numpy()[:, None], other[score].to_numpy()
        np.add.at(above, at, (higher > lower) + (higher == lower) / 2)
        np.add.at(met, at, 1)
    return above, met


def interval(statistic, sizes: tuple[int, int], level: float = PLAIN) -> tuple[float, float]:
    """Return scipy's BCa interval over sources. ``statistic``: of the drawn places of both classes."""
    samples, how = tuple(map(np.arange, sizes)), dict(n_resamples=4000, vectorized=False, method="BCa", rng=0)
    return tuple(map(float, bootstrap(samples, statistic, confidence_level=level, **how).confidence_interval))


def auc(above: np.ndarray, met: np.ndarray, rows=slice(None), columns=slice(None)) -> float:
    """Return the AUC over the pairs that met, of the drawn sources."""
    return above[rows][:, columns].sum() / met[rows][:, columns].sum()


def delong(each: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return DeLong's covariance of the AUCs of several methods on the same pairs."""
    excess = np.stack([(above - auc(above, met) * met) / met.sum() for above, met in each])
    sides = [excess.sum(axis=2) * excess.shape[1], excess.sum(axis=1) * excess.shape[2]]
    return sum(np.cov(side) / side.shape[1] for side in sides)


def exact(hits: float, n: float) -> tuple[float, float]:
    """Return Clopper and Pearson's interval; both numbers may be fractions."""
    low = beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    return float(low), float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0


def share(parts: np.ndarray) -> tuple[float, float, float]:
    """Return a mean share of sources with its interval: exact, or Korn and Graubard's where sources count in part."""
    n, value = len(parts), parts.mean()
    worth = n
    if not np.isin(parts, (0, 1)).all():
        spread = parts.var(ddof=1) / n
        worth = value * (1 - value) / spread if spread else np.inf
        worth = min(worth * (norm.ppf(0.975) / t.ppf(0.975, n - 1)) ** 2, n)
    return float(value), *exact(value * worth, worth)


def recompute(report: Path) -> dict[str, tuple]:
    """Return, by name, what the report states and what comes out here: pairs of tuples of numbers."""
    names = ("judged", "metrics", "comparisons", "follicles", "published")
    judged, metrics, compared, counts, published = (pd.read_csv(report / "tables" / f"{name}.csv") for name in names)
    metrics = metrics[metrics.protocol == "grouped"].set_index(["model", "metric"])
    of = {name: judged[judged.model == name] for name in ("iustnet", "follicles")}
    network, counted, results = pairs(of["iustnet"]), pairs(of["follicles"]), {}

    def keep(name: str, row: pd.Series, *numbers: float, columns=("value", "low", "high")) -> None:
        results[name] = tuple(map(float, row[[*columns]])), numbers

    ends = interval(lambda rows, columns: auc(*network, rows, columns), network[0].shape, TRAINED)
    keep("auc, trained", metrics.loc["iustnet", "auc"], auc(*network), *ends)
    bare = pairs(counts.groupby("source", as_index=False).agg({"label": "first", "count": "mean"}), "count")
    ends = interval(lambda rows, columns: auc(*bare, rows, columns), bare[0].shape)
    keep("auc, nothing fitted", metrics.loc["follicles", "auc"], auc(*bare), *ends)
    row = compared[(compared["first"] == "follicles") & (compared.second == "iustnet")].iloc[0]
    plain = delong([counted, network])
    doubled = plain * np.array([[1, 1], [1, DOUBLED]])
    before, after = (part[0, 0] + part[1, 1] - 2 * part[0, 1] for part in (plain, doubled))
    level = 2 * norm.cdf(np.sqrt(after / before) * norm.ppf(0.975)) - 1

    def difference(*drawn) -> float:
        return auc(*counted, *drawn) - auc(*network, *drawn)

    ends = interval(difference, network[0].shape, level)
    keep("difference", row, difference(), *ends, columns=("difference", "low", "high"))
    keep("p of the difference", row, float(2 * norm.sf(abs(difference()) / np.sqrt(after))), columns=["p"])
    for name, rows in of.items():
        mean = rows.groupby("source").agg({"label": "first", "called": "mean"})
        for metric, wanted in (("recall", 1), ("specificity", 0)):
            parts = abs(1 - wanted - mean.called[mean.label == wanted])
            keep(f"{metric}, {name}", metrics.loc[name, metric], *share(parts.to_numpy()))
    rows, row = of["follicles"], metrics.loc["follicles", "slope"]
    if pd.notna(row.value):
        x = np.column_stack([rows.logit, pd.get_dummies(rows.groupby(TOGETHER, dropna=False).ngroup())])
        fitted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(x, rows.label)
        keep("slope", row, float(fitted.coef_[0, 0]), columns=["value"])
    row = metrics.loc["follicles", "net_benefit_0.10"]
    if pd.notna(row.value):
        gain = np.where(rows.label == 1, 1, -0.1 / 0.9) * (1 / (1 + np.exp(-rows.logit)) >= 0.1)
        each = [gain[rows.label == label].groupby(rows.source).mean().to_numpy() for label in (1, 0)]
        sizes = tuple(map(len, each))
        ends = interval(lambda one, other: (each[0][one].sum() + each[1][other].sum()) / sum(sizes), sizes)
        keep("net benefit", row, np.concatenate(each).mean(), *ends)
    published = published.set_index(["model", "metric", "way"])
    keep("published recall by frames", published.loc["densenet121d", "recall", "frames"], 3 / 4, *exact(3, 4))
    worth = 120 / (1 + 29 * 0.5) * (t.ppf(0.975, 119) / t.ppf(0.975, 3)) ** 2
    row = published.loc["densenet121d", "recall", "n_eff 0.5"]
    keep("published recall by worth", row, 86 / 120, *exact(86 / 120 * worth, worth))
    return results


if __name__ == "__main__":
    for name, (stated, again) in recompute(Path(sys.argv[1])).items():
        print(f"{name:<28} stated {np.round(stated, 4)}  again {np.round(again, 4)}")
