"""Figures of the evidence: calibration, net benefit, many intervals, paired differences; as in figures.py."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from pcos_utils.config import CLASS_NAMES
from pcos_utils.evaluation import bootstrap, clinical, comparison, uncertainty
from pcos_utils.evaluation.figures import MODEL_COLOURS, MODEL_NAMES

# Okabe and Ito's colours for what is no network of the study; black is left for the lines of reference.
SPARE = ("#E69F00", "#56B4E9", "#D55E00", "#009E73", "#0072B2", "#CC79A7")
VERDICTS = {"better": "#0072B2", "worse": "#D55E00", "equivalent": "#009E73", "not shown": "0.45"}
GRID = np.linspace(0.01, 0.6, 60)  # thresholds of probability; above .6 nobody would still hesitate


def _colours(names: list[str]) -> dict[str, str]:
    taken = {name: MODEL_COLOURS[name] for name in names if name in MODEL_COLOURS}
    free = [colour for colour in SPARE if colour not in taken.values()]
    others = [name for name in names if name not in taken]
    return taken | {name: free[i % len(free)] for i, name in enumerate(others)}


def _band(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tail = (1 - bootstrap.LEVEL) / 2
    return tuple(np.nanquantile(draws, [tail, 1 - tail], axis=0))


def reliability_band(
    table: pd.DataFrame, *, ax: plt.Axes, bins: int = clinical.BINS, resamples: int = 500, seed: int = 0
) -> plt.Axes:
    """Observed share of polycystic sources over probability: bins of equal count with exact intervals, the logistic
    recalibration with its band over resampled sources, and a tick for each source.

    ``table``: one row per source with source, label, probability. Where the classes are separated there is no curve.
    """
    label, probability = table.label.to_numpy(), table.probability.to_numpy()
    ax.plot([0, 1], [0, 1], color="k", ls=":", lw=1.2, label="perfectly calibrated")
    grid = np.linspace(max(probability.min(), 1e-3), min(probability.max(), 1 - 1e-3), 80)
    at = np.log(grid / (1 - grid))
    weights = np.vstack([np.ones(len(table)), bootstrap.source_weights(table, resamples, seed)])
    intercept, slope = clinical.recalibration(label, probability, weights)
    if np.isfinite(slope[0]):
        curves = 1 / (1 + np.exp(-np.clip(intercept[:, None] + slope[:, None] * at, -500, 500)))
        # A separated resample has no curve; the band is of the others, so it is left out where these are too few.
        if np.isfinite(slope[1:]).mean() >= 1 - bootstrap.UNDEFINED:
            ax.fill_between(grid, *_band(curves[1:]), color="#0072B2", alpha=0.15, lw=0)
        ax.plot(grid, curves[0], color="#0072B2", lw=2, label=f"recalibration, slope {slope[0]:.2f}")
    parts = np.array_split(np.argsort(probability, kind="stable"), min(bins, len(table)))
    for i, part in enumerate(parts):
        share, middle = label[part].mean(), probability[part].mean()
        low, high = uncertainty.exact_interval(int(label[part].sum()), len(part))
        words = f"{len(parts)} bins of about {len(part)} sources, 95 % exact" if i == 0 else None
        ax.errorbar(
            middle, share, [[share - low], [high - share]], fmt="o", color="#D55E00", capsize=3, zorder=3, label=words
        )
    for value, height in ((1, 1.04), (0, -0.04)):
        ax.plot(probability[label == value], np.full((label == value).sum(), height), "|", color="0.3", ms=7, mew=0.8)
    ax.set(xlabel="probability of polycystic", ylabel="share polycystic", xlim=(-0.02, 1.02), ylim=(-0.08, 1.08))
    ax.set_title(f"n = {len(table)} sources", fontsize="medium")
    ax.set_aspect("equal")
    # Below the axes: every corner may hold a point.
    ax.legend(fontsize="small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    return ax


def decision_curve(
    tables: dict[str, pd.DataFrame], *, ax: plt.Axes, resamples: int = 500, seed: int = 0, grid: np.ndarray = GRID
) -> plt.Axes:
    """Net benefit over the threshold, each with its band over sources, beside calling all and calling none.

    ``tables``: name to source table (source, label, probability), all of the same sources.
    """
    first = next(iter(tables.values()))
    prevalence = first.label.mean()
    for name, colour in _colours(list(tables)).items():
        table = tables[name]
        label, probability = table.label.to_numpy(), table.probability.to_numpy()
        draws = clinical.net_benefit(label, probability, bootstrap.source_weights(table, resamples, seed), grid)
        ax.fill_between(grid, *_band(draws), color=colour, alpha=0.12, lw=0)
        value = clinical.net_benefit(label, probability, np.ones(len(table)), grid)
        ax.plot(grid, value, color=colour, lw=2, label=MODEL_NAMES.get(name, name))
    ax.plot(
        grid, clinical.treat_all(first.label.to_numpy(), np.ones(len(first)), grid), color="k", ls="--", lw=1.2,
        label="call all polycystic",
    )  # fmt: skip
    ax.axhline(0, color="k", ls=":", lw=1.2, label="call none")
    ax.set(xlabel="threshold of probability", ylabel="net benefit per source", xlim=(0, grid.max()))
    ax.set_ylim(-0.35 * prevalence, 1.25 * prevalence)
    ax.set_title(f"n = {len(first)} sources, {prevalence:.0%} polycystic", fontsize="medium")
    ax.legend(fontsize="small", frameon=True, loc="best")
    return ax


def forest(rows: pd.DataFrame, *, ax: plt.Axes, chance: float = 0.5, xlabel: str = "AUC over sources") -> plt.Axes:
    """One line per named row: value and interval, drawn and in words. Columns: name, value, low, high, sources.

    ``group``, where there is such a column, colours the rows and heads their legend. A row without an interval shows
    its value alone, as an open circle. Where all rows rest on as many sources, the axis says so once.
    """
    apart = rows.sources.nunique() > 1
    groups = rows.group if "group" in rows else pd.Series("", rows.index)
    palette = dict(zip(groups.unique(), ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=False))
    seen = set()
    for height, (row, group) in enumerate(zip(rows.itertuples(), groups, strict=True)):
        there, colour = np.isfinite(row.low), palette.get(group, "0.3")
        if there:
            ax.plot([row.low, row.high], [height] * 2, color=colour, lw=2)
        # The legend shows the group's usual mark: that of its first row with an interval, where there is one.
        usual = np.isfinite(rows.low[groups == group])
        first = group and group not in seen and there == usual.any()
        mark = dict(color=colour, mfc=colour if there else "white", mew=1.5, label=group if first else None)
        ax.plot(row.value, height, "o", **mark)
        seen |= {group} if first else set()
        text = f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]" if there else f"{row.value:.2f} [no interval]"
        text += f"  n = {row.sources}" if apart else ""
        ax.text(1.02, height, text, transform=ax.get_yaxis_transform(), va="center", fontsize="small")
    ax.axvline(chance, color="k", ls=":", lw=1.2)
    ax.set_yticks(range(len(rows)), [MODEL_NAMES.get(name, name) for name in rows.name])
    words = xlabel if apart else f"{xlabel}, n = {rows.sources.iloc[0]}"
    ax.set(xlabel=words, xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    ax.grid(axis="y", visible=False)
    if len(seen - {""}) > 1:
        ax.legend(fontsize="small", frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(seen))
    return ax


def differences(
    rows: pd.DataFrame, *, ax: plt.Axes, margin: float = comparison.EQUIVALENT, xlabel: str = "difference of AUC"
) -> plt.Axes:
    """One line per planned pair: the paired difference with its interval, its verdict, and the region of equivalence.

    ``rows``: one metric of ``comparison.comparison_table``.
    """
    ax.axvspan(-margin, margin, color="0.9", lw=0, zorder=0, label=f"no difference that matters (±{margin:g})")
    ax.axvline(0, color="k", ls=":", lw=1.2)
    for height, row in enumerate(rows.itertuples()):
        colour, there = VERDICTS[row.verdict], np.isfinite(row.low)
        if there:
            ax.plot([row.low, row.high], [height] * 2, color=colour, lw=2)
        ax.plot(row.difference, height, "o", color=colour, mfc=colour if there else "white", mew=1.5)
        words = f"{row.verdict}, p " + ("< 0.001" if row.p_holm < 0.001 else f"= {row.p_holm:.2g}")
        ax.text(1.02, height, words, transform=ax.get_yaxis_transform(), va="center", fontsize="small", color=colour)
    names = [f"{MODEL_NAMES.get(r.first, r.first)}\n− {MODEL_NAMES.get(r.second, r.second)}" for r in rows.itertuples()]
    ax.set_yticks(range(len(rows)), names)
    ends = rows[["low", "high", "difference"]].abs().max().max()
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set(xlabel=f"{xlabel}; p after Holm", xlim=(-1.1 * max(ends, 2 * margin), 1.1 * max(ends, 2 * margin)))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.legend(fontsize="small", frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def failure_map(answers: pd.DataFrame, *, axes: np.ndarray) -> np.ndarray:
    """A row a reader, a column a source, coloured where it is called wrong; a panel a class, often missed ones first.

    ``answers``: model, source, label, called. Panels: polycystic, normal; their titles count.
    """
    for ax, (label, words) in zip(axes.flat, ((1, "missed"), (0, "called polycystic")), strict=True):
        own = answers[answers.label == label]
        wrong = (own.called.astype(bool) != bool(label)).to_numpy(int)
        wide = own.assign(wrong=wrong).pivot(index="model", columns="source", values="wrong")
        wide = wide.loc[own.model.unique()]
        wide = wide[wide.sum().sort_values(ascending=False, kind="stable").index]
        ax.pcolormesh(wide.to_numpy()[::-1], cmap="Greys", vmin=0, vmax=1.3, edgecolors="0.85", lw=0.3)
        counts = wide.sum(axis=1)
        names = [f"{MODEL_NAMES[name]} ({counts[name]})" for name in wide.index]
        ax.set_yticks(np.arange(len(names)) + 0.5, names[::-1])
        ax.set_xlabel(f"{wide.shape[1]} {CLASS_NAMES[label]} sources, the most often wrong first")
        ax.set_title(f"{words} (dark)", fontsize="medium")
        ax.grid(visible=False)
        ax.set_xticks([])
    return axes
