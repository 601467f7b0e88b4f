"""What is left of an AUC when the truth is another: other definitions on phantoms, doubtful labels on real sources.

The scores stay; nothing is trained anew.
"""

from functools import partial

import numpy as np
import pandas as pd

from pcos_utils.evaluation import bootstrap, metrics
from pcos_utils.evaluation.uncertainty import FEW

FEWEST = (12, 20, 25)  # follicles: Rotterdam 2003, international guideline 2018 and 2023, AE-PCOS 2014
LARGE_OVARY = 10.0  # mL, under each of them


def definitions(scores: pd.DataFrame, truth: pd.DataFrame, *, resamples: int, seed: int = 0) -> pd.DataFrame:
    """The AUC of the same scores against each definition of a polycystic ovary, by follicles alone and with volume.

    ``scores``: source, label, logit, one row a source; ``truth``: source, FNPO and volume of the phantoms, by the same
    source. Columns: follicles, criterion ("follicles or volume" or "follicles alone"), polycystic, normal, ``moved``
    (sources whose label is not the study's), value, low, high, sources, few_sources.
    """
    table = scores.merge(truth[["source", "FNPO", "volume"]], on="source", how="left", validate="one_to_one")
    rows = []
    for fewest in FEWEST:
        for criterion in ("follicles or volume", "follicles alone"):
            label = table.FNPO.ge(fewest)
            if criterion == "follicles or volume":
                label |= table.volume.ge(LARGE_OVARY)
            judged = table.assign(label=label.astype(int))
            rows.append(
                {"follicles": fewest, "criterion": criterion, "polycystic": int(label.sum())}
                | {"normal": int((~label).sum()), "moved": int((judged.label != table.label).sum())}
                | _auc(judged, resamples, seed)
            )
    return pd.DataFrame(rows)


def _auc(table: pd.DataFrame, resamples: int, seed: int) -> dict:
    measure = partial(metrics.auc, table.label.to_numpy(), table.logit.to_numpy())
    positives = int(table.label.sum())
    facts = {"sources": len(table), "few_sources": min(positives, len(table) - positives) < FEW}
    if not 0 < positives < len(table):
        return {"value": np.nan, "low": np.nan, "high": np.nan} | facts
    left_out, classes = bootstrap.jackknife_weights(table)
    value, draws = float(measure(np.ones(len(table)))), measure(bootstrap.source_weights(table, resamples, seed))
    low, high, _ = bootstrap.bca_interval(value, draws, measure(left_out), classes)
    return {"value": value, "low": low, "high": high} | facts


def flips(scores: pd.DataFrame) -> pd.DataFrame:
    """The range of the AUC over every way in which one label, or two, might be wrong: a row for 0, 1 and 2 flips.

    ``scores``: source, label, logit, one row a source. Columns: flips, ``ways`` (that leave both classes), lowest,
    median, highest, and the sources behind the lowest and the highest (``to_lowest``, ``to_highest``). No sampling:
    the AUC after two flips follows from those after one, so all pairs are looked at.
    """
    y, score, names = scores.label.to_numpy(float), scores.logit.to_numpy(), scores.source.astype(str).to_numpy()
    n, positives = len(y), y.sum()
    beats = (score[:, None] > score) + (score[:, None] == score) / 2  # (n, n), 1/2 on the diagonal
    wins = y @ beats @ (1 - y)
    # Of f(y) = y' B (1 - y) with one label turned by a = 1 - 2y: f + a (B (1 - y) - B' y) - 1/2.
    turned = 1 - 2 * y
    single = turned * (beats @ (1 - y) - y @ beats) - 0.5
    i, j = np.triu_indices(n, 1)
    cases = {
        0: (np.array([wins]), np.array([positives]), lambda k: ""),
        1: (wins + single, positives + turned, lambda k: names[k]),
        # A pair turned together meets itself once, B_ij + B_ji = 1.
        2: (
            wins + single[i] + single[j] - turned[i] * turned[j],
            positives + turned[i] + turned[j],
            lambda k: f"{names[i[k]]} and {names[j[k]]}",
        ),
    }
    rows = []
    for count, (won, above, named) in cases.items():
        pairs = above * (n - above)
        values = np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1), np.nan)
        row = {"flips": count, "ways": int(np.isfinite(values).sum())}
        if row["ways"]:
            least, most = int(np.nanargmin(values)), int(np.nanargmax(values))
            row |= {"lowest": values[least], "median": np.nanmedian(values), "highest": values[most]}
            row |= {"to_lowest": named(least), "to_highest": named(most)}
        rows.append(row)
    return pd.DataFrame(rows)
