"""The report's sentences that hold numbers, each made from the tables, the settings or the plan."""

import json

import pandas as pd

from pcos_utils.config import MODELS, ROOT, Study
from pcos_utils.data.audit import SOURCES
from pcos_utils.data.datasets import facts
from pcos_utils.data.splits import FEWEST_SOURCES
from pcos_utils.evaluation import baselines, headline, plan, republished, saliency_checks
from pcos_utils.evaluation import robustness as stress
from pcos_utils.evaluation.bootstrap import LEVEL
from pcos_utils.evaluation.figures import MODEL_NAMES
from pcos_utils.evaluation.metrics import THRESHOLD
from pcos_utils.evaluation.readings import many, model_sentence, number, start_sentence, verdict
from pcos_utils.evaluation.results import TITLES, main_rows
from pcos_utils.evaluation.uncertainty import FEW
from pcos_utils.files import sha256
from pcos_utils.models import counts
from pcos_utils.models.recipes import recipe

TITLE = "Polycystic or normal ovary in ultrasound images: deep networks, a follicle count and simple readers"
SUBTITLE = "Development and internal evaluation by source picture"
QUESTION = "Can a network tell polycystic from normal ovarian morphology in pictures that it has never seen?"


def pictures(study: Study, audit: pd.DataFrame) -> str:
    """How many independent pictures there are, for the first screen."""
    count = audit.set_index("fact")["count"]
    kind = "synthetic phantoms" if study.synthetic else facts(study.data_name).title
    both = count["sources that carry both labels"]
    carried = f" ({both:,} with both labels)" if both else ""
    return (
        f"**{many(count[SOURCES], 'independent picture')}**, {count['polycystic sources']:,} polycystic and "
        f"{count['normal sources']:,} normal{carried}, behind "
        f"{many(count['readable images'], 'readable image')} ({kind})."
    )


def answers(judged: list[str], metrics: pd.DataFrame) -> list[str]:
    """One sentence for each network and the count; the best AUC first."""
    rows = main_rows(metrics)
    value = rows[rows.metric == "auc"].set_index("model").value
    order = sorted(judged, key=lambda model: -value[model])
    return [model_sentence(model, metrics) for model in order]


def compared(comparisons: pd.DataFrame) -> str:
    """How the planned comparisons of the AUC ended."""
    rows = headline.difference_rows(comparisons)
    ends = rows.verdict.value_counts()
    told = {
        "better": "the first is better", "worse": "the first is worse", "equivalent": "the two are equivalent",
        "not shown": "a difference is not shown",
    }  # fmt: skip
    parts = [f"in {ends[name]} {words}" for name, words in told.items() if name in ends]
    return f"Of {many(len(rows), 'planned comparison')} of AUC, {', '.join(parts)}."


def interpretation(judged: list[str], metrics: pd.DataFrame) -> str:
    """Which networks, and the count or not, rank sources better than chance; and which are not shown to."""
    rows = main_rows(metrics)
    auc = rows[rows.metric == "auc"].set_index("model").loc[judged]
    found: dict[str, list[str]] = {"better than chance": [], "not shown to be better than chance": []}
    for model, row in auc.iterrows():
        found.setdefault(verdict(row), []).append(MODEL_NAMES[model])
    text = "; ".join(f"{words}: {', '.join(names)}" for words, names in found.items() if names)
    return f"{text[0].upper()}{text[1:]}."


def reference(metrics: pd.DataFrame) -> str:
    """What the best counter without a network reaches, which the plan named as the one to beat."""
    rows = main_rows(metrics)
    row = rows[(rows.model == plan.REFERENCE) & (rows.metric == "auc")]
    if row.empty:
        return ""
    one = row.iloc[0]
    return (
        f"The reader to beat ({TITLES[plan.REFERENCE]}, no network) has an AUC of {number(one.value)} "
        f"[{number(one.low)}, {number(one.high)}]: {verdict(one)}."
    )


def background() -> str:
    """What the published study's numbers rest on."""
    printed = republished.published_results()
    images = int(printed.iloc[0][["tp", "fn", "fp", "tn"]].sum())
    accuracy = [(row.tp + row.tn) / images for row in printed.itertuples()]
    frames, positive = sum(republished.FRAMES.values()), republished.FRAMES[1]
    return (
        f"The published study that is re-read here scored {many(images, 'image')} and reports accuracies from "
        f"{number(min(accuracy))} to {number(max(accuracy))}. Its images are copies of {many(frames, 'frame')}, "
        f"{positive} of them polycystic, and the same frames chose the networks."
    )


def protocol(study: Study) -> list[str]:
    """How the sources were dealt to folds, and what was decided where."""
    inner = (
        f"the training part of a fold is cut into {study.inners} inner parts that take turns to select"
        if study.inners > 1
        else "a share of the training sources of each fold selects"
    )
    return [
        f"Grouped protocol: {study.folds} stratified folds over sources, {many(study.repeats, 'repeat')}, seed "
        f"{study.seed}. All images of a source stand in one fold, so no source is in training and test; each source "
        f"is "
        f"judged once a repeat. Within, {inner}: sources that neither train nor test, on which the epoch, the "
        "calibration and the threshold are chosen.",
        f"Rules of the plan. Unit: {plan.RULES['unit']}; the AUC compares within each repeat. "
        f"Epoch: {plan.RULES['epoch']}.",
        "Published protocol: one split in the published proportions, with the known test frames on the test side, the "
        "published optimiser and rates, nothing selected; run once and labelled as such.",
    ]


