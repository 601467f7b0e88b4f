"""Figures of what happens when pictures, networks or the truth are changed, and of what was called wrongly."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils.evaluation.figures import MODEL_COLOURS, MODEL_NAMES
from pcos_utils.evaluation.relabelled import CRITERIA
from pcos_utils.evaluation.robustness import STRESSES
from pcos_utils.evaluation.saliency_checks import COMPARED, METHOD_NAMES

MARKERS = {"densenet201": "s", "densenet121d": "^", "iustnet": "D", "follicles": "o"}
ACROSS = 16  # pictures in a row of a sheet of failures


def stress_curve(table: pd.DataFrame, *, stress: str, ax: plt.Axes) -> plt.Axes:
    """The AUC of each reader over the severities of one stress, with 95 % bands; the untouched picture is marked.

    ``table``: as of ``robustness.curves``, with ``reader``. Severities stand at even distances: their scales differ.
    """
    severities = list(STRESSES[stress].severities)
    places = np.arange(len(severities))
    own = table[(table.stress == stress) & (table.metric == "auc")]
    for reader, rows in own.groupby("reader", sort=False):
        rows = rows.set_index("severity").reindex(severities)
        ax.fill_between(places, rows.low, rows.high, color=MODEL_COLOURS[reader], alpha=0.15, lw=0)
        ax.plot(
            places, rows.value, marker=MARKERS[reader], color=MODEL_COLOURS[reader], lw=1.8, ms=5,
            label=MODEL_NAMES[reader],
        )  # fmt: skip
    ax.axhline(0.5, color="0.3", ls=":", lw=1)
    ax.axvline(severities.index(STRESSES[stress].untouched), color="0.3", lw=1)
    ax.set_xticks(places, [f"{severity:g}" for severity in severities])
    ax.set(xlabel=STRESSES[stress].unit, ylim=(0.25, 1), title=stress)
    return ax


def stress_sheet(table: pd.DataFrame, *, columns: int = 4) -> plt.Figure:
    """Every stress of ``robustness.curves`` in a panel of its own; the last place holds the legend."""
    names = list(table.stress.unique())
    rows = -(-(len(names) + 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3 * columns, 2.7 * rows), sharey=True, squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        stress_curve(table, stress=name, ax=ax)
    for ax in axes.flat[len(names) :]:
        ax.axis("off")
    for row in axes:
        row[0].set_ylabel("AUC")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    handles += [plt.Line2D([], [], color="0.3", lw=1), plt.Line2D([], [], color="0.3", lw=1, ls=":")]
    title = f"{table.sources.iloc[0]} sources, 95 % bands"
    axes.flat[len(names)].legend(
        handles, [*labels, "the picture as it is", "a coin"], loc="center", frameon=False, title=title
    )
    return figure


def share_points(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Points with intervals: the share of the saliency inside follicles, beside a uniform map and random weights.

    ``table``: as of ``saliency_checks.share_table``, with ``reader``.
    """
    names = []
    for height, (_, row) in enumerate(table.iterrows()):
        colour = MODEL_COLOURS[row.reader]
        names.append(f"{MODEL_NAMES[row.reader]}\n{METHOD_NAMES.get(row.method, row.method)}")
        if pd.isna(row.value):
            ax.text(0.02, height, "every map is empty", va="center", fontsize="small", color=colour)
            continue
        ax.plot([row.low, row.high], [height, height], color=colour, lw=2)
        ax.plot(row.value, height, MARKERS[row.reader], color=colour)
        ax.plot(row.uniform, height, "|", color="black", ms=14, mew=2)
        ax.plot(row.random, height, "x", color="black", ms=7, mew=1.5)
    ax.set_yticks(range(len(table)), names, fontsize="small")
    ax.set(xlim=(0, 1), ylim=(len(table) - 0.4, -0.6), xlabel="share of the saliency inside follicles")
    ax.grid(axis="y", visible=False)
    handles = [
        plt.Line2D([], [], marker=marker, color="black", ls="", ms=size, mew=2, label=words)
        for marker, size, words in (("|", 12, "a uniform map"), ("x", 7, "the same network, random weights"))
    ]
    ax.legend(handles=handles, frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(-0.1, 1), ncols=2)
    return ax


