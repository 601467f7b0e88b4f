"""Measure training side by side: the plain loop in the published manner, an expert's loop, and ours.

    python -m studies.training                          about ten minutes on two idle cores
    python -m studies.training --precision float32      as where there is no bfloat16

Every measurement has a process of its own, and the ways take turns, so that a slow minute of the machine affects all.
Epochs are whole, but of fewer images than the published 608 and 252; the time of the published schedule is
extrapolated by image.
"""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from pcos_utils import config
from pcos_utils.data.pixels import change, expand, stack
from pcos_utils.files import sha256, write_csv
from pcos_utils.models import architectures, devices, frozen, training
from pcos_utils.models.recipes import RECIPES
from pcos_utils.phantom import simulator
from pcos_utils.reporting.text import markdown
from studies import OUT, arguments, machine, plain_training, publish
from studies.plain_training import SIDE

PUBLISHED = {"train": 608, "validation": 252}  # images


def make_images(place: Path, sizes: dict[str, int]) -> None:
    """Write phantoms into ``place``, as JPEG of 300 x 200 like dataset B: frames for our way, copies for the others."""
    rows = []
    for part, n in sizes.items():
        for i in range(max(2, n // 16)):
            path = place / "frames" / part / ("normal", "pco")[i % 2] / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), simulator.simulate(7_000_000 + len(rows), i % 2).image)
            rows.append((part, str(path.relative_to(place / "frames")), i % 2, sha256(path)))
    copies = expand(pd.DataFrame(rows, columns=["part", "path", "label", "sha256"]), {0: 16, 1: 16})
    copies.to_csv(place / "copies.csv", index=False)
    for file, group in copies.groupby("file"):
        pixels = cv2.imread(str(place / "frames" / file))[..., ::-1]
        for row in group.itertuples():
            target = place / row.path
            target.parent.mkdir(parents=True, exist_ok=True)
            changed = change(pixels, np.random.default_rng(row.Index)) if row.copy else pixels
            cv2.imwrite(str(target), changed[..., ::-1])


def images(place: Path) -> dict[str, training.Images]:
    """Return the images of each part as our way reads them."""
    parts = {}
    for part, rows in pd.read_csv(place / "copies.csv").groupby("part"):
        pixels = stack(rows.reset_index(drop=True), place / "frames", SIDE, place / "cache" / part)
        labels = torch.tensor(rows.label.to_numpy(np.float32))
        parts[part] = training.Images(torch.from_numpy(pixels), labels, torch.ones(len(labels)))
    return parts


def ours(name: str, place: Path, precision: str) -> dict:
    """Return the seconds of a whole epoch as published, by our loop."""
    parts, engine = images(place), devices.Engine(precision=precision)
    model, prepare = architectures.build(name, SIDE), partial(architectures.prepare, name)
    recipe = RECIPES[name, "published"].model_copy(update={"epochs": 1})
    fit = partial(training.fit, model, prepare, selection=None, recipe=recipe, seed=0, engine=engine)
    predict = partial(training.predict, model, prepare, parts["validation"].pixels, engine=engine, batch=32)
    fit(parts["warm"])
    return {
        "train_seconds": machine.seconds(lambda: fit(parts["train"])),
        "validation_seconds": machine.seconds(predict),
        "precision": precision,
    }


def frozen_features(name: str, place: Path, precision: str) -> dict:
    """Return the seconds of our own recipe: an epoch with features computed anew, and a schedule with cached ones."""
    parts, engine = images(place), devices.Engine(precision=precision)
    train, validation = parts["train"], parts["validation"]
    model, prepare = architectures.build(name, SIDE), partial(architectures.prepare, name)
    recipe = RECIPES[name, "ours"].model_copy(update={"epochs": 15})
    one_epoch = recipe.model_copy(update={"epochs": 1, "batch": 32})  # the batch size of the plain loop
    fit = partial(training.fit, model.classifier, seed=0, engine=engine)
    anew = partial(fit, frozen.computing(model, prepare, engine), selection=None, recipe=one_epoch)
    features = {}

    def extract() -> None:
        """Store the features of both parts."""
        features["train"] = frozen.copies(model, prepare, train.pixels, engine, recipe, torch.Generator())
        features["validation"] = frozen.extract(model, prepare, validation.pixels, engine.exact())

    anew(parts["warm"])
    seconds = {"anew_seconds": machine.seconds(lambda: anew(train)), "features_seconds": machine.seconds(extract)}
    seen, held = (parts[part]._replace(pixels=pixels) for part, pixels in features.items())
    head = partial(fit, frozen.only, seen, held, recipe=recipe, change=frozen.pick)
    return seconds | {"head_seconds": machine.seconds(head)}


def child(way: str, name: str, place: str, precision: str) -> None:
    """Print one measurement as JSON, after whatever torch prints. Runs in a process of its own."""
    if precision == "auto":
        precision = "bfloat16" if devices.has_bfloat16("cpu") else "float32"
    ways = {"plain": plain_training.measure, "expert": plain_training.expert, "ours": ours, "frozen": frozen_features}
    print(json.dumps(ways[way](name, Path(place), precision)))


