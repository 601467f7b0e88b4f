"""Model cards under the nine headings of Mitchell et al. 2019, data sheets after Gebru et al. 2021, and checklists."""

from pathlib import Path

import pandas as pd

from pcos_utils.config import CAVEAT, COUNT, DATASETS, Study
from pcos_utils.data.datasets import facts
from pcos_utils.evaluation.metrics import DECISIONS
from pcos_utils.evaluation.predictions import read_table
from pcos_utils.models.recipes import Recipe, recipe
from pcos_utils.reporting import sentences_data, sentences_results
from pcos_utils.reporting.names import MODEL_NAMES
from pcos_utils.reporting.text import interval, many, markdown, number, percent

TEXTS = Path(__file__).parent / "texts"
HEADINGS = ("Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
            "Quantitative analyses", "Ethical considerations", "Caveats and recommendations")  # fmt: skip
SHEET_HEADINGS = ("Motivation", "Composition", "Collection", "Preprocessing", "Uses", "Distribution", "Maintenance")
OPTIMISERS = {"sgd": "SGD", "adamw": "AdamW"}
CHECKLISTS = {
    "claim": "CLAIM 2024, Checklist for Artificial Intelligence in Medical Imaging",
    "tripod": "TRIPOD+AI 2024, Transparent Reporting of a Prediction Model, with AI",
}


def model_card(study: Study, model: str, metrics: pd.DataFrame, counted: pd.DataFrame) -> str:
    """Return the card of a network, or of the count, as Markdown. ``counted``: of ``summary.totals``."""
    rows = metrics[(metrics.model == model) & (metrics.protocol == "grouped")].set_index("metric", drop=False)
    others = [f"{name} {interval(rows.loc[name])}" for name in DECISIONS]
    data, taught = facts(study.data_name), rows.taught.iloc[0]
    network, training = "", "The logistic regression is fitted inside each fold."
    if model != COUNT:
        network, training = _network(study, model), _training(recipe(model, "ours", study))
    texts = _texts("cards", "*") | _texts("cards", model)
    texts["Intended use"] += f" {CAVEAT}"
    texts["Model details"] += f" {network} Licence of code and weights: MIT."
    texts["Evaluation data"] = (
        f"{data.title}. {sentences_data.data(study, counted)} {sentences_data.use(read_table(study, 'sources'))} Each "
        "source is judged by a method that never saw it."
    )
    texts["Training data"] = f"{taught[0].upper()}{taught[1:]}. {training}"
    texts["Quantitative analyses"] = f"{sentences_results.method(rows.loc['auc'])} Further: {', '.join(others)}."
    texts["Caveats and recommendations"] = (
        f"{data.known_problems} The intervals leave out how much another training set or another seed would change."
    )
    return _entries(MODEL_NAMES[model], HEADINGS, texts)


def _network(study: Study, model: str) -> str:
    count = len(read_table(study, f"runs_{model}").query("arm == 'ours'"))
    side = recipe(model, "ours", study).side
    return (
        f"{many(count, 'network')}, one for each fold, repeat and inner part. One logit, positive for polycystic; "
        f"pictures of {side} x {side} pixels."
    )


def _training(settings: Recipe) -> str:
    changes = [f"turns of up to {settings.rotation:g} degrees"] if settings.rotation else []
    changes += [f"brightness within {percent(settings.brightness)}"] if settings.brightness else []
    changes += [f"mirrors with a chance of {number(settings.flip)}"] if settings.flip else []
    changed = f"pictures are changed by {', '.join(changes)}" if changes else "pictures are not changed"
    return (
        f"{OPTIMISERS[settings.optimiser]}, rate {settings.learning_rate:g}, batches of {settings.batch}, "
        f"{many(settings.epochs, 'epoch')}, of which the one with the lowest loss on selection sources is kept. While "
        f"it trains, {changed}."
    )


def data_sheets(study: Study) -> str:
    """Return a sheet for the study's own data and for each registered set, as Markdown."""
    names = [study.data_name, *(name for name in DATASETS if name != study.data_name)]
    return "\n\n".join(_sheet(name) for name in names)


def _sheet(name: str) -> str:
    data = facts(name)
    folders = ", ".join(f"{folder} {count:,}" for folder, count in data.folders.items())
    texts = _texts("datasheets", name) or _texts("datasheets", "*")
    texts = {heading: text.format(images=f"{data.images or 0:,}", folders=folders) for heading, text in texts.items()}
    texts["Collection"] += f" Source: {data.citation}."
    texts["Uses"] += f" Known problems: {data.known_problems}"
    texts["Distribution"] += f" Licence: {data.licence}."
    return _entries(data.title, SHEET_HEADINGS, texts)


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
