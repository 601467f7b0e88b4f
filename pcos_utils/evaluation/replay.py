"""How far the published networks are right on a folder of images, with intervals that count pictures, not copies."""

from pathlib import Path

import pandas as pd

from pcos_utils.evaluation import metrics, uncertainty
from pcos_utils.files import write_csv

RESAMPLES = 1000
CAVEAT = (
    "The published networks learnt from dataset B and were chosen by the test folder of its copies: on these images, "
    "or copies of them, the numbers are no test."
)


def write(predictions: pd.DataFrame, out: Path) -> pd.DataFrame:
    """The metrics with their intervals, a row per network, folder split, level (source, image) and metric; both saved.

    ``predictions`` as of ``models.replay.predict``; ``out`` receives predictions.csv and metrics.csv. Images without
    a label count nowhere, and a split whose images lack a class has no rows: the table may be empty.
    """
    write_csv(out / "predictions.csv", predictions)
    labelled = predictions[predictions.label.notna()].astype({"label": int})
    rows = [pd.DataFrame(columns=["model", "folder_split", "level", "metric", "value", "low", "high"])]
    for (model, split), part in labelled.groupby(["model", "folder_split"], sort=False):
        if part.label.nunique() < 2:
            continue
        for level, table in (("source", metrics.by_source(part)), ("image", metrics.by_image(part))):
            if table.label.nunique() < 2:  # one picture behind all, which carries both labels
                continue
            made = uncertainty.metric_table(table, resamples=RESAMPLES)
            made.insert(0, "level", level)
            made.insert(0, "folder_split", split)
            made.insert(0, "model", model)
            rows.append(made)
    made = pd.concat([each for each in rows if len(each)], ignore_index=True) if len(rows) > 1 else rows[0]
    write_csv(out / "metrics.csv", made)
    return made
