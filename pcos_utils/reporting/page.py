"""The report: the executed notebooks on one page without their code, behind an abstract and before the methods.

It shows no image of data that may not be passed on.
"""

import re
from pathlib import Path

import nbformat
import pandas as pd
from nbformat.v4 import new_markdown_cell, new_notebook

from pcos_utils.config import CAVEAT, JUDGED, Study
from pcos_utils.data import splits
from pcos_utils.data.datasets import facts
from pcos_utils.evaluation import plan
from pcos_utils.evaluation.intervals import FEW
from pcos_utils.evaluation.predictions import read_table
from pcos_utils.evaluation.tables import main_rows
from pcos_utils.files import sha256, write_text
from pcos_utils.reporting import cards, sentences_data
from pcos_utils.reporting import sentences_results as sentences
from pcos_utils.reporting.html import as_html
from pcos_utils.reporting.names import TITLES
from pcos_utils.reporting.store import PIXELS
from pcos_utils.reporting.text import many

# Which notebook stands under which anchor, in the order of the report.
PARTS = {"06_compare": "results", "02_explore": "data", "03": "training", "04": "", "05": ""}
NOT_JUDGED = "no method is judged: the source pictures are too few"


def build(study: Study, executed: Path) -> Path:
    """Write report.html from the executed notebooks in a folder and the study's tables, and return its path."""
    judged = splits.enough(read_table(study, "sources"), study)
    cells = [new_markdown_cell(_abstract(study, judged))]
    for stem, anchor in PARTS.items():
        for path in sorted(executed.glob(f"{stem}*.ipynb")):
            cells += _cells(path, anchor, study.synthetic)
    cells += [new_markdown_cell(text) for text in _appendix(study, judged)]
    anchors = set(re.findall(r'<a id="(\w+)">', "".join(cell.source for cell in cells)))
    lists = "\n\n".join(cards.checklist(name, anchors, NOT_JUDGED) for name in cards.CHECKLISTS)
    cells.append(new_markdown_cell(f"## Checklists\n\n{lists}"))
    for number, cell in enumerate(cells):
        cell["id"] = f"part-{number}"
    page = new_notebook(cells=cells)
    path = study.report_dir / "report.html"
    write_text(path, as_html(page, f"Polycystic ovaries in ultrasound images: {study.name}", inputs=False))
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
        caveat += (
            " Everything here comes from **synthetic phantoms**: it tests the method and supports no clinical number."
        )
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
    """Return a prepared text."""
    return (cards.TEXTS / f"{name}.md").read_text(encoding="utf-8")


def _limits(study: Study, judged: bool) -> list[str]:
    """Return what the study cannot say, with its own numbers where it has any."""
    texts = pd.read_csv(cards.TEXTS / "limitations.csv", index_col="of").text
    limits = list(texts["any"])
    if judged:
        table = read_table(study, "sources").query("used == 'yes'")
        limits += [sentences_data.power(table), sentences.best(read_table(study, "metrics")), texts["judged"]]
        if splits.source_labels(table).value_counts().min() < FEW:
            limits.append(texts["few"].format(few=FEW))
    limits.append(texts["phantoms" if study.synthetic else "frames"])
    return [*limits, facts(study.data_name).known_problems]


def _appendix(study: Study, judged: bool) -> list[str]:
    sections = [("methods", "Methods", _methods(study, judged))]
    sections.append(("limitations", "Limitations", "- " + "\n- ".join(_limits(study, judged))))
    if judged:
        metrics, counted = read_table(study, "metrics"), read_table(study, "audit")
        models = [name for name in main_rows(metrics).model if name in JUDGED]
        texts = (cards.model_card(study, name, metrics, counted) for name in models)
        sections.append(("cards", "Model cards", "\n\n".join(texts)))
    sections.append(("datasheets", "Data sheets", cards.data_sheets(study)))
    sections.append(("availability", "Availability, funding and ethics", _prose("availability")))
    return [f'<a id="{anchor}"></a>\n\n## {title}\n\n{text}' for anchor, title, text in sections]


def _methods(study: Study, judged: bool) -> str:
    source, protocol = _prose("methods").split("\n\n", 1)
    if not judged:
        return source
    selection = "a share of the training sources of each fold selects"
    if study.inners > 1:
        selection = f"the training part of a fold is cut into {study.inners} inner parts that take turns to select"
    rules = "\n".join(
        f"- **{name.replace('_', ' ')}**: {rule if isinstance(rule, str) else '; '.join(rule)}"
        for name, rule in plan.RULES.items()
    )
    pairs = "; ".join(f"{TITLES[first]} with {TITLES[second]}" for first, second in plan.comparisons(study))
    text = protocol.format(
        folds=study.folds, repeats=many(study.repeats, "repeat"), seed=study.seed, selection=selection,
        planned=sentences.planned(study), digest=sha256(study.report_dir / "sources.csv")[:12],
    )  # fmt: skip
    return f"{source}\n\n{text}\n\n{rules}\n\nPlanned comparisons: {pairs}."
