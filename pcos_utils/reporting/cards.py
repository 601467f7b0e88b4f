"""Model cards under the nine headings of Mitchell et al. 2019, data sheets after Gebru et al. 2021, and checklists."""

from pathlib import Path

import pandas as pd

from pcos_utils.config import CAVEAT, COUNT, DATASETS, Study
from pcos_utils.data.datasets import facts
from pcos_utils.evaluation.metrics import DECISIONS
from pcos_utils.evaluation.predictions import read_table
from pcos_utils.evaluation.tables import GROUPED
from pcos_utils.models.recipes import recipe
from pcos_utils.reporting import sentences_data, sentences_results
from pcos_utils.reporting.names import TITLES
from pcos_utils.reporting.text import interval, many, markdown

TEXTS = Path(__file__).parent / "texts"
HEADINGS = ("Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
            "Quantitative analyses", "Ethical considerations", "Caveats and recommendations")  # fmt: skip
SHEET_HEADINGS = ("Motivation", "Composition", "Collection", "Preprocessing", "Uses", "Distribution", "Maintenance")
CHECKLISTS = {
    "claim": "CLAIM 2024, Checklist for Artificial Intelligence in Medical Imaging",
    "tripod": "TRIPOD+AI 2024, Transparent Reporting of a Prediction Model, with AI",
}


def model_card(study: Study, model: str, metrics: pd.DataFrame, counted: pd.DataFrame) -> str:
    """Return the card of a network, or of the count, as Markdown. ``counted``: of ``summary.totals``."""
    rows = metrics[(metrics.model == model) & (metrics.protocol == GROUPED)].set_index("metric", drop=False)
    data, texts = facts(study.data_name), _texts("cards", "*") | _texts("cards", model)
    training = "The logistic regression is fitted inside each fold"
    if model != COUNT:
        count = len(read_table(study, f"runs_{model}").query("arm == 'ours'"))
        texts["Model details"] += f" {many(count, 'network')}, one for each fold, repeat and inner part."
        settings = (f"{name.replace('_', ' ')} {value}" for name, value in recipe(model, "ours", study))
        training = f"Recipe: {', '.join(settings)}"
    texts["Model details"] += " Licence of code and weights: MIT."
    texts["Intended use"] += f" {CAVEAT}"
    texts["Evaluation data"] = (
        f"{data.title}. {sentences_data.data(study, counted)} {sentences_data.use(read_table(study, 'sources'))} Each "
        "source is judged by a method that never saw it."
    )
    taught = rows.taught.iloc[0]
    texts["Training data"] = f"{taught[0].upper()}{taught[1:]}. {training}."
    others = ", ".join(f"{name} {interval(rows.loc[name])}" for name in DECISIONS)
    texts["Quantitative analyses"] = f"{sentences_results.method(rows.loc['auc'])} Further: {others}."
    texts["Caveats and recommendations"] = (
        f"{data.known_problems} The intervals leave out how much another training set or another seed would change."
    )
    return _entries(TITLES[model], HEADINGS, texts)


def data_sheets(study: Study) -> str:
    """Return a sheet for the study's own data and for each registered set, as Markdown."""
    sheets = []
    for name in dict.fromkeys((study.data_name, *DATASETS)):
        data, texts = facts(name), _texts("datasheets", name) or _texts("datasheets", "*")
        folders = ", ".join(f"{folder} {count:,}" for folder, count in data.folders.items())
        texts["Composition"] = texts["Composition"].format(images=f"{data.images or 0:,}", folders=folders)
        texts["Collection"] += f" Source: {data.citation}."
        texts["Uses"] += f" Known problems: {data.known_problems}"
        texts["Distribution"] += f" Licence: {data.licence}."
        sheets.append(_entries(data.title, SHEET_HEADINGS, texts))
    return "\n\n".join(sheets)


def _texts(file: str, name: str) -> dict[str, str]:
    """Return the prepared texts of a model or a data set by heading; those of ``*`` hold for all others."""
    table = pd.read_csv(TEXTS / f"{file}.csv", keep_default_na=False)
    return table[table.name == name].set_index("heading").text.to_dict()


def _entries(title: str, headings: tuple[str, ...], texts: dict[str, str]) -> str:
    lines = (f"- **{heading}.** {' '.join(texts[heading].split())}" for heading in headings)
    return f"### {title}\n\n" + "\n".join(lines)


def checklist(name: str, there: set[str], why_not: str) -> str:
    """Return a checklist as a Markdown table: each item with what was done, or why not, and a link to the place.

    ``there``: the report's anchors. An item whose place is not among them does not apply; ``why_not`` is the reason.
    """
    rows = pd.read_csv(TEXTS / f"{name}.csv", dtype=str, keep_default_na=False)
    missing = ~rows["where"].isin(there)
    rows.loc[missing, ["status", "how"]] = "not applicable", why_not
    rows["link"] = [f"[{place}](#{place})" if place in there else "" for place in rows["where"]]
    columns = rows[["item", "asks", "status", "how", "link"]]
    table = markdown(["item", "asks for", "state", "how, or why not", "where"], columns.to_numpy().tolist())
    done = int((rows.status == "done").sum())
    head = (
        f"{len(rows)} items: {done} done, {len(rows) - done} not applicable. Items in our own words; 'done' says that "
        "it is reported, not that it is good."
    )
    return f"### {CHECKLISTS[name]}\n\n{head}\n\n{table}"
