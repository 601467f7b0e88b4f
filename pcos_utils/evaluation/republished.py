"""The published numbers, read again: what 16 frames behind 252 images can show.

The published test set holds 30 copies of each of 4 polycystic frames and 11 of each of 12 normal ones (Heydari and
Alsibai, README and notebooks of the study). Counts: published_results.csv; the answers on the four original
polycystic frames, as the study's fourth notebook prints them: published_originals.csv.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr
from scipy.stats import beta, binom, binomtest

from pcos_utils.evaluation import uncertainty
from pcos_utils.evaluation.figures import MODEL_NAMES
from pcos_utils.evaluation.readings import number
from pcos_utils.evaluation.rerun import published_results

FRAMES = {1: 4, 0: 12}
COPIES = {1: 30, 0: 11}
ORIGINALS = {1: 14, 0: 40}  # frames of dataset B, whose share of polycystic ones is the true one
CORRELATIONS = (0.5, 0.9)  # of the copies of one frame: flips and turns of an ovary rarely change an answer
DRAWS = 4_000
METRICS = (
    "accuracy", "recall", "specificity", "precision", "npv", "f1", "balanced_accuracy", "mcc", "lr_plus", "lr_minus",
)  # fmt: skip


def originals() -> pd.DataFrame:
    """Model, frame and published probability of *normal* of each original polycystic test frame."""
    return pd.read_csv(Path(__file__).parent / "published_originals.csv")


def point_metrics() -> pd.DataFrame:
    """One row per network: ``model`` and every one of ``METRICS``, from its four counts on 252 images."""
    rows = []
    for row in published_results().itertuples():
        tp, fn, fp, tn = row.tp, row.fn, row.fp, row.tn
        recall, specificity = tp / (tp + fn), tn / (tn + fp)
        spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        values = (
            (tp + tn) / (tp + fn + fp + tn), recall, specificity, tp / (tp + fp), tn / (tn + fn),
            2 * tp / (2 * tp + fp + fn), (recall + specificity) / 2, (tp * tn - fp * fn) / spread,
            recall / (1 - specificity), (1 - recall) / specificity,
        )  # fmt: skip
        rows.append({"model": row.model} | dict(zip(METRICS, values, strict=True)))
    return pd.DataFrame(rows)


def effective_images(copies: list[int], correlation: float) -> float:
    """The number of independent images that families of copies are worth (Kish's design effect)."""
    size = np.asarray(copies, float)
    return float(size.sum() / (1 + ((size**2).sum() / size.sum() - 1) * correlation))


def intervals() -> pd.DataFrame:
    """One row per network, metric (recall, specificity, accuracy) and way of counting: naive, frames, n_eff.

    Columns: model, metric, value, way, n, low, high. ``naive``: Wilson on images as if each were a picture of its own.
    ``frames``: exact, on the hits by frame: those on the originals where they were published, else the nearest whole
    number. ``n_eff .5`` and ``n_eff .9``: exact on the effective number of images at that correlation.
    """
    families = {"recall": [COPIES[1]] * FRAMES[1], "specificity": [COPIES[0]] * FRAMES[0]}
    families["accuracy"] = families["recall"] + families["specificity"]
    seen, rows = frame_hits(), []
    for row in published_results().itertuples():
        hits = {"recall": row.tp, "specificity": row.tn, "accuracy": row.tp + row.tn}
        for metric, copies in families.items():
            images, frames = sum(copies), len(copies)
            value = hits[metric] / images
            own = {"model": row.model, "metric": metric, "value": value}
            naive = binomtest(hits[metric], images).proportion_ci(method="wilson")
            rows.append(own | {"way": "naive", "n": images, "low": naive.low, "high": naive.high})
            right = seen[row.model] if metric == "recall" and row.model in seen else round(value * frames)
            low, high = uncertainty.exact_interval(right, frames)
            rows.append(own | {"value": right / frames, "way": "frames", "n": frames, "low": low, "high": high})
            for correlation in CORRELATIONS:
                n = effective_images(copies, correlation)
                low, high = uncertainty.exact_interval(value * n, n)
                rows.append(own | {"way": f"n_eff {number(correlation)}", "n": n, "low": low, "high": high})
    return pd.DataFrame(rows)


def frame_hits() -> dict[str, int]:
    """For each network whose answers were published: how many of the four original polycystic frames it found."""
    found = originals().assign(hit=lambda table: table.p_normal < 0.5)
    return found.groupby("model").hit.sum().astype(int).to_dict()


def recall_ranking() -> dict:
    """The paired comparison on the originals, on which recall ranked DenseNet121d first.

    ``frames``, ``first`` and ``second`` (frames found by DenseNet121d, by IustNet), ``only_first``, ``only_second``,
    and the exact McNemar ``p``.
    """
    hit = originals().pivot(index="frame", columns="model", values="p_normal") < 0.5
    first, second = hit.densenet121d, hit.iustnet
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    p = binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1.0
    counts = {"frames": len(hit), "first": int(first.sum()), "second": int(second.sum())}
    return counts | {"only_first": only_first, "only_second": only_second, "p": float(p)}


def at_true_prevalence() -> pd.DataFrame:
    """Accuracy of each network at the share of polycystic frames in dataset B, with always-normal's: model, accuracy,
    always_normal, prevalence."""
    prevalence = ORIGINALS[1] / sum(ORIGINALS.values())
    made = point_metrics()[["model", "recall", "specificity"]]
    accuracy = made.recall * prevalence + made.specificity * (1 - prevalence)
    return made[["model"]].assign(accuracy=accuracy, always_normal=1 - prevalence, prevalence=prevalence)


def best_of_runs(
    runs=(1, 3, 10, 20), *, accuracy: float = 0.7, correlation: float = 0.8, shared: float = 0.5, seed: int = 0
) -> pd.DataFrame:
    """What the best of so many runs shows on the published test set, when each is right with the same probability.

    Columns: runs, mean, low, high (95 % of simulations), and ``reach``: share in which the best reaches IustNet's
    published accuracy. A frame's share of right copies is beta distributed with mean ``accuracy`` and intra-frame
    ``correlation``; runs agree on which frames are hard by a Gaussian copula of correlation ``shared``.
    """
    rng, most = np.random.default_rng(seed), max(runs)
    copies = np.repeat([COPIES[1], COPIES[0]], [FRAMES[1], FRAMES[0]])
    shape = 1 / correlation - 1
    target = published_results().set_index("model").loc["iustnet"]
    target = (target.tp + target.tn) / copies.sum()
    shown = np.empty((DRAWS, most))
    for start in range(0, DRAWS, 1000):
        hard = rng.normal(size=(1000, 1, len(copies)))
        own = rng.normal(size=(1000, most, len(copies)))
        place = ndtr(np.sqrt(shared) * hard + np.sqrt(1 - shared) * own)
        chance = beta.ppf(place, accuracy * shape, (1 - accuracy) * shape)
        right = binom.rvs(copies, np.clip(chance, 0, 1), random_state=rng)
        shown[start : start + 1000] = right.sum(axis=2) / copies.sum()
    rows = []
    for count in runs:
        best = shown[:, :count].max(axis=1)
        low, high = np.quantile(best, [0.025, 0.975])
        rows.append((count, best.mean(), low, high, (best >= target).mean()))
    return pd.DataFrame(rows, columns=["runs", "mean", "low", "high", "reach"])


def width_sentence(table: pd.DataFrame) -> str:
    """What counting copies as pictures does to the recall of the best network. ``table`` as of ``intervals``."""
    recall = table[table.metric == "recall"].set_index(["model", "way"])
    model = recall.xs("naive", level="way").value.idxmax()
    naive, frames = recall.loc[(model, "naive")], recall.loc[(model, "frames")]
    bands = [recall.loc[(model, way)] for way in dict.fromkeys(table.way) if way.startswith("n_eff")]
    return (
        f"The published recall of {MODEL_NAMES[model]}, {number(naive.value)}, seems to be known to within "
        f"[{number(naive.low)}, {number(naive.high)}] when its {naive.n:.0f} images count as so many pictures. They "
        f"are copies of {frames.n:.0f} frames, which leave [{number(frames.low)}, {number(frames.high)}]; at a "
        f"correlation of {number(CORRELATIONS[0])} to {number(CORRELATIONS[1])} among copies the images are worth "
        f"{bands[0].n:.1f} to {bands[-1].n:.1f} pictures, and the interval is at least "
        f"[{number(bands[0].low)}, {number(bands[0].high)}]."
    )


def ranking_sentence(found: dict) -> str:
    """What the ranking by recall rests on. ``found`` as of ``recall_ranking``."""
    return (
        f"DenseNet121d was preferred for its recall. Of the {found['frames']} original polycystic frames it finds "
        f"{found['first']} and IustNet {found['second']}; they differ on {found['only_first'] + found['only_second']}, "
        f"and the exact paired test gives p = {number(found['p'])}: the data do not rank the two."
    )


def prevalence_sentence(table: pd.DataFrame) -> str:
    """Accuracies at the true share of polycystic frames beside always-normal's. ``table``: ``at_true_prevalence``."""
    each = ", ".join(f"{MODEL_NAMES[row.model]} {row.accuracy:.3f}".replace(" 0.", " .") for row in table.itertuples())
    below = [MODEL_NAMES[row.model] for row in table.itertuples() if row.accuracy < row.always_normal]
    whom = " and ".join(below) + (" stays" if len(below) == 1 else " stay") if below else "no network stays"
    always = f"{table.always_normal.iloc[0]:.3f}".replace("0.", ".")
    return (
        f"Copies made the classes equally large. At the true share of polycystic frames "
        f'({ORIGINALS[1]} of {sum(ORIGINALS.values())}) the accuracies are {each}; always answering "normal" gives '
        f"{always}, and {whom} below that."
    )


def selection_sentence(table: pd.DataFrame) -> str:
    """What choosing the best run on the test set adds. ``table`` as of ``best_of_runs``."""
    rows = table.set_index("runs")
    rest = ", ".join(f"{number(row['mean'])} of {count}" for count, row in rows.iterrows() if count > 1)
    ten = rows.loc[10]
    return (
        f"A network that is right {number(rows.loc[1, 'mean'])} of the time shows on average {rest} when the best of "
        f"so many runs is shown. At least ten runs were looked at on the published test frames, and the best of ten "
        f"such runs reaches IustNet's published accuracy in {ten.reach:.0%} of simulations."
    )
