"""Read the published numbers again: what 16 frames behind 252 images can show.

The published test set holds 30 copies of each of 4 polycystic frames and 11 of each of 12 normal ones (Heydari and
Alsibai, README and notebooks of the study). Counts: published_results.csv. Probabilities of the four original
polycystic frames, as the study's fourth notebook prints them: published_originals.csv.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr
from scipy.stats import beta, binom, binomtest
from sklearn.metrics import confusion_matrix

from pcos_utils.audit.summary import design_effect
from pcos_utils.data.splits import LAST_FRAME as ORIGINALS  # dataset B, whose share of polycystic frames is true
from pcos_utils.data.splits import TEST_FRAMES as FRAMES
from pcos_utils.data.splits import source_labels
from pcos_utils.evaluation import auc
from pcos_utils.evaluation.calibration import by_network
from pcos_utils.evaluation.intervals import RESAMPLES, Interval, exact, korn_graubard, resample
from pcos_utils.evaluation.metrics import decisions

COPIES = {1: 30, 0: 11}  # of each frame
CORRELATIONS = (0.5, 0.9)  # of the copies of one frame: flips and turns of an ovary rarely change an answer
# Of simulated runs: how many are looked at, how often each is right, and how alike copies of one frame are answered.
RUNS, ACCURACY, CORRELATION, DRAWS = (1, 3, 10, 20), 0.7, 0.8, 4_000
SHARED = 0.5  # correlation of runs in which frames are hard
BATCH = 32  # of the published validation, whose score was the mean over batches
COUNTS = ("tp", "fn", "fp", "tn")
CAVEAT = (
    "The published networks learnt from dataset B and were chosen by the test folder of its copies: on these images, "
    "or copies of them, the numbers are no test."
)


def published_results() -> pd.DataFrame:
    """Return the published networks with their counts on 252 images, as printed in the study."""
    return pd.read_csv(Path(__file__).parent / "published_results.csv")


def original_hits() -> pd.DataFrame:
    """Return whether each polycystic test frame (row) was called so by each network (column) with printed numbers."""
    table = pd.read_csv(Path(__file__).parent / "published_originals.csv")
    return table.pivot(index="frame", columns="model", values="p_normal") < 0.5


def intervals() -> pd.DataFrame:
    """Return one row per network, metric (recall, specificity, accuracy) and way of counting: naive, frames, n_eff.

    Columns: model, metric, value, way, n, low, high. ``naive``: Wilson on images as if each were a picture of its own.
    ``frames``: exact, on the hits among the original frames, where they were published. ``n_eff .5`` and
    ``n_eff .9``: exact on the number of independent images that the copies are worth at that correlation, as Korn and
    Graubard (1998) reduce it, because a few frames know little of their own spread.
    """
    families = {"recall": [COPIES[1]] * FRAMES[1], "specificity": [COPIES[0]] * FRAMES[0]}
    families["accuracy"] = families["recall"] + families["specificity"]
    originals, rows = original_hits().sum(), []
    for row in published_results().itertuples():
        hits = {"recall": row.tp, "specificity": row.tn, "accuracy": row.tp + row.tn}
        for metric, copies in families.items():
            images, frames = sum(copies), len(copies)
            value = hits[metric] / images
            naive = binomtest(hits[metric], images).proportion_ci(method="wilson")
            rows.append((row.model, metric, value, "naive", images, naive.low, naive.high))
            if metric == "recall" and row.model in originals:
                right = int(originals[row.model])
                rows.append((row.model, metric, right / frames, "frames", frames, *exact(right, frames)))
            for correlation in CORRELATIONS:
                n = korn_graubard(images / design_effect(copies, correlation), frames, images)
                rows.append((row.model, metric, value, f"n_eff {correlation}", n, *exact(value * n, n)))
    return pd.DataFrame(rows, columns=["model", "metric", "value", "way", "n", "low", "high"])


def recall_ranking() -> dict:
    """Return the paired comparison on the original frames, on which recall ranked DenseNet121d first.

    ``frames``; how many each network finds, by name; on how many they differ (``apart``); the exact McNemar ``p``.
    """
    hits = original_hits()
    apart = hits[hits.densenet121d != hits.iustnet].densenet121d
    p = float(binomtest(int(apart.sum()), len(apart)).pvalue)
    return {"frames": len(hits), **hits.sum().to_dict(), "apart": len(apart), "p": p}


def at_true_prevalence() -> pd.DataFrame:
    """Return the accuracy of each network at the share of polycystic frames in dataset B, and ``always_normal``'s."""
    prevalence = ORIGINALS[1] / sum(ORIGINALS.values())
    results = published_results()
    recall, specificity = results.tp / (results.tp + results.fn), results.tn / (results.tn + results.fp)
    accuracy = recall * prevalence + specificity * (1 - prevalence)
    return results[["model"]].assign(accuracy=accuracy, always_normal=1 - prevalence)


