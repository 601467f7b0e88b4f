"""Ask how a model of the count, calibrated on the real frames alone, answers real frames that it has not seen.

    python -m studies.real_answers FOLDER      a study whose notebook 02 was run (full)

The kept network counts in every source. Its counts are written to ``pcos_utils/weights/real_counts.csv``, numbers
alone, on which the page calibrates what visitors send. Nested over sources: each is answered by a calibration on the
others.
"""

import numpy as np
import pandas as pd

from pcos_utils.evaluation.calibration import probability
from pcos_utils.evaluation.intervals import exact
from pcos_utils.files import write_csv
from pcos_utils.follicles import kept
from pcos_utils.follicles import network as unet
from pcos_utils.reporting.text import ends, number, percent
from pcos_utils.serving import tabulate
from pcos_utils.serving.model import DECISIONS, decide, in_follicles
from studies import publish, real_frames

CLASSES = {"normal": 0, "polycystic": 1}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per class: sources, answered, wrong, and shares with exact intervals.

    ``table``: of ``tabulate.real_frames``; each source is decided by a calibration on the others.
    """
    decisions, rows = [], []
    for at in range(len(table)):
        rule = tabulate.tabulate(table.drop(index=at), is_count=True, resamples=20)
        logit = rule["calibration"]["slope"] * table.logit[at] + rule["calibration"]["intercept"]
        decisions.append(decide(float(probability(logit)), rule)[0])
    for name, label in CLASSES.items():
        of = np.array(decisions)[table.label.to_numpy() == label]
        answered, wrong = int((of != DECISIONS[2]).sum()), int((of == DECISIONS[1 - label]).sum())
        shares = {"answered": (answered, len(of)), "wrong": (wrong, answered), "covered": (len(of) - wrong, len(of))}
        rows += [(name, part, hits, n, hits / n, *exact(hits, n)) for part, (hits, n) in shares.items()]
    return pd.DataFrame(rows, columns=["class", "share", "hits", "n", "value", "low", "high"])


def block(table: pd.DataFrame) -> str:
    """Return the README's sentences. ``table``: of ``summary``."""
    told = {(row[1], row.share): f"{row.hits} of {row.n} {ends(row.low, row.high)}" for row in table.itertuples()}
    clause = in_follicles(tabulate.tabulate(tabulate.real_frames(), is_count=True))
    answered, n = table[table.share == "answered"][["hits", "n"]].sum()
    each = [f"{name}: {told[name, 'answered']} answered, {told[name, 'wrong']} of these wrongly" for name in CLASSES]
    return (
        "Calibrated on the other sources, the count of the one network in `pcos_utils/weights` answers "
        f"{answered} of {n} real sources ({percent(answered / n)}): "
        f'{"; ".join(each)}. Of the rest it says "cannot say". It answers where the other class is ruled out at an '
        f"error of {number(tabulate.ALPHA)}. Calibrated on all of them, {clause}. In "
        "brackets stand exact 95 % intervals: 12 polycystic sources cannot verify an error of one in ten."
    )


def main() -> None:
    """Count, write the counts, and write the table and the README's block."""
    _, used, grey = real_frames(__doc__)
    counted = used.assign(count=unet.measure_all(unet.load(kept.KEPT), grey)["count"])
    by_source = counted.groupby("source").agg(label=("label", "max"), count=("count", "mean")).reset_index(drop=True)
    by_source.insert(0, "source", [f"real {number + 1}" for number in by_source.index])
    write_csv(tabulate.REAL, by_source.round(4))
    publish("real-answers", block, real_answers=summary(tabulate.real_frames()).round(4))


if __name__ == "__main__":
    main()
