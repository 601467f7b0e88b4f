"""What each part of the simulator is worth: the follicle network trained without it, or on fewer phantoms.

    python -m benchmarks.ablations            trains what is missing, two seeds each, and judges on held-out phantoms
    python -m benchmarks.ablations FOLDER     also counts on the images of a study whose notebook 02 was run (full)

Arms without an effect have 1,000 phantoms, so they are compared with "1,000 phantoms", never with the largest. All are
judged on phantoms that have every effect, by the mean count of their seeds.
"""

import argparse

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from benchmarks.stress_report import README
from pcos_utils import config
from pcos_utils.data import images, manifest
from pcos_utils.data import shards as shard_files
from pcos_utils.data.effects import Effects
from pcos_utils.evaluation import figures, figures_evidence, readings, unfitted
from pcos_utils.files import appearing, write_csv, write_text
from pcos_utils.models import counts, devices, follicles, pretraining
from pcos_utils.runner import with_block

ARMS = {
    "3,000 phantoms": (1500, {}),
    "1,000 phantoms": (500, {}),
    "300 phantoms": (150, {}),
    "1,000, no domain randomisation": (500, {"randomisation": False}),
    "1,000, no partial volume": (500, {"partial_volume": False}),
    "1,000, no distractors": (500, {"distractors": False}),
}
SEEDS, RESAMPLES = (0, 1), 2000
OUT = config.ROOT / "reports" / "benchmarks"


def train(arm: str, seed: int) -> dict:
    """The record of one run, read where it is finished; the largest arm is the network that counts in a study."""
    per_class, off = ARMS[arm]
    runs = config.home() / "runs"
    largest, name = arm == next(iter(ARMS)), arm.replace(",", "").replace(" ", "-")
    folder = runs / counts.NAME / f"s{seed}" if largest else runs / "ablations" / name / f"s{seed}"
    # A set that ends within a file would cut the file of the larger sets.
    shards = runs / ("ablations" if 2 * per_class % shard_files.SHARD else counts.NAME) / "shards"
    record = pretraining.pretrain(
        folder, per_class, seed, devices.fastest(), shard_folder=shards, held_out=min(200, per_class),
        effects=Effects(**off) if off else None,
    )  # fmt: skip
    return record | {"weights": folder / "weights.safetensors"}


def judged(scored: pd.DataFrame) -> dict:
    """AUC of the count over the sources, with its BCa interval. ``scored``: source, label, count."""
    row = unfitted.auc_row(scored, "count", resamples=RESAMPLES)
    return {"metric": "auc"} | {name: row[name] for name in ("value", "low", "high", "sources")}


def against_truth(count: np.ndarray, truth: np.ndarray) -> list[dict]:
    """Spearman correlation and mean absolute error of a count, with percentile intervals over the phantoms."""
    drawn = np.random.default_rng(0).integers(len(truth), size=(RESAMPLES, len(truth)))
    rows = []
    for name, measure in (
        ("spearman", lambda a, b: spearmanr(a, b)[0]),
        ("mae", lambda a, b: np.abs(a - b).mean()),
    ):
        low, high = np.quantile([measure(count[one], truth[one]) for one in drawn], [0.025, 0.975])
        value = float(measure(count, truth))
        rows.append({"metric": name, "value": value, "low": low, "high": high, "sources": len(truth)})
    return rows


def draw(table: pd.DataFrame) -> None:
    """Nothing; the figure is written as PNG and SVG: rank correlation on phantoms, AUC on phantoms and on frames."""
    matplotlib.use("agg")
    figures.use_style()
    panels = [("phantoms", "spearman", "Spearman correlation of the count with the truth, phantoms")]
    panels += [(on, "auc", f"AUC of the count, {on}") for on in table.on.unique()]
    _, axes = plt.subplots(len(panels), 1, figsize=(7, 2.5 * len(panels)), squeeze=False, layout="constrained")
    for ax, (on, metric, words) in zip(axes[:, 0], panels, strict=True):
        rows = table[(table.on == on) & (table.metric == metric)].rename(columns={"arm": "name"})
        none = 0.0 if metric == "spearman" else 0.5
        figures_evidence.forest(rows.reset_index(drop=True), ax=ax, chance=none, xlabel=words)
    for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
        with appearing(OUT / f"ablations{suffix}") as path:
            ax.figure.savefig(path, bbox_inches="tight", metadata=metadata)


def block(table: pd.DataFrame) -> str:
    """What the README says of the table: a row an arm."""
    cells = table.assign(cell=table.apply(readings.interval, axis=1)).set_index(["arm", "on", "metric"]).cell
    wanted = [("phantoms", "dice_follicle"), ("phantoms", "spearman")] + [(on, "auc") for on in table.on.unique()]
    names = {"dice_follicle": "Dice", "spearman": "rank correlation", "auc": "AUC"}
    lines = ["| trained on | " + " | ".join(f"{on}: {names[metric]}" for on, metric in wanted) + " |"]
    lines.append("|---" * (len(wanted) + 1) + "|")
    for arm in table.arm.unique():
        own = [cells[arm, on, metric].replace(" [no interval]", "") for on, metric in wanted]
        lines.append(f"| {arm} | {' | '.join(own)} |")
    sources = table[table.metric == "auc"].groupby("on", sort=False).sources.first()
    counted = ", ".join(
        f"{count} {on}" if on == "phantoms" else f"{count} sources of {on}" for on, count in sources.items()
    )
    return "\n".join(
        [*lines, "", f"*{table.seeds.iloc[0]} seeds; {counted}; Dice over all pixels, without an interval.*"]
    )


def main() -> None:
    """Trains, judges, and writes the table and its figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?")
    options = parser.parse_args()
    shards = config.home() / "runs" / counts.NAME / "shards"
    held = shard_files.load(shard_files.shards(shards, 200, pretraining.HELD_OUT_SEED))
    phantoms = pd.DataFrame({"source": range(len(held["label"])), "label": held["label"]})
    if options.folder:
        study = config.study("full", options.folder, allow_cpu=True)
        used = manifest.read(study.report_dir / "sources.csv").query("used == 'yes'").reset_index(drop=True)
        pixels = [images.load(study.image_dir / path) for path in used.path]
    rows = []
    for arm in ARMS:
        records = [train(arm, seed) for seed in SEEDS]
        networks = [counts.load(record["weights"]) for record in records]
        count = np.mean([follicles.measure_all(one, held["images"])["count"] for one in networks], axis=0)
        made = [judged(phantoms.assign(count=count)), *against_truth(count, held["FNPS"])]
        dice = float(np.mean([record["dice_follicle"] for record in records]))
        made.append({"metric": "dice_follicle", "value": dice, "sources": len(held["label"])})
        rows += [{"arm": arm, "on": "phantoms", **row} for row in made]
        if options.folder:
            count = np.mean([pretraining.count(one, pixels)["count"] for one in networks], axis=0)
            rows.append({"arm": arm, "on": study.data_name, **judged(used[["source", "label"]].assign(count=count))})
        print(pd.DataFrame(rows).query("arm == @arm").to_string(index=False), flush=True)
    table = pd.DataFrame(rows).assign(seeds=len(SEEDS))
    write_csv(OUT / "ablations.csv", table.round(4))
    draw(table)
    text = block(pd.read_csv(OUT / "ablations.csv"))
    write_text(README, with_block(README.read_text(), text, "ablations"))


if __name__ == "__main__":
    main()
