"""The numbered tables of the published numbers and of the published recipe's re-run."""

import pandas as pd

from pcos_utils.evaluation import clinical, metrics
from pcos_utils.evaluation.figures import MODEL_NAMES
from pcos_utils.evaluation.paper.tables import Table
from pcos_utils.evaluation.readings import interval, number

WAYS = {"naive": "by images, as if independent", "frames": "by frames, exact"}


def published(table: pd.DataFrame) -> Table:
    """The published numbers, each with the interval that every way of counting gives it."""
    ways = list(dict.fromkeys(table.way))
    rows = []
    for (model, metric), own in table.groupby(["model", "metric"], sort=False):
        of = own.set_index("way")
        cells = [f"{interval(of.loc[way])}, n = {of.n[way]:.3g}" for way in ways]
        rows.append([f"{MODEL_NAMES[model]}, {metric}", *cells])
    titles = [WAYS.get(way, way.replace("n_eff", "by effective number, correlation")) for way in ways]
    note = (
        "By images: Wilson's interval, which takes each copy for a picture of its own, as is usual. By frames: "
        "exact, on "
        "the frames behind the copies. By effective number: exact, on the images that copies are worth at that "
        "correlation among the copies of one frame."
    )
    columns = ["Network, metric", *(title.capitalize() for title in titles)]
    return Table("published", "The published numbers, read again", note, columns, rows)


def every_metric(table: pd.DataFrame) -> Table:
    """The published four counts as every metric: points alone."""
    names = list(table.columns[1:])
    titles = metrics.METRICS | clinical.CLINICAL | {"npv": "negative predictive value"}
    rows = [[titles[name][0].upper() + titles[name][1:], *(number(value) for value in table[name])] for name in names]
    note = "No intervals: which frames a network called right together, in both classes, is not published."
    columns = ["Metric", *(MODEL_NAMES[model] for model in table.model)]
    return Table("published-metrics", "The published counts as every metric", note, columns, rows)


def rerun(table: pd.DataFrame) -> Table:
    """The published recipe run once more, beside the published counts."""
    rows = []
    for row in table.itertuples():
        batch = "–" if pd.isna(row.accuracy_by_batch) else f"{row.accuracy_by_batch:.3f}"
        counts = [str(value) for value in (row.n, row.tp, row.fn, row.fp, row.tn)]
        rows.append(
            [f"{MODEL_NAMES[row.model]}, {row.run}, by {row.level}", *counts, f"{row.accuracy_by_count:.3f}", batch]
        )
    note = "The study averaged its accuracy over batches; by plain count it is a little lower."
    columns = ["Network, run, unit", "n", "TP", "FN", "FP", "TN", "Accuracy by count", "By batch"]
    return Table("rerun", "The published recipe, run once more", note, columns, rows)
