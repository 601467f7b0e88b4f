"""Training side by side: the plain loop in the published manner, and ours, for the three networks. Run `make bench`.

Every measurement has a process of its own; the two ways take turns, so that a slow minute of the machine meets both.
Epochs are whole, but of fewer images than the published 608 and 252; the published schedule is extrapolated by image.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks import machine
from pcos_utils import config
from pcos_utils.data import cache, offline, phantom
from pcos_utils.files import appearing, sha256, write_csv

SIDE = 224
PUBLISHED = {"train": 608, "validation": 252}
HERE = config.ROOT / "reports" / "benchmarks"


def make_images(place: Path, sizes: dict[str, int]) -> pd.DataFrame:
    """Set-up times of both ways; ``place`` holds the copies as JPEG files for the plain way, and the frames for ours.

    Frames are phantoms, as JPEG of 300 x 200 like dataset B; both ways start from the frames.
    """
    rows = []
    for part, n in (sizes | {"warm": 32}).items():
        for i in range(max(2, n // 16)):
            label = i % 2
            path = place / "frames" / part / ("pco", "normal")[1 - label] / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), phantom.simulate(7_000_000 + len(rows), label).image)
            rows.append((part, str(path.relative_to(place / "frames")), label, sha256(path)))
    frames = pd.DataFrame(rows, columns=["part", "path", "label", "sha256"])
    copies = offline.expand(frames, {0: 16, 1: 16})
    copies.to_csv(place / "copies.csv", index=False)
    seconds = {}
    began = time.perf_counter()
    for file, group in copies.groupby("file"):
        pixels = cv2.imread(str(place / "frames" / file))[..., ::-1]
        for row in group.itertuples():
            target = place / row.path
            target.parent.mkdir(parents=True, exist_ok=True)
            made = offline.change(pixels, np.random.default_rng(row.Index)) if row.copy else pixels
            cv2.imwrite(str(target), made[..., ::-1])
    seconds["plain"] = time.perf_counter() - began
    began = time.perf_counter()
    for part, group in copies.groupby("part"):
        cache.stack(group.reset_index(drop=True), place / "frames", SIDE, place / "cache" / part)
    seconds["ours"] = time.perf_counter() - began
    return pd.Series(seconds)


def measure_ours(name: str, place: Path) -> dict[str, float]:
    """Seconds of a whole epoch as published, by our loop, and of what a schedule with cached features needs."""
    import torch

    from pcos_utils.models import architectures, devices, features, training
    from pcos_utils.models.recipes import RECIPES

    engine = devices.engine_for(config.study("full", allow_cpu=True))
    copies = pd.read_csv(place / "copies.csv")
    prepare = partial(architectures.prepare, name)
    parts = {}
    for part, rows in copies.groupby("part"):
        stack = cache.stack(rows.reset_index(drop=True), place / "frames", SIDE, place / "cache" / part)
        labels = torch.tensor(rows.label.to_numpy(np.float32))
        parts[part] = training.Images(torch.from_numpy(stack), labels, torch.ones(len(labels)))
    nothing = training.Images(parts["warm"].pixels[:0], torch.zeros(0), torch.zeros(0))
    model = architectures.build(name, SIDE)
    recipe = RECIPES[name, "published"].model_copy(update={"epochs": 1})
    fit = partial(training.fit, recipe=recipe, seed=0, engine=engine)

    def timed(work) -> float:
        """Seconds that the work takes."""
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    fit(model, prepare, parts["warm"], nothing)
    seconds = {
        "train_seconds": timed(lambda: fit(model, prepare, parts["train"], nothing)),
        "validation_seconds": timed(
            lambda: training.predict(model, prepare, parts["validation"].pixels, engine=engine, batch=32)
        ),
        "precision": engine.precision,
    }
    if name == "densenet201":
        ours = RECIPES[name, "ours"].model_copy(update={"epochs": 15})
        change = lambda batch: training.augmentation_of(ours)(batch, None, torch.Generator())[0]  # noqa: E731
        made = {}

        def extract() -> None:
            """Nothing; the features of both parts are in ``made``."""
            made["train"] = features.extract(model, prepare, parts["train"].pixels, engine, change, ours.feature_copies)
            made["validation"] = features.extract(model, prepare, parts["validation"].pixels, engine)

        seconds["features_seconds"] = timed(extract)
        held = parts["validation"]._replace(pixels=made["validation"])
        head = partial(training.fit, model.classifier, features.only, seed=0, engine=engine)
        train = parts["train"]._replace(pixels=made["train"])
        seconds["head_seconds"] = timed(lambda: head(train, held, recipe=ours, change=features.pick))
    seconds["profile"] = machine.profile(lambda: fit(model, prepare, parts["warm"], nothing))
    return seconds


def one(way: str, name: str, place: Path, sizes: dict[str, int]) -> dict:
    """One measurement in a process of its own: its seconds, and the peak memory of it and its workers, in MiB."""
    command = [sys.executable, "-m", "benchmarks.training", "--child", way, name, "--place", str(place)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=config.ROOT)
    with machine.peak_memory(child) as peak:
        said, _ = child.communicate()
    if child.returncode:
        raise SystemExit(f"The measurement of {name} ({way}) ended with {child.returncode}.")
    row = {"model": name, "way": way, **json.loads(said.splitlines()[-1]), "peak_mib": peak()}
    return row | {f"{part}_images": n for part, n in sizes.items()}


def summary(measured: pd.DataFrame, speeds: dict[str, float]) -> pd.DataFrame:
    """One row per network and way: medians of images per second, schedule, memory, share of the ceiling; ratios."""
    from pcos_utils.models.recipes import RECIPES

    rows = []
    for (name, way), group in measured.groupby(["model", "way"], sort=False):
        middle = group.median(numeric_only=True)
        each = {part: middle[f"{part}_seconds"] / middle[f"{part}_images"] for part in PUBLISHED}
        epochs = RECIPES[name, "published"].epochs
        cost = machine.operations(name, SIDE)
        kind = "bfloat16" if way == "ours" and group.precision.eq("bfloat16").any() else "float32"
        row = {"model": name, "way": way, "precision": kind, "rounds": len(group)}
        row |= {f"{part}_images_per_s": 1 / each[part] for part in PUBLISHED}
        row["schedule_s"] = epochs * sum(PUBLISHED[part] * each[part] for part in PUBLISHED)
        if way == "ours" and name == "densenet201":
            seen = 2 * middle.train_images + middle.validation_images
            wanted = 2 * PUBLISHED["train"] + PUBLISHED["validation"]
            row["cached_schedule_s"] = (
                middle.features_seconds / seen * wanted + middle.head_seconds / middle.train_images * PUBLISHED["train"]
            )
        row["peak_mib"] = group.peak_mib.median()
        row |= {f"{part}_share_of_ceiling": cost[part] / each[part] / speeds[kind] for part in PUBLISHED}
        rows.append(row)
    table = pd.DataFrame(rows)
    plain = table[table.way == "plain"].set_index("model")
    ours = table.way == "ours"
    for column in [*(f"{part}_images_per_s" for part in PUBLISHED), "peak_mib"]:
        table.loc[ours, f"{column}_ratio"] = table[ours][column] / table[ours].model.map(plain[column])
    for column in ("schedule_s", "cached_schedule_s"):
        table.loc[ours, f"{column}_ratio"] = table[ours].model.map(plain.schedule_s) / table[ours][column]
    return table


def markdown(table: pd.DataFrame) -> str:
    """The ratios as a Markdown table for the README: one row per network."""
    lines = ["| ours against the plain loop | training | validation | published schedule | peak memory |"]
    lines += ["|---|---|---|---|---|"]
    for row in table[table.way == "ours"].itertuples():
        schedule = f"{row.schedule_s_ratio:.1f} x"
        if pd.notna(row.cached_schedule_s_ratio):
            schedule += f"; our recipe, features computed once: {row.cached_schedule_s_ratio:.0f} x"
        cells = [f"{row.train_images_per_s_ratio:.1f} x", f"{row.validation_images_per_s_ratio:.1f} x", schedule]
        lines.append(f"| {row.model} | {' | '.join(cells)} | {row.peak_mib_ratio:.2f} x |")
    return "\n".join(lines)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Nothing; a figure of the images per second of both ways, with their ratios."""
    import matplotlib.pyplot as plt

    from pcos_utils.evaluation import figures

    figures.use_style()
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6))
    names = list(table.model.unique())
    for ax, part in zip(axes, PUBLISHED, strict=True):
        for place, (way, colour) in enumerate((("plain", "#999999"), ("ours", "#0072B2"))):
            values = table[table.way == way].set_index("model").loc[names, f"{part}_images_per_s"]
            bars = ax.bar(np.arange(len(names)) + 0.4 * place - 0.2, values, 0.38, color=colour, label=way)
            if way == "ours":
                ratios = table[table.way == way].set_index("model").loc[names, f"{part}_images_per_s_ratio"]
                ax.bar_label(bars, [f"x {ratio:.1f}" for ratio in ratios], padding=2)
        ax.set_xticks(range(len(names)), [figures.MODEL_NAMES[name] for name in names])
        ax.set(title=part, ylabel="images per second", ylim=(0, ax.get_ylim()[1] * 1.12))
    axes[0].legend(frameon=False)
    for suffix in (".png", ".svg"):
        with appearing(path.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, bbox_inches="tight", metadata={} if suffix == ".png" else {"Date": None})


