"""Every figure as a function of data and ``ax``: keyword-only options, and the axes come back."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from pcos_utils.config import CLASS_NAMES
from pcos_utils.evaluation import metrics, uncertainty, within

# Okabe and Ito's colours, which colour-blind readers tell apart.
CLASS_COLOURS = {"normal": "#0072B2", "polycystic": "#D55E00"}
MODEL_COLOURS = {"densenet201": "#0072B2", "densenet121d": "#009E73", "iustnet": "#CC79A7", "follicles": "#D55E00"}
MODEL_NAMES = {
    "densenet201": "DenseNet201",
    "densenet121d": "DenseNet121d",
    "iustnet": "IustNet",
    "follicles": "Follicle count",
}


def use_style() -> None:
    """The look of every figure of the study."""
    sns.set_theme(context="notebook", style="whitegrid", font_scale=0.9)
    plt.rcParams.update(
        {"figure.dpi": 72, "savefig.dpi": 130, "figure.constrained_layout.use": True, "svg.hashsalt": "pcos"}
    )


def class_overview(sources: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Bars: images and source pictures in each class."""
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
    """Points: width and height of the images, the area growing with how many share them."""
    sizes = sources[sources.status == "ok"].groupby(["label", "width", "height"]).size().rename("images").reset_index()
    sizes = sizes.replace({"label": CLASS_NAMES})
    sns.scatterplot(
        sizes, x="width", y="height", hue="label", size="images", sizes=(30, 300), alpha=0.6,
        palette=CLASS_COLOURS, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="width, pixels", ylabel="height, pixels", title="Image sizes")
    ax.set_xlim(0, sizes.width.max() * 1.15)
    ax.set_ylim(0, sizes.height.max() * 1.15)
    ax.legend(fontsize="small", frameon=True, loc="lower right")
    return ax


