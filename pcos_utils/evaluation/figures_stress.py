"""Figures of what happens when pictures, networks or the truth are changed."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils.evaluation.robustness import STRESSES

# Okabe and Ito's colours, each with a shape of its own.
LOOK = {
    "auc": ("#0072B2", "o", "AUC"),
    "recall": ("#D55E00", "s", "recall"),
    "specificity": ("#009E73", "^", "specificity"),
}
REGION_COLOURS = {"follicles": "#D55E00", "ovary": "#0072B2"}
METHOD_NAMES = {"grad_cam": "Grad-CAM", "integrated_gradients": "integrated gradients", "occlusion": "occlusion"}


def stress_curve(table: pd.DataFrame, *, stress: str, ax: plt.Axes) -> plt.Axes:
    """AUC, recall and specificity over the severities of one stress, with 95 % bands; the untouched picture is marked.

    ``table``: as of ``robustness.curves``. Severities stand at even distances, because their scales differ.
    """
    own = table[table.stress == stress]
    severities = sorted(own.severity.unique())
    places = np.arange(len(severities))
    for metric, (colour, marker, name) in LOOK.items():
        rows = own[own.metric == metric].set_index("severity").reindex(severities)
        ax.fill_between(places, rows.low, rows.high, color=colour, alpha=0.15, lw=0)
        ax.plot(places, rows.value, marker=marker, color=colour, lw=1.8, ms=5, label=name)
    ax.axhline(0.5, color="0.3", ls=":", lw=1)
    ax.axvline(severities.index(STRESSES[stress].untouched), color="0.3", lw=1)
    ax.set_xticks(places, [f"{severity:g}" for severity in severities])
    ax.set(xlabel=STRESSES[stress].unit, ylim=(-0.02, 1.02), title=stress)
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
    handles, labels = axes.flat[0].get_legend_handles_labels()
    handles.append(plt.Line2D([], [], color="0.3", lw=1))
    handles.append(plt.Line2D([], [], color="0.3", lw=1, ls=":"))
    place = axes.flat[len(names)]
    place.legend(handles, [*labels, "the picture as it is", "a coin"], loc="center", frameon=False, title="95 % bands")
    return figure


def stress_samples(images: dict[str, list[np.ndarray]], *, titles: dict[str, list[str]]) -> plt.Figure:
    """One picture under every stress, a row each, with the severity above it."""
    width = max(len(row) for row in images.values())
    figure, axes = plt.subplots(len(images), width, figsize=(1.9 * width, 1.6 * len(images)), squeeze=False)
    for row, (name, pictures) in zip(axes, images.items(), strict=True):
        for ax in row:
            ax.axis("off")
        for ax, picture, title in zip(row, pictures, titles[name], strict=False):
            ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
            ax.set_title(title, fontsize="x-small")
    return figure


def method_sheet(pixels: np.ndarray, maps: dict[str, np.ndarray], titles: list[str], masks=None) -> plt.Figure:
    """Pictures in columns, with the map of each method below; outlines of ``masks`` (n, side, side) where given.

    A map's brightest hundredth is drawn at full strength, or single pixels would leave the rest black. An empty map
    says so.
    """
    figure, axes = plt.subplots(
        1 + len(maps), len(pixels), figsize=(1.8 * len(pixels), 1.9 * (1 + len(maps))), squeeze=False
    )
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    axes[0, 0].set_ylabel("picture", fontsize="small")
    for column, (image, title) in enumerate(zip(pixels, titles, strict=True)):
        axes[0, column].imshow(image)
        axes[0, column].set_title(title, fontsize="small")
        for row, (method, own) in enumerate(maps.items(), 1):
            ax = axes[row, column]
            axes[row, 0].set_ylabel(METHOD_NAMES.get(method, method), fontsize="small")
            ax.imshow(image)
            top = np.quantile(own[column], 0.99)
            ax.imshow(own[column], cmap="inferno", alpha=0.6, vmin=0, vmax=top if top > 0 else 1)
            if own[column].max() == 0:
                ax.text(0.5, 0.5, "empty", transform=ax.transAxes, ha="center", color="white", fontsize="small")
        if masks is not None and masks[column].max() > 0:
            for ax in axes[:, column]:
                ax.contour(masks[column], levels=[0.5], colors="#56B4E9", linewidths=0.8)
    return figure


def share_bars(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Points with intervals: the share of saliency inside follicles and ovary; ticks: what a uniform map would have.

    ``table``: as of ``saliency_checks.share_table``.
    """
    methods, regions = list(table.method.unique()), list(table.region.unique())
    for i, method in enumerate(methods):
        for j, region in enumerate(regions):
            row = table[(table.method == method) & (table.region == region)].iloc[0]
            height = i + 0.3 * (j - (len(regions) - 1) / 2)
            colour = REGION_COLOURS[region]
            if pd.isna(row.value):
                ax.text(0.02, height, "every map is empty", va="center", fontsize="small", color=colour)
                continue
            ax.plot([row.low, row.high], [height, height], color=colour, lw=2)
            ax.plot(row.value, height, "o", color=colour, label=f"inside the {region}" if i == 0 else None)
            ax.plot(row.uniform, height, "|", color="black", ms=14, mew=2)
    handles = [
        plt.Line2D([], [], marker="o", color=REGION_COLOURS[name], label=f"inside the {name}") for name in regions
    ]
    handles.append(plt.Line2D([], [], marker="|", color="black", ls="", ms=12, mew=2, label="a uniform map"))
    ax.set_yticks(range(len(methods)), [METHOD_NAMES.get(method, method) for method in methods])
    ax.set(xlim=(0, 1), ylim=(len(methods) - 0.4, -0.6), xlabel="share of the saliency, mean over sources")
    ax.grid(axis="y", visible=False)
    ax.legend(handles=handles, frameon=True, fontsize="small", loc="lower right")
    return ax


