"""Plot the data: what is there, what separates the classes, and what leakage is worth; as in figures_results."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from pcos_utils.config import CLASS_NAMES
from pcos_utils.reporting.text import ends, number

# Okabe and Ito's colours, which colour-blind readers tell apart. The worse the split, the warmer.
CLASS_COLOURS = {"normal": "#0072B2", "polycystic": "#D55E00"}
SPLIT_COLOURS = {"random": "#D55E00", "hash": "#E69F00", "source": "#0072B2"}
SPLIT_WORDS = {
    "random": "images drawn\nat random", "hash": "look-alikes (hash)\nkept together",
    "source": "whole source pictures\nkept together",
}  # fmt: skip
PLAIN = dict(fc="white", ec="none", pad=1)  # behind words, so that no grid line runs through them


def class_overview(sources: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Plot the number of images and of source pictures in each class."""
    used = sources[sources.status == "ok"]
    counts = used.groupby("label").agg(images=("path", "size"), sources=("source", "nunique")).reset_index()
    long = counts.melt("label", var_name="counted", value_name="count").replace({"label": CLASS_NAMES})
    sns.barplot(long, x="counted", y="count", hue="label", palette=CLASS_COLOURS, ax=ax)
    for bars in ax.containers:
        ax.bar_label(bars, padding=2)
    ax.set(xlabel="", ylabel="number", title="Images and source pictures")
    ax.margins(y=0.3)
    ax.legend(title="", frameon=True, loc="upper center", ncols=2)
    return ax


def size_overview(sources: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Plot width and height of the images; the area of a point grows with how many images share that size."""
    sizes = sources[sources.status == "ok"].groupby(["label", "width", "height"]).size().reset_index(name="images")
    sizes = sizes.replace({"label": CLASS_NAMES})
    sns.scatterplot(
        sizes, x="width", y="height", hue="label", size="images", sizes=(30, 300), alpha=0.6,
        palette=CLASS_COLOURS, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="width, pixels", ylabel="height, pixels", title="Image sizes")
    ax.set(xlim=(0, sizes.width.max() * 1.15), ylim=(0, sizes.height.max() * 1.15))
    ax.legend(fontsize="small", frameon=True, loc="lower right")
    return ax


def copies_overview(counted: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Plot how many images show each source picture, the most copied first. ``counted``: of ``summary.copies``."""
    label = np.select([counted.polycystic == 0, counted.normal == 0], ["normal", "polycystic"], "both labels")
    rank = np.arange(1, len(counted) + 1)
    for name, colour in (CLASS_COLOURS | {"both labels": "#000000"}).items():
        if (label == name).any():
            ax.bar(rank[label == name], counted.images[label == name], width=1, lw=0, color=colour, label=name)
    ax.set(xlabel="source picture, by rank", ylabel="images", title="Copies of each source picture")
    ax.locator_params(integer=True)
    ax.set_ylim(0, counted.images.max() * 1.3)
    ax.legend(frameon=True, loc="upper right", ncols=3, fontsize="small")
    return ax


def shortcuts_overview(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Plot the AUC of each shortcut under both splits with its interval. ``table``: of ``shortcuts.separation``."""
    names = list(table.shortcut.unique())
    for split, words, lift in (("random", "images drawn at random", 0.13), ("source", "whole sources drawn", -0.13)):
        colour = SPLIT_COLOURS[split]
        rows = table[table.split == split].set_index("shortcut").reindex(names).dropna(subset=["value"])
        height = len(names) - 1 - np.array([names.index(name) for name in rows.index], float) + lift
        ax.hlines(height, rows.low, rows.high, color=colour, lw=2)
        ax.plot(rows.value, height, "o", color=colour, label=words)
    ax.axvline(0.5, color="0.3", ls=":", lw=1)
    ax.set_yticks(range(len(names)), names[::-1])
    ax.set(xlabel="AUC, out of fold", xlim=(-0.02, 1.02), title="What separates the classes without a follicle")
    ax.legend(frameon=True, fontsize="small", loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2)
    return ax


def counts_overview(truth: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Plot how many phantoms of each class show how many follicles in the section. Columns: FNPS, label."""
    named, how = truth.replace({"label": CLASS_NAMES}), dict(discrete=True, multiple="dodge", shrink=0.8)
    sns.histplot(named, x="FNPS", hue="label", palette=CLASS_COLOURS, ax=ax, **how)
    ax.set(xlabel="follicles in the section (FNPS)", ylabel="phantoms")
    ax.get_legend().set_title("whole ovary")
    return ax


def leakage_bars(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Plot the scores of ``leakage.compare`` under three splits, or, where there is none, a sentence that says why."""
    ax.axhline(0.5, color="0.25", ls=":", lw=1.3, zorder=1)
    ax.text(2.62, 0.505, "a coin", ha="right", va="bottom", fontsize="small", color="0.25")
    table = table[table.split.isin(SPLIT_WORDS)]
    for place, row in enumerate(table.itertuples()):
        if pd.isna(row.value):
            ax.text(
                place, 0.25, row.words.replace(": ", ":\n"), ha="center", va="center", fontsize=11, weight="bold",
                color=SPLIT_COLOURS[row.split],
                bbox=dict(boxstyle="round,pad=0.6", fc="white", ec=SPLIT_COLOURS[row.split], ls="--", lw=1.5),
            )  # fmt: skip
            continue
        ax.bar(place, row.value, width=0.62, color=SPLIT_COLOURS[row.split], zorder=2)
        bars = [[row.value - row.low], [row.high - row.value]]
        ax.errorbar(place, row.value, bars, fmt="none", ecolor="black", capsize=6, lw=1.6, zorder=3)
        words = f"{number(row.value)}\n{ends(row.low, row.high)}"
        ax.text(place, max(row.high, row.value) + 0.025, words, ha="center", va="bottom", fontsize=11, bbox=PLAIN)
        ax.text(
            place, 0.02, f"{row.shared:.0%} of the\ntest images\nhave a copy\nin training", ha="center", va="bottom",
            color="black" if row.split == "hash" else "white", fontsize=10, zorder=4,
        )  # fmt: skip
    ax.set_xticks(range(len(table)), [SPLIT_WORDS[split] for split in table.split])
    ax.set(xlim=(-0.55, 2.65), ylim=(0, 1.22), ylabel="balanced accuracy, out of fold", yticks=np.arange(0, 1.01, 0.25))
    ax.grid(axis="x", visible=False)
    return ax
