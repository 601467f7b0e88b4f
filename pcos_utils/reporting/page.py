"""The report: the executed notebooks on one page without their code, behind an abstract and before the methods.

It shows no image of data that may not be passed on. Its model cards have the nine headings of Mitchell et al. 2019, its
data sheets follow Gebru et al. 2021.
"""

import re
from pathlib import Path

import nbformat
import pandas as pd
from nbformat.v4 import new_markdown_cell, new_notebook

from pcos_utils.config import CAVEAT, COUNT, DATASETS, JUDGED, Study
from pcos_utils.data import splits
from pcos_utils.data.datasets import facts
from pcos_utils.evaluation import plan
from pcos_utils.evaluation.intervals import FEW
from pcos_utils.evaluation.metrics import DECISIONS
from pcos_utils.evaluation.predictions import read_table
from pcos_utils.evaluation.tables import GROUPED, main_rows
from pcos_utils.files import sha256, write_text
from pcos_utils.models.recipes import recipe
from pcos_utils.reporting import sentences_data
from pcos_utils.reporting import sentences_results as sentences
from pcos_utils.reporting.html import as_html
from pcos_utils.reporting.store import PIXELS
from pcos_utils.reporting.text import TEXTS, TITLES, interval, many, markdown

# Which notebook stands under which anchor, in the order of the report.
PARTS = {"06_compare": "results", "02_explore": "data", "03": "training", "04": "", "05": ""}
NOT_JUDGED = "no method is judged: the source pictures are too few"
CARD_HEADINGS = ("Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
                 "Quantitative analyses", "Ethical considerations", "Caveats and recommendations")  # fmt: skip
SHEET_HEADINGS = ("Motivation", "Composition", "Collection", "Preprocessing", "Uses", "Distribution", "Maintenance")
CHECKLISTS = {
    "claim": "CLAIM 2024, Checklist for Artificial Intelligence in Medical Imaging",
    "tripod": "TRIPOD+AI 2024, Transparent Reporting of a Prediction Model, with AI",
}


def build(study: Study, executed: Path) -> Path:
    """Write report.html from the executed notebooks in a folder and the study's tables, and return its path."""
    judged = splits.enough(read_table(study, "sources"), study)
    cells = [new_markdown_cell(_abstract(study, judged))]
    for stem, anchor in PARTS.items():
        for path in sorted(executed.glob(f"{stem}*.ipynb")):
            cells += _cells(path, anchor, study.synthetic)
    cells += [new_markdown_cell(text) for text in _appendix(study, judged)]
    anchors = set(re.findall(r'<a id="(\w+)">', "".join(cell.source for cell in cells)))
    lists = "\n\n".join(_checklist(name, anchors) for name in CHECKLISTS)
    cells.append(new_markdown_cell(f"## Checklists\n\n{lists}"))
    for number, cell in enumerate(cells):
        cell["id"] = f"part-{number}"
    path, title = study.report_dir / "report.html", f"Polycystic ovaries in ultrasound images: {study.name}"
    write_text(path, as_html(new_notebook(cells=cells), title, inputs=False))
    return path


def _cells(path: Path, anchor: str, synthetic: bool) -> list[nbformat.NotebookNode]:
    cells = [new_markdown_cell(f'<a id="{anchor}"></a>')] if anchor else []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            shown = [output for output in cell.outputs if output.output_type in ("display_data", "execute_result")]
            if not shown:
                continue
            cell.outputs = shown if synthetic else [_without_pixels(output) for output in shown]
            cell.execution_count = None
        cell.source = re.sub(r"\n> In the repository this notebook .*", "", cell.source)
        cells.append(cell)
    return cells


