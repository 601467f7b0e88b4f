"""Sentences of notebook 6, in its order, and of the README: AUC, decisions, calibration. Every number is a table's."""

from pathlib import Path

import pandas as pd

from pcos_utils.config import CLASS_NAMES, Study
from pcos_utils.evaluation import comparison, plan
from pcos_utils.evaluation.metrics import NOT_SHOWN
from pcos_utils.evaluation.tables import main_rows
from pcos_utils.reporting.text import GROUP, HEADINGS, TITLES, cell, interval, listed, many, markdown, number, p_value

EXPERTS = 0.87  # AUC of counting by eye in one section; in the whole ovary .905 (Pea et al. 2024)
SUSPICIOUS = 0.95
FIRST_PLAN = "first_plan.csv"  # results of the analysis that was planned before the metric changed; beside the plan


def planned(study: Study) -> str:
    """Return whether the plan was written before the results that are shown."""
    digest, older = plan.changed(study)
    if older:
        changed = f"**The plan was changed after results were there** ({older} earlier, now {digest[:12]})"
        return f"{changed}: read them as explored, not as planned."
    return f"The plan ({digest[:12]}) was written before anything was trained, and every result was made under it."


def method(row: pd.Series) -> str:
    """Return a method's verdict under grouped folds with AUC, interval, n and p. ``row``: its AUC in metrics.csv."""
    sources = f"{many(row.sources, 'held-out source')}, {row.polycystic} of them polycystic"
    text = f"{TITLES[row.model]} is {row.verdict}: AUC {interval(row)} on {sources}"
    text += f" (one-sided p {p_value(row.p)}, {row.test})"
    text += "; fewer than ten of a class, so the interval is too narrow" if row.few_sources else ""
    if row.value > SUSPICIOUS:
        experts = f"experts who count follicles in single sections reach about {number(EXPERTS)}"
        look = "look first for copies that the audit missed and for traces other than follicles"
        text += f". **Do not believe this yet:** {experts}, so above {number(SUSPICIOUS)} {look}"
    return f"{text}."


def methods(table: pd.DataFrame) -> str:
    """Return a Markdown list: the sentence of each method that is no baseline, and of the one that they must beat."""
    return "\n".join(f"- {method(row)}" for _, row in beside_baselines(table).iterrows())


def beside_baselines(table: pd.DataFrame) -> pd.DataFrame:
    """Return the AUC's row of each method that is no baseline, and of the one that they must beat."""
    rows = main_rows(table)
    return rows[rows.model.map(GROUP).ne("baselines") | rows.model.eq(plan.REFERENCE)]


def better(rows: pd.DataFrame) -> str:
    """Return a list of the methods that are shown to be better than chance."""
    return listed([TITLES[name] for name in rows.model[rows.verdict == comparison.BETTER]])


def groups(table: pd.DataFrame) -> str:
    """Return a Markdown list: a line for each way of being taught, with the AUC of its methods and who beats chance."""
    rows, lines = beside_baselines(table), []
    for group, members in rows.groupby(rows.model.map(GROUP), sort=False):
        each = ", ".join(f"{TITLES[row.model]} {interval(row)}" for _, row in members.iterrows())
        lines.append(f"- **{HEADINGS[group]}**: {each}. Shown to be better than chance: {better(members)}.")
    return "\n".join([judged_on(table), "", *lines])


def judged_on(table: pd.DataFrame) -> str:
    """Return on how many sources the AUCs of a table were measured."""
    first = main_rows(table).iloc[0]
    few = " With fewer than ten of a class the intervals are too narrow." if first.few_sources else ""
    sources = f"{many(first.sources, 'held-out source')}, {first.polycystic} of them polycystic"
    return f"AUC with its 95 % interval on {sources}; .5 is a coin.{few}"


def compared(table: pd.DataFrame) -> str:
    """Return how many planned differences of AUC are shown, and the largest."""
    if table.empty:
        return "No comparison was planned between the methods at hand."
    shown = table[table.verdict != "not shown"]
    text = f"Of {_family(table)} of AUC on {many(int(table.sources.max()), 'source')} "
    if shown.empty:
        return text + "none is shown."
    row = shown.loc[shown.difference.abs().idxmax()]
    largest = f"{TITLES[row['first']]} minus {TITLES[row['second']]}, {interval(row.rename({'difference': 'value'}))}"
    return f"{text}{many(len(shown), 'is', 'are')} shown; the largest is {largest}."


def _family(table: pd.DataFrame) -> str:
    """Return how many differences were planned, and how many of these could not be made."""
    planned = int(table.planned.max())
    lacking = f" ({planned - len(table)} of which could not be made)" if planned > len(table) else ""
    return many(planned, "planned difference") + lacking


def differences(table: pd.DataFrame) -> str:
    """Return every planned difference of AUC as a Markdown table, and when one is shown; "" without any."""
    if table.empty:
        return ""
    names = [f"{TITLES[row.first]} minus {TITLES[row.second]}" for row in table.itertuples()]
    values = [interval(row.rename({"difference": "value"})) for _, row in table.iterrows()]
    chances = [p_value(p).removeprefix("= ") for p in table.p_holm]
    rows = zip(names, values, chances, table.verdict, strict=True)
    return (
        f"{markdown(['difference of AUC', 'value', 'p after Holm', 'verdict'], rows)}\n\n*Paired, on "
        f"{many(int(table.sources.max()), 'source')}; the p is corrected for {_family(table)}. A difference is shown "
        f"where the corrected p is at most .05 and the interval leaves out 0 under each of {comparison.SEEDS} "
        "resampling seeds.*"
    )


def best_baseline(table: pd.DataFrame) -> str:
    """Return which baseline has the highest AUC, and that it was picked after all were scored."""
    return best(table[table.model.map(GROUP).eq("baselines")], "baseline")


