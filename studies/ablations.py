"""Measure what each part of the simulator is worth: train the follicle network without it, or on fewer phantoms.

    python -m studies.ablations FOLDER     a study whose notebook 02 was run (full); trains what is missing

Each arm trains two seeds and is tested by their mean count, on held-out phantoms that have every effect and on the
study's images. Arms without an effect have 1,000 phantoms, so they are compared with "1,000 phantoms", never with the
largest arm.
"""

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from pcos_utils import config
from pcos_utils.config import COUNT
from pcos_utils.evaluation import auc
from pcos_utils.evaluation.intervals import RESAMPLES, resample
from pcos_utils.files import read_record, write_csv
from pcos_utils.follicles import kept, pretrain, training_set
from pcos_utils.follicles import network as follicle_network
from pcos_utils.models import devices
from pcos_utils.phantom.effects import Effects
from pcos_utils.reporting.readme import write_block
from pcos_utils.reporting.text import interval, markdown
from studies import OUT, arguments, frames, source_pairs

ARMS = {
    "3,000 phantoms": (1500, {}),
    "1,000 phantoms": (500, {}),
    "300 phantoms": (150, {}),
    "1,000, no domain randomisation": (500, {"randomisation": False}),
    "1,000, no partial volume": (500, {"partial_volume": False}),
    "1,000, no distractors": (500, {"distractors": False}),
}
SEEDS = (0, 1)
SCORES = ["dice_follicle", "dice_core", "dice_ovary", "count_spearman", "count_mae", "count_bias"]


def train(arm: str, seed: int) -> dict:
    """Return the record of one run, trained if not finished. The largest arm is the network that counts in a study."""
    per_class, off = ARMS[arm]
    runs = config.home() / "runs"
    arm_folder = COUNT if arm == next(iter(ARMS)) else f"ablations/{arm.replace(',', '').replace(' ', '-')}"
    folder = runs / arm_folder / f"s{seed}"
    # A set that ends within a file lies elsewhere, because it would cut short that file of the larger sets.
    shards = runs / ("ablations" if 2 * per_class % training_set.SHARD else COUNT) / "shards"
    record = pretrain.pretrain(
        folder, per_class, seed, devices.fastest(), shard_folder=shards, held_out=min(200, per_class),
        effects=Effects(**off) if off else None,
    )  # fmt: skip
    return record | {"weights": folder / "weights.safetensors"}


def ranked(rows: pd.DataFrame, count: np.ndarray) -> dict:
    """Return the AUC of the count over the sources, with its BCa interval. ``rows``: source and label of each image."""
    pairs = source_pairs(rows, count)
    found = auc.interval(pairs, resample(pairs.label))
    return {"metric": "auc", "value": found.value, "low": found.low, "high": found.high, "sources": len(pairs.label)}


def against_truth(count: np.ndarray, truth: np.ndarray) -> list[dict]:
    """Return rank correlation and mean absolute error of a count, with percentile intervals over the phantoms."""
    drawn = np.random.default_rng(0).integers(len(truth), size=(RESAMPLES // 10, len(truth)))
    measures = {"spearman": lambda a, b: spearmanr(a, b)[0], "mae": lambda a, b: np.abs(a - b).mean()}
    rows = []
    for name, measure in measures.items():
        low, high = np.quantile([measure(count[rows], truth[rows]) for rows in drawn], [0.025, 0.975])
        value = float(measure(count, truth))
        rows.append({"metric": name, "value": value, "low": low, "high": high, "sources": len(truth)})
    return rows


def block(table: pd.DataFrame) -> str:
    """Return the README's table: one row per arm."""
    names = {"dice_follicle": "Dice", "spearman": "rank correlation", "auc": "AUC"}
    columns = [("phantoms", "dice_follicle"), ("phantoms", "spearman"), *((on, "auc") for on in table.on.unique())]
    cells = table.assign(cell=table.apply(interval, axis=1)).set_index(["arm", "on", "metric"]).cell
    cells = cells.str.replace(" [no interval]", "", regex=False)
    rows = [[arm, *(cells[arm, on, metric] for on, metric in columns)] for arm in table.arm.unique()]
    sources = table[table.metric == "auc"].groupby("on", sort=False).sources.first()
    tested = ", ".join(f"{n} {on}" if on == "phantoms" else f"{n} sources of {on}" for on, n in sources.items())
    note = f"*{table.seeds.iloc[0]} seeds; {tested}; Dice over all pixels, without an interval.*"
    header = ["trained on", *(f"{on}: {names[metric]}" for on, metric in columns)]
    return f"{markdown(header, rows)}\n\n{note}"


def main() -> None:
    """Train and test all arms, then write the tables and the README's block."""
    study = config.study("full", arguments(__doc__, "folder").folder, allow_cpu=True)
    runs = config.home() / "runs" / COUNT
    held = training_set.load(training_set.shards(runs / "shards", 200, pretrain.HELD_OUT_SEED))
    phantoms = pd.DataFrame({"source": range(len(held["label"])), "label": held["label"]})
    used, grey = frames(study)
    rows = []
    for arm in ARMS:
        records = [train(arm, seed) for seed in SEEDS]
        networks = [follicle_network.load(record["weights"]) for record in records]
        on_phantoms, on_images = (
            np.mean([follicle_network.measure_all(network, pixels)["count"] for network in networks], axis=0)
            for pixels in (held["images"], grey)
        )
        dice = float(np.mean([record["dice_follicle"] for record in records]))
        scores = [ranked(phantoms, on_phantoms), *against_truth(on_phantoms, held["FNPS"])]
        scores.append({"metric": "dice_follicle", "value": dice, "sources": len(held["label"])})
        rows += [{"arm": arm, "on": "phantoms", **score} for score in scores]
        rows.append({"arm": arm, "on": study.data_name, **ranked(used, on_images)})
        print(pd.DataFrame(rows).query("arm == @arm").to_string(index=False), flush=True)
    write_csv(OUT / "ablations.csv", pd.DataFrame(rows).assign(seeds=len(SEEDS)).round(4))
    write_block("ablations", block(pd.read_csv(OUT / "ablations.csv")))
    records = [read_record(path.parent) for path in kept.networks(study) if path != kept.KEPT]
    write_csv(OUT / "follicle_networks.csv", pd.DataFrame(records)[["seed", *SCORES, "held_out_phantoms"]])


if __name__ == "__main__":
    main()
