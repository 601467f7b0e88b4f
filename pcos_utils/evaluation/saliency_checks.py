"""Do the maps say anything? They must change with the network, and on phantoms lie where the follicles are.

The first two tests are Adebayo et al. 2018 (Sanity Checks for Saliency Maps): weights shuffled from the answer
downwards, and a network that was trained on shuffled labels. A map that stays as it was shows the picture and not the
network. The third is possible only where the truth is known.
"""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.stats import rankdata
from torch import nn

from pcos_utils.data import phantom
from pcos_utils.evaluation import bootstrap
from pcos_utils.evaluation.explain import saliency
from pcos_utils.evaluation.uncertainty import FEW
from pcos_utils.models import architectures, features, training, weights
from pcos_utils.models.devices import Engine
from pcos_utils.models.recipes import Recipe

ALL_SHUFFLED = "all weights shuffled"
SHUFFLED_LABELS = "labels shuffled"


def agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of two maps of each image, shape (n,); NaN where a map is the same everywhere."""
    a, b = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=1) / np.where(spread > 0, spread, np.nan)


def randomised(network: nn.Module, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """The network with its weights shuffled from the answer downwards: (stage, network), the last wholly shuffled.

    Every tensor keeps its values in a random order. Weights drawn anew, as in the paper, would not fit the statistics
    of batch norm, and then a map changes for a reason that has nothing to do with what was learned.
    """
    broken, generator = deepcopy(network), torch.Generator().manual_seed(seed)
    stages = _stages(broken)
    for i, (name, parts) in enumerate(stages):
        with torch.no_grad():
            for parameter in (parameter for part in parts for parameter in part.parameters()):
                order = torch.randperm(parameter.numel(), generator=generator)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
        last = i == len(stages) - 1
        yield ALL_SHUFFLED if last else f"shuffled down to {name}", broken


def _stages(network: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """Parts with weights, the answer first; in DenseNets all between two dense blocks is one part with the upper."""
    stages, held = [("classifier", [network.classifier])], []
    blocks = network.features if hasattr(network, "features") else network
    for name, part in reversed(list(blocks.named_children())):
        if part is network.classifier:
            continue
        held.append(part)
        if "block" in name:
            stages.append((name, held))
            held = []
    if held:
        stages[-1] = (stages[-1][0], stages[-1][1] + held)  # the stem goes with the lowest block
    return stages


def weight_check(
    method: str,
    model: str,
    network: nn.Module,
    pixels: np.ndarray,
    labels: np.ndarray,
    *,
    before: np.ndarray | None = None,
    cascade: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Agreement of each image's map with that of the shuffled networks: columns method, row, stage, correlation.

    ``before``: the network's own maps, where they are known already. Without ``cascade`` only the wholly shuffled
    network answers, which is cheaper.
    """
    before = saliency(method, model, network, pixels, labels) if before is None else before
    parts = []
    for stage, broken in randomised(network, seed):
        if cascade or stage == ALL_SHUFFLED:
            parts.append(_agreements(method, stage, before, saliency(method, model, broken, pixels, labels)))
    return pd.concat(parts, ignore_index=True)


def _agreements(method: str, stage: str, before: np.ndarray, after: np.ndarray) -> pd.DataFrame:
    values = agreement(before, after)
    return pd.DataFrame({"method": method, "row": np.arange(len(values)), "stage": stage, "correlation": values})


def network_check(
    method: str, model: str, networks: tuple[nn.Module, nn.Module], pixels: np.ndarray, labels: np.ndarray, stage: str
) -> pd.DataFrame:
    """Agreement of the maps of two networks; columns as in ``weight_check``.

    The second is one of ``train_on_shuffled``, with the stage SHUFFLED_LABELS, or the same training from another
    seed: how far two honest maps agree.
    """
    first, second = (saliency(method, model, network, pixels, labels) for network in networks)
    return _agreements(method, stage, first, second)


def train_on_shuffled(
    model: str, pixels: np.ndarray, sources: pd.DataFrame, recipe: Recipe, *, start: str = "none", seed: int = 0
) -> nn.Module:
    """A network trained as ever, but on labels that were dealt out anew among the sources; the last epoch is kept.

    ``pixels``: uint8 (n, side, side, 3); ``sources``: their source and label; ``start`` as in config.Study.weights.
    """
    per_source = sources.groupby("source", sort=True).label.max()
    dealt = pd.Series(np.random.default_rng(seed).permutation(per_source), index=per_source.index)
    labels = torch.tensor(sources.source.map(dealt).to_numpy(np.float32))
    torch.manual_seed(seed)
    network = architectures.build(model, pixels.shape[1])
    origin = weights.start(network, model, start, must_fetch=False)
    prepare = partial(architectures.prepare, model)
    even = torch.where(labels == 1, 1 / labels.sum(), 1 / (1 - labels).sum())
    train = training.Images(torch.from_numpy(pixels), labels, even)
    none = training.Images(train.pixels[:0], labels[:0], even[:0])
    recipe = recipe.model_copy(update={"select_epoch": False})
    if recipe.freeze_batch_norm and origin.startswith("random"):
        training.calibrate_batch_norm(network, prepare, train.pixels)
    if not recipe.feature_copies:
        training.fit(network, prepare, train, none, recipe, seed=seed)
        return network.eval()
    seen = train._replace(pixels=features.extract(network, prepare, train.pixels, Engine()))
    training.fit(
        features.head_of(network), features.only, seen, none, recipe, seed=seed,
        change=lambda batch, labels, generator: (batch, labels),
    )  # fmt: skip
    return network.eval()


