"""Tell what studies.learning_curves found: what an outline is worth in labels, the figure and the README's block."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils.evaluation import auc
from pcos_utils.files import appearing
from pcos_utils.reporting import store
from pcos_utils.reporting.readme import write_block
from pcos_utils.reporting.text import interval, markdown, number
from studies import OUT

NAMES = {
    "unet_outlines": "U-Net, outlines (count)",
    "unet_labels": "U-Net, labels",
    "iustnet": "IustNet, labels",
    "densenet121d": "DenseNet121d, labels",
    "lite0_imagenet": "EfficientNet-Lite0, ImageNet features, labels",
    "lite0_random": "EfficientNet-Lite0, random features, labels",
}
COLOURS = dict(zip(NAMES, ("#D55E00", "#E69F00", "#CC79A7", "#009E73", "#0072B2", "#999999"), strict=True))
TITLES = {"phantoms": "phantoms, never seen", "real": "real frames, nothing trained on them"}


def worth(rankings: dict, weights: np.ndarray, seed: int = 0) -> list[dict]:
    """Return how many labelled phantoms rank as well as each number of outlined ones, for each method of labels.

    ``rankings``: by method and size, a list with the pairs of each seed. ``weights``: resamples of the phantoms. A
    method's curve is linear in the logarithm of the number between the sizes and never falls. 0 stands for "the least
    number is enough", infinity for "the largest is not". The interval is the percentiles over resamples of phantoms
    and of seeds.
    """
    generator, curves, sizes = np.random.default_rng(seed), {}, sorted({size for _, size in rankings})
    for (method, _), each in rankings.items():
        values = np.stack([auc.auc(ranking, weights) for ranking in each])  # (seeds, resamples)
        drawn = generator.integers(len(each), size=values.shape)
        resampled = np.take_along_axis(values, drawn, axis=0).mean(axis=0)
        observed = np.mean([auc.auc(ranking) for ranking in each])
        curves.setdefault(method, []).append(np.append(observed, resampled))
    found = []
    for method in [name for name in curves if name != "unet_outlines"]:
        of_labels = np.maximum.accumulate(np.stack(curves[method]))  # (sizes, 1 + resamples)
        for outlined, reached in zip(sizes, curves["unet_outlines"], strict=True):
            # A hair less, so that what a number just reaches needs no more than that number.
            pairs = zip(np.nextafter(reached, -1), of_labels.T, strict=True)
            labels = np.exp([np.interp(value, curve, np.log(sizes), -np.inf, np.inf) for value, curve in pairs])
            low, high = np.quantile(labels[1:], [0.025, 0.975], method="closest_observation")
            found.append({"method": method, "outlined": outlined, "labelled": labels[0], "low": low, "high": high})
    return found


def _number(value: float, sizes: list[int]) -> str:
    if value == 0:
        return f"at most {min(sizes):,}"
    return f"more than {max(sizes):,}" if np.isinf(value) else f"{float(f'{value:.2g}'):,.0f}"


def sentences(means: pd.DataFrame, differences: pd.DataFrame, table: pd.DataFrame) -> str:
    """Return what an outline is worth in labels, and what photographs are worth."""
    sizes, worth = sorted(means["size"].unique()), table.set_index(["method", "outlined"])
    twin = differences[(differences.method == "unet_labels") & (differences.on == "phantoms")].sort_values("size")
    gains = ", ".join(
        f"{interval(row)} at {row['size']:,}{'' if row.low > 0 else ' (not shown)'}" for _, row in twin.iterrows()
    )

    def labels(method: str, outlined: int) -> str:
        """Return how many labels so many outlines are worth, with the interval."""
        value, *edges = (_number(worth.loc[(method, outlined), name], sizes) for name in ("labelled", "low", "high"))
        return value if {*edges} == {value} else f"{value} [{', '.join(edges)}]"

    def each(outlined: int) -> str:
        """Return how many labels one of so many outlines is worth against ImageNet features, with the interval."""
        value, low, high = worth.loc[("lite0_imagenet", outlined), ["labelled", "low", "high"]] / outlined
        end = f"more than {max(sizes) / outlined:g}" if np.isinf(high) else number(high)
        return f"{number(value)} [{number(low)}, {end}]"

    few, *_, many = sizes
    at_most = means[means["size"] == many].set_index(["method", "on"])
    reach = {key: interval(row) for key, row in at_most.iterrows()}
    return (
        f"For U-Nets of one size, the AUC taught by outlines minus that taught by labels is {gains}. To match {few:,} "
        f"outlined phantoms, the U-Net needs {labels('unet_labels', few)} labelled ones, and frozen ImageNet features "
        f"need {labels('lite0_imagenet', few)}; to match {many:,} outlined ones, they need "
        f"{labels('lite0_imagenet', many)}. So against these features an outline is worth "
        f"{each(few)} labels at {few:,} and {each(many)} at {many:,}. "
        "(Intervals by resampling phantoms and seeds, of which three are few.) "
        f"Frozen features of EfficientNet-Lite0 with {many:,} labels reach {reach['lite0_imagenet', 'phantoms']} on "
        f"phantoms with ImageNet weights and {reach['lite0_random', 'phantoms']} with random ones; on real frames "
        f"{reach['lite0_imagenet', 'real']} and {reach['lite0_random', 'real']}."
    )


def block(means: pd.DataFrame, differences: pd.DataFrame, table: pd.DataFrame) -> str:
    """Return the README's block: the sentence, AUCs by method and size, and what outlines gain at each size."""
    sizes = sorted(means["size"].unique())
    parts = [sentences(means, differences, table)]
    for on, of in means.groupby("on", sort=False):
        cells = of.assign(cell=of.apply(interval, axis=1)).set_index(["method", "size"]).cell
        rows = [[NAMES[method], *(cells[method, size] for size in sizes)] for method in of.method.unique()]
        parts.append(markdown([f"AUC on {TITLES[on]}", *(f"{size:,}" for size in sizes)], rows))
    n, gains = means.groupby("on").sources.first(), differences[differences["size"] == max(sizes)]
    gained = {
        on: ", ".join(f"{NAMES[row.method]} {interval(row)}" for _, row in of.iterrows())
        for on, of in gains.groupby("on")
    }
    parts.append(
        f"*Means over {means.seeds.iloc[0]} seeds, {n['phantoms']:,} phantoms and {n['real']} sources; the intervals "
        "hold the variance over sources and that between seeds.* Outlines minus the others at "
        f"{max(sizes):,}, on phantoms: {gained['phantoms']}; on real frames: {gained['real']}."
    )
    return "\n\n".join(parts)


