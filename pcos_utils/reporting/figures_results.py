"""Plot results: each function takes data and ``ax``, with keyword-only options, and returns the axes."""

from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from pcos_utils.config import CLASS_NAMES, COUNT
from pcos_utils.evaluation import auc, intervals
from pcos_utils.evaluation.tables import main_rows
from pcos_utils.reporting.text import GROUP, HEADINGS, TITLES, ends, number, p_value

# Okabe and Ito's colours, which colour-blind readers tell apart; black is left for the lines of reference.
COLOURS = {"densenet201": "#0072B2", "densenet121d": "#009E73", "iustnet": "#CC79A7", COUNT: "#D55E00"}
COLOURS = defaultdict(lambda: "#E69F00", COLOURS)  # baselines share one
VERDICTS = {"better": "#0072B2", "worse": "#D55E00", "not shown": "0.45"}
GROUP_COLOURS = dict(zip(HEADINGS, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True))
GRID = np.linspace(0.01, 0.6, 60)  # thresholds of probability; above .6 nobody would still hesitate
BAND = 500  # resamples behind a shaded band, which is read by eye
BINS = 5
HIGHEST = 5.0  # loss that is drawn; with batch norm and few images the selection loss can leap into the thousands


def learning_curves(histories: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Plot the training and selection loss of each ``run`` of history.csv over its epochs, and mark the kept epoch."""
    labels, thin = ["training", "selection", "kept epoch"], min(1.0, 40 / histories.run.nunique())  # of many runs
    for _, run in histories.groupby("run", sort=True):
        chosen = run[run.chosen]
        ax.plot(run.epoch, run.train_loss, color="0.6", lw=thin, label=labels[0])
        ax.plot(run.epoch, run.selection_loss, color="#0072B2", lw=1.5 * thin, label=labels[1])
        ax.plot(chosen.epoch, chosen.selection_loss, "o", color="#D55E00", ms=7, label=labels[2])
        labels = [None] * 3  # one entry each in the legend
    ax.axhline(np.log(2), color="k", ls=":", lw=1, label="a coin's loss, ln 2")
    ax.set(xlabel="epoch", ylabel="loss (binary cross-entropy)")
    above = int(histories[["train_loss", "selection_loss"]].gt(HIGHEST).any(axis=1).sum())
    if above:
        ax.set(ylim=(0, HIGHEST), xlabel=f"epoch ({above:,} of {len(histories):,} have a loss above {HIGHEST:g})")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(fontsize="small", frameon=True)
    return ax


def methods(metrics: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Plot the AUC of every method under grouped folds with its interval. ``metrics``: of ``tables.evaluate``."""
    rows = main_rows(metrics)
    groups = rows.model.map(GROUP)
    palette = {group: colour for group, colour in GROUP_COLOURS.items() if group in set(groups)}
    for height, (row, group) in enumerate(zip(rows.itertuples(), groups, strict=True)):
        words = ends(row.low, row.high) if np.isfinite(row.low) else "[no interval]"
        _line(ax, height, row.value, row.low, row.high, palette[group], f"{number(row.value)} {words}")
    ax.axvline(0.5, color="k", ls=":", lw=1.2)
    ax.set_yticks(range(len(rows)), rows.model.map(TITLES))
    ax.set(xlabel=f"AUC over sources, n = {rows.sources.iloc[0]}", xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
    if len(palette) > 1:
        for name, colour in palette.items():
            ax.plot([], [], "o", color=colour, mew=1.5, label=name)
        ax.legend(fontsize="small", frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(palette))
    return ax


def _line(ax: plt.Axes, height: float, value: float, low: float, high: float, colour: str, words: str, **style) -> None:
    """Draw an interval, its value and words beside them; without an interval the value alone, as an open circle."""
    known = np.isfinite(low)
    if known:
        ax.plot([low, high], [height] * 2, color=colour, lw=2)
    ax.plot(value, height, "o", color=colour, mfc=colour if known else "white", mew=1.5)
    ax.text(1.02, height, words, transform=ax.get_yaxis_transform(), va="center", fontsize="small", **style)


def differences(rows: pd.DataFrame, *, ax: plt.Axes) -> plt.Axes:
    """Plot each planned pair of ``comparison.table``: the paired difference, its interval, verdict and corrected p."""
    ax.axvline(0, color="k", ls=":", lw=1.2)
    for height, row in enumerate(rows.itertuples()):
        colour, words = VERDICTS[row.verdict], f"{row.verdict}, p {p_value(row.p_holm)}"
        _line(ax, height, row.difference, row.low, row.high, colour, words, color=colour)
    ax.set_yticks(range(len(rows)), rows["first"].map(TITLES) + "\nminus " + rows["second"].map(TITLES))
    far = 1.1 * max(rows[["low", "high", "difference"]].abs().max().max() if len(rows) else 0, 0.1)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set(xlabel="difference of AUC; p after Holm", xlim=(-far, far), ylim=(len(rows) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
    return ax


def roc_curves(judged: dict[str, pd.DataFrame], *, ax: plt.Axes) -> plt.Axes:
    """Plot each judged method's ROC curve with its 95 % band over sources; the area is its AUC within folds."""
    grid = np.linspace(0, 1, 101)
    for name, table in judged.items():
        label = table.groupby("source", sort=True).label.max().to_numpy()
        weights = np.vstack([np.ones(len(label)), intervals.resample(label, BAND)])
        curves = auc.roc(table, weights, grid)
        ax.plot(grid, curves[0], color=COLOURS[name], lw=2, label=TITLES[name])
        ax.fill_between(grid, *_band(curves[1:]), color=COLOURS[name], alpha=0.12, lw=0)
    ax.plot(grid, grid, color="k", ls=":", lw=1.2, label="chance")
    ax.set(xlabel="false positive rate", ylabel="recall (true positive rate)", xlim=(0, 1), ylim=(0, 1.02))
    ax.set_aspect("equal")
    ax.legend(fontsize="small", frameon=True, loc="lower right")
    return ax


def _band(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tail = (1 - intervals.LEVEL) / 2
    return tuple(np.nanquantile(draws, [tail, 1 - tail], axis=0))


def confusion_matrix(answers: pd.DataFrame, *, title: str, ax: plt.Axes) -> plt.Axes:
    """Plot how many sources of each class are called what: ``called`` is a share of the networks, one row a source."""
    called = answers.called.astype(float)
    counts = pd.DataFrame({"normal": 1 - called, "polycystic": called}).groupby(answers.label.map(CLASS_NAMES)).sum()
    whole = np.allclose(counts, counts.round())
    sns.heatmap(counts, annot=True, fmt=".0f" if whole else ".1f", cmap="Blues", vmin=0, cbar=False, square=True, ax=ax)
    ax.set(xlabel="called", ylabel="true", title=f"{title}\n(n = {len(answers)} sources)")
    return ax


def error_map(answers: pd.DataFrame, *, axes: np.ndarray) -> np.ndarray:
    """Plot a row a method and a column a source, the darker the more networks are wrong; polycystic sources first."""
    for ax, (label, words) in zip(axes.flat, ((1, "missed"), (0, "called polycystic")), strict=True):
        rows = answers.assign(wrong=(answers.called - label).abs())[answers.label == label]
        wide = rows.pivot(index="model", columns="source", values="wrong").loc[rows.model.unique()]
        wide = wide[wide.sum().sort_values(ascending=False, kind="stable").index]
        ax.pcolormesh(wide.to_numpy(float)[::-1], cmap="Greys", vmin=0, vmax=1.3, edgecolors="0.85", lw=0.3)
        names = [f"{TITLES[name]} ({count:.3g})" for name, count in wide.sum(axis=1).items()]
        ax.set_yticks(np.arange(len(names)) + 0.5, names[::-1])
        ax.set(xlabel=f"{wide.shape[1]} {CLASS_NAMES[label]} sources, the most often wrong first", xticks=[])
        ax.set_title(f"{words} (dark)", fontsize="medium")
        ax.grid(visible=False)
    return axes


def reliability(judged: pd.DataFrame, *, ax: plt.Axes, title: str) -> plt.Axes:
    """Plot the share of polycystic sources, with exact intervals, in bins of probability of equal count in a fold."""
    of_group = judged.groupby(auc.networks(judged)).probability
    bins = (BINS * (of_group.rank(method="first") - 1) // of_group.transform("size")).astype(int)
    table = judged.assign(bin=bins, weight=1 / judged.groupby("source").source.transform("size"))
    ax.plot([0, 1], [0, 1], color="k", ls=":", lw=1.2, label="perfectly calibrated")
    for place, rows in table.groupby("bin"):
        n, hits = rows.weight.sum(), (rows.weight * rows.label).sum()
        middle, share = np.average(rows.probability, weights=rows.weight), hits / n
        low, high = intervals.exact(hits, n)
        words = f"{BINS} bins of about {n:.0f} sources, 95 % exact" if place == 0 else None
        bars = [[max(share - low, 0)], [max(high - share, 0)]]
        ax.errorbar(middle, share, bars, fmt="o", color="#D55E00", capsize=3, label=words)
    ax.set(xlabel="probability of polycystic", ylabel="share polycystic", xlim=(0, 1), ylim=(0, 1), title=title)
    ax.set_aspect("equal")
    ax.legend(fontsize="small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    return ax


def decision_curve(judged: dict[str, pd.DataFrame], *, ax: plt.Axes) -> plt.Axes:
    """Plot the net benefit of judged methods over the threshold (Vickers and Elkin 2006), with bands over sources."""
    for name, table in judged.items():
        gain = np.where(table.label.to_numpy()[:, None] == 1, 1.0, -GRID / (1 - GRID))
        gain *= table.probability.to_numpy()[:, None] >= GRID
        each = pd.DataFrame(gain).groupby(table.source.to_numpy()).mean()
        label = table.groupby("source", sort=True).label.max().to_numpy()
        weights = intervals.resample(label, BAND)
        ax.fill_between(GRID, *_band(weights @ each.to_numpy() / len(label)), color=COLOURS[name], alpha=0.12, lw=0)
        ax.plot(GRID, each.mean(), color=COLOURS[name], lw=2, label=TITLES[name])
    share = label.mean()
    ax.plot(GRID, share - (1 - share) * GRID / (1 - GRID), color="k", ls="--", lw=1.2, label="call all polycystic")
    ax.axhline(0, color="k", ls=":", lw=1.2, label="call none")
    ax.set(xlabel="threshold of probability", ylabel="net benefit per source", xlim=(0, GRID.max()))
    ax.set_ylim(-0.35 * share, 1.25 * share)
    ax.set_title(f"n = {len(label)} sources, {share:.0%} polycystic", fontsize="medium")
    ax.legend(fontsize="small", frameon=True, loc="best")
    return ax


def published(table: pd.DataFrame, *, metric: str, ax: plt.Axes) -> plt.Axes:
    """Plot each network's published value with two intervals: thick, copies counted as pictures; thin, frames counted.

    Of ``published.intervals``. Where frames' answers were not published, the thin one is of the images' worth at .9.
    """
    rows = table[table.metric == metric]
    models = rows.model.unique()
    for place, model in enumerate(models):
        colour, ways = COLOURS[model], rows[rows.model == model].set_index("way")
        fair = "frames" if "frames" in ways.index else ways.index[-1]
        for way, lift, width in (("naive", -0.17, 7), (fair, 0.17, 2.5)):
            row = ways.loc[way]
            ax.plot([row.low, row.high], [place + lift] * 2, color=colour, lw=width, solid_capstyle="butt")
            ax.plot(row.value, place + lift, "o", color=colour, mfc="white", mew=2, ms=8)
            count = {"naive": f"{row.n:.0f} images", "frames": f"{row.n:.0f} frames"}.get(way, f"worth {row.n:.1f}")
            words = f"{count}: {ends(row.low, row.high)}"
            ax.text(1.03, place + lift, words, va="center", fontsize="small", color="0.2")
    ax.axvline(0.5, color="0.25", ls=":", lw=1.3)
    ax.text(0.5, 0.02, " a coin", transform=ax.get_xaxis_transform(), va="bottom", fontsize="small", color="0.25")
    ax.set_yticks(range(len(models)), [TITLES[model] for model in models])
    ax.set(xlim=(0, 1), ylim=(len(models) - 0.5, -0.6), xlabel=f"published {metric}")
    ax.set_title("95 % interval when every copy counts (thick),\nand of the frames, or of what images are worth (thin)")
    ax.grid(axis="y", visible=False)
    return ax
