"""Is the fast path as good? The same networks on the same phantoms, in float32 step by step and by the fast path.

    python -m benchmarks.equal_quality --seeds 5

Plain: float32, no layout, features computed anew at every step. Fast: bfloat16 where the processor has
it, channels last, cached features for DenseNet201. Phantoms are the same for all; a seed fixes the starting weights,
the order and the changes. Held-out phantoms give the AUC.
"""

import argparse
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from benchmarks.stress_report import README
from pcos_utils import config
from pcos_utils.data import images, phantom
from pcos_utils.evaluation.figures import MODEL_NAMES
from pcos_utils.evaluation.metrics import auc
from pcos_utils.files import write_csv, write_text
from pcos_utils.models import architectures, devices, features, training
from pcos_utils.models.recipes import RECIPES, Recipe
from pcos_utils.runner import with_block

OUT = config.ROOT / "reports" / "benchmarks" / "equal_quality.csv"
EPOCHS = {"iustnet": 10, "densenet121d": 6, "densenet201": 8}
# Enough of each class that a network learns: one that hardly does ranks by chance, and two paths differ by chance.
PER_CLASS = {"iustnet": 500, "densenet121d": 800, "densenet201": 400}
HELD_OUT = {"selection": 150, "test": 500}  # of each class
PLAIN = dict(precision="float32", channels_last=False, keep_memory=False)


def stack(folder: Path, per_class: int, seed: int, side: int) -> training.Images:
    """Phantoms as images to train on or to judge."""
    truth = phantom.generate(folder, per_class, seed=seed, progress=False)
    pixels = images.stack([folder / name for name in truth.image], side)
    labels = torch.tensor(truth.label.to_numpy(np.float32))
    return training.Images(torch.from_numpy(pixels), labels, torch.ones(len(labels)))


def fit(
    model: str, network: torch.nn.Module, parts: dict, how: Recipe, seed: int, engine: devices.Engine, cached: bool
) -> None:
    """Nothing; the network is trained by the recipe, where features are ``cached`` its head alone."""
    prepare = partial(architectures.prepare, model)
    learn = partial(training.fit, recipe=how, seed=seed, engine=engine)
    train, selection = parts["train"], parts["selection"]
    if not cached:
        learn(network, prepare, train, selection)
        return
    copies = features.copies(network, prepare, train.pixels, engine, how, torch.Generator().manual_seed(seed))
    held = selection._replace(pixels=features.extract(network, prepare, selection.pixels, engine.exact()))
    learn(network.classifier, features.only, train._replace(pixels=copies), held, change=features.pick)


def score(model: str, seed: int, parts: dict, side: int, *, fast: bool = True, **changed) -> float:
    """AUC on held-out phantoms of one training by our recipe, with the given settings of it changed."""
    engine = devices.engine_for(config.study("full", allow_cpu=True)) if fast else devices.Engine(**PLAIN)
    recipe = RECIPES[model, "ours"].model_copy(update={"epochs": EPOCHS[model]} | changed)
    torch.manual_seed(seed)
    network, prepare = architectures.build(model, side), partial(architectures.prepare, model)
    if recipe.freeze_batch_norm:
        training.calibrate_batch_norm(network, prepare, parts["train"].pixels)
    fit(model, network, parts, recipe, seed, engine, cached=fast and recipe.feature_copies > 0)
    logits = training.predict(network, prepare, parts["test"].pixels, engine=engine.exact()).numpy()
    labels = parts["test"].labels.numpy()
    return float(auc(labels, logits, np.ones(len(labels))))


def block(table: pd.DataFrame) -> str:
    """What the README says: mean AUCs over the seeds, and the mean difference with its 95 % t-interval."""
    lines = ["| AUC on held-out phantoms | seeds | plain, float32 | fast | fast less plain |", "|---" * 5 + "|"]
    for model, of in table.groupby("model", sort=False):
        half = stats.t.ppf(0.975, len(of) - 1) * of.difference.sem()
        mean = of.difference.mean()
        gain = f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"
        values = [f"{value:.3f}" for value in (of.plain.mean(), of.fast.mean())]
        lines.append(f"| {MODEL_NAMES[model]} | {len(of)} | {' | '.join(values)} | {gain} |")
    how = f"*Means over seeds of training, on one set of phantoms to learn from and {table.test.max()} never seen; in "
    how += "brackets the 95 % t-interval over the seeds. The fast path computed in "
    return "\n".join([*lines, "", f"{how}{' and '.join(table.precision.unique())}.*"])


def main() -> None:
    """Prints and writes one row per network and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="seed to begin with; the rows of those before it stay")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--models", nargs="+", default=list(config.MODELS))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    folder = config.home() / "data" / "equal-quality"
    held = {part: stack(folder / part, n, 90 + i, options.side) for i, (part, n) in enumerate(HELD_OUT.items())}
    fast = devices.engine_for(config.study("full", allow_cpu=True))
    train = {model: stack(folder / model, PER_CLASS[model], 92, options.side) for model in options.models}
    rows = pd.read_csv(options.out).query("seed < @options.first").to_dict("records") if options.first else []
    for seed, model in product(range(options.first, options.first + options.seeds), options.models):
        parts = {"train": train[model]} | held
        row = {"model": model, "seed": seed, "train": len(parts["train"].labels), "test": len(held["test"].labels)}
        row |= {way: score(model, seed, parts, options.side, fast=way == "fast") for way in ("plain", "fast")}
        rows.append(row | {"difference": row["fast"] - row["plain"], "precision": fast.precision})
        print(rows[-1], flush=True)
        write_csv(options.out, pd.DataFrame(rows))
    made = block(pd.read_csv(options.out))
    print(made)
    if options.out == OUT:
        write_text(README, with_block(README.read_text(), made, "equal-quality"))


if __name__ == "__main__":
    main()
