"""The report: one self-contained page in the form of a paper, made from files that earlier steps wrote."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from jinja2 import Environment, FileSystemLoader, pass_context
from markupsafe import Markup, escape

from pcos_utils.config import CAVEAT, ROOT, Study, TooFewSources
from pcos_utils.data.datasets import facts
from pcos_utils.evaluation import audit_report, figures_leakage, leakage, plan, readings, report, republished, results
from pcos_utils.evaluation.bootstrap import LEVEL
from pcos_utils.evaluation.paper import cards, checklists, limits, pictures, published, tables, words
from pcos_utils.evaluation.report import read_table, stamp, table_path, trained_models
from pcos_utils.files import write_text
from pcos_utils.models import counts

PAPER = Path(__file__).parent / "paper"
NOT_JUDGED = "no reader is judged: the source pictures are too few"
NOT_MADE = "not made in this study"


def build(study: Study, made: dict[str, pd.DataFrame]) -> Path:
    """The report, ``report.html``: a paper in one file that needs no network; beside it, where its tables come from.

    ``made``: of ``results.evaluate``. Raises StudyError where a table on the disk is not as it was made, or a threshold
    was not chosen on selection rows.
    """
    results.verify(study, made)
    report.save_provenance(study)
    models, metric_table = trained_models(study), made["metrics"]
    judged = models + [name for name in study.models if name == counts.NAME]
    runs = pd.concat([read_table(study, f"runs_{model}") for model in models]) if models else None
    audit = read_table(study, "audit")
    numbered = [
        tables.performance(metric_table),
        tables.comparisons(made["comparisons"]),
        _optional(study, "published", published.published),
        published.every_metric(republished.point_metrics()) if table_path(study, "published").exists() else None,
        _optional(study, "published_rerun", published.rerun),
        tables.performance(metric_table, "published") if models else None,
        tables.repetition(made["repetition"]),
        tables.consequence(metric_table, judged),
        tables.failures(made["answers"]),
    ]
    return _write(
        study,
        numbered,
        judged=True,
        answers=words.answers(judged, metric_table),
        compared=words.compared(made["comparisons"]),
        interpretation=words.interpretation(judged, metric_table),
        reference=words.reference(metric_table),
        background=words.background(),
        protocol=words.protocol(study),
        readers=words.readers(study, metric_table),
        thresholds=words.thresholds(),
        metrics_named=words.metrics_named(),
        intervals=words.intervals(study),
        pairs=words.pairs(study),
        hashes=words.hashes(study),
        plan_sentence=plan.sentence(study),
        plan_changed=plan.changed(study),
        start_warning=words.starts(study, runs),
        split_sentence=readings.split_sentence(int(metric_table.crossing_sources.max())),
        repeats=words.repeats(made["repeats"]),
        robustness=words.robustness(study),
        shared_failures=readings.shared_failures(made["answers"]),
        republished=_republished(study),
        limits=[*limits.told(study, metric_table, made["comparisons"]), *limits.doubted(made["flips"])],
        cards=cards.model_cards(study, judged, metric_table, audit),
    )


def need_test_set(study: Study) -> None:
    """Nothing; raises TooFewSources where the sources are too few, after a report was written that describes them."""
    try:
        report.need_test_set(study)
    except TooFewSources as reason:
        shown = leakage.of_study(study, read_table(study, "sources"))
        report.save_table(shown, study, "leakage")
        figure, ax = plt.subplots(figsize=(7.5, 3.8))
        figures_leakage.leakage_bars(shown, ax=ax)
        report.show(figure, study, "8_leakage", leakage.sentence(shown))
        _write(study, [], judged=False, answers=[str(reason)], limits=limits.told(study, None, None))
        raise


def _write(study: Study, numbered: list, **content) -> Path:
    audit, sources = read_table(study, "audit"), read_table(study, "sources")
    known = [table for table in [tables.data(study, audit, sources), *numbered] if table]
    figures = _in_order(pictures.cards(study))
    numbers = {f"table-{table.name}": place for place, table in enumerate(known, 1)}
    numbers |= {f"figure-{card['name']}": place for place, card in enumerate(figures, 1)}
    leaked = read_table(study, "leakage") if table_path(study, "leakage").exists() else None
    own = {f"section:{card['section']}" for card in figures}
    own |= {"section:results-republished"} if "table-published" in numbers else set()
    own |= {"section:results-leakage"} if leaked is not None else set()
    own |= {"section:results-repetition"} if "table-repetition" in numbers else set()
    own |= {"section:results-robustness"} if content.get("robustness") else set()
    given = dict(
        study=study,
        title=words.TITLE,
        subtitle=f"{words.SUBTITLE}: {facts(study.data_name).title}",
        question=words.QUESTION,
        style=(PAPER / "paper.css").read_text(),
        level=f"{LEVEL:.0%}",
        facts=facts(study.data_name),
        caveat=CAVEAT,
        pictures=words.pictures(study, audit),
        data_sentence=readings.data_sentence(study, audit),
        use_sentence=readings.use_sentence(sources),
        verdict=audit_report.verdict(audit),
        conflicts_sentence=audit_report.conflicts_sentence(sources),
        shortcuts_sentence=audit_report.shortcuts_sentence(read_table(study, "shortcuts")),
        leakage_sentence="" if leaked is None else leakage.sentence(leaked),
        bad=sources[sources.status != "ok"][["path", "status"]].to_dict("records"),
        tables={table.name: table for table in known},
        figures=figures,
        numbers=numbers,
        sections=own,
        datasheets=cards.datasheets(study),
        files=_files(study),
        notebooks=[path.name for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))],
        notebook_folder="notebooks" if study.synthetic else "local/notebooks",
        stamp=stamp().drop("commit").to_dict(),
        contents=[],
        checklists=[],
    )  # fmt: skip
    template, given = _environment().get_template("paper.html.j2"), given | content
    # A first round shows which places this report has, so that the contents and the checklists can point to them.
    anchors = _anchors(template.render(**given), numbers)
    why = NOT_MADE if content["judged"] else NOT_JUDGED
    contents = [(name, text) for name, text in anchors.items() if "-" not in name and name not in ("top", "abstract")]
    lists = []
    for name, (title, full) in checklists.CHECKLISTS.items():
        rows = checklists.answered(name, anchors, why)
        lists.append(dict(name=name, title=title, full=full, rows=rows, counts=checklists.counted(rows)))
    target = study.report_dir / "report.html"
    write_text(target, template.render(**given | {"contents": contents, "checklists": lists}))
    return target


def _optional(study: Study, name: str, make):
    return make(read_table(study, name)) if table_path(study, name).exists() else None


def _republished(study: Study) -> list[str]:
    if not table_path(study, "published").exists():
        return []
    again = read_table(study, "published")
    parts = [republished.width_sentence(again), republished.ranking_sentence(republished.recall_ranking())]
    parts.append(republished.prevalence_sentence(republished.at_true_prevalence()))
    return [*parts, republished.selection_sentence(republished.best_of_runs())]


def _in_order(cards: list[dict]) -> list[dict]:
    """The figures in the order in which the page's sections come."""
    template = (PAPER / "paper.html.j2").read_text()
    return sorted(cards, key=lambda card: (template.rfind(f'"{card["section"]}"'), card["name"]))