def write() -> None:
    """Write the figure and the README's block from the tables."""
    store.use_style()
    tables = [pd.read_csv(OUT / f"learning_curves{name}.csv") for name in ("", "_differences", "_worth")]
    shown, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    for ax, (on, of) in zip(axes, tables[0].groupby("on", sort=False), strict=True):
        for place, (method, rows) in enumerate(of.groupby("method", sort=False)):
            x = rows["size"] * 1.04 ** (place - 2.5)  # side by side
            error = [rows.value - rows.low, rows.high - rows.value]
            ax.errorbar(x, rows.value, error, fmt="o-", ms=4, lw=1.4, elinewidth=0.9, color=COLOURS[method],
                        label=NAMES[method])  # fmt: skip
        ax.axhline(0.5, color="black", lw=0.8, ls=":")
        ax.set(xscale="log", xlabel="phantoms that taught it", title=f"{TITLES[on]} (n = {rows.sources.iloc[0]:,})")
        sizes = sorted(of["size"].unique())
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.minorticks_off()
    axes[0].set_ylabel("AUC, 95 % interval over sources and seeds")
    axes[0].legend(fontsize=8, loc="lower left")
    with appearing(OUT / "learning_curves.png") as temporary:
        shown.savefig(temporary)
    write_block("learning-curves", block(*tables))
