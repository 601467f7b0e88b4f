"""Pictures of what the follicle network sees: outlines on the frame."""

import matplotlib.pyplot as plt
import numpy as np

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