def _files(study: Study) -> list[tuple[str, int]]:
    paths = sorted((study.report_dir / "tables").glob("*.csv"))
    return [(path.name, len(pd.read_csv(path))) for path in paths if path.stem != "timings"]


def _anchors(page: str, numbers: dict[str, int]) -> dict[str, str]:
    """What a link can point to, with the words of the link, in the order of the page."""
    named = {"top": "Title", "abstract": "Abstract"}
    for _, name, text in re.findall(r'<h([23]) id="([^"]+)">(.*?)</h\1>', page):
        named[name] = re.sub("<.*?>", "", text)
    return named | {name: _numbered(name, numbers) for name in numbers}


def _numbered(name: str, numbers: dict[str, int]) -> str:
    return f"{name.split('-', 1)[0].capitalize()} {numbers[name]}"


@pass_context
def _ref(context, name: str) -> Markup:
    """A link to a table, a figure or a section; its plain name where this report lacks it."""
    numbers = context["numbers"]
    if name in numbers:
        return Markup(f'<a href="#{name}">{_numbered(name, numbers)}</a>')
    plain = {"datasheets": "below", "cards": "Model cards"}.get(name)
    return Markup(f'<a href="#{name}">{plain}</a>') if plain else Markup(escape(name))


@pass_context
def _has(context, name: str) -> bool:
    return name in context["numbers"] or name in context["sections"]


def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(PAPER), autoescape=True, trim_blocks=True)
    made.filters["bold"] = _bold
    made.globals |= {"ref": _ref, "has": _has}
    return made


def _bold(text: str) -> str:
    """Markdown's ``**words**``, ``*words*`` and code as HTML; everything else escaped."""
    safe = re.sub(r"`(.+?)`", r"<code>\1</code>", str(escape(text)))
    safe = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe)
    return Markup(re.sub(r"\*(.+?)\*", r"<em>\1</em>", safe))