def _without_pixels(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    if not output.get("metadata", {}).get(PIXELS):
        return output
    words = "*This figure shows images that may not be passed on; it stays on the machine that made it.*"
    return nbformat.v4.new_output("display_data", {"text/markdown": words})


def _abstract(study: Study, judged: bool) -> str:
    caveat = f"> **Not for clinical use. {CAVEAT}**"
    if study.synthetic:
        caveat += " Everything here comes from **synthetic phantoms**: "
        caveat += "it tests the method and supports no clinical number."
    if study.preset == "demo":
        caveat += " The demo is small on purpose: few sources, few epochs, small images."
    lines = [
        '<a id="top"></a>',
        "# Polycystic or normal ovary in ultrasound images: deep networks, a follicle count and baselines",
        f"Study `{study.name}`, preset {study.preset}, seed {study.seed}.",
        caveat,
        '<a id="abstract"></a>\n\n## Abstract',
        sentences_data.data(study, read_table(study, "audit")),
    ]
    if judged:
        metrics, compared = read_table(study, "metrics"), read_table(study, "comparisons")
        lines += [sentences.groups(metrics), sentences.compared(compared), sentences.acquisition(metrics)]
        lines += [sentences.planned(study), sentences.first_plan(study.report_dir)]
    else:
        lines.append(f"**{NOT_JUDGED[0].upper()}{NOT_JUDGED[1:]}.**")
    lines += ['<a id="introduction"></a>\n\n## Introduction', _prose("introduction")]
    return "\n\n".join(line for line in lines if line)


def _prose(name: str) -> str:
    return (TEXTS / f"{name}.md").read_text(encoding="utf-8")


def _appendix(study: Study, judged: bool) -> list[str]:
    texts = pd.read_csv(TEXTS / "limitations.csv", index_col="of").text
    limits, cards = list(texts["any"]), []
    if judged:
        metrics, used = read_table(study, "metrics"), read_table(study, "sources").query("used == 'yes'")
        limits += [sentences_data.power(used), sentences.best(metrics), texts["judged"]]
        if splits.source_labels(used).value_counts().min() < FEW:
            limits.append(texts["few"].format(few=FEW))
        cards = [_model_card(study, name, metrics) for name in main_rows(metrics).model if name in JUDGED]
    limits += [texts["phantoms" if study.synthetic else "frames"], facts(study.data_name).known_problems]
    sections = {
        "methods": ("Methods", _methods(study, judged)),
        "limitations": ("Limitations", "- " + "\n- ".join(limits)),
        "cards": ("Model cards", "\n\n".join(cards)),
        "datasheets": ("Data sheets", _data_sheets(study)),
        "availability": ("Availability, funding and ethics", _prose("availability")),
    }
    return [f'<a id="{anchor}"></a>\n\n## {title}\n\n{text}' for anchor, (title, text) in sections.items() if text]


def _methods(study: Study, judged: bool) -> str:
    source, protocol = _prose("methods").split("\n\n", 1)
    if not judged:
        return source
    selection = "a share of the training sources of each fold selects"
    if study.inners > 1:
        selection = f"the training part of a fold is cut into {study.inners} inner parts that take turns to select"
    rules = {name: rule if isinstance(rule, str) else "; ".join(rule) for name, rule in plan.RULES.items()}
    listed = "\n".join(f"- **{name.replace('_', ' ')}**: {rule}" for name, rule in rules.items())
    pairs = "; ".join(f"{TITLES[first]} with {TITLES[second]}" for first, second in plan.comparisons(study))
    text = protocol.format(
        folds=study.folds, repeats=many(study.repeats, "repeat"), seed=study.seed, selection=selection,
        planned=sentences.planned(study), digest=sha256(study.report_dir / "sources.csv")[:12],
    )  # fmt: skip
    return f"{source}\n\n{text}\n\n{listed}\n\nPlanned comparisons: {pairs}."


def _model_card(study: Study, model: str, metrics: pd.DataFrame) -> str:
    """Return the card of a network, or of the count, as Markdown."""
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
    shown = sentences_data.data(study, read_table(study, "audit")), sentences_data.use(read_table(study, "sources"))
    texts["Evaluation data"] = f"{data.title}. {' '.join(shown)} Each source is judged by a method that never saw it."
    taught = rows.taught.iloc[0]
    texts["Training data"] = f"{taught[0].upper()}{taught[1:]}. {training}."
    others = ", ".join(f"{name} {interval(rows.loc[name])}" for name in DECISIONS)
    texts["Quantitative analyses"] = f"{sentences.method(rows.loc['auc'])} Further: {others}."
    left_out = "The intervals leave out how much another training set or another seed would change."
    texts["Caveats and recommendations"] = f"{data.known_problems} {left_out}"
    return _entries(TITLES[model], CARD_HEADINGS, texts)


def _data_sheets(study: Study) -> str:
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


def _checklist(name: str, there: set[str]) -> str:
    """Return a checklist as Markdown; an item whose place is none of the anchors ``there`` does not apply."""
    rows = pd.read_csv(TEXTS / f"{name}.csv", dtype=str, keep_default_na=False)
    rows.loc[~rows["where"].isin(there), ["status", "how"]] = "not applicable", NOT_JUDGED
    rows["link"] = [f"[{place}](#{place})" if place in there else "" for place in rows["where"]]
    cells = rows[["item", "asks", "status", "how", "link"]].to_numpy()
    table, done = markdown(["item", "asks for", "state", "how, or why not", "where"], cells), sum(rows.status == "done")
    counts = f"{len(rows)} items: {done} done, {len(rows) - done} not applicable"
    note = "Items in our own words; 'done' says that it is reported, not that it is good."
    return f"### {CHECKLISTS[name]}\n\n{counts}. {note}\n\n{table}"