def check_lines(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Agreement of the maps with those of the changed networks, stage by stage, with intervals over sources.

    ``table``: as of ``saliency_checks.check_table``. 1: the map did not notice; 0: it is wholly another.
    """
    stages = list(table.stage.unique())
    methods = list(table.method.unique())
    for i, (method, colour, marker) in enumerate(zip(methods, ("#0072B2", "#D55E00", "#009E73"), "os^", strict=False)):
        rows = table[table.method == method].set_index("stage").reindex(stages)
        height = np.arange(len(stages)) + 0.18 * (i - (len(methods) - 1) / 2)
        ax.hlines(height, rows.low, rows.high, color=colour, lw=2)
        ax.plot(rows.value, height, marker, color=colour, label=METHOD_NAMES.get(method, method))
    ax.axvline(0, color="0.3", ls=":", lw=1)
    ax.axvline(1, color="0.3", lw=1)
    ax.set_yticks(range(len(stages)), stages)
    ax.set(xlim=(-0.6, 1.05), ylim=(len(stages) - 0.5, -0.5), xlabel="rank correlation with the network's own map")
    ax.grid(axis="y", visible=False)
    ax.legend(frameon=True, fontsize="small", loc="upper left", bbox_to_anchor=(0, -0.22), ncols=len(methods))
    return ax


def truth_points(definitions: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """The AUC of the same scores against each definition, with intervals. Columns as of ``relabelled.definitions``."""
    for criterion, colour, marker, lift in (
        ("follicles or volume", "#0072B2", "o", -0.12),
        ("follicles alone", "#D55E00", "s", 0.12),
    ):
        rows = definitions[definitions.criterion == criterion].reset_index(drop=True)
        at = np.arange(len(rows)) + lift
        ax.vlines(at, rows.low, rows.high, color=colour, lw=2)
        ax.plot(at, rows.value, marker, color=colour, label=criterion.replace("volume", "10 mL"))
    fewest = list(definitions.follicles.unique())
    ax.axhline(0.5, color="0.3", ls=":", lw=1)
    ax.set_xticks(range(len(fewest)), [f"{number} or more" for number in fewest])
    ax.set(ylim=(0, 1.02), ylabel="AUC", xlabel="follicles that make an ovary polycystic")
    ax.legend(frameon=True, fontsize="small", loc="lower left")
    return ax


def flip_ranges(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """The range of the AUC when none, one or two labels are wrong. Columns as of ``relabelled.flips``."""
    ax.vlines(table.flips, table.lowest, table.highest, color="#0072B2", lw=6, alpha=0.4)
    ax.plot(table.flips, table["median"], "o", color="#0072B2")
    for row in table.itertuples():
        ax.annotate(f"{row.ways:,} ways", (row.flips, row.highest), (0, 5), textcoords="offset points", ha="center")
    ax.axhline(0.5, color="0.3", ls=":", lw=1)
    ax.set_xticks(table.flips, ["as they are", "one wrong", "two wrong"][: len(table)])
    ax.set(xlim=(-0.5, len(table) - 0.5), ylim=(0, 1.08), ylabel="AUC: lowest, median, highest", xlabel="labels")
    return ax
