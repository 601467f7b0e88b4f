"""Sentences that read the tables of stress, saliency, failures and other truths. Every number is the table's."""

import pandas as pd

from pcos_utils.evaluation.figures_stress import METHOD_NAMES
from pcos_utils.evaluation.readings import interval, many, number

# Above this mean rank correlation with a network whose weights are shuffled, a map shows the picture at least as much
# as the network. A convention, like the threshold of .5.
UNMOVED = 0.5


def few(row) -> str:
    """A warning where an interval rests on fewer than ten sources of a class, or nothing."""
    return " (fewer than ten of a class: the intervals are too narrow)" if row.few_sources else ""


def stress_sentence(curves: pd.DataFrame, slopes: pd.DataFrame, name: str) -> str:
    """Under which stresses the AUC falls, where the fall is shown, and what the steepest one does."""
    aucs = curves[curves.metric == "auc"]
    plain = aucs[aucs.change == 0].iloc[0]
    rows = slopes[slopes.metric == "auc"].set_index("stress")
    falls = rows[rows.high < 0].sort_values("value")
    text = f"{name}, untouched: AUC {interval(plain)} on {many(plain.sources, 'source')}{few(plain)}. "
    if falls.empty:
        return text + (
            f"No stress is shown to lower it; the steepest line, under {rows.value.idxmin()}, changes it by "
            f"{interval(rows.loc[rows.value.idxmin()])} from none to the strongest."
        )
    listed = "; ".join(f"{stress} {interval(row)}" for stress, row in falls.iterrows())
    return text + f"Its slope, from none to the strongest severity, is below zero under {listed}."


def decision_sentence(curves: pd.DataFrame, name: str) -> str:
    """The stress that moves recall most, and the one that moves specificity most, at the fixed threshold."""
    parts = []
    for metric in ("recall", "specificity"):
        own = curves[curves.metric == metric]
        worst = own.loc[own.change.idxmin()]
        if worst.change == 0:
            parts.append(f"{metric} falls under no stress")
            continue
        change = worst.rename({"value": "was"}).rename(
            {"change": "value", "low": "a", "high": "b", "change_low": "low", "change_high": "high"}
        )
        parts.append(f"{metric} changes most under {worst.stress} at {worst.severity:g}, by {interval(change)}")
    return f"{name}, with the threshold as it was: " + ", and ".join(parts) + "."


def definition_sentence(table: pd.DataFrame, name: str) -> str:
    """The AUC under each number of follicles, with volume, and how many labels each moves."""
    rows = table[table.criterion == "follicles or volume"]
    told = ", ".join(
        f"{row.follicles} or more follicles: {interval(pd.Series(row._asdict()))} ({row.polycystic} of {row.sources} "
        f"polycystic, {many(row.moved, 'label')} moved)"
        for row in rows.itertuples(index=False)
    )
    return f"{name}'s scores, unchanged, have these AUCs against each definition (or 10 mL): {told}."


def flip_sentence(table: pd.DataFrame, name: str) -> str:
    """The range of the AUC under one and under two wrong labels, and whose label matters most."""
    rows = table.set_index("flips")
    plain = rows.loc[0]
    text = f"{name}'s AUC of {number(plain.lowest)} would lie between "
    ranges = [
        f"{number(rows.loc[flips].lowest)} and {number(rows.loc[flips].highest)} if {words} wrong "
        f"({rows.loc[flips].ways:,} ways)"
        for flips, words in ((1, "one label were"), (2, "two labels were"))
    ]
    return text + " and between ".join(ranges) + f". The label of {rows.loc[1].to_lowest} is the one to check first."


def share_sentence(table: pd.DataFrame, name: str) -> str:
    """For each method whether its saliency prefers follicles to the rest of the picture."""
    parts = []
    for row in table[table.region == "follicles"].itertuples(index=False):
        method = METHOD_NAMES[row.method]
        if not row.sources:
            parts.append(f"{method}: every map is empty")
            continue
        more = "more than" if row.gain_low > 0 else "less than" if row.gain_high < 0 else "not shown to differ from"
        text = f"{method} puts {interval(pd.Series(row._asdict()))} of its saliency inside follicles, {more} "
        text += f"the {number(row.uniform)} of a uniform map ({many(row.sources, 'source')}"
        parts.append(text + (f", {many(row.empty, 'empty map')})" if row.empty else ")"))
    return f"{name}, evidence for polycystic: " + "; ".join(parts) + "."


def check_sentence(table: pd.DataFrame, name: str, stage: str = "all weights shuffled") -> str:
    """For each method how far its maps agree with those of a network that knows nothing."""
    parts = []
    for row in table[table.stage == stage].itertuples(index=False):
        method = METHOD_NAMES[row.method]
        if not row.sources:
            parts.append(f"{method}: nothing to compare, because maps are empty")
            continue
        kept = "the map hardly noticed" if row.value > UNMOVED else "the map depends on what was learned"
        text = f"{method} {interval(pd.Series(row._asdict()))} on {many(row.sources, 'source')} ({kept}"
        parts.append(text + (f"; {many(row.empty, 'empty map')})" if row.empty else ")"))
    return f"{name}, {stage}: rank correlation with its own maps " + "; ".join(parts) + "."


def failure_sentence(table: pd.DataFrame, sources: int, name: str) -> str:
    """How many sources are called wrongly, how many by nearly every network, and what phantoms really held.

    ``table``: as of ``failures.failures``; ``sources``: how many were judged.
    """
    missed, alarmed = (table[table.outcome == outcome] for outcome in ("false negative", "false positive"))
    text = (
        f"{name} calls {len(table)} of {many(sources, 'source')} wrongly: {many(len(missed), 'false negative')} and "
        f"{many(len(alarmed), 'false positive')}."
    )
    if table.empty:
        return text
    if table.judged.max() > 1:
        text += f" In {int((table.agree == 1).sum())} of them every network that judged the source agrees."
    if "FNPS" in table:
        told = [
            f"the median {outcome} shows {part.FNPS.median():.0f} follicles and holds {part.FNPO.median():.0f}"
            for outcome, part in (("false negative", missed), ("false positive", alarmed))
            if len(part)
        ]
        text += " In the section " + "; ".join(told) + "."
    return text
