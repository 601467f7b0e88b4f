"""The numbered tables of the report, each made from files of the study: words and numbers as they are read."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pcos_utils.config import CLASS_NAMES, Study
from pcos_utils.evaluation import clinical, metrics
from pcos_utils.evaluation.bootstrap import LEVEL
from pcos_utils.evaluation.figures import MODEL_NAMES
from pcos_utils.evaluation.readings import many, number, verdict
from pcos_utils.evaluation.results import TITLES, main_rows

METRICS = {"auc": "AUC", "balanced_accuracy": "Balanced accuracy"} | {
    name: metrics.METRICS[name] for name in ("recall", "specificity", "mcc", "average_precision", "brier")
}
CLINICAL = ["lr_plus", "lr_minus", *(f"{kind}_{p:.2f}" for kind in ("ppv", "npv") for p in clinical.PREVALENCES)]
CLINICAL += ["brier_baseline", "calibration_slope", "calibration_intercept", "ece"]
CLINICAL += [f"{kind}_{t:.2f}" for t in clinical.THRESHOLDS for kind in ("net_benefit", "treat_all")]
AGAINST = {
    "better than chance": "better",
    "not shown to be better than chance": "not shown",
    "worse than chance": "worse",
}
WORST = 10  # sources named for each kind of failure; answers.csv holds all


class Table(NamedTuple):
    """One table: its anchor's name, title, note below it, and the cells as text; the first column names the rows."""

    name: str
    title: str
    note: str
    columns: list[str]
    rows: list[list[str]]


def data(study: Study, audit: pd.DataFrame, sources: pd.DataFrame) -> Table:
    """What was found in the folder, what is used, and on which side it stands."""
    rows = [[_upper(fact), f"{count:,}"] for fact, count in zip(audit.fact, audit["count"], strict=True)]
    used = sources[sources.used == "yes"]
    rows += [["Images used", f"{len(used):,}"]]
    left = sources.used[sources.used != "yes"].value_counts()
    rows += [[f"Images left out: {reason}", f"{count:,}"] for reason, count in left.items()]
    single = used.drop_duplicates("source")
    for label, name in reversed(CLASS_NAMES.items()):
        own = single[single.label == label]
        rows.append([f"Sources used, {name}", f"{len(own):,}"])
        sides = own.split.value_counts()
        rows += [
            [f"Published split, {side} side, {name}", f"{sides[side]:,}"] for side in ("train", "test") if side in sides
        ]
        if own.r0.notna().any():
            sizes = own.groupby("r0").size()
            rows.append([f"Test sources in a fold, {name}", span(sizes.min(), sizes.max())])
    note = (
        "A source is one original picture behind one or many images: the unit of every split and interval. Sources "
        "are "
        "found by keypoints and speckle, so that copies that were shifted, zoomed, turned, mirrored, stored again or "
        "captioned count once. Two women scanned apart, and two frames of one scan that share no speckle, count as "
        "two."
    )
    return Table("data", "Data and sources", note, ["Fact", "Number"], rows)


def performance(table: pd.DataFrame, protocol: str = "grouped") -> Table:
    """A row for each reader under one protocol, by source: metrics with intervals, number of sources, verdict."""
    chosen = main_rows(table, protocol)
    rows, reasons = [], {}
    for model in chosen.model.unique():
        own = chosen[chosen.model == model].set_index("metric")
        cells = [_cell(own.loc[metric], reasons) for metric in METRICS]
        few = " (few)" if own.few_sources.iloc[0] else ""
        rows.append([_upper(TITLES[model]), f"{own.sources.iloc[0]:,}{few}", *cells, AGAINST[verdict(own.loc["auc"])]])
    how = (
        "decisions at a threshold that the selection sources of each fold fixed beforehand, probabilities calibrated "
        "on "
        "the same"
        if protocol == "grouped"
        else "decisions at a probability of one half"
    )
    note = (
        f"In brackets the {LEVEL:.0%} interval over sources: exact binomial for recall and specificity, else BCa "
        f"bootstrap; "
        f"{how}. Positive is polycystic. AUCs compare sources of one fold, average "
        "precision pools all folds. The last column sets the interval of the AUC against a coin."
    )
    if any("(few)" in row[1] for row in rows):
        note += " Few: so few sources of a class that a bootstrap interval is too narrow."
    columns = ["Reader", "Sources", *map(_upper, METRICS.values()), "Against chance"]
    title = "Performance by reader on sources that it never saw"
    if protocol == "published":
        return Table("published-protocol", "The published protocol, once", note + _why(reasons), columns, rows)
    return Table("performance", title, note + _why(reasons), columns, rows)


def comparisons(table: pd.DataFrame) -> Table:
    """A row for each planned pair and metric."""
    rows, reasons = [], {}
    names = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}
    for row in table.itertuples():
        difference = _cell(row, reasons, value=row.difference)
        folds = "–" if pd.isna(row.fold_low) else f"[{number(row.fold_low)}, {number(row.fold_high)}]"
        rows.append([
            f"{TITLES[row.first]} less {TITLES[row.second]}", names[row.metric],
            f"{number(row.value_first)}, {number(row.value_second)}", difference, p_value(row.p_holm), folds,
            f"{row.won} : {row.lost} (p {p_value(row.mcnemar_p)})", str(row.verdict),
        ])  # fmt: skip
    note = (
        f"Paired on {many(int(table.sources.max()), 'source')}, by the plan. Difference with its BCa interval over "
        f"sources; "
        "p by DeLong for the AUC and by swapped decisions for balanced accuracy, after Holm's correction over the "
        "pairs of "
        "one metric. Over folds: the corrected resampled t interval, which also counts how much training sources "
        "matter. "
        "Right alone: sources that only the first and only the second calls right, with McNemar's exact p."
    )
    columns = ["Pair", "Metric", "Values", "Difference", "p (Holm)", "Over folds", "Right alone", "Verdict"]
    return Table("comparisons", "Planned comparisons", note + _why(reasons), columns, rows)


