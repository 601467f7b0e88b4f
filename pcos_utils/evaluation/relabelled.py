"""What is left of an AUC when the truth is another: other definitions on phantoms, doubtful labels on any sources.

The scores stay; nothing is trained anew.
"""

import numpy as np
import pandas as pd

from pcos_utils.evaluation import within
from pcos_utils.evaluation.readings import interval, many, number
from pcos_utils.evaluation.uncertainty import FEW
from pcos_utils.evaluation.within import Meetings

FEWEST = (12, 20, 25)  # follicles: Rotterdam 2003, international guideline 2018 and 2023, AE-PCOS 2014
LARGE_OVARY = 10.0  # mL, under each of them
CRITERIA = ("follicles or volume", "follicles alone")


def definitions(found: Meetings, truth: pd.DataFrame, *, resamples: int, seed: int = 0) -> pd.DataFrame:
    """The AUC of the same scores against each definition of a polycystic ovary, with its 95 % interval over sources.

    ``found``: of the study's own labels; ``truth``: source, FNPO and volume of the phantoms, by the same
    source. Columns: follicles, criterion (of CRITERIA), polycystic, normal, ``moved`` (sources whose label is not the
    study's), value, low, high, sources, few_sources.
    """
    table = pd.DataFrame({"source": found.source, "label": found.label})
    table = table.merge(truth[["source", "FNPO", "volume"]], on="source", how="left", validate="one_to_one")
    rows = []
    for fewest in FEWEST:
        for criterion in CRITERIA:
            label = table.FNPO.ge(fewest)
            if criterion == CRITERIA[0]:
                label |= table.volume.ge(LARGE_OVARY)
            positives = int(label.sum())
            row = {"follicles": fewest, "criterion": criterion, "polycystic": positives}
            row |= {"normal": len(table) - positives, "moved": int((label != table.label.astype(bool)).sum())}
            made = within.auc_row(found._replace(label=label.to_numpy(int)), resamples=resamples, seed=seed)
            row |= {name: made[name] for name in ("value", "low", "high")}
            few = min(positives, len(table) - positives) < FEW
            rows.append(row | {"sources": len(table), "few_sources": few})
    return pd.DataFrame(rows)


def flips(found: Meetings) -> pd.DataFrame:
    """The range of the AUC over every way in which one label, or two, might be wrong: a row for 0, 1 and 2 flips.

    Columns: flips, ``ways`` (that leave two of unlike label who met), lowest, median, highest, and the sources behind
    the lowest and the highest (``to_lowest``, ``to_highest``). Every way is looked at, none is drawn.
    """
    names = found.source.astype(str)
    i, j = np.triu_indices(len(names), 1)
    named = lambda k: "", lambda k: names[k], lambda k: f"{names[i[k]]} and {names[j[k]]}"  # noqa: E731
    won, met = (_turned(found.label.astype(float), table, i, j) for table in (found.above, found.met))
    cases = zip(won, met, named, strict=True)
    return pd.DataFrame([{"flips": flips} | _range(*case) for flips, case in enumerate(cases)])


def _turned(y: np.ndarray, table: np.ndarray, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, ...]:
    """The sum of ``table`` over all pairs of a positive and a negative: as it is, with each label turned, and with
    ``i`` and ``j`` turned together. The diagonal is 0."""
    # With label k turned, y + a e_k where a = 1 - 2 y_k, the sum y' T (1 - y) changes by a ((T (1 - y))_k - (y T)_k).
    a = 1 - 2 * y
    whole, single = y @ table @ (1 - y), a * (table @ (1 - y) - y @ table)
    double = single[i] + single[j] - a[i] * a[j] * (table[i, j] + table[j, i])
    return np.array([whole]), whole + single, whole + double


def _range(wins: np.ndarray, pairs: np.ndarray, named) -> dict:
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
        f"{row.follicles} or more follicles: {interval(row)} ({many(row.moved, 'label')} moved)"
        for _, row in rows.iterrows()
    ]
    return (
        f"{name}'s unchanged scores on {many(int(rows.sources.iloc[0]), 'source')} have these AUCs. Polycystic "
        f"from {LARGE_OVARY:g} mL on, or with {'; '.join(told)}."
    )


def flip_sentence(table: pd.DataFrame, name: str) -> str:
    """The range of the AUC under one and under two wrong labels."""
    rows = table.set_index("flips")
    ranges = [
        f"between {number(rows.lowest[flips])} and {number(rows.highest[flips])} if {words} wrong"
        for flips, words in ((1, "any one label were"), (2, "any two were"))
    ]
    return f"{name}'s AUC of {number(rows.lowest[0])} would lie {', and '.join(ranges)}."