def measured(*job: str) -> tuple[dict, float]:
    """Return the result of ``child`` in a process of its own, and the peak memory with workers, in MiB."""
    command = [sys.executable, "-c", f"from studies.training import child; child(*{job!r})"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=config.ROOT)
    with machine.peak_memory(process.pid) as peak:
        output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"The measurement {job} ended with exit code {process.returncode}.")
    return json.loads(output.splitlines()[-1]), peak()


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Return one row per network and way: medians of speed, schedule and memory, and ratios."""
    rows = []
    for (name, way), group in measured.groupby(["model", "way"], sort=False):
        middle = group.median(numeric_only=True)
        seconds = {part: middle[f"{part}_seconds"] / middle[f"{part}_images"] for part in PUBLISHED}
        kind = "bfloat16" if group.precision.eq("bfloat16").any() else "float32"
        row = {"model": name, "way": way, "precision": kind, "rounds": len(group)}
        row |= {f"{part}_images_per_s": 1 / seconds[part] for part in PUBLISHED}
        epoch = sum(PUBLISHED[part] * seconds[part] for part in PUBLISHED)
        row["schedule_s"] = RECIPES[name, "published"].epochs * epoch
        anew, features, head = (middle.get(f"{part}_seconds", np.nan) for part in ("anew", "features", "head"))
        row["anew_images_per_s"] = middle.train_images / anew
        features /= 2 * middle.train_images + middle.validation_images  # the recipe stores two changes of each image
        features *= 2 * PUBLISHED["train"] + PUBLISHED["validation"]
        row["cached_schedule_s"] = features + head / middle.train_images * PUBLISHED["train"]
        row["peak_mib"] = middle.peak_mib
        rows.append(row)
    table = pd.DataFrame(rows)
    plain, expert, ours = (table[table.way == way].set_index("model") for way in ("plain", "expert", "ours"))
    columns = ["train_images_per_s", "validation_images_per_s", "peak_mib"]
    ratios = (ours[columns] / plain[columns]).add_suffix("_ratio").assign(way="ours")
    for part in PUBLISHED:
        ratios[f"{part}_against_expert"] = ours[f"{part}_images_per_s"] / expert[f"{part}_images_per_s"]
    ratios["anew_images_per_s_ratio"] = ours.anew_images_per_s / plain.train_images_per_s
    ratios["schedule_s_ratio"] = plain.schedule_s / ours.schedule_s
    ratios["cached_schedule_s_ratio"] = plain.schedule_s / ours.cached_schedule_s
    return table.merge(ratios.reset_index(), how="left", on=["model", "way"])


def name_of(table: pd.DataFrame) -> str:
    """Return the files' name: machines with bfloat16 and without have tables of their own."""
    ours = table[table.way == "ours"]
    return "training" if ours.precision.eq("bfloat16").any() else "training_float32"


def block(table: pd.DataFrame) -> str:
    """Return the README's table: how many times as fast as the plain and the expert's loop ours is, per network."""
    header = ["ours against", "plain: training", "expert: training", "plain: validation", "expert: validation"]
    header += ["plain: published schedule", "plain: peak memory"]
    rows = []
    for row in table[table.way == "ours"].itertuples():
        training, schedule = f"{row.train_images_per_s_ratio:.1f} x", f"{row.schedule_s_ratio:.1f} x"
        if pd.notna(row.cached_schedule_s_ratio):
            training += f"; our recipe, batch norm frozen: {row.anew_images_per_s_ratio:.1f} x"
            schedule += f"; our recipe, features computed once: {row.cached_schedule_s_ratio:.0f} x"
        expert = (f"{row.train_against_expert:.2f} x", f"{row.validation_against_expert:.2f} x")
        validation, memory = f"{row.validation_images_per_s_ratio:.1f} x", f"{row.peak_mib_ratio:.2f} x"
        rows.append([row.model, training, expert[0], validation, expert[1], schedule, memory])
    return f"{markdown(header, rows)}\n\n*Medians of {table.rounds.max()} rounds, so without an interval.*"


def main() -> None:
    """Measure, then write and print the tables."""
    settings = arguments(
        __doc__, rounds=2, train=128, validation=64, models=",".join(config.MODELS), precision="auto", out=OUT
    )
    rows = []
    with tempfile.TemporaryDirectory() as place:
        make_images(Path(place), {"train": settings.train, "validation": settings.validation, "warm": 32})
        for number in range(settings.rounds):
            for name in settings.models.split(","):
                for way in ("plain", "expert", "ours"):
                    seconds, peak = measured(way, name, place, settings.precision)
                    row = {"model": name, "way": way, **seconds, "peak_mib": peak, "round": number}
                    if way == "ours" and name == "densenet201":
                        row |= measured("frozen", name, place, settings.precision)[0]
                    rows.append(row | {"train_images": settings.train, "validation_images": settings.validation})
                    print(json.dumps(rows[-1]), flush=True)
    table = summary(pd.DataFrame(rows))
    name = name_of(table)
    write_csv(settings.out / f"{name}_rounds.csv", pd.DataFrame(rows))
    print(table.T.to_string(), block(table), sep="\n")
    if settings.out == OUT:
        publish(name, block, {OUT / f"{name}.csv": table})
    else:
        write_csv(settings.out / f"{name}.csv", table)


if __name__ == "__main__":
    main()
