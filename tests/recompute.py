"""The numbers of a report again, from its CSV files, with numpy, scipy and scikit-learn alone.

    python tests/recompute.py reports/phantom-demo

Nothing of pcos_utils is imported: what agrees here agrees with somebody else's arithmetic.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from scipy.stats import beta, bootstrap, norm, t
from sklearn.linear_model import LogisticRegression

DOUBLED = 2.0  # the variance of a trained method's AUC, in units of the bootstrap's
PLAIN, TRAINED = 0.95, 2 * norm.cdf(np.sqrt(DOUBLED) * norm.ppf(0.975)) - 1  # levels of the bootstrap


def read(path: Path) -> list[dict]:
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def pairs(rows: list[dict], score: str = "logit") -> tuple[np.ndarray, np.ndarray]:
    """Return how often each polycystic source scored above each normal one, ties half, and how often they met.

    Rows of the same repeat, fold and inner part were tested together; without such columns all were.
    """
    names = [sorted({row["source"] for row in rows if float(row["label"]) == label}) for label in (1, 0)]
    place = [{name: at for at, name in enumerate(part)} for part in names]
    above, met, groups = np.zeros(lengths := tuple(map(len, names))), np.zeros(lengths), {}
    for row in rows:
        groups.setdefault(tuple(row.get(key) for key in ("repeat", "fold", "inner")), []).append(row)
    for together in groups.values():
        for one in (row for row in together if float(row["label"]) == 1):
            for other in (row for row in together if float(row["label"]) == 0):
                at = place[0][one["source"]], place[1][other["source"]]
                higher, lower = float(one[score]), float(other[score])
                above[at] += (higher > lower) + (higher == lower) / 2
                met[at] += 1
    return above, met


def interval(statistic, sizes: tuple[int, int], level: float = PLAIN) -> tuple[float, float]:
    """Return scipy's BCa interval over sources. ``statistic``: of the drawn places of both classes."""
    samples = tuple(np.arange(size) for size in sizes)
    drawn = bootstrap(
        samples, statistic, n_resamples=4000, vectorized=False, confidence_level=level, method="BCa", rng=0
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


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
    tables = {
        name: read(report / "tables" / f"{name}.csv") for name in ("judged", "metrics", "comparisons", "follicles")
    }
    metrics = {(row["model"], row["metric"]): row for row in tables["metrics"] if row["protocol"] == "grouped"}
    of = {name: [row for row in tables["judged"] if row["model"] == name] for name in ("iustnet", "follicles")}
    network, results = pairs(of["iustnet"]), {}

    def stated(row: dict, *names: str) -> tuple:
        return tuple(float(row[name]) for name in names)

    def keep(name: str, row: dict, value: float, ends: tuple, columns=("value", "low", "high")) -> None:
        results[name] = stated(row, *columns), (value, *ends)

    keep("auc, trained", metrics["iustnet", "auc"], auc(*network),
         interval(lambda rows, columns: auc(*network, rows, columns), network[0].shape, TRAINED))  # fmt: skip
    sources = {}
    for row in tables["follicles"]:
        sources.setdefault(row["source"], []).append(row)
    bare = [{"source": name, "label": rows[0]["label"], "count": np.mean([float(row["count"]) for row in rows])}
            for name, rows in sources.items()]  # fmt: skip
    count = pairs(bare, "count")
    keep("auc, nothing fitted", metrics["follicles", "auc"], auc(*count),
         interval(lambda rows, columns: auc(*count, rows, columns), count[0].shape))  # fmt: skip
    counted = pairs(of["follicles"])
    row = next(row for row in tables["comparisons"] if (row["first"], row["second"]) == ("follicles", "iustnet"))
    plain = delong([counted, network])
    doubled = plain * np.array([[1, 1], [1, DOUBLED]])
    before, after = (part[0, 0] + part[1, 1] - 2 * part[0, 1] for part in (plain, doubled))
    difference = auc(*counted) - auc(*network)
    level = 2 * norm.cdf(np.sqrt(after / before) * norm.ppf(0.975)) - 1
    ends = interval(
        lambda rows, columns: auc(*counted, rows, columns) - auc(*network, rows, columns), network[0].shape, level
    )
    keep("difference", row, difference, ends, ("difference", "low", "high"))
    results["p of the difference"] = stated(row, "p"), (float(2 * norm.sf(abs(difference) / np.sqrt(after))),)
    for name, rows in of.items():
        called = {row["source"]: [] for row in rows}
        for one in rows:
            called[one["source"]].append(one["called"] == "True")
        label = {row["source"]: float(row["label"]) for row in rows}
        mean = {source: np.mean(each) for source, each in called.items()}
        for metric, wanted in (("recall", 1), ("specificity", 0)):
            parts = np.array([abs(1 - wanted - mean[source]) for source in mean if label[source] == wanted])
            keep(f"{metric}, {name}", metrics[name, metric], *(lambda numbers: (numbers[0], numbers[1:]))(share(parts)))
    folds = sorted({(row["repeat"], row["fold"], row["inner"]) for row in of["follicles"]})
    if metrics["follicles", "slope"]["value"]:
        x = np.array([[float(row["logit"]), *((row["repeat"], row["fold"], row["inner"]) == fold for fold in folds)]
                      for row in of["follicles"]])  # fmt: skip
        y = [float(row["label"]) for row in of["follicles"]]
        fitted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(x, y)
        results["slope"] = stated(metrics["follicles", "slope"], "value"), (float(fitted.coef_[0, 0]),)
    if metrics["follicles", "net_benefit_0.10"]["value"]:
        gains = {1.0: {}, 0.0: {}}
        for row in of["follicles"]:
            gain = (1 if float(row["label"]) else -0.1 / 0.9) * (1 / (1 + np.exp(-float(row["logit"]))) >= 0.1)
            gains[float(row["label"])].setdefault(row["source"], []).append(gain)
        each = [np.array([np.mean(part) for part in gains[label].values()]) for label in (1.0, 0.0)]
        total = len(each[0]) + len(each[1])
        ends = interval(lambda one, other: (each[0][one].sum() + each[1][other].sum()) / total, tuple(map(len, each)))
        keep("net benefit", metrics["follicles", "net_benefit_0.10"], (each[0].sum() + each[1].sum()) / total, ends)
    published = {(row["model"], row["metric"], row["way"]): row for row in read(report / "tables" / "published.csv")}
    keep("published recall by frames", published["densenet121d", "recall", "frames"], 3 / 4, exact(3, 4))
    worth = 120 / (1 + 29 * 0.5) * (t.ppf(0.975, 119) / t.ppf(0.975, 3)) ** 2
    row = published["densenet121d", "recall", "n_eff 0.5"]
    keep("published recall by worth", row, 86 / 120, exact(86 / 120 * worth, worth))
    return results


if __name__ == "__main__":
    for name, (stated, again) in recompute(Path(sys.argv[1])).items():
        print(f"{name:<28} stated {np.round(stated, 4)}  again {np.round(again, 4)}")
