"""Which settings do our recipes take? Each change to the recipe against the recipe, on seeds of its own.

    python -m benchmarks.recipe_choice --models iustnet

Every choice of a recipe is made here, on phantoms; no real frame has a say. Paired by seed: the same phantoms, the
same starting weights.
"""

import argparse
from pathlib import Path

import pandas as pd
from scipy import stats

from benchmarks.equal_quality import score, stack
from pcos_utils import config
from pcos_utils.files import write_csv

OUT = config.ROOT / "reports" / "benchmarks" / "recipe_choice.csv"
CHANGES = {
    "the recipe": {},
    "average of weights, .98": dict(average=0.98),
    "SGD with momentum": dict(optimiser="sgd", momentum=0.9, learning_rate=0.02),
    "last epoch": dict(select_epoch=False),
    "no augmentation": dict(rotation=0, brightness=0, flip=0),
    "constant rate": dict(one_cycle=False),
}
EPOCHS = {"iustnet": 12, "densenet121d": 6, "densenet201": 8}
FIRST_SEED = 20  # those below belong to other benchmarks


def main() -> None:
    """Prints and writes the AUC of each change and seed, and the mean paired differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--models", nargs="+", default=["iustnet"])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    folder = config.home() / "data" / "recipe-choice"
    test = stack(folder / "test", 300, 90, options.side)
    rows = []
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        parts = {"train": stack(folder / f"train{seed}", 100, 91 + seed, options.side), "test": test}
        parts["selection"] = stack(folder / f"selection{seed}", 40, 191 + seed, options.side)
        for model in options.models:
            for name, changed in CHANGES.items():
                changed = {"epochs": EPOCHS[model]} | changed
                rows.append((model, seed, name, score(model, seed, parts, options.side, **changed)))
                print(*rows[-1], flush=True)
    table = pd.DataFrame(rows, columns=["model", "seed", "change", "auc"])
    write_csv(options.out, table)
    for model, part in table.groupby("model"):
        wide = part.pivot(index="seed", columns="change", values="auc")
        for name in list(CHANGES)[1:]:
            difference = wide[name] - wide["the recipe"]
            half = stats.t.ppf(0.975, len(wide) - 1) * difference.std() / len(wide) ** 0.5
            print(
                f"{model}, {name}: {wide[name].mean():.3f}, {difference.mean():+.3f} +- {half:.3f} against the recipe"
            )


if __name__ == "__main__":
    main()
