"""The report: one self-contained page, made from files that earlier steps wrote."""

import base64
import json
import re
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from pcos_utils.config import CAVEAT, ROOT, Study, TooFewSources
from pcos_utils.data.datasets import facts
from pcos_utils.evaluation import audit_report, headline, plan, readings, report, results
from pcos_utils.evaluation.report import read_table, stamp, trained_models
from pcos_utils.evaluation.results import main_table
from pcos_utils.files import write_text
from pcos_utils.models import counts


def figure_cards(study: Study) -> list[dict]:
    """The report's figures in order: name, caption, provenance and the picture, or the path of a local one."""
    cards = []
    for path in sorted(study.report_dir.glob("figures/*.json")) + sorted(study.report_dir.glob("local/*.json")):
        card = json.loads(path.read_text()) | {"name": path.stem}
        picture = path.with_suffix(".png")
        # A figure with real pixels is only linked, so that the report itself may travel.
        if path.parent.name == "figures":
            card["data"] = base64.b64encode(picture.read_bytes()).decode()
        else:
            card["link"] = f"local/{picture.name}"
        cards.append(card)
    return sorted(cards, key=lambda card: card["name"])


def build(study: Study, tables: dict[str, pd.DataFrame]) -> Path:
    """The report, ``report.html``: the answer, tables, figures and notebooks, in one file that needs no network."""
    results.verify(study, tables)
    models, metric_table = trained_models(study), tables["metrics"]
    judged = models + [name for name in study.models if name == counts.NAME]
    runs = pd.concat([read_table(study, f"runs_{model}") for model in models])
    return _write(
        study,
        use_sentence=readings.use_sentence(read_table(study, "sources")),
        split_sentence=readings.split_sentence(int(metric_table.crossing_sources.max())),
        start_sentence=readings.start_sentence(study, runs).removeprefix("> "),
        plan_sentence=plan.sentence(study),
        answers=[readings.model_sentence(model, metric_table) for model in judged],
        comparison=headline.sentence(tables["comparisons"]),
        grouped=main_table(metric_table, "grouped").T.to_html(border=0),
        published=main_table(metric_table, "published").T.to_html(border=0),
    )


def need_test_set(study: Study) -> None:
    """Nothing; raises TooFewSources where the sources are too few, after a report was written that describes them."""
    try:
        report.need_test_set(study)
    except TooFewSources as reason:
        _write(study, answers=[str(reason)], start_sentence="", use_sentence="", grouped=None)
        raise


def _write(study: Study, **answer) -> Path:
    summary, sources = read_table(study, "audit"), read_table(study, "sources")
    shortcuts = read_table(study, "shortcuts")
    page = _environment().get_template("report.html.j2").render(
        study=study,
        facts=facts(study.data_name),
        caveat=CAVEAT,
        data_sentence=readings.data_sentence(study, summary),
        verdict=audit_report.verdict(summary),
        conflicts_sentence=audit_report.conflicts_sentence(sources),
        shortcuts_sentence=audit_report.shortcuts_sentence(shortcuts),
        audit=summary.set_index("fact").rename_axis(None).to_html(border=0),
        bad=sources[sources.status != "ok"][["path", "status"]].to_dict("records"),
        figures=figure_cards(study),
        notebooks=[path.name for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))],
        notebook_folder="notebooks" if study.synthetic else "local/notebooks",
        stamp=stamp().drop("commit").to_dict(),
        **answer,
    )  # fmt: skip
    target = study.report_dir / "report.html"
    write_text(target, page)
    return target


def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    made.filters["bold"] = _bold
    return made


def _bold(text: str) -> str:
    """Markdown's ``**words**`` and ``*words*`` as HTML; everything else escaped."""
    safe = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return Markup(re.sub(r"\*(.+?)\*", r"<em>\1</em>", safe))