def main() -> None:
    """Measures, prints and writes the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--train", type=int, default=192, help="images of an epoch; a multiple of 32")
    parser.add_argument("--validation", type=int, default=64)
    parser.add_argument("--models", nargs="+", default=list(config.MODELS))
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--child", nargs=2)
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    if options.child:
        from benchmarks import plain_training

        way, name = options.child
        measure = plain_training.measure if way == "plain" else lambda name, place, side: measure_ours(name, place)
        print(json.dumps(measure(name, options.place, SIDE)))
        return
    sizes = {"train": options.train, "validation": options.validation}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        setup = make_images(place, sizes)
        rows = []
        for number in range(options.rounds):
            for name in options.models:
                for way in ("plain", "ours"):
                    rows.append(one(way, name, place, sizes) | {"round": number})
                    print(json.dumps(rows[-1]), flush=True)
    profiles = pd.DataFrame(
        [
            {"model": row["model"], "operation": name, "share": share}
            for row in rows
            if row["round"] == 0
            for name, share in row.get("profile", {}).items()
        ]
    )
    rows = [{key: value for key, value in row.items() if key != "profile"} for row in rows]
    speeds = machine.ceiling()
    table = summary(pd.DataFrame(rows), speeds)
    write_csv(options.out / "training_rounds.csv", pd.DataFrame(rows))
    write_csv(options.out / "training.csv", table)
    write_csv(options.out / "training_profile.csv", profiles)
    facts = {f"setup_{way}_s": value for way, value in setup.items()}
    facts |= {f"ceiling_{kind}_gflops": value / 1e9 for kind, value in speeds.items()} | {"cores": os.cpu_count()}
    write_csv(options.out / "training_machine.csv", pd.DataFrame([facts]))
    draw(table, options.out / "training.png")
    print(table.T.to_string(), facts, sep="\n")


if __name__ == "__main__":
    main()