def best(table: pd.DataFrame, kind: str = "method") -> str:
    """Return which method of the table has the highest AUC, and that it was picked after all were scored."""
    rows = main_rows(table)
    best = rows.loc[rows.value.idxmax()]
    picked = "it was picked after all were scored, which flatters it"
    return f"Of {many(len(rows), kind)} {TITLES[best.model]} has the highest AUC, {interval(best)}; {picked}."


def acquisition(table: pd.DataFrame) -> str:
    """Return the AUC of grey levels alone; empty where they are not shown to differ between the classes."""
    rows = main_rows(table).query("model == 'intensity' and verdict == @comparison.BETTER")
    if rows.empty:
        return ""
    otherwise = "the two classes were acquired or displayed otherwise, and a method may have learned that"
    return f"Mean brightness, spread and border alone have an AUC of {interval(rows.iloc[0])}: {otherwise}."


def counted(table: pd.DataFrame) -> str:
    """Return how many follicles were found in each class, by source. ``table``: source, label, count."""
    per = table.groupby("source")[["label", "count"]].mean().groupby("label")["count"]
    text = "; ".join(
        f"{CLASS_NAMES[int(label)]}: median {values.median():.1f}, middle half {values.quantile(0.25):.1f} to "
        f"{values.quantile(0.75):.1f}, n = {len(values)}"
        for label, values in per
    )
    return f"Follicles found in each source. {text[0].upper()}{text[1:]}."


def ranking(table: pd.DataFrame, models: list[str]) -> str:
    """Return which methods rank sources better than chance, and the best AUC."""
    rows = main_rows(table).set_index("model", drop=False).loc[models]
    best = rows.loc[rows.value.idxmax()]
    highest = f"Highest AUC: {TITLES[best.model]}, {interval(best)}."
    return f"Of the {len(rows)} drawn, shown to rank better than chance: {better(rows)}. {highest}"


def decided(table: pd.DataFrame, models: list[str]) -> str:
    """Return between what recall and specificity lie at thresholds fixed beforehand, beside the recall asked for."""
    values = (main_rows(table, metric=name).set_index("model").value[models] for name in ("recall", "specificity"))
    recall, specificity = (f"between {number(of.min())} and {number(of.max())}" for of in values)
    asked = "A recall of .90 was asked for on the selection sources."
    return f"{asked} On test sources recall lies {recall}, and specificity {specificity}."


def shared_errors(answers: pd.DataFrame) -> str:
    """Return how many sources every method calls wrong, and how many each calls right, by the majority of its runs."""
    wrong = (answers.called >= 0.5) != (answers.label == 1)
    per, count = wrong.groupby(answers.source).mean(), answers.model.nunique()
    wrongly = f"{(per == 1).sum():,} are called wrong by all of {many(count, 'method')}"
    return f"Of {many(len(per), 'source')}, {wrongly}, and {(per == 0).sum()} right by all."


def beats_chance(table: pd.DataFrame, model: str) -> bool:
    """Return whether a method was shown to be better than chance."""
    return main_rows(table).set_index("model").verdict[model] == comparison.BETTER


def calibrated(table: pd.DataFrame, models: list[str]) -> str:
    """Return slope, calibration in the large and Brier score of methods that beat chance, and why others have none."""
    parts, withheld = [], []
    for model in models:
        rows = table[(table.model == model) & (table.protocol == "grouped")].set_index("metric")
        if rows.reason["brier"] == NOT_SHOWN:
            withheld.append(TITLES[model])
            continue
        slope, large, brier = (interval(rows.loc[name]) for name in ("slope", "in_the_large", "brier"))
        parts.append(
            f"{TITLES[model]}: slope {slope}, in the large {large}, Brier score {brier} (ideal: slope 1, in the "
            f"large 0; always answering the share of polycystic sources has a Brier score of "
            f"{number(rows.value['brier_of_share'])})."
        )
    why = "a method that is not shown to beat chance has nothing to calibrate"
    return " ".join(parts + [f"Not given for {listed(withheld)}: {why}."] * bool(withheld))


def first_plan(folder: Path) -> str:
    """Return the results of the analysis planned first, from FIRST_PLAN in a report's folder; "" without that file."""
    if not (folder / FIRST_PLAN).exists():
        return ""
    table = pd.read_csv(folder / FIRST_PLAN)
    alone = table[table.second.isna()].iloc[0]
    pairs = [
        f"over {TITLES[row.second]} {interval(row)}, {row.verdict} (p after Holm {p_value(row.p_holm)})"
        for _, row in table[table.second.notna()].iterrows()
    ]
    return (
        f"As first planned, with scores pooled over folds: {TITLES[alone['first']]} {interval(alone)}; its gain "
        f"{'; '.join(pairs)}. The metric was changed after that: leaving a source out changes the share of polycystic "
        "sources from which its fold learns, so that scores pooled over folds rank backwards even where they know "
        "nothing."
    )


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """Return the AUC and the decisions under grouped folds for reading: a row a method, "–" without an interval."""
    columns = ["auc", "recall", "specificity"]
    rows = table[(table.protocol == "grouped") & table.metric.isin(columns)]
    cells = rows.assign(cell=rows.apply(cell, axis=1)).pivot(index="model", columns="metric", values="cell")
    cells = cells.reindex(index=rows.model.unique(), columns=columns).rename(columns={"auc": "AUC"})
    first = main_rows(table).set_index("model")
    cells.insert(0, "taught with", first.taught)
    cells["against chance"] = [f"{row.verdict} (p {p_value(row.p)})" for row in first.itertuples()]
    return cells.rename(index=TITLES).rename_axis(index=None, columns=None)
