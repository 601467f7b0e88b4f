"""Do the maps say anything? They must change with the network, and on phantoms lie where the follicles are.

The first test is that of Adebayo et al. 2018 (Sanity Checks for Saliency Maps): beside the map of a network stand
those of the same network with random weights, and trained on shuffled labels. How much *honest* maps agree is told by
the network of another fold. The second test is possible only where the truth is known. Intervals are over sources,
for the networks at hand: another training would move all of them.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import rankdata

from pcos_utils.evaluation import bootstrap
from pcos_utils.evaluation.readings import interval, many, number
from pcos_utils.evaluation.uncertainty import FEW

METHOD_NAMES = {"grad_cam": "Grad-CAM", "integrated_gradients": "integrated gradients", "occlusion": "occlusion"}
HONEST = "another fold"
RANDOM, SHUFFLED = "random weights", "shuffled labels"
COMPARED = (HONEST, RANDOM, SHUFFLED)


def agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of two maps of each image, shape (n,); NaN where a map is the same everywhere."""
    a, b = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return (a * b).sum(axis=1) / np.where(spread > 0, spread, np.nan)


def share_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share of each map inside its mask, shape (n,); NaN where the map is empty. Both: (n, side, side)."""
    total = maps.sum(axis=(1, 2))
    return (maps * masks).sum(axis=(1, 2)) / np.where(total > 0, total, np.nan)


def follicle_masks(names: pd.Series, folder: Path, side: int) -> np.ndarray:
    """The share of each pixel that lies inside a follicle, float (n, side, side). ``names``: masks in ``folder``."""
    masks = [Image.fromarray((np.asarray(Image.open(folder / name)) > 0).astype(np.float32)) for name in names]
    return np.stack([np.asarray(mask.resize((side, side), Image.Resampling.BOX)) for mask in masks])


def check_table(
    maps: dict[str, np.ndarray], others: dict[str, dict[str, np.ndarray]], sources: pd.DataFrame, **how
) -> pd.DataFrame:
    """How far the maps of a network agree with those of each other network, by method, with 95 % intervals.

    ``maps``: by method, (n, side, side); ``others``: the same of the networks COMPARED, by name; ``sources``: source
    and label of the n images, one image a source; ``how``: resamples and seed. Columns: method, against, value, low,
    high, ``gain``, ``gain_low``, ``gain_high`` (the paired difference: agreement with the honest network less this
    one), sources, ``empty`` (images without a map in one of the two), few_sources.
    """
    rows = []
    for method, own in maps.items():
        honest = agreement(own, others[HONEST][method])
        for against in COMPARED:
            found = agreement(own, others[against][method])
            gain = mean_interval(honest - found, sources, **how)
            rows.append(
                {"method": method, "against": against} | mean_interval(found, sources, **how)
                | {"gain": gain["value"], "gain_low": gain["low"], "gain_high": gain["high"]}
            )  # fmt: skip
    return pd.DataFrame(rows)


def share_table(
    maps: dict[str, np.ndarray], masks: np.ndarray, sources: pd.DataFrame, untaught: dict | None = None, **how
) -> pd.DataFrame:
    """How much of the saliency lies inside the masks, beside a map that is the same everywhere and an untaught network.

    ``untaught``: maps of the same network with random weights; a method may prefer dark places by itself. Columns:
    method, value, low, high (of the share), ``uniform`` and ``random`` (the shares of those two), ``gain``,
    ``gain_low``, ``gain_high`` (paired: less uniform), ``learnt``, ``learnt_low``, ``learnt_high`` (paired: less
    random), sources, empty, few_sources. Other arguments as in ``check_table``.
    """
    rows = []
    for method, own in maps.items():
        share, even = share_inside(own, masks), masks.mean(axis=(1, 2))
        random = share_inside(untaught[method], masks) if untaught else np.full(len(share), np.nan)
        row = {"method": method} | mean_interval(share, sources, **how)
        row |= {"uniform": mean_interval(np.where(np.isnan(share), np.nan, even), sources, **how)["value"]}
        row["random"] = np.nan
        if untaught:
            row["random"] = mean_interval(random, sources, **how)["value"]
        for name, other in (("gain", even), ("learnt", random)):
            paired = mean_interval(share - other, sources, **how)
            row |= {name: paired["value"], f"{name}_low": paired["low"], f"{name}_high": paired["high"]}
        rows.append(row)
    return pd.DataFrame(rows)


def mean_interval(values: np.ndarray, sources: pd.DataFrame, *, resamples: int, seed: int = 0) -> dict:
    """The mean over sources, its 95 % interval (BCa bootstrap within classes), and how many values were missing."""
    table = sources[["source", "label"]].assign(value=values).dropna(subset=["value"])
    facts = {"sources": len(table), "empty": len(sources) - len(table)}
    facts["few_sources"] = bool(table.label.value_counts().reindex([0, 1], fill_value=0).min() < FEW)
    if len(table) < 2:
        return {"value": table.value.mean(), "low": np.nan, "high": np.nan} | facts
    left_out, classes = bootstrap.jackknife_weights(table)
    draws, left_out = (
        weights @ table.value.to_numpy() / weights.sum(-1)
        for weights in (bootstrap.source_weights(table, resamples, seed), left_out)
    )
    low, high, _ = bootstrap.bca_interval(table.value.mean(), draws, left_out, classes)
    return {"value": table.value.mean(), "low": low, "high": high} | facts


def markdown(shares: pd.DataFrame, checked: pd.DataFrame, titles: dict[str, str]) -> str:
    """Both tables as one for the README: a row per reader and method, in the order of ``shares``.

    ``shares`` and ``checked``: with ``reader``; ``titles``: the readers' names.
    """
    lines = [
        "| maps | inside follicles | uniform map | random weights | like another fold's | like random weights' | "
        "like shuffled labels' | tell of what was learnt |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for _, row in shares.iterrows():
        name = f"{titles[row.reader]}, {METHOD_NAMES.get(row.method, row.method)}"
        cells = [interval(row), number(row.uniform), number(row.random) if pd.notna(row.random) else "–"]
        own = checked[(checked.reader == row.reader) & (checked.method == row.method)].set_index("against")
        if own.empty:
            cells += ["–"] * 4
        else:
            cells += [interval(own.loc[against]) for against in COMPARED]
            cells.append("yes" if own.gain_low[[RANDOM, SHUFFLED]].gt(0).all() else "not shown")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def sentence(shares: pd.DataFrame, titles: dict[str, str]) -> str:
    """Which maps are shown to lie inside follicles more than a uniform map, and more than with random weights."""
    named = [f"{titles[row.reader]}'s {METHOD_NAMES.get(row.method, row.method)}" for _, row in shares.iterrows()]
    above = [name for name, low in zip(named, shares.gain_low, strict=True) if low > 0]
    learnt = [name for name, low in zip(named, shares.learnt_low, strict=True) if low > 0]
    return (
        f"More of the evidence for polycystic than of a uniform map lies inside follicles in {len(above)} of "
        f"{len(named)} maps ({many(int(shares.sources.max()), 'source')}): {', '.join(above) or 'none'}. More than in "
        f"the same network with random weights: {', '.join(learnt) or 'none'}."
    )
