"""All that is judged in a study, in one form: the networks, the count of follicles, and the simple readers.

Each has its answers on selection and on test sources; what is chosen, is chosen on the former (calibration.py).
"""

import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from pcos_utils.config import MODELS, Study, StudyError
from pcos_utils.data.splits import crossings, roles
from pcos_utils.evaluation import (
    baselines,
    calibration,
    clusters,
    comparison,
    guards,
    metrics,
    plan,
    readings,
    relabelled,
    report,
    uncertainty,
    within,
)
from pcos_utils.evaluation.figures import MODEL_NAMES
from pcos_utils.files import sha256
from pcos_utils.models import counts

TITLES = MODEL_NAMES | baselines.TITLES


def counted(study: Study) -> pd.DataFrame:
    """One row per used image: path, source, label and the means over the networks of what they found.

    Raises StudyError where the file is not what was counted.
    """
    found = counts.run(study)
    folder = study.runs_dir / counts.NAME
    if sha256(folder / "counts.csv") != json.loads((folder / "run.json").read_text()).get("counts_sha256"):
        raise StudyError(
            f"{folder / 'counts.csv'} is not what was counted; remove it and its run.json, and count again."
        )
    return found.drop(columns="network").groupby(["path", "source", "label"], sort=False).mean().reset_index()


def predictions(study: Study, name: str) -> pd.DataFrame:
    """Selection and test answers of one network, of the count of follicles, or of one simple reader.

    Raises StudyError where a fold is missing or a file is not what its run wrote.
    """
    if name in MODELS:
        return report.predictions(study, name, "grouped", None)
    table = report.read_table(study, "sources")
    if name == counts.NAME:
        return baselines.fold_predictions(counted(study)[["count"]], baselines.logistic(), table, study)
    return simple_readers(study)[name]


@functools.lru_cache(maxsize=1)
def simple_readers(study: Study) -> dict[str, pd.DataFrame]:
    """The predictions of every simple reader; with DenseNet201's untrained features where the study has them."""
    table = report.read_table(study, "sources")
    frozen = _untrained(study) if "densenet201" in report.trained_models(study) else None
    return baselines.predictions(study, table, frozen)


def _untrained(study: Study) -> np.ndarray:
    # The runs name the file of features that they share; to ask the network again took a tenth of this notebook.
    folder = study.runs_dir / "densenet201"
    first = next(folder.glob("ours/grouped/*/weights.safetensors"))
    with safe_open(first, "np") as stored:
        shared = folder / "features" / stored.metadata()["features"]
    return np.load(shared.with_suffix(".npy"), mmap_mode="r")[:, 0]


def judged(study: Study, name: str) -> pd.DataFrame:
    """One row per test source and repeat, calibrated, with the threshold that its fold fixed beforehand."""
    return calibration.judged(predictions(study, name))


def by_source(study: Study, name: str) -> pd.DataFrame:
    """One row per source: label, images, logit, probability, and whether it is called polycystic."""
    return calibration.by_source(judged(study, name))


def judged_names(study: Study) -> list[str]:
    """What the study judges: its trained networks, then the count, then the simple readers."""
    own = report.trained_models(study) + [name for name in study.models if name == counts.NAME]
    return own + list(simple_readers(study))


def table_of(study: Study, name: str) -> pd.DataFrame:
    """Every metric of one reader under grouped folds with its intervals: the columns of metrics.csv."""
    made = uncertainty.evidence_table(judged(study, name), resamples=study.resamples, seed=study.seed)
    return _marked(made, name, "grouped", "source")


def evaluate(study: Study) -> dict[str, pd.DataFrame]:
    """The tables of a study: metrics, comparisons, gains and those named below; all are saved.

    ``metrics``: all readers under grouped folds by source; the networks also by image, and under the published
    protocol. ``comparisons``: the planned pairs; ``gains``: each network and the count against the simple reader that
    came out best, which is picked after scoring. ``flips``: of both, if labels were wrong. ``repeats``: their AUC in
    each repeat. ``repetition``: how alike the networks' answers to images of one source are, where it has several.
    ``thresholds``: what every fold fixed before it read a test source. ``answers``: of the networks and the count for
    every source. Raises StudyError where a fold is missing, a source is tested that trained, or a threshold saw test
    data.
    """
    for name in judged_names(study):
        guards.as_drawn(study, name, predictions(study, name))
    across = crossings(roles(report.read_table(study, "sources"), "published", 0, 0, study.seed))
    each = {name: judged(study, name) for name in judged_names(study)}
    rows, alike = [table_of(study, name) for name in each], []
    for model in report.trained_models(study):
        images = metrics.by_image(report.predictions(study, model, "grouped"))
        pooled = _at_half(images, study).replace({"metric": {"auc": "auc_pooled"}})
        rows.append(_marked(pooled, model, "grouped", "image"))
        test = report.predictions(study, model, "published")
        guards.as_split(study, model, test)
        copies = metrics.by_image(test)
        for protocol, table in (("grouped", images), ("published", copies)):
            alike.append(clusters.repetition(table).assign(model=model, protocol=protocol))
        for level, table in (("source", metrics.by_source(test)), ("image", copies)):
            rows.append(_marked(_at_half(table, study), model, "published", level).assign(crossing_sources=across))
    made = pd.concat(rows, ignore_index=True)
    sources = {name: calibration.by_source(table) for name, table in each.items()}
    pairs = [pair for pair in plan.comparisons(study) if set(pair) <= set(each)]
    compared = comparison.comparison_table(each, pairs, resamples=study.resamples, seed=study.seed)
    own = [name for name in each if name in MODEL_NAMES]
    ranks = main_rows(made)[lambda rows: (rows.metric == "auc") & ~rows.model.isin(own)].set_index("model").value
    against = [(name, ranks.idxmax()) for name in own]
    gained = comparison.comparison_table(each, against, resamples=study.resamples, seed=study.seed)
    turned = [relabelled.flips(within.meetings(each[name])).assign(model=name) for name in own]
    decided = pd.concat([table.assign(model=name) for name, table in each.items()])
    rules = decided.groupby(["model", "repeat", "fold"], sort=False)[list(calibration.Rule._fields)].first()
    kept = ["source", "label", "images", "probability", "margin", "called"]
    given = [sources[name][kept].assign(model=name) for name in own]
    answers = pd.concat(given, ignore_index=True)[["model", *kept]]
    tables = {"metrics": made, "comparisons": compared, "gains": gained, "thresholds": rules.reset_index()}
    tables |= {"answers": answers, "flips": pd.concat(turned, ignore_index=True)}
    again = [row for name in own for row in _repeats(each[name], name)]
    tables["repeats"] = pd.DataFrame(again, columns=["model", "repeat", "auc"])
    columns = ["model", "protocol", *clusters.COLUMNS]
    of_copies = pd.concat(alike, ignore_index=True)[columns] if alike else pd.DataFrame(columns=columns)
    tables["repetition"] = of_copies[of_copies.images > of_copies.sources].reset_index(drop=True)
    for name, table in tables.items():
        report.save_table(table, study, name)
    verify(study, tables)
    report.join_timings(study)
    return tables


