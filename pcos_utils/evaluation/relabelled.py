"""What is left of an AUC when the truth is another: other definitions on phantoms, doubtful labels on any sources.

The scores stay; nothing is trained anew.
"""

import numpy as np
import pandas as pd

from pcos_utils.evaluation import bootstrap, metrics
from pcos_utils.evaluation.readings import interval, many, number
from pcos_utils.evaluation.uncertainty import FEW

FEWEST = (12, 20, 25)  # follicles: Rotterdam 2003, international guideline 2018 and 2023, AE-PCOS 2014
LARGE_OVARY = 10.0  # mL, under each of them
CRITERIA = ("follicles or volume", "follicles alone")


def definitions(scores: pd.DataFrame, truth: pd.DataFrame, *, resamples: int, seed: int = 0) -> pd.DataFrame:
    """The AUC of the same scores against each definition of a polycystic ovary, with its 95 % interval over sources.

    ``scores``: source, label, logit, one row a source; ``truth``: source, FNPO and volume of the phantoms, by the same
    source. Columns: follicles, criterion (of CRITERIA), polycystic, normal, ``moved`` (sources whose label is not the
    study's), value, low, high, sources, few_sources.
    """
    table = scores.merge(truth[["source", "FNPO", "volume"]], on="source", how="left", validate="one_to_one")
    rows = []
    for fewest in FEWEST:
        for criterion in CRITERIA:
            label = table.FNPO.ge(fewest)
            if criterion == CRITERIA[0]:
                label |= table.volume.ge(LARGE_OVARY)
            judged, positives = table.assign(label=label.astype(int)), int(label.sum())
            row = {"follicles": fewest, "criterion": criterion, "polycystic": positives}
            row |= {"normal": len(table) - positives, "moved": int((judged.label != table.label).sum())}
            row |= _auc(judged, resamples, seed)
            few = min(positives, len(table) - positives) < FEW
            rows.append(row | {"sources": len(table), "few_sources": few})
    return pd.DataFrame(rows)


def _auc(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, float]:
    if table.label.nunique() < 2:
        return {"value": np.nan, "low": np.nan, "high": np.nan}
    left_out, classes = bootstrap.jackknife_weights(table)
    values = [
        metrics.auc(table.label.to_numpy(), table.logit.to_numpy(), weights)
        for weights in (np.ones(len(table)), bootstrap.source_weights(table, resamples, seed), left_out)
    ]
    low, high, _ = bootstrap.bca_interval(float(values[0]), values[1], values[2], classes)
    return {"value": float(values[0]), "low": low, "high": high}


def flips(scores: pd.DataFrame) -> pd.DataFrame:
    """The range of the AUC over every way in which one label, or two, might be wrong: a row for 0, 1 and 2 flips.

    ``scores``: source, label, logit, one row a source, such as ``results.by_source`` gives for any study. Columns:
    flips, ``ways`` (that leave both classes), lowest, median, highest, and the sources behind the lowest and the
    highest (``to_lowest``, ``to_highest``). Every way is looked at, none is drawn.
    """
    y, score, names = scores.label.to_numpy(float), scores.logit.to_numpy(), scores.source.astype(str).to_numpy()
    n, positives = len(y), y.sum()
    beats = (score[:, None] > score) + (score[:, None] == score) / 2  # (n, n), 1/2 on the diagonal
    wins = y @ beats @ (1 - y)  # of the pairs of a polycystic and a normal source
    # With label k turned, y + a e_k where a = 1 - 2 y_k, the pairs won change by a ((B (1 - y))_k - (y B)_k) - B_kk.
    turned = 1 - 2 * y
    single = turned * (beats @ (1 - y) - y @ beats) - 0.5
    i, j = np.triu_indices(n, 1)
    # Two turned together meet each other, too, and B_ij + B_ji = 1.
    double = single[i] + single[j] - turned[i] * turned[j]
    cases = [
        (np.array([wins]), np.array([positives]), lambda k: ""),
        (wins + single, positives + turned, lambda k: names[k]),
        (wins + double, positives + turned[i] + turned[j], lambda k: f"{names[i[k]]} and {names[j[k]]}"),
    ]
    return pd.DataFrame([{"flips": flips} | _range(n, *case) for flips, case in enumerate(cases)])


def _range(n: int, wins: np.ndarray, positives: np.ndarray, named) -> dict:
    pairs = positives * (n - positives)
    values = np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1), np.nan)
    row = {"ways": int((pairs > 0).sum()), "lowest": np.nan, "median": np.nan, "highest": np.nan}
    if not row["ways"]:
        return row | {"to_lowest": "", "to_highest": ""}
    least, most = int(np.nanargmin(values)), int(np.nanargmax(values))
    row |= {"lowest": values[least], "median": float(np.nanmedian(values)), "highest": values[most]}
    return row | {"to_lowest": named(least), "to_highest": named(most)}


def definition_sentence(table: pd.DataFrame, name: str) -> str:
    """The AUC under each number of follicles, with volume, and how many labels each moves."""
    rows = table[table.criterion == CRITERIA[0]]
    told = [
        f"{row.follicles} or more follicles {interval(row)} ({many(row.moved, 'label')} moved)"
        for _, row in rows.iterrows()
    ]
    return (
        f"{name}'s unchanged scores on {many(int(rows.sources.iloc[0]), 'source')} have these AUCs where an ovary is "
        f"polycystic from {LARGE_OVARY:g} mL on or with {'; '.join(told)}."
    )


def flip_sentence(table: pd.DataFrame, name: str) -> str:
    """The range of the AUC under one and under two wrong labels."""
    rows = table.set_index("flips")
    ranges = [
        f"between {number(rows.lowest[flips])} and {number(rows.highest[flips])} if {words} wrong"
        for flips, words in ((1, "any one label were"), (2, "any two were"))
    ]
    return f"{name}'s AUC of {number(rows.lowest[0])} would lie {', and '.join(ranges)}."
