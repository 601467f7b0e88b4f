"""Make the tables of a study from predictions: numbers alone, each with n and an interval or why there is none."""

import numpy as np
import pandas as pd

from pcos_utils import config
from pcos_utils.config import COUNT, MODELS
from pcos_utils.evaluation import auc, calibration, comparison, metrics, published
from pcos_utils.evaluation.baselines import REFERENCE
from pcos_utils.evaluation.intervals import FEW, RESAMPLES, Interval, resample
from pcos_utils.evaluation.predictions import UNFITTED, Loaded

GROUPED, PUBLISHED = "grouped", "published"
JUDGED = ["model", "repeat", "fold", "inner", "source", "label", "logit", "called"]
ANSWERS = ["model", "source", "label", "images", "probability", "called"]


def judge(loaded: Loaded) -> dict[str, pd.DataFrame]:
    """Return every method's test sources, judged by its folds, as ``calibration.judge`` does."""
    return {name: calibration.judge(rows) for name, rows in loaded.grouped.items()}


def evaluate(loaded: Loaded, judged: dict[str, pd.DataFrame], *, resamples: int = RESAMPLES, seed: int = 0) -> dict:
    """Return the tables of a study by name.

    ``metrics``: every method by source under grouped folds, and networks under the published split; ``comparisons``:
    the planned ones; ``thresholds``: what a fold fixed before it read a test source; ``judged``: each decision of the
    networks, the count and the reference; ``answers``: of networks and count for a source; ``repeats``: their AUC in a
    repeat; ``repetition``: how alike the networks' predictions for images of one source are; ``flips``: the count's
    AUC if labels were wrong; ``follicles``: what was counted in each image; ``published``: the published numbers with
    intervals; ``published_rerun``: the published protocol, published and again.
    """
    rankings = {name: auc.pairs(table) for name, table in judged.items()}
    studied = [name for name in judged if name in config.JUDGED]
    trained = {name: name not in UNFITTED for name in judged}
    how = {"resamples": resamples, "seed": seed}
    rows = []
    for name, table in judged.items():
        known = {"bare": loaded.bare.get(name), "dealt": loaded.dealt.get(name), "taught": loaded.taught[name]}
        rows.append(of_method(name, table, **known, **how))
    for name, test in loaded.published.items():
        ranking, values, images = published.at_one_half(test, resamples, seed)
        rows.append(_rows(name, PUBLISHED, values, ranking.label, loaded.crossing, images, loaded.taught[name]))
    named = pd.concat([table.assign(model=name) for name, table in judged.items()])
    rules = named.groupby(["model", "repeat", "fold"], sort=False)[list(calibration.Rule._fields)].first()
    answers = pd.concat([calibration.by_source(judged[name]).assign(model=name) for name in studied], ignore_index=True)
    of_repeat = named[named.model.isin(studied)].groupby(["model", "repeat"], sort=False)
    repeats = [(*key, float(auc.auc(auc.pairs(part)))) for key, part in of_repeat]
    results = {
        "metrics": pd.concat(rows, ignore_index=True),
        "comparisons": comparison.table(rankings, loaded.pairs, trained, **how),
        "judged": named[named.model.isin([*studied, REFERENCE])][JUDGED],
        "thresholds": rules.reset_index(),
        "answers": answers[ANSWERS],
        "repeats": pd.DataFrame(repeats, columns=["model", "repeat", "auc"]),
        "repetition": metrics.repetition(loaded.grouped, loaded.published),
        "flips": pd.DataFrame(),
        "published": published.intervals(),
        "published_rerun": published.rerun({name: loaded.published.get(name) for name in MODELS if name in judged}),
    }
    if COUNT in loaded.bare:
        results |= {COUNT: loaded.counted, "flips": auc.flips(auc.pairs(loaded.bare[COUNT])).assign(model=COUNT)}
    return results


def of_method(
    name: str, judged: pd.DataFrame, *, bare: pd.DataFrame | None = None, dealt: np.ndarray | None = None,
    taught: str = "", resamples: int = RESAMPLES, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Return the rows of metrics.csv of one method under grouped folds. The others: as in ``predictions.Loaded``.

    The AUC of a score that nothing was fitted to is over all pairs, of any other over those tested together.
    """
    ranking = auc.pairs(judged if bare is None else bare)
    test = comparison.against_chance(ranking, trained=name not in UNFITTED, dealt=dealt, resamples=resamples, seed=seed)
    weights = resample(ranking.label, resamples, seed)
    values = {"auc": test.auc} | metrics.decisions(judged, weights)
    values |= metrics.calibration(judged, weights, test.verdict == comparison.BETTER)
    images = int(judged.groupby("source").images.max().sum())
    table = _rows(name, GROUPED, values, ranking.label, crossing=0, images=images, taught=taught)
    table.loc[table.metric == "auc", ["p", "test", "verdict"]] = test.p, test.test, test.verdict
    return table


def _rows(
    name: str, protocol: str, values: dict[str, Interval], label: np.ndarray, crossing: int, images: int, taught: str
) -> pd.DataFrame:
    rows = [(name, protocol, metric, *value) for metric, value in values.items()]
    few = bool(np.bincount(label, minlength=2).min() < FEW)
    return pd.DataFrame(rows, columns=["model", "protocol", "metric", *Interval._fields]).assign(
        polycystic=int(label.sum()), few_sources=few, crossing_sources=crossing, p=np.nan, test="", verdict="",
        taught=taught, sources=len(label), images=images,
    )  # fmt: skip


def main_rows(table: pd.DataFrame, metric: str = "auc") -> pd.DataFrame:
    """Return the rows of one metric under grouped folds, one per method."""
    return table[(table.protocol == GROUPED) & (table.metric == metric)].reset_index(drop=True)


def surest(judged: pd.DataFrame, used: pd.DataFrame) -> pd.DataFrame:
    """Return the surest decisions of the first network of fold 0, right and wrong: at most two of an outcome.

    ``judged``: of one method; ``used``: the used rows of sources.csv. With ``image``, the first of the source,
    ``outcome`` (true or false, positive or negative) and ``title``.
    """
    rows = judged[judged[["repeat", "fold", "inner"]].eq(0).all(axis=1)]
    right = np.where(rows.called == (rows.label == 1), "true ", "false ").astype(object)
    outcome = right + np.where(rows.called, "positive", "negative")
    image = rows.source.map(used.drop_duplicates("source").set_index("source").path)
    rows = rows.assign(image=image, outcome=outcome, sure=rows.margin.abs())
    rows = rows.sort_values(["outcome", "sure", "source"], ascending=[False, False, True])
    chosen = rows.groupby("outcome", sort=False).head(2)
    return chosen.assign(title=chosen.outcome + "\nprobability " + chosen.probability.map("{:.2f}".format))
