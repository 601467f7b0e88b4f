"""Two figures that a student understands at a glance: copies counted as pictures, and copies on both sides."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils.evaluation.figures import MODEL_COLOURS, MODEL_NAMES
from pcos_utils.evaluation.readings import number

# Okabe and Ito's colours: the worse the split, the warmer.
SPLIT_COLOURS = {"random": "#D55E00", "hash": "#E69F00", "source": "#0072B2"}
SPLIT_WORDS = {
    "random": "images drawn\nat random",
    "hash": "look-alikes (hash)\nkept together",
    "source": "whole source pictures\nkept together",
}

PLAIN = dict(fc="white", ec="none", pad=1)  # behind words, so that no grid line runs through them


def leakage_bars(table: pd.DataFrame, *, title: str = "", ax: plt.Axes) -> plt.Axes:
    """Three bars: what one model scores on the same images under three splits, with intervals over sources.

    ``table`` as of ``leakage.compare``. Where a score cannot be had, the bar is the sentence that says why.
    """
    ax.axhline(0.5, color="0.25", ls=":", lw=1.3, zorder=1)
    ax.text(2.62, 0.505, "a coin", ha="right", va="bottom", fontsize="small", color="0.25")
    for place, row in enumerate(table.itertuples()):
        if pd.isna(row.value):
            ax.text(
                place, 0.25, _narrow(row.words), ha="center", va="center", fontsize=11, weight="bold",
                color=SPLIT_COLOURS[row.split],
                bbox=dict(boxstyle="round,pad=0.6", fc="white", ec=SPLIT_COLOURS[row.split], ls="--", lw=1.5),
            )  # fmt: skip
            continue
        ax.bar(place, row.value, width=0.62, color=SPLIT_COLOURS[row.split], zorder=2)
        ends = [[row.value - row.low], [row.high - row.value]]
        ax.errorbar(place, row.value, ends, fmt="none", ecolor="black", capsize=6, lw=1.6, zorder=3)
        words = f"{number(row.value)}\n[{number(row.low)}, {number(row.high)}]"
        ax.text(place, max(row.high, row.value) + 0.025, words, ha="center", va="bottom", fontsize=11, bbox=PLAIN)
        ax.text(
            place, 0.02, f"{row.shared:.0%} of the\ntest images\nhave a copy\nin training", ha="center", va="bottom",
            color="black" if row.split == "hash" else "white", fontsize=10, zorder=4,
        )  # fmt: skip
    ax.set_xticks(range(len(table)), [SPLIT_WORDS[split] for split in table.split])
    ax.set(xlim=(-0.55, 2.65), ylim=(0, 1.22), ylabel="balanced accuracy, out of fold", title=title)
    ax.set_yticks(np.arange(0, 1.01, 0.25))
    ax.grid(axis="x", visible=False)
    return ax


def naive_and_honest(table: pd.DataFrame, *, metric: str = "recall", ax: plt.Axes) -> plt.Axes:
    """Each network's published value with two intervals: thick, copies counted as pictures; thin, frames counted.

    ``table`` as of ``republished.intervals``.
    """
    rows = table[table.metric == metric]
    for place, (model, own) in enumerate(rows.groupby("model", sort=False)):
        colour, ways = MODEL_COLOURS[model], own.set_index("way")
        for way, lift, width in (("naive", -0.17, 7), ("frames", 0.17, 2.5)):
            row = ways.loc[way]
            ax.plot([row.low, row.high], [place + lift] * 2, color=colour, lw=width, solid_capstyle="butt")
            ax.plot(row.value, place + lift, "o", color=colour, mfc="white", mew=2, ms=8)
            count = f"{row.n:.0f} images" if way == "naive" else f"{row.n:.0f} frames"
            ends = f"{count}: [{number(row.low)}, {number(row.high)}]"
            ax.text(1.03, place + lift, ends, va="center", fontsize="small", color="0.2")
    ax.axvline(0.5, color="0.25", ls=":", lw=1.3)
    ax.text(0.5, 0.02, " a coin", transform=ax.get_xaxis_transform(), va="bottom", fontsize="small", color="0.25")
    ax.set_yticks(range(rows.model.nunique()), [MODEL_NAMES[model] for model in rows.model.unique()])
    ax.set(xlim=(0, 1), ylim=(rows.model.nunique() - 0.5, -0.6), xlabel=f"published {metric}")
    ax.set_title("95 % interval when every copy counts as a picture (thick),\nand when each frame counts once (thin)")
    ax.grid(axis="y", visible=False)
    return ax


def _narrow(words: str) -> str:
    return words.replace(": ", ":\n")
