"""Is the fast path as good? The same networks on the same phantoms, in float32 step by step and by the fast path.

    python -m benchmarks.equal_quality --seeds 5

Plain: float32, no layout, no kept memory, features computed anew at every step. Fast: bfloat16 where the processor has
it, channels last, cached features for DenseNet201. One fold a seed; held-out phantoms give the AUC.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pcos_utils import config
from pcos_utils.data import images, phantom
from pcos_utils.evaluation.metrics import auc
from pcos_utils.files import write_csv
from pcos_utils.models import architectures, devices, features, training
from pcos_utils.models.recipes import RECIPES

OUT = config.ROOT / "reports" / "benchmarks" / "equal_quality.csv"
EPOCHS = {"iustnet": 12, "densenet121d": 6, "densenet201": 8}
PLAIN = dict(precision="float32", channels_last=False, keep_memory=False)


def stack(folder: Path, per_class: int, seed: int, side: int) -> training.Images:
    """Phantoms as images to train on or to judge."""
    truth = phantom.generate(folder, per_class, seed=seed, progress=False)
    pixels = images.stack([folder / name for name in truth.image], side)
    labels = torch.tensor(truth.label.to_numpy(np.float32))
    return training.Images(torch.from_numpy(pixels), labels, torch.ones(len(labels)))


def score(model: str, seed: int, parts: dict, side: int, *, fast: bool = True, **changed) -> float:
    """AUC on held-out phantoms of one training by our recipe, with the given settings of it changed."""
    engine = devices.engine_for(config.study("full", allow_cpu=True)) if fast else devices.Engine(**PLAIN)
    recipe = RECIPES[model, "ours"].model_copy(update={"epochs": EPOCHS[model]} | changed)
    torch.manual_seed(seed)
    network, prepare = architectures.build(model, side), partial(architectures.prepare, model)
    if recipe.freeze_batch_norm:
        training.calibrate_batch_norm(network, prepare, parts["train"].pixels)
    if fast and recipe.feature_copies:
        generator = torch.Generator().manual_seed(seed)
        change = lambda batch: training.augmentation_of(recipe)(batch, None, generator)[0]  # noqa: E731
        cached = features.extract(network, prepare, parts["train"].pixels, engine, change, recipe.feature_copies)
        held = features.extract(network, prepare, parts["selection"].pixels, engine)
        training.fit(
            network.classifier, features.only, parts["train"]._replace(pixels=cached),
            parts["selection"]._replace(pixels=held), recipe, seed=seed, engine=engine, change=features.pick,
        )  # fmt: skip
    else:
        training.fit(network, prepare, parts["train"], parts["selection"], recipe, seed=seed, engine=engine)
    logits = training.predict(network, prepare, parts["test"].pixels, engine=engine.exact()).numpy()
    labels = parts["test"].labels.numpy()
    return float(auc(labels, logits, np.ones(len(labels))))


def main() -> None:
    """Prints and writes one row per network and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--models", nargs="+", default=list(config.MODELS))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    folder = config.home() / "data" / "equal-quality"
    test = stack(folder / "test", 300, 90, options.side)
    rows = []
    for seed in range(options.seeds):
        parts = {"train": stack(folder / f"train{seed}", 100, 91 + seed, options.side), "test": test}
        parts["selection"] = stack(folder / f"selection{seed}", 40, 191 + seed, options.side)
        for model in options.models:
            row = {"model": model, "seed": seed}
            row |= {way: score(model, seed, parts, options.side, fast=way == "fast") for way in ("plain", "fast")}
            rows.append(row)
            print(row, flush=True)
    table = pd.DataFrame(rows)
    write_csv(options.out, table)
    table["difference"] = table.fast - table.plain
    print(table.groupby("model", sort=False)[["plain", "fast", "difference"]].agg(["mean", "std"]).round(3).to_string())


if __name__ == "__main__":
    main()