def check_table(checks: pd.DataFrame, sources: pd.DataFrame, *, resamples: int, seed: int = 0) -> pd.DataFrame:
    """The mean agreement at each stage with its 95 % interval over sources.

    ``checks``: method, row, stage, correlation, ``row`` counting the rows of ``sources`` (source, label). Columns:
    method, stage, value, low, high, sources, ``empty`` (images without a map before or after), few_sources.
    """
    sources, rows = sources.reset_index(drop=True), []
    for (method, stage), part in checks.groupby(["method", "stage"], sort=False):
        values = part.set_index("row").correlation.reindex(sources.index)
        rows.append({"method": method, "stage": stage} | mean_interval(values, sources, resamples=resamples, seed=seed))
    return pd.DataFrame(rows)


def mean_interval(values: pd.Series, sources: pd.DataFrame, *, resamples: int, seed: int = 0) -> dict:
    """The mean over sources (of each source's mean), its 95 % interval (BCa bootstrap), and what was empty."""
    known = sources.assign(value=np.asarray(values)).dropna(subset=["value"])
    table = known.groupby("source", sort=True).agg(label=("label", "max"), value=("value", "mean")).reset_index()
    facts = {"sources": len(table), "empty": len(sources) - len(known)}
    facts["few_sources"] = bool(table.label.value_counts().reindex([0, 1], fill_value=0).min() < FEW)
    if len(table) < 2:
        return {"value": table.value.mean(), "low": np.nan, "high": np.nan} | facts
    values, (left_out, classes) = table.value.to_numpy(), bootstrap.jackknife_weights(table)
    draws = bootstrap.source_weights(table, resamples, seed) @ values / len(table)
    low, high, _ = bootstrap.bca_interval(values.mean(), draws, left_out @ values / len(table), classes)
    return {"value": table.value.mean(), "low": low, "high": high} | facts


def region_masks(truth: pd.DataFrame, folder: Path, side: int) -> dict[str, np.ndarray]:
    """The share of each pixel that lies inside the follicles and inside the ovary, float (n, side, side), by region.

    ``truth``: rows of a phantom's truth.csv; ``folder`` holds their masks.
    """
    follicles = [np.asarray(Image.open(folder / name)) > 0 for name in truth["mask"]]
    ovaries = [phantom.ovary_mask(row.seed, row.label) for row in truth.itertuples()]
    return {
        region: np.stack([_shrunk(mask, side) for mask in masks])
        for region, masks in (("follicles", follicles), ("ovary", ovaries))
    }


def _shrunk(mask: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(mask.astype(np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def share_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share of each map inside its mask, shape (n,); NaN where the map is empty. Both: (n, side, side)."""
    total = maps.sum(axis=(1, 2))
    return (maps * masks).sum(axis=(1, 2)) / np.where(total > 0, total, np.nan)


def share_table(
    maps: dict[str, np.ndarray], masks: dict[str, np.ndarray], sources: pd.DataFrame, *, resamples: int, seed: int = 0
) -> pd.DataFrame:
    """How much of the saliency lies inside each region, beside what a map that is the same everywhere would have.

    Columns: method, region, value, low, high (of the share), sources, empty, few_sources, ``uniform`` (the region's
    share of the picture, over the same sources) and ``gain``, ``gain_low``, ``gain_high`` (the paired difference).
    """
    rows = []
    for method, own in maps.items():
        for region, mask in masks.items():
            share, even = share_inside(own, mask), mask.mean(axis=(1, 2))
            even = np.where(np.isnan(share), np.nan, even)
            told = partial(mean_interval, sources=sources, resamples=resamples, seed=seed)
            gain = told(share - even)
            rows.append(
                {"method": method, "region": region} | told(share) | {"uniform": told(even)["value"]}
                | {"gain": gain["value"], "gain_low": gain["low"], "gain_high": gain["high"]}
            )  # fmt: skip
    return pd.DataFrame(rows)
