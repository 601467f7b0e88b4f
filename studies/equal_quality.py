"""Test whether the fast path trains as well: the same networks and phantoms, in plain float32 and by the fast path.

    python -m studies.equal_quality --seeds 5

Plain is float32, the default memory layout, and features computed anew at every step. Fast is bfloat16 where the
processor has it, channels last, and cached features for DenseNet201. Phantoms are the same for all; a seed fixes the
starting weights, the order and the augmentation. The AUC is that on held-out phantoms.
"""

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch.optim.swa_utils import update_bn

from pcos_utils import config
from pcos_utils.data import images
from pcos_utils.files import write_csv
from pcos_utils.models import architectures, devices, frozen, training
from pcos_utils.models.recipes import RECIPES, Recipe
from pcos_utils.phantom import simulator
from pcos_utils.reporting.names import MODEL_NAMES
from pcos_utils.reporting.readme import write_block
from pcos_utils.reporting.text import markdown
from studies import OUT, arguments

SIDE = 64  # px
EPOCHS = {"iustnet": 10, "densenet121d": 6, "densenet201": 8}
# Enough of each class for a network to learn: one that hardly learns ranks by chance, and so the paths differ.
PER_CLASS = {"iustnet": 500, "densenet121d": 800, "densenet201": 400}
HELD_OUT = {"selection": 150, "test": 500}  # of each class


def phantoms(folder: Path, per_class: int, seed: int) -> training.Images:
    """Return phantoms as images for training or testing."""
    truth = simulator.generate(folder, per_class, seed=seed)
    pixels = images.stack([folder / name for name in truth.image], SIDE)
    labels = torch.tensor(truth.label.to_numpy(np.float32))
    return training.Images(torch.from_numpy(pixels), labels, torch.ones(len(labels)))


def fit(
    model: str,
    network: torch.nn.Module,
    train: training.Images,
    selection: training.Images,
    recipe: Recipe,
    seed: int,
    engine: devices.Engine | None = None,
    cached: bool = True,
) -> None:
    """Train the network by the recipe; where the recipe has cached features, train the head alone on them.

    Without ``cached``, features are computed anew at every step. The engine is the fastest by default.
    """
    engine = engine or devices.fastest()
    prepare = partial(architectures.prepare, model)
    learn = partial(training.fit, recipe=recipe, seed=seed, engine=engine)
    if not (cached and recipe.feature_copies):
        learn(network, prepare, train, selection)
        return
    copies = frozen.copies(network, prepare, train.pixels, engine, recipe, torch.Generator().manual_seed(seed))
    held = selection._replace(pixels=frozen.extract(network, prepare, selection.pixels, engine.exact()))
    learn(network.classifier, frozen.only, train._replace(pixels=copies), held, change=frozen.pick)


def score(model: str, seed: int, parts: dict, *, fast: bool) -> float:
    """Return the AUC on held-out phantoms after one training by our recipe."""
    engine = devices.fastest() if fast else devices.Engine(precision="float32", channels_last=False)
    recipe = RECIPES[model, "ours"].model_copy(update={"epochs": EPOCHS[model]})
    torch.manual_seed(seed)
    network, prepare = architectures.build(model, SIDE), partial(architectures.prepare, model)
    if recipe.freeze_batch_norm:
        update_bn(map(prepare, parts["train"].pixels.split(64)), network)
    fit(model, network, parts["train"], parts["selection"], recipe, seed, engine, cached=fast)
    logits = training.predict(network, prepare, parts["test"].pixels, engine=engine.exact()).numpy()
    return float(roc_auc_score(parts["test"].labels.numpy(), logits))


def block(table: pd.DataFrame) -> str:
    """Return the README's table: mean AUCs over the seeds, and the mean difference with its 95 % t-interval."""
    rows = []
    for model, of in table.groupby("model", sort=False):
        mean, half = of.difference.mean(), stats.t.ppf(0.975, len(of) - 1) * of.difference.sem()
        gain = f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"
        rows.append([MODEL_NAMES[model], str(len(of)), f"{of.plain.mean():.3f}", f"{of.fast.mean():.3f}", gain])
    return (
        markdown(["AUC on held-out phantoms", "seeds", "plain, float32", "fast", "fast minus plain"], rows)
        + f"\n\n*Means over seeds of training, on one set of phantoms to learn from and {table.test.max()} never seen; "
        "in brackets the 95 % t-interval over the seeds. The fast path computed in "
        f"{' and '.join(table.precision.unique())}.*"
    )


def main() -> None:
    """Train, then write one row per network and seed and the README's block."""
    options = arguments(__doc__, seeds=5, models=",".join(config.MODELS))
    folder, models, rows = config.home() / "data" / "equal-quality", options.models.split(","), []
    held = {part: phantoms(folder / part, n, 90 + i) for i, (part, n) in enumerate(HELD_OUT.items())}
    train = {model: phantoms(folder / model, PER_CLASS[model], 92) for model in models}
    for seed, model in product(range(options.seeds), models):
        parts = {"train": train[model]} | held
        row = {"model": model, "seed": seed, "train": len(parts["train"].labels), "test": len(held["test"].labels)}
        row |= {way: score(model, seed, parts, fast=way == "fast") for way in ("plain", "fast")}
        rows.append(row | {"difference": row["fast"] - row["plain"], "precision": devices.fastest().precision})
        print(rows[-1], flush=True)
        write_csv(OUT / "equal_quality.csv", pd.DataFrame(rows))
    write_block("equal-quality", block(pd.read_csv(OUT / "equal_quality.csv")))


if __name__ == "__main__":
    main()