def readers(study: Study, metrics: pd.DataFrame) -> list[str]:
    """Who is judged: networks, the count, simple readers; and how a picture becomes their input."""
    there = list(metrics[metrics.protocol == "grouped"].model.unique())
    sides = {model: recipe(model, "ours", study).side for model in there if model in MODELS}
    networks = [f"{MODEL_NAMES[model]} ({side} pixels a side)" for model, side in sides.items()]
    simple = [TITLES[model] for model in there if model in baselines.BASELINES or model == baselines.FROZEN]
    text = []
    if networks:
        text.append(
            f"{many(len(networks), 'network')}: {', '.join(networks)}. Pictures are read by one loader, scaled to "
            "squares of so many pixels and standardised, the same way in training and when a new picture is asked "
            "about. Classes are drawn in equal shares while a network trains."
        )
    if counts.NAME in there:
        text.append(
            "Follicle count: a network that phantoms alone have taught outlines follicles; their number is the only "
            "predictor of a logistic regression, fitted inside each fold."
        )
    text.append(
        f"{many(len(simple), 'simple reader')} under the same folds: {'; '.join(simple)}. They say what size, "
        "brightness, a thumbnail or texture achieve; the plan names one of them, "
        f"{TITLES[plan.REFERENCE]!r}, as the one to beat."
    )
    return text


def thresholds() -> list[str]:
    """Calibration, threshold and metrics, as the plan has them."""
    rules = plan.RULES
    return [
        f"Calibration: {rules['calibration']}. Threshold: {rules['threshold']}. A probability of {number(THRESHOLD)} "
        f"is "
        "told beside it. Nothing is chosen on a test source: every evaluation computes the thresholds a second time "
        "from the selection rows alone and stops where one differs.",
    ]


def metrics_named() -> list[str]:
    """The metrics that the plan names."""
    return [
        f"Primary: {plan.RULES['primary_metric'].upper()} by source, {plan.RULES['auc']}; scores of different folds "
        "are not compared, because each fold's calibration knows the base rate of what it was shown (average precision "
        "and precision over recall do pool the calibrated scores of all folds). Secondary: "
        f"{plan.RULES['secondary_metrics'][0].replace('below', 'fixed beforehand')}. "
        "Besides: average precision with the prevalence as its line, MCC, Brier score with its baseline, likelihood "
        "ratios, predictive values at stated prevalences, calibration and net benefit. Image-level numbers stand in "
        "metrics.csv with their protocol and are not read here."
    ]


def intervals(study: Study) -> list[str]:
    """What the intervals are, and how few sources there may be."""
    return [
        f"Intervals at {LEVEL:.0%}: {plan.RULES['intervals'].split(': ', 1)[1]}; {study.resamples:,} resamples of "
        "whole sources, stratified by class. Their coverage where all sources are compared was simulated "
        "(interval_coverage.csv in reports/benchmarks), and within folds, of differences too (folds_coverage.csv). "
        f"With fewer than {FEW} sources of a class a bootstrap interval is too narrow, and the row says so.",
        f"Sample size: what there is. A test set needs {max(FEWEST_SOURCES, study.folds)} sources of each class; with "
        "fewer no score is given, because even a faultless reader could not be told from a coin.",
    ]


def pairs(study: Study) -> list[str]:
    """The planned comparisons and the rules that read them."""
    named = [f"{TITLES[first]} with {TITLES[second]}" for first, second in plan.comparisons(study)]
    return [
        f"{many(len(named), 'comparison')}, planned: {'; '.join(named)}. Paired over "
        f"sources. "
        f"{plan.RULES['error_rate']}; {plan.RULES['equivalence']}."
    ]


def hashes(study: Study) -> str:
    """Which plan and which sources the report was made from."""
    kept = json.loads(study.plan_path.read_text()).get("sources_sha256")
    sources = sha256(study.report_dir / "sources.csv")
    same = "the same as the plan's" if kept == sources else "not the plan's"
    return f"The drawn sources (sources.csv, {sources[:12]}) are {same}."


def starts(study: Study, runs: pd.DataFrame | None) -> str:
    """A warning where a network could not start as planned; else an empty text."""
    told = "" if runs is None else start_sentence(study, runs).removeprefix("> ")
    return told if "Without" in told else ""


def repeats(table: pd.DataFrame) -> str:
    """How far the AUC moves when folds, first weights and order of pictures are drawn anew; empty for one repeat."""
    drawn = table.groupby("model", sort=False).auc
    told = [
        f"{MODEL_NAMES[model]} {number(own.std(ddof=1))} (from {number(own.min())} to {number(own.max())})"
        for model, own in drawn
        if len(own) > 1
    ]
    if not told:
        return ""
    return (
        f"Over {many(int(drawn.size().max()), 'repeat')}, each with folds, first weights and order of pictures of its "
        f"own, the AUC has a standard deviation of {'; '.join(told)}. That is the chance of training, of which the "
        "intervals know nothing."
    )


def robustness(study: Study) -> list[str]:
    """What breaks the readers and where their maps lie, if it was checked under this study's plan; else nothing."""
    place = ROOT / "reports" / "benchmarks"
    if not (place / "stress.json").exists():
        return []
    plans = {
        one["sha256"].get(f"{study.name}/plan.json") for one in json.loads((place / "stress.json").read_text()).values()
    }
    if plans != {sha256(study.plan_path)}:
        return []
    curves, shares = (pd.read_csv(place / f"stress_{name}.csv") for name in ("curves", "shares"))
    made = [stress.sentence(own, TITLES[name]) for name, own in curves.groupby("reader", sort=False)]
    return [*made, saliency_checks.sentence(shares, TITLES)]
