"""What each part of the simulator is worth: the follicle network trained without it, or on fewer phantoms.

    python -m benchmarks.ablations            trains what is missing, two seeds each, and judges on held-out phantoms
    python -m benchmarks.ablations FOLDER     also counts on the images of a study whose notebook 02 was run (full)

Arms without an effect have 1,000 phantoms, so they are compared with "1,000 phantoms", never with the largest.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils import config
from pcos_utils.data import images, manifest
from pcos_utils.data import shards as shard_files
from pcos_utils.data.effects import Effects
from pcos_utils.evaluation import metrics, uncertainty
from pcos_utils.files import write_csv

ARMS = {
    "300 phantoms": (150, {}),
    "1,000 phantoms": (500, {}),
    "3,000 phantoms": (1500, {}),
    "no domain randomisation": (500, {"randomisation": False}),
    "no partial volume": (500, {"partial_volume": False}),
    "no distractors": (500, {"distractors": False}),
}
SEEDS = (0, 1)
HERE = config.ROOT / "reports" / "benchmarks"


def place(arm: str, seed: int) -> Path:
    """The folder of one run; the largest arm is the one that counts in a study."""
    runs = config.home() / "runs"
    return (
        runs / "follicles" / f"s{seed}"
        if arm == "3,000 phantoms"
        else runs / "ablations" / arm.replace(" ", "-") / f"s{seed}"
    )


def train(arm: str, seed: int) -> dict:
    """The record of one run, read where it is finished."""
    from pcos_utils.models import devices, pretraining

    per_class, off = ARMS[arm]
    folder, shards = place(arm, seed), config.home() / "runs" / "follicles" / "shards"
    if 2 * per_class % shard_files.SHARD:  # a set that ends within a file would cut the file of the larger sets
        shards = config.home() / "runs" / "ablations" / "shards"
    return pretraining.pretrain(
        folder, per_class, seed, devices.fastest(), shard_folder=shards, held_out=200,
        effects=Effects(**off) if off else None,
    )  # fmt: skip


def phantom_rows(record: dict) -> dict:
    """What a run was judged by on held-out phantoms."""
    names = ("dice_follicle", "count_spearman", "count_mae", "count_bias", "held_out_phantoms")
    return {name: record[name] for name in names}


def real_rows(study: config.Study, arm: str) -> dict:
    """AUC of the count, mean of the seeds, over the sources of a study, with its interval."""
    from pcos_utils.models import counts, pretraining

    table = manifest.read(study.report_dir / "sources.csv")
    used = table[table.used == "yes"].reset_index(drop=True)
    pixels = [images.load(study.image_dir / path) for path in used.path]
    counted = [
        pretraining.count(counts.load(place(arm, seed) / "weights.safetensors"), pixels)["count"] for seed in SEEDS
    ]
    scored = used[["source", "label"]].assign(score=np.mean(counted, axis=0)).groupby("source").mean().reset_index()
    y_true, score = scored.label.to_numpy(int), scored.score.to_numpy()
    draws = metrics.auc(y_true, score, uncertainty.source_weights(scored, 2000, 0))
    low, high = np.quantile(draws, [0.025, 0.975])
    value = float(metrics.auc(y_true, score, np.ones(len(scored))))
    return {"auc": value, "low": low, "high": high, "sources": len(scored)}


def main() -> None:
    """Trains, judges and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    options = parser.parse_args()
    rows = []
    for arm in options.arms:
        for seed in SEEDS:
            row = {"arm": arm, "seed": seed, "on": "phantoms"} | phantom_rows(train(arm, seed))
            print(json.dumps(row), flush=True)
            rows.append(row)
        if options.folder:
            study = config.study("full", options.folder, allow_cpu=True)
            rows.append({"arm": arm, "seed": "mean", "on": study.data_name} | real_rows(study, arm))
            print(json.dumps(rows[-1]), flush=True)
    write_csv(HERE / "ablations.csv", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