def best_of_runs(shared: float = SHARED) -> pd.DataFrame:
    """Simulate what the best of so many runs shows on the published test set, when all are equally often right.

    Columns: runs, mean, and ``reach``: the share of simulations in which the best reaches IustNet's published accuracy.
    A frame's share of right copies is beta distributed with mean ACCURACY and intra-frame CORRELATION; runs agree on
    which frames are hard by a Gaussian copula of correlation ``shared``.
    """
    rng, shape = np.random.default_rng(0), 1 / CORRELATION - 1
    copies = np.repeat([COPIES[1], COPIES[0]], [FRAMES[1], FRAMES[0]])
    shown = []
    for _ in range(DRAWS // 1000):
        hard = rng.normal(size=(1000, 1, len(copies)))
        of_run = rng.normal(size=(1000, max(RUNS), len(copies)))
        place = ndtr(np.sqrt(shared) * hard + np.sqrt(1 - shared) * of_run)
        chance = beta.ppf(place, ACCURACY * shape, (1 - ACCURACY) * shape)
        right = binom.rvs(copies, np.clip(chance, 0, 1), random_state=rng)
        shown.append(right.sum(axis=2) / copies.sum())
    best = np.maximum.accumulate(np.concatenate(shown), axis=1)[:, np.array(RUNS) - 1]
    target = published_results().set_index("model").loc["iustnet", ["tp", "tn"]].sum() / copies.sum()
    return pd.DataFrame({"runs": RUNS, "mean": best.mean(axis=0), "reach": (best >= target).mean(axis=0)})


def rerun(predictions: dict[str, pd.DataFrame | None]) -> pd.DataFrame:
    """Return one row per network, run (published, again) and level (image, frame): the counts and both accuracies.

    ``predictions``: test rows of the published protocol, by network; None where it was not run. By count: the share
    right; by batch: the mean over batches of 32 in the file's order, as the study averaged it, where the last batch
    is smaller and weighs as much. A frame is called by the mean logit of its copies; of the published only n is known.
    """
    rows, printed = [], published_results().set_index("model")
    for model, test in predictions.items():
        known = printed.loc[model]
        counts = known[[*COUNTS]].astype(int)
        accuracy = (known.tp + known.tn) / counts.sum()
        rows.append((model, "published", "image", counts.sum(), *counts, accuracy, known.accuracy_by_batch))
        for level, each in () if test is None else (("image", test), ("frame", _by_source(test))):
            called = each.logit.ge(0).astype(int)
            right = called == each.label
            (tn, fp), (fn, tp) = confusion_matrix(each.label, called, labels=[0, 1])
            by_batch = right.groupby(np.arange(len(right)) // BATCH).mean().mean() if level == "image" else np.nan
            rows.append((model, "again", level, len(each), tp, fn, fp, tn, right.mean(), by_batch))
    columns = ["model", "run", "level", "n", *COUNTS, "accuracy_by_count", "accuracy_by_batch"]
    return pd.DataFrame(rows, columns=columns)


def _by_source(test: pd.DataFrame) -> pd.DataFrame:
    each = by_network(test)  # one network, so a source has one row
    return each.assign(logit=each.raw_logit, called=each.raw_logit >= 0)


def at_one_half(test: pd.DataFrame, resamples: int, seed: int) -> tuple[auc.Pairs, dict[str, Interval], int]:
    """Return the ranking of test sources without folds, its AUC and decisions at probability .5, and their images."""
    each = _by_source(test)
    ranking = auc.pairs(each)
    weights = resample(ranking.label, resamples, seed)
    return ranking, {"auc": auc.interval(ranking, weights)} | decisions(each, weights), int(each.images.sum())


def of_folder(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return what the published networks' predictions on a folder are worth: a row per network, split and metric.

    ``predictions``: of ``published.networks.predict``. By source, decided at probability .5. Images without a label
    count nowhere, and a split whose sources lack a class has no rows: the table may be empty.
    """
    labelled, rows = predictions[predictions.label.notna()].astype({"label": int}), []
    for (model, split), part in labelled.groupby(["model", "folder_split"], sort=False):
        if source_labels(part).nunique() == 2:
            ranking, values, _ = at_one_half(part, RESAMPLES, 0)
            sizes = len(ranking.label), len(part)
            rows += [(model, split, metric, *value, *sizes) for metric, value in values.items()]
    columns = ["model", "folder_split", "metric", *Interval._fields, "sources", "images"]
    return pd.DataFrame(rows, columns=columns)