def copies_overview(counted: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Bars: images of each source picture, the most copied first, coloured by label. Columns as in audit.copies."""
    both = (counted.polycystic > 0) & (counted.normal > 0)
    label = np.where(both, "both labels", np.where(counted.polycystic > 0, "polycystic", "normal"))
    rank = np.arange(1, len(counted) + 1)
    for name, colour in (CLASS_COLOURS | {"both labels": "#000000"}).items():
        if (label == name).any():
            ax.bar(rank[label == name], counted.images[label == name], width=1, lw=0, color=colour, label=name)
    ax.set(xlabel="source picture, by rank", ylabel="images", title="Copies of each source picture")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set_ylim(0, counted.images.max() * 1.3)
    ax.legend(frameon=True, loc="upper right", ncols=3, fontsize="small")
    return ax


def shortcuts_overview(table: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Points with intervals: the AUC of each shortcut under both splits. Columns as in shortcuts.separation."""
    aucs = table[table.metric == "auc"]
    names = list(aucs.shortcut.unique())
    for split, colour, lift in (("random", "#D55E00", 0.13), ("source", "#0072B2", -0.13)):
        rows = aucs[aucs.split == split].set_index("shortcut").reindex(names).dropna(subset=["value"])
        height = len(names) - 1 - np.array([names.index(name) for name in rows.index], float) + lift
        ax.hlines(height, rows.low, rows.high, color=colour, lw=2)
        words = "images drawn at random" if split == "random" else "whole sources drawn"
        ax.plot(rows.value, height, "o", color=colour, label=words)
    ax.axvline(0.5, color="0.3", ls=":", lw=1)
    ax.set_yticks(range(len(names)), names[::-1])
    ax.set(xlabel="AUC, out of fold", xlim=(-0.02, 1.02), title="What separates the classes without a follicle")
    ax.legend(frameon=True, fontsize="small", loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2)
    return ax


def sample_sheet(pixels: list[np.ndarray], titles: list[str], *, columns: int = 4) -> plt.Figure:
    """A sheet of images with their titles, row by row."""
    rows = -(-len(pixels) // columns)
    height = 1.9 + 0.25 * max((title.count("\n") for title in titles), default=0)
    figure, axes = plt.subplots(rows, columns, figsize=(2.4 * columns, height * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, pixels, titles, strict=False):
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.set_title(title, fontsize="small")
    return figure


def count_overview(truth: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Phantoms over the number of follicles in the section, by class. Columns: FNPS, label."""
    named = truth.replace({"label": CLASS_NAMES})
    sns.histplot(
        named, x="FNPS", hue="label", palette=CLASS_COLOURS, discrete=True, multiple="dodge", shrink=0.8, ax=ax
    )
    ax.set(xlabel="follicles in the section (FNPS)", ylabel="phantoms")
    ax.get_legend().set_title("whole ovary")
    return ax


def learning_curves(histories: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Loss over epochs for each run: training and selection, the kept epoch marked. Columns as in history.csv + run."""
    for i, (_, run) in enumerate(histories.groupby("run", sort=True)):
        ax.plot(run.epoch, run.train_loss, color="0.6", lw=1, label="training" if i == 0 else None)
        ax.plot(run.epoch, run.selection_loss, color="#0072B2", lw=1.5, label="selection" if i == 0 else None)
        kept = run[run.chosen]
        ax.plot(kept.epoch, kept.selection_loss, "o", color="#D55E00", ms=7, label="kept epoch" if i == 0 else None)
    ax.axhline(np.log(2), color="k", ls=":", lw=1, label="a coin's loss, ln 2")
    ax.set(xlabel="epoch", ylabel="loss (binary cross-entropy)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(fontsize="small", frameon=True)
    return ax


def _precision(table: pd.DataFrame, weights: np.ndarray, grid: np.ndarray) -> np.ndarray:
    ordered = table.assign(weight=weights).sort_values("probability", ascending=False)
    tp = (ordered.weight * (ordered.label == 1)).cumsum().to_numpy()
    called = ordered.weight.cumsum().to_numpy()
    reached = np.searchsorted(tp / tp[-1], np.clip(grid, 1e-9, 1)).clip(max=len(tp) - 1)
    return tp[reached] / np.maximum(called[reached], 1e-9)


def roc_curve(judged: dict[str, pd.DataFrame], *, ax: plt.Axes, resamples: int = 200) -> plt.Axes:
    """ROC curves within folds by model, each with its 95 % band over sources, and the chance line.

    ``judged``: of ``calibration.judged``. The area under a curve is the AUC of ``within.py``.
    """
    return _curves(judged, within.roc, ax, resamples, "false positive rate", "recall (true positive rate)", 0.5)


def precision_recall_curve(tables: dict[str, pd.DataFrame], *, ax: plt.Axes, resamples: int = 200) -> plt.Axes:
    """Precision over recall of source tables by model, with bands, and the prevalence as chance line."""
    prevalence = next(iter(tables.values())).label.mean()
    return _curves(tables, _precision, ax, resamples, "recall", "precision", prevalence)


def _curves(tables, curve, ax, resamples, xlabel, ylabel, prevalence) -> plt.Axes:
    grid = np.linspace(0, 1, 101)
    for model, table in tables.items():
        height = curve(table, np.ones(len(table)), grid)
        low, high = uncertainty.curve_band(table, curve, grid, resamples=resamples)
        colour = MODEL_COLOURS[model]
        ax.plot(grid, height, color=colour, lw=2, label=MODEL_NAMES[model])
        ax.fill_between(grid, low, high, color=colour, alpha=0.12, lw=0)
    chance = grid if curve is within.roc else np.full_like(grid, prevalence)
    ax.plot(grid, chance, color="k", ls=":", lw=1.2, label="chance")
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1), ylim=(0, 1.02))
    ax.set_aspect("equal")
    ax.legend(fontsize="small", frameon=True, loc="lower right")
    return ax


def confusion_matrix(table: pd.DataFrame, *, unit: str, ax: plt.Axes) -> plt.Axes:
    """Counts of true against called class, where the table has ``called``, else at .5. ``unit``: what one count is."""
    called = table.called.to_numpy(bool) if "called" in table else None
    own = table.label.to_numpy(), table.probability.to_numpy(), np.ones(len(table))
    tp, fn, fp, tn = metrics.confusion(*own, called)
    counts = pd.DataFrame(
        np.array([[tn, fp], [fn, tp]], dtype=int), index=CLASS_NAMES.values(), columns=CLASS_NAMES.values()
    )
    sns.heatmap(counts, annot=True, fmt="d", cmap="Blues", vmin=0, cbar=False, square=True, ax=ax)
    ax.set(xlabel="called", ylabel="true", title=f"{unit} (n = {len(table)})")
    return ax


def saliency_sheet(pixels: np.ndarray, maps: np.ndarray, titles: list[str], *, columns: int = 4) -> plt.Figure:
    """Images with their saliency laid over them, two rows a group: the image above, the overlay below."""
    rows = 2 * -(-len(pixels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.2 * columns, 2.3 * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for i, title in enumerate(titles):
        above, below = axes[2 * (i // columns), i % columns], axes[2 * (i // columns) + 1, i % columns]
        above.imshow(pixels[i])
        above.set_title(title, fontsize="small")
        below.imshow(pixels[i])
        below.imshow(maps[i], cmap="inferno", alpha=0.5, vmin=0, vmax=1)
    return figure