def check_points(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Agreement of a network's maps with those of three others, by network and method, with intervals over sources.

    ``table``: as of ``saliency_checks.check_table``, with ``reader``. 1: the map did not notice; 0: it is another.
    """
    groups = list(table.groupby(["reader", "method"], sort=False))
    for i, (against, colour, marker) in enumerate(zip(COMPARED, ("#009E73", "#D55E00", "#CC79A7"), "o^D", strict=True)):
        rows = pd.concat([part[part.against == against] for _, part in groups])
        height = np.arange(len(groups)) + 0.22 * (i - 1)
        ax.hlines(height, rows.low, rows.high, color=colour, lw=2)
        ax.plot(rows.value, height, marker, color=colour, ls="", label=against)
    ax.axvline(0, color="0.3", ls=":", lw=1)
    names = [f"{MODEL_NAMES[reader]}\n{METHOD_NAMES[method]}" for (reader, method), _ in groups]
    ax.set_yticks(range(len(groups)), names, fontsize="small")
    ax.set(xlim=(-0.5, 1), ylim=(len(groups) - 0.5, -0.5), xlabel="rank correlation with the network's own map")
    ax.grid(axis="y", visible=False)
    ax.legend(frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(-0.1, 1), ncols=3)
    return ax


def definition_points(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """The AUC of one reader's scores against each definition, with intervals; as of ``relabelled.definitions``."""
    for criterion, colour, marker, lift in zip(CRITERIA, ("#0072B2", "#D55E00"), "os", (-0.1, 0.1), strict=True):
        rows = table[table.criterion == criterion]
        at = np.arange(len(rows)) + lift
        ax.vlines(at, rows.low, rows.high, color=colour, lw=2)
        ax.plot(at, rows.value, marker, color=colour, label=criterion.replace("volume", "10 mL"))
    ax.axhline(0.5, color="0.3", ls=":", lw=1)
    ax.set_xticks(range(table.follicles.nunique()), [f"{number} or more" for number in table.follicles.unique()])
    ax.set(ylim=(0.25, 1), ylabel="AUC", xlabel="follicles that make an ovary polycystic")
    ax.legend(frameon=True, fontsize="small", loc="lower left")
    return ax


def failure_sheet(tiles: dict[str, list[np.ndarray]], words: dict[str, list[str]]) -> plt.Figure:
    """Small grey pictures of equal size, uint8, by outcome, in rows, each with its words in a corner."""
    height, width = next((own[0].shape for own in tiles.values() if own), (1, 1))
    rows = {name: max(-(-len(own) // ACROSS), 1) for name, own in tiles.items()}
    figure, axes = plt.subplots(
        len(tiles), figsize=(14, 14 / ACROSS * height / width * sum(rows.values()) + 0.4 * len(tiles)),
        height_ratios=list(rows.values()), squeeze=False,
    )  # fmt: skip
    for ax, (name, own) in zip(axes.flat, tiles.items(), strict=True):
        board = np.full((rows[name] * (height + 2), ACROSS * (width + 2)), 255, np.uint8)
        for place, (one, told) in enumerate(zip(own, words[name], strict=True)):
            top, left = place // ACROSS * (height + 2), place % ACROSS * (width + 2)
            board[top : top + height, left : left + width] = one
            ax.text(left + 2, top + 2, told, color="#F0E442", fontsize=8, va="top", weight="bold")
        ax.imshow(board, cmap="gray", vmin=0, vmax=255)
        ax.set_title(f"{len(own)} {name}{'' if len(own) == 1 else 's'}", fontsize="medium", loc="left")
        ax.axis("off")
    return figure
