"""Does a 95 % interval hold the truth in 95 of 100 studies? Every interval of the study, on simulated studies.

    python -m benchmarks.interval_coverage --studies 1000

A source carries 30 copies (polycystic) or 11 (normal), a quarter of the sources is polycystic, two at least. Copies
have normal scores; ``correlation`` is that of the scores of two copies of one source. Recall: scores are called right
with a chance of .75 an image. AUC: .80 of the mean score of a source. Each interval is asked for the quantity that it
estimates (column ``of``): an image-level interval for the image-level truth, a source-level one for the source's.
``coverage`` counts studies in which the interval exists; ``undefined`` is the share in which it does not;
``error`` is 1.96 standard errors of the coverage by the number of studies.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm

from pcos_utils import config
from pcos_utils.evaluation import bootstrap, clusters, delong, figures, metrics, uncertainty
from pcos_utils.files import appearing, write_csv

OUT = config.ROOT / "reports" / "benchmarks" / "interval_coverage.csv"
SOURCES, CORRELATIONS = (4, 16, 54, 200), (0.0, 0.3, 0.6, 0.9)
COPIES = {1: 30, 0: 11}
RECALL, AUC = 0.75, 0.80
NAMES = {
    "wilson": "Wilson, images as if independent",
    "exact": "exact binomial on sources",
    "percentile": "percentile bootstrap over sources",
    "bca": "BCa bootstrap over sources",
    "cluster_t": "cluster t",
    "delong_images": "DeLong, images as if independent",
    "delong": "DeLong on sources, logit",
    "newcombe": "Newcombe's score interval on sources",
}


def scores(sources: int, copies: int, correlation: float, rng) -> np.ndarray:
    """Scores of the copies of each source, shape (sources, copies), with mean 0 and variance 1."""
    own = rng.normal(size=(sources, 1)) * np.sqrt(correlation)
    return own + rng.normal(size=(sources, copies)) * np.sqrt(1 - correlation)


def recall_study(positives: int, correlation: float, resamples: int, rng) -> dict[str, tuple]:
    """Lower end, upper end and truth of each recall interval in one simulated study."""
    shift, copies = norm.ppf(RECALL), COPIES[1]
    made = scores(positives, copies, correlation, rng) + shift
    hits, found = (made >= 0).sum(axis=1), int((made.mean(axis=1) >= 0).sum())
    of_source = norm.cdf(shift / np.sqrt(correlation + (1 - correlation) / copies))
    weights = rng.multinomial(positives, np.full(positives, 1 / positives), size=resamples)
    draws, value = weights @ hits / (positives * copies), hits.mean() / copies
    left_out = (hits.sum() - hits) / ((positives - 1) * copies)
    naive = binomtest(int(hits.sum()), positives * copies).proportion_ci(method="wilson")
    return {
        "wilson": (naive.low, naive.high, RECALL),
        "percentile": (*bootstrap.percentile_interval(draws)[:2], RECALL),
        "bca": (*bootstrap.bca_interval(value, draws, left_out, np.ones(positives))[:2], RECALL),
        "cluster_t": (*t_interval(hits, np.full(positives, copies)), RECALL),
        "exact": (*uncertainty.exact_interval(found, positives), of_source),
    }


def t_interval(hits: np.ndarray, images: np.ndarray) -> tuple[float, float]:
    """The cluster t interval, undefined where all sources agree to the last copy."""
    return (np.nan, np.nan) if np.ptp(hits) == 0 else clusters.cluster_t_interval(hits, images)


def auc_study(positives: int, negatives: int, correlation: float, resamples: int, rng) -> dict[str, tuple]:
    """Lower end, upper end and truth of each AUC interval in one simulated study."""
    spread = [correlation + (1 - correlation) / COPIES[label] for label in (1, 0)]
    shift = norm.ppf(AUC) * np.sqrt(sum(spread))
    groups = [scores(positives, COPIES[1], correlation, rng) + shift, scores(negatives, COPIES[0], correlation, rng)]
    label = np.repeat([1, 0], [positives, negatives])
    score = np.concatenate([group.mean(axis=1) for group in groups])
    table = pd.DataFrame({"source": np.arange(len(label)), "label": label})
    weights = bootstrap.source_weights(table, resamples, int(rng.integers(2**31)))
    left_out, classes = bootstrap.jackknife_weights(table)
    value, draws = float(metrics.auc(label, score, np.ones(len(label)))), metrics.auc(label, score, weights)
    images = np.repeat(label, [group.shape[1] for group in groups for _ in group])
    return {
        "delong_images": (
            *delong_interval(images, np.concatenate([group.ravel() for group in groups])),
            norm.cdf(shift / np.sqrt(2)),
        ),
        "percentile": (*bootstrap.percentile_interval(draws)[:2], AUC),
        "bca": (*bootstrap.bca_interval(value, draws, metrics.auc(label, score, left_out), classes)[:2], AUC),
        "delong": (*delong_interval(label, score), AUC),
        "newcombe": (*delong.score_interval(label, score), AUC),
    }


def delong_interval(label: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """DeLong's interval on the logit's scale."""
    (value,), variance = delong.covariance(label, score)
    return delong.interval(value, variance[0, 0])[:2]


def coverage(studies: int, resamples: int, seed: int) -> pd.DataFrame:
    """One row per metric, interval, number of sources and correlation."""
    rows = []
    for sources in SOURCES:
        positives = max(2, round(sources / 4))
        for correlation in CORRELATIONS:
            rng = np.random.default_rng([seed, sources, round(10 * correlation)])
            for metric in ("recall", "auc"):
                made: dict[str, list] = {}
                for _ in range(studies):
                    if metric == "recall":
                        found = recall_study(positives, correlation, resamples, rng)
                    else:
                        found = auc_study(positives, sources - positives, correlation, resamples, rng)
                    for name, ends in found.items():
                        made.setdefault(name, []).append(ends)
                for name, ends in made.items():
                    rows.append(
                        {"metric": metric, "interval": name, "of": "image" if name in images_of(metric) else "source"}
                        | {"sources": sources, "polycystic": positives, "correlation": correlation}
                        | summarised(np.array(ends))
                        | {"studies": studies, "resamples": resamples}
                    )
                    print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def images_of(metric: str) -> tuple[str, ...]:
    """The intervals whose truth is that of an image."""
    return ("wilson", "percentile", "bca", "cluster_t") if metric == "recall" else ("delong_images",)


def summarised(ends: np.ndarray) -> dict[str, float]:
    """Truth, coverage, its error, mean width and share of undefined intervals. Ends: low, high, truth: (studies, 3)."""
    there = ~np.isnan(ends[:, 0])
    if not there.any():
        return {"truth": ends[0, 2], "coverage": np.nan, "error": np.nan, "width": np.nan, "undefined": 1.0}
    low, high, truth = ends[there].T
    share = float(((low <= truth) & (truth <= high)).mean())
    error = 1.96 * np.sqrt(max(share * (1 - share), 0.95 * 0.05 / 4) / there.sum())
    width, undefined = float((high - low).mean()), float(1 - there.mean())
    return {"truth": truth[0], "coverage": share, "error": error, "width": width, "undefined": undefined}


def draw(table: pd.DataFrame) -> plt.Figure:
    """Coverage over the number of sources, a panel for each metric and correlation."""
    figures.use_style()
    colours = dict(
        zip(
            NAMES, ("#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#000000"), strict=True
        )
    )
    figure, axes = plt.subplots(2, len(CORRELATIONS), figsize=(13, 6.5), sharex=True, sharey=True)
    for line, metric in zip(axes, ("recall", "auc"), strict=True):
        for ax, correlation in zip(line, CORRELATIONS, strict=True):
            rows = table[(table.metric == metric) & (table.correlation == correlation)]
            ax.axhline(0.95, color="k", ls=":", lw=1)
            for place, (name, own) in enumerate(rows.groupby("interval", sort=False)):
                x = np.arange(len(own)) + 0.09 * (place - 2)  # beside each other, lest they hide each other
                mark = "s--" if name in ("wilson", "delong_images") else "o-"
                ax.errorbar(x, own.coverage, own.error, fmt=mark, ms=4, lw=1.2, color=colours[name], label=NAMES[name])
            ax.set_xticks(range(len(SOURCES)), SOURCES)
            ax.set_title(f"{'recall' if metric == 'recall' else 'AUC'}, correlation {correlation:g}", fontsize="medium")
        line[0].set(ylabel="studies whose interval\nholds the truth", ylim=(0, 1.02))
        line[0].legend(fontsize="x-small", loc="lower right", frameon=True)
    for ax in axes[-1]:
        ax.set_xlabel("sources")
    return figure


def main() -> None:
    """Prints and writes the table, and draws it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    table = coverage(options.studies, options.resamples, options.seed)
    write_csv(options.out, table.round(4))
    figure = draw(table)
    for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
        with appearing(options.out.with_suffix(suffix)) as path:
            figure.savefig(path, bbox_inches="tight", metadata=metadata)


if __name__ == "__main__":
    main()
