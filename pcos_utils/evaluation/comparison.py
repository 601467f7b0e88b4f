"""Planned comparisons of two models on the same sources: how large the difference is, and whether it is shown.

A difference is first less second. AUCs are those of ``within.py``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest, t

from pcos_utils.config import StudyError
from pcos_utils.evaluation import bootstrap, calibration, delong, metrics, within
from pcos_utils.evaluation.bootstrap import LEVEL, source_weights
from pcos_utils.evaluation.within import Meetings

EQUIVALENT = 0.05  # of AUC or balanced accuracy: a smaller difference would change no choice
SWAPS = 4000


class Test(NamedTuple):
    """A difference with its interval and the two-sided p of none."""

    difference: float
    low: float
    high: float
    p: float


def pair(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Both models' decisions by source, sorted: source, label, called, called_second.

    ``first``, ``second``: tables of ``calibration.by_source``. Raises StudyError where the two were not judged on the
    same sources with the same labels.
    """
    kept = ["source", "label", "called"]
    both = first[kept].merge(second[kept], on="source", how="outer", suffixes=("", "_second"), indicator=True)
    alone = int((both._merge != "both").sum())
    if alone:
        raise StudyError(f"{alone} sources were judged by one of the two models only; judge both on the same sources.")
    if (both.label != both.label_second).any():
        wrong = both.source[both.label != both.label_second].iloc[0]
        raise StudyError(f"Source {wrong} has another label in the second table; judge both under the same labels.")
    both = both.drop(columns=["label_second", "_merge"]).sort_values("source", ignore_index=True)
    return both.astype({"label": int, "called": bool, "called_second": bool})


def balanced_accuracies(both: pd.DataFrame, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Balanced accuracy of the first and of the second model's ``called``: shapes (...) for weights (..., n)."""
    label, made = both.label.to_numpy(), []
    for end in ("", "_second"):
        tp, fn, fp, tn = metrics.confusion(label, label, weights, both[f"called{end}"].to_numpy())
        with np.errstate(invalid="ignore"):
            made.append((tp / (tp + fn) + tn / (tn + fp)) / 2)
    return tuple(made)


def difference_interval(both: pd.DataFrame, measure: Callable, *, resamples: int, seed: int = 0) -> tuple:
    """Difference of a metric, its BCa interval over resampled sources, and "" or the reason why there is none.

    ``measure``: from weights, shape (..., n), to the metric of the first and of the second model, shapes (...).
    """

    def difference(weights: np.ndarray) -> np.ndarray:
        """The metric's difference, shape (...) for weights (..., n)."""
        first, second = measure(weights)
        return first - second

    left_out, classes = bootstrap.jackknife_weights(both)
    value = float(difference(np.ones(len(both))))
    draws = difference(source_weights(both, resamples, seed))
    return value, *bootstrap.bca_interval(value, draws, difference(left_out), classes)


def mcnemar(both: pd.DataFrame) -> tuple[int, int, float]:
    """Sources that only the first, and that only the second calls right, and the exact two-sided p (McNemar 1947)."""
    first, second = (both[name] == (both.label == 1) for name in ("called", "called_second"))
    won, lost = int((first & ~second).sum()), int((~first & second).sum())
    return won, lost, float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def swapped(both: pd.DataFrame, *, swaps: int = SWAPS, seed: int = 0) -> float:
    """Two-sided p of no difference in balanced accuracy: the models' decisions change places in random sources."""
    gain = both.called.to_numpy(float) - both.called_second
    positive = both.label.to_numpy() == 1
    part = np.where(positive, gain / max(positive.sum(), 1), -gain / max((~positive).sum(), 1))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(swaps, len(part)))
    at_least = (np.abs(signs @ part) >= abs(part.sum()) - 1e-12).sum()
    return float((1 + at_least) / (1 + swaps))


def measures(both: pd.DataFrame, found: Sequence[Meetings]) -> dict[str, Callable]:
    """For each compared metric the function from weights, in the order of ``both``, to its values for both models.

    ``both``: of ``pair``; ``found``: the meetings of either model.
    """
    for one in found:  # weights go by place
        if not np.array_equal(one.source, both.source):
            raise StudyError("The two models' sources stand in another order; judge both on the same sources.")
    return {
        "auc": lambda weights: tuple(within.auc(one, weights) for one in found),
        "balanced_accuracy": partial(balanced_accuracies, both),
    }