def verify(study: Study, tables: dict[str, pd.DataFrame]) -> None:
    """Nothing, where the tables lie as they were made and each threshold is the one that selection sources give.

    ``tables``: of ``evaluate``. Raises StudyError.
    """
    guards.as_written(study, tables)
    rules = report.read_table(study, "thresholds")
    for name in judged_names(study):
        guards.thresholds_of_selection(study, name, predictions(study, name), rules)


def main_rows(table: pd.DataFrame, protocol: str = "grouped") -> pd.DataFrame:
    """One row per reader and metric, by source: decisions are made where the protocol fixed it, at .5 if published."""
    at = uncertainty.BEFOREHAND if protocol == "grouped" else uncertainty.AT_HALF
    chosen = (table.protocol == protocol) & (table.level == "source") & ~table.beside.astype(bool)
    return table[chosen & table["at"].fillna("").astype(str).isin(["", at])]


def _repeats(table: pd.DataFrame, model: str) -> list[tuple]:
    met = {repeat: within.meetings(own) for repeat, own in table.groupby("repeat")}
    return [(model, repeat, float(within.auc(one, np.ones(len(one.label))))) for repeat, one in met.items()]


def _at_half(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    made = uncertainty.metric_table(table, resamples=study.resamples, seed=study.seed)
    return made.assign(at=np.where(made.metric.isin(uncertainty.DECIDED), uncertainty.AT_HALF, ""), beside=False)


def _marked(table: pd.DataFrame, model: str, protocol: str, level: str) -> pd.DataFrame:
    for place, (name, value) in enumerate({"model": model, "protocol": protocol, "level": level}.items()):
        table.insert(place, name, value)
    return table.assign(crossing_sources=0)


def main_table(table: pd.DataFrame, protocol: str = "grouped") -> pd.DataFrame:
    """The metrics of one protocol by source for reading: a row per reader, ``value [low, high]`` per metric."""
    chosen = main_rows(table, protocol)
    cells = chosen.assign(cell=chosen.apply(readings.interval, axis=1))
    wide = cells.pivot(index="model", columns="metric", values="cell").reindex(chosen.model.unique())
    wide = wide[list(metrics.METRICS)].rename(columns=metrics.METRICS)
    count = chosen.groupby("model")[["sources", "few_sources"]].first()
    wide.insert(0, "n sources", count.sources.astype(str) + np.where(count.few_sources, " (few)", ""))
    return wide.rename(index=TITLES).rename_axis(None).rename_axis(None, axis=1)


def answer(folder: Path) -> str:
    """The answer as a Markdown table for the README: one row per reader, AUC and decisions with interval and n.

    ``folder``: a study's report folder, of which plan.json and tables/metrics.csv are read.
    """
    planned = json.loads((folder / "plan.json").read_text())
    table = main_rows(pd.read_csv(folder / "tables" / "metrics.csv"))
    lines = ["| reader | AUC | recall | specificity | sources | verdict |", "|---|---|---|---|---|---|"]
    for model in (*MODELS, counts.NAME, plan.REFERENCE):
        rows = table[table.model == model].set_index("metric")
        if len(rows):
            cells = [readings.interval(rows.loc[name]) for name in ("auc", "recall", "specificity")]
            verdict = readings.verdict(rows.loc["auc"])
            lines.append(f"| {TITLES[model]} | {' | '.join(cells)} | {rows.sources.iloc[0]} | {verdict} |")
    how = planned["settings"]
    kind = "synthetic phantoms" if planned["study"].startswith("phantom") else planned["study"]
    repeated = f", repeated {how['repeats']} times" if how["repeats"] > 1 else ""
    note = (
        f"*The {how['preset']} study on {kind}, held-out sources of {how['folds']} grouped folds{repeated}; 95 % "
        "intervals over sources. AUC: the chance that a polycystic source scores above a normal one of the same fold; "
        ".5 is a coin. Recall and specificity at a threshold that the training part of each fold fixed beforehand.*"
    )
    if planned["supersedes"]:
        note += " *The plan was changed after results were there: read them as explored, not as planned.*"
    return "\n".join([*lines, "", note])
