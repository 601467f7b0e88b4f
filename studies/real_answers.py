"""Ask how a model of the count, calibrated on the real frames alone, answers real frames that it has not seen.

    python -m studies.real_answers FOLDER      a study whose notebook 02 was run (full)

The kept network counts in every source. Its counts are written to ``pcos_utils/weights/real_counts.csv``, numbers
alone, on which the page calibrates what visitors send. Nested over sources: each is answered by a calibration on the
others.
"""

import numpy as np
import pandas as pd

from pcos_utils import config
from pcos_utils.evaluation.calibration import probability
from pcos_utils.evaluation.intervals import exact
from pcos_utils.files import write_csv
from pcos_utils.follicles import kept
from pcos_utils.follicles import network as unet
from pcos_utils.reporting.text import ends, number, percent
from pcos_utils.serving import tabulate
from pcos_utils.serving.model import DECISIONS, decide, in_follicles
from studies import OUT, arguments, frames, publish

CLASSES = {"normal": 0, "polycystic": 1}


def left_out(table: pd.DataFrame) -> list[str]:
    """Return the decision on each source by a calibration on the others. ``table``: of ``tabulate.real_frames``."""
    decisions = []
    for at in range(len(table)):
        rule = tabulate.tabulate(table.drop(index=at), is_count=True, resamples=20)
        fitted = rule["calibration"]
        value = float(probability(fitted["slope"] * table.logit[at] + fitted["intercept"]))
        decisions.append(decide(value, rule)[0])
    return decisions


def summary(table: pd.DataFrame, decisions: list[str]) -> pd.DataFrame:
    """Return a row per class: sources, answered, wrong, and shares with exact intervals."""
    rows = []
    for name, label in CLASSES.items():
        of = np.array(decisions)[table.label.to_numpy() == label]
        answered, wrong = int((of != DECISIONS[2]).sum()), int((of == DECISIONS[1 - label]).sum())
        shares = {"answered": (answered, len(of)), "wrong": (wrong, answered), "covered": (len(of) - wrong, len(of))}
        for share, (hits, n) in shares.items():
            low, high = exact(hits, n)
            rows.append(
                {"class": name, "share": share, "hits": hits, "n": n, "value": hits / n, "low": low, "high": high}
            )
    return pd.DataFrame(rows)


def block(table: pd.DataFrame) -> str:
    """Return the README's sentences. ``table``: of ``summary``."""
    cells = table.set_index(["class", "share"])

    def told(name: str, share: str) -> str:
        """Return a share as ``17 of 29 [.39, .76]``."""
        cell = cells.loc[name, share]
        return f"{int(cell.hits)} of {int(cell.n)} {ends(cell.low, cell.high)}"

    clause = in_follicles(tabulate.tabulate(tabulate.real_frames(), is_count=True))
    answered, n = (int(cells[part].xs("answered", level="share").sum()) for part in ("hits", "n"))
    each = [f"{name}: {told(name, 'answered')} answered, {told(name, 'wrong')} of these wrongly" for name in CLASSES]
    return (
        "Calibrated on the other sources, the count of the one network in `pcos_utils/weights` answers "
        f"{answered} of {n} real sources ({percent(answered / n)}): "
        f'{"; ".join(each)}. Of the rest it says "cannot say". It answers where the other class is ruled out at an '
        f"error of {number(tabulate.ALPHA)}. Calibrated on all of them, {clause}. In "
        "brackets stand exact 95 % intervals: 12 polycystic sources cannot verify an error of one in ten."
    )


def main() -> None:
    """Count, write the counts, and write the table and the README's block."""
    study = config.study("full", arguments(__doc__, "folder").folder, allow_cpu=True, weights="none")
    used, grey = frames(study)
    counted = used.assign(count=unet.measure_all(unet.load(kept.KEPT), grey)["count"])
    by_source = counted.groupby("source").agg(label=("label", "max"), count=("count", "mean")).reset_index(drop=True)
    by_source.insert(0, "source", [f"real {number + 1}" for number in range(len(by_source))])
    write_csv(tabulate.REAL, by_source.round(4))
    table = tabulate.real_frames()
    publish("real-answers", block, {OUT / "real_answers.csv": summary(table, left_out(table)).round(4)})


if __name__ == "__main__":
    main()