def fold_differences(first: pd.DataFrame, second: pd.DataFrame, metric: str) -> tuple[np.ndarray, float]:
    """Difference of a metric in every repeat and fold, and the mean ratio of test to training sources.

    The tables are of ``calibration.judged``. Folds in which the metric is undefined are left out.
    """
    found = []
    for table in (first, second):
        found.append(dict(list(table.assign(called=table.margin >= 0).groupby(["repeat", "fold"]))))
    if found[0].keys() != found[1].keys():
        raise StudyError("The two models were judged in different folds; judge both in the same ones.")
    made, sizes = [], []
    for key in found[0]:
        both = pair(found[0][key], found[1][key])
        if both.label.nunique() == 2:
            parts = [within.meetings(tables[key]) for tables in found]
            one, other = measures(both, parts)[metric](np.ones(len(both)))
            made.append(float(one - other))
            sizes.append(len(both))
    in_all = first.source.nunique()
    return np.array(made), float(np.mean([size / (in_all - size) if in_all > size else np.nan for size in sizes]))


def corrected_t(differences: np.ndarray, ratio: float) -> Test:
    """The corrected resampled t-test of fold differences (Nadeau and Bengio 2003); ``ratio``: test to training size."""
    n = len(differences)
    if n < 2 or not np.isfinite(ratio):
        return Test(float(np.mean(differences)) if n else np.nan, np.nan, np.nan, np.nan)
    mean, spread = float(differences.mean()), differences.var(ddof=1)
    error = float(np.sqrt((1 / n + ratio) * spread))
    if error < 1e-15:
        return Test(mean, np.nan, np.nan, 1.0 if mean == 0 else np.nan)
    half = t.ppf((1 + LEVEL) / 2, n - 1) * error
    return Test(mean, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, n - 1)))


def holm(p: np.ndarray) -> np.ndarray:
    """The p of each comparison after Holm's correction (1979) for all of them; an undefined one counts as 1."""
    p = np.nan_to_num(np.asarray(p, float), nan=1.0)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    made = np.empty(len(p))
    made[order] = np.minimum(stepped, 1)
    return made


def verdict(low: float, high: float, p: float = 0.0, margin: float = EQUIVALENT) -> str:
    """ "equivalent", "better", "worse" or "not shown", from the interval of a difference and its corrected p.

    Equivalent: the whole interval lies inside ``margin`` of 0, even where it leaves out 0, because so small a
    difference would change no choice. Better or worse: it leaves out 0, and ``p`` is at most .05.
    """
    if -margin <= low and high <= margin:
        return "equivalent"
    if p <= 1 - LEVEL + 1e-12 and (low > 0 or high < 0):
        return "better" if low > 0 else "worse"
    return "not shown"


def comparison_table(
    judged: dict[str, pd.DataFrame],
    pairs: list[tuple[str, str]],
    *,
    resamples: int,
    seed: int = 0,
    margin: float = EQUIVALENT,
) -> pd.DataFrame:
    """One row per planned pair and metric (AUC, balanced accuracy at the threshold fixed beforehand).

    ``judged``: of every reader, as ``calibration.judged`` makes it. Columns: first, second, metric, value_first,
    value_second, difference, low, high, method, reason, test, p, p_holm, won, lost, mcnemar_p, folds,
    fold_difference, fold_low, fold_high, fold_p, verdict, sources. ``p``: DeLong for the AUC, swapped decisions for
    balanced accuracy; Holm over the pairs of one metric. ``won``, ``lost``: sources that only one calls right.
    ``fold_*``: the corrected t over folds, each counted alike, however many pairs met in it.
    """
    rows, known = [], {}
    for names in pairs:
        for name in names:
            if name not in judged:
                raise StudyError(f"The plan compares {name}, of which there is no judged table; judge it first.")
            if name not in known:
                known[name] = calibration.by_source(judged[name]), within.meetings(judged[name])
        (first, one), (second, other) = (known[name] for name in names)
        both, found = pair(first, second), (one, other)
        won, lost, exact = mcnemar(both)
        for metric, measure in measures(both, found).items():
            values = [float(value) for value in measure(np.ones(len(both)))]
            difference, low, high, reason = difference_interval(both, measure, resamples=resamples, seed=seed)
            ranks = metric == "auc"
            p = delong.paired(*within.covariance(list(found)))[3] if ranks else swapped(both, seed=seed)
            row = dict(first=names[0], second=names[1], metric=metric, value_first=values[0], value_second=values[1])
            row |= dict(difference=difference, low=low, high=high, method="none" if reason else "BCa", reason=reason)
            row |= dict(test="DeLong" if ranks else "swapped decisions", p=p, won=won, lost=lost, mcnemar_p=exact)
            differences, ratio = fold_differences(judged[names[0]], judged[names[1]], metric)
            test = corrected_t(differences, ratio)
            row |= dict(
                folds=len(differences),
                fold_difference=test.difference,
                fold_low=test.low,
                fold_high=test.high,
                fold_p=test.p,
            )
            rows.append(row | dict(sources=len(both)))
    made = pd.DataFrame(rows)
    made["p_holm"] = made.groupby("metric").p.transform(lambda p: holm(p.to_numpy()))
    made["verdict"] = [verdict(row.low, row.high, row.p_holm, margin) for row in made.itertuples()]
    return made