def consequence(table: pd.DataFrame, models: list[str]) -> Table:
    """Likelihood ratios, predictive values, calibration and net benefit: a row a metric, a column a reader."""
    chosen = main_rows(table)
    reasons: dict[str, None] = {}
    rows = [
        [_upper(clinical.CLINICAL[metric]), *(_cell(_one(chosen, model, metric), reasons) for model in models)]
        for metric in CLINICAL
        if metric in set(chosen.metric)
    ]
    note = (
        "At the threshold fixed beforehand; predictive values at the stated prevalence, not at that of these "
        "sources. A "
        "calibration slope of one and an intercept of zero are perfect; a net benefit below that of calling "
        "everybody, or "
        "below zero, is worth nothing."
    )
    columns = ["Metric", *(MODEL_NAMES[model] for model in models)]
    return Table("clinical", "Calibration and what a decision is worth", note + _why(reasons), columns, rows)


def failures(answers: pd.DataFrame) -> Table:
    """How many sources each reader calls wrong, and the names of those that it is most wrong about."""
    rows, paths = [], pd.Series(answers.source.unique())
    stems = dict(zip(paths, paths.map(lambda path: Path(path).stem), strict=True))
    short = stems if len(set(stems.values())) == len(stems) else dict(zip(paths, paths, strict=True))
    for model, own in answers.groupby("model", sort=False):
        cells = []
        for label, called in ((1, False), (0, True)):
            of_class = own[own.label == label]
            wrong = of_class[of_class.called.astype(bool) == called]
            first = wrong.loc[wrong.margin.abs().sort_values(ascending=False, kind="stable").index].source.head(WORST)
            cells += [
                f"{len(wrong)} of {len(of_class)}",
                ", ".join(map(short.get, first)) + (", …" if len(wrong) > WORST else ""),
            ]
        rows.append([MODEL_NAMES[model], *cells])
    note = (
        "The names are those of the images that stand for their sources, the most wrong first, by the distance to the "
        "threshold. Every source with every answer is in tables/answers.csv."
    )
    columns = ["Reader", "Polycystic, missed", "Most wrong of them", "Normal, called polycystic", "Most wrong of those"]
    return Table("failures", "Sources that were called wrong", note, columns, rows)


def repetition(table: pd.DataFrame) -> Table | None:
    """How many pictures the images of one source are worth, a row for each network, protocol and class; None without.

    ``table``: as of ``results.evaluate``.
    """
    rows = []
    for row in table[table.of == "score"].itertuples():
        unit = f"{MODEL_NAMES[row.model]}, {row.protocol} protocol, {CLASS_NAMES[row.label]}"
        numbers = [number(row.correlation), number(row.design_effect), f"{row.effective_images:.3g}"]
        if pd.isna(row.correlation):
            numbers = ["undefined"] * 3
        rows.append([unit, f"{row.sources:,}", f"{row.images:,}", *numbers])
    note = (
        "Of the network's score (the logit), within a class, by one-way analysis of variance. The design effect is the "
        "factor by which copies inflate a variance; images divided by it are the independent ones that they are worth. "
        "Without an interval: few sources have copies. Intervals here do not rest on these numbers: they draw whole "
        "sources. Of right and wrong answers: tables/repetition.csv."
    )
    columns = ["Network, protocol, class", "Sources", "Images", "Correlation", "Design effect", "Images' worth"]
    return (
        Table("repetition", "How much the images of one source repeat each other", note, columns, rows)
        if rows
        else None
    )


def span(low: int, high: int) -> str:
    """A range of whole numbers, as ``3 to 5``, or the one number."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def p_value(p: float) -> str:
    """A p at three decimals, as ``.041``, or ``< .001``."""
    if pd.isna(p):
        return "–"
    return "< .001" if p < 0.001 else f"{p:.3f}".replace("0.", ".", 1)


def _upper(text) -> str:
    return str(text)[0].upper() + str(text)[1:]


def _one(chosen: pd.DataFrame, model: str, metric: str) -> pd.Series:
    return chosen[(chosen.model == model) & (chosen.metric == metric)].iloc[0]


def _cell(row, reasons: dict, value: float | None = None) -> str:
    value = row.value if value is None else value
    if pd.isna(value):
        return "undefined"
    if pd.isna(row.low):
        reasons[str(row.reason) if isinstance(row.reason, str) and row.reason else "not defined"] = None
        return f"{_plain(value)} [–]"
    return f"{_plain(value)} [{_plain(row.low)}, {_plain(row.high)}]"


def _plain(value: float) -> str:
    return "∞" if np.isinf(value) else number(value)


def _why(reasons: dict) -> str:
    return f" [–]: no interval, because {'; '.join(reasons)}." if reasons else ""
