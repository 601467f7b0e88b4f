"""Which features should train a head for all epochs: of the image as it is, of changes of it, or of both?

    python -m benchmarks.feature_copies

DenseNet201's frozen random features of phantoms; the head is trained by our recipe, of which nothing else changes.
Paired by seed, which fixes the starting weights, the changes and the order. The recipe's own choice was made here.
"""

import argparse
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.equal_quality import stack
from pcos_utils import config
from pcos_utils.evaluation.metrics import auc
from pcos_utils.files import write_csv
from pcos_utils.models import architectures, devices, features, training
from pcos_utils.models.recipes import RECIPES

OUT = config.ROOT / "reports" / "benchmarks" / "feature_copies.csv"
MODEL, SIDE, EPOCHS = "densenet201", 64, (8, 30)
HELD = ("selection", "test")
WAYS = {"the image": [0], "1 change": [1], "2 changes": [1, 2], "the image and 1 change": [0, 1],
        "the image and 2 changes": [0, 1, 2], "the image and 4 changes": range(5)}  # fmt: skip


def scores(seed: int, parts: dict[str, training.Images]) -> list[dict]:
    """The AUC on held-out phantoms of each way and number of epochs."""
    torch.manual_seed(seed)
    network, prepare = architectures.build(MODEL, SIDE), partial(architectures.prepare, MODEL)
    training.calibrate_batch_norm(network, prepare, parts["train"].pixels)
    start = {name: value.clone() for name, value in network.classifier.state_dict().items()}
    engine, draws, rows = devices.fastest(), torch.Generator().manual_seed(seed), []
    most = RECIPES[MODEL, "ours"].model_copy(update={"feature_copies": 4})
    made = features.copies(network, prepare, parts["train"].pixels, engine, most, draws)
    own = {role: features.extract(network, prepare, parts[role].pixels, engine.exact()) for role in HELD}
    for epochs, (way, chosen) in product(EPOCHS, WAYS.items()):
        network.classifier.load_state_dict(start)
        training.fit(
            network.classifier, features.only, parts["train"]._replace(pixels=made[:, list(chosen)]),
            parts["selection"]._replace(pixels=own["selection"]),
            RECIPES[MODEL, "ours"].model_copy(update={"epochs": epochs}),
            seed=seed, engine=engine.exact(), change=features.pick,
        )  # fmt: skip
        with torch.no_grad():
            logits = network.classifier(own["test"][:, 0]).squeeze(1).numpy()
        labels = parts["test"].labels.numpy()
        value = float(auc(labels, logits, np.ones(len(labels))))
        rows.append({"seed": seed, "epochs": epochs, "features": way, "auc": round(value, 4)})
    return rows


def main() -> None:
    """Prints the means and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    folder = config.home() / "data" / "feature-copies"
    sizes = {"train": 400, "selection": 150, "test": 500}
    parts = {role: stack(folder / role, n, 300 + i, SIDE) for i, (role, n) in enumerate(sizes.items())}
    table = pd.DataFrame([row for seed in range(options.seeds) for row in scores(seed, parts)])
    write_csv(options.out, table)
    print(table.groupby(["epochs", "features"], sort=False).auc.agg(["mean", "std"]).round(3).to_string())


if __name__ == "__main__":
    main()
