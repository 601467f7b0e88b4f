"""Pictures of what the follicle network sees: outlines on the frame, and counts against the truth."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils.config import CLASS_NAMES
from pcos_utils.evaluation.figures import CLASS_COLOURS

OUTLINE, TRUTH = "#F0E442", "#56B4E9"  # of Okabe and Ito's colours those that stand out from grey


def outline(
    image: np.ndarray, numbered: np.ndarray, *, ax: plt.Axes, colour: str = OUTLINE, title: str = ""
) -> plt.Axes:
    """A frame with the outline of every follicle. ``image``: grey (H, W); ``numbered``: (H, W), 0 is none."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    for number in range(1, int(numbered.max()) + 1):
        ax.contour(numbered == number, [0.5], colors=[colour], linewidths=1)
    ax.set_title(title, fontsize="small")
    ax.axis("off")
    return ax


def outline_sheet(
    images: np.ndarray,
    found: list[np.ndarray],
    titles: list[str],
    *,
    truth: list[np.ndarray] | None = None,
    columns: int = 4,
) -> plt.Figure:
    """Frames row by row with the outlines that were found; with ``truth``, the true ones in rows above."""
    rows = -(-len(images) // columns) * (2 if truth else 1)
    figure, axes = plt.subplots(rows, columns, figsize=(2.6 * columns, 2.05 * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for i, (image, numbered, title) in enumerate(zip(images, found, titles, strict=True)):
        row = i // columns * (2 if truth else 1)
        if truth:
            outline(image, truth[i], ax=axes[row, i % columns], colour=TRUTH, title=f"truth: {int(truth[i].max())}")
            row += 1
        outline(image, numbered, ax=axes[row, i % columns], title=title)
    return figure


def counted_against_truth(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Points: follicles found over follicles visible, a phantom each. Columns: FNPS, count, label."""
    jitter = np.random.default_rng(0).uniform(-0.25, 0.25, (2, len(table)))
    top = float(max(table.FNPS.max(), table["count"].max())) + 1
    ax.plot([0, top], [0, top], color="k", ls=":", lw=1.2, label="every follicle found")
    for label, name in CLASS_NAMES.items():
        rows = (table.label == label).to_numpy()
        ax.plot(
            table.FNPS[rows] + jitter[0, rows], table["count"][rows] + jitter[1, rows], "o", ms=3.5, alpha=0.6,
            color=CLASS_COLOURS[name], label=name,
        )  # fmt: skip
    ax.set(xlabel="follicles visible in the section", ylabel="follicles found", xlim=(-0.5, top), ylim=(-0.5, top))
    ax.set_aspect("equal")
    ax.legend(fontsize="small", frameon=True, loc="upper left")
    return ax


def counts_by_class(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Points: the count of every source, by class, with the median of each. Columns: label, count."""
    rng = np.random.default_rng(0)
    for label, name in CLASS_NAMES.items():
        values = table["count"][table.label == label].to_numpy(float)
        ax.plot(label + rng.uniform(-0.18, 0.18, len(values)), values, "o", ms=5, alpha=0.7, color=CLASS_COLOURS[name])
        ax.hlines(np.median(values), label - 0.3, label + 0.3, color="k", lw=2)
    ax.set_xticks(list(CLASS_NAMES), CLASS_NAMES.values())
    ax.set(ylabel="follicles found", xlim=(-0.5, 1.5), title="Follicles found in each source picture")
    ax.set_ylim(bottom=-0.5)
    ax.grid(axis="x", visible=False)
    return ax
