"""Measure training side by side: the plain loop in the published manner, an expert's loop, and ours.

    python -m studies.training      about ten minutes on two idle cores

Every measurement has a process of its own, and the ways take turns, so that a slow minute of the machine affects all.
Epochs are whole, but of fewer images than the published 608 and 252; the time of the published schedule is
extrapolated by image.
"""

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import product
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
from studies import OUT, arguments, peak_memory, plain_training, publish, seconds
from studies.plain_training import SIDE

PUBLISHED = {"train": 608, "validation": 252}  # images
MEASURED, WARM, ROUNDS = {"train": 128, "validation": 64}, 32, 2


def make_images(place: Path) -> None:
    """Write phantoms into ``place``, as JPEG of 300 x 200 like dataset B: frames for our way, copies for the others."""
    rows = []
    for part, n in (MEASURED | {"warm": WARM}).items():
        for i in range(max(2, n // 16)):
            path = place / "frames" / part / ("normal", "pco")[i % 2] / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), simulator.simulate(7_000_000 + len(rows), i % 2).image)
            rows.append((part, str(path.relative_to(place / "frames")), i % 2, sha256(path)))
    copies = expand(pd.DataFrame(rows, columns=["part", "path", "label", "sha256"]), {0: 16, 1: 16})
    copies.to_csv(place / "copies.csv", index=False)
    for row in copies.itertuples():
        pixels, target = cv2.imread(str(place / "frames" / row.file))[..., ::-1], place / row.path
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


def ours(name: str, place: Path) -> dict:
    """Return the seconds of a whole epoch as published, by our loop."""
    parts, engine = images(place), devices.Engine(precision="auto")
    model, prepare = architectures.build(name, SIDE), partial(architectures.prepare, name)
    recipe = RECIPES[name, "published"].model_copy(update={"epochs": 1})
    fit = partial(training.fit, model, prepare, selection=None, recipe=recipe, seed=0, engine=engine)
    predict = partial(training.predict, model, prepare, parts["validation"].pixels, engine=engine, batch=32)
    fit(parts["warm"])
    taken = {"train_seconds": seconds(lambda: fit(parts["train"])), "validation_seconds": seconds(predict)}
    return taken | {"precision": engine.precision}


def frozen_features(name: str, place: Path) -> dict:
    """Return the seconds of our own recipe: an epoch with features computed anew, and a schedule with cached ones."""
    parts, engine = images(place), devices.Engine(precision="auto")
    model, prepare = architectures.build(name, SIDE), partial(architectures.prepare, name)
    recipe = RECIPES[name, "ours"].model_copy(update={"epochs": 15})
    one_epoch = recipe.model_copy(update={"epochs": 1, "batch": 32})  # the batch size of the plain loop
    fit = partial(training.fit, model.classifier, seed=0, engine=engine)
    anew = partial(fit, frozen.computing(model, prepare, engine), selection=None, recipe=one_epoch)
    train, validation = parts["train"], parts["validation"]
    anew(parts["warm"])
    taken, began = {"anew_seconds": seconds(lambda: anew(train))}, time.perf_counter()
    seen = train._replace(pixels=frozen.copies(model, prepare, train.pixels, engine, recipe, torch.Generator()))
    held = validation._replace(pixels=frozen.extract(model, prepare, validation.pixels, engine.exact()))
    taken["features_seconds"] = time.perf_counter() - began
    head = partial(fit, frozen.only, seen, held, recipe=recipe, change=frozen.pick)
    return taken | {"head_seconds": seconds(head)}


WAYS = {"plain": plain_training.measure, "expert": plain_training.expert, "ours": ours, "frozen": frozen_features}


def measured(way: str, name: str, place: str) -> tuple[dict, float]:
    """Return a measurement by a process of its own, and that one's peak of memory with workers, in MiB."""
    # What torch prints comes before the last line.
    measuring = f"WAYS[{way!r}]({name!r}, Path({place!r}))"
    code = f"from studies.training import WAYS, Path, json; print(json.dumps({measuring}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=config.ROOT)
    with peak_memory(process.pid) as peak:
        output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"The measurement {(way, name)} ended with exit code {process.returncode}.")
    return json.loads(output.splitlines()[-1]), peak()


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Return one row per network and way: medians of speed, schedule and memory, and ratios."""
    groups = measured.groupby(["model", "way"], sort=False)
    middle = groups.median(numeric_only=True)
    train, validation = (middle[f"{part}_seconds"] / middle[f"{part}_images"] for part in PUBLISHED)
    epochs = np.array([RECIPES[name, "published"].epochs for name, _ in middle.index])
    # The recipe stores two changes of each image.
    features = middle.features_seconds / (2 * middle.train_images + middle.validation_images)
    features *= 2 * PUBLISHED["train"] + PUBLISHED["validation"]
    table = pd.DataFrame({
        "precision": groups.precision.agg(lambda kinds: "bfloat16" if "bfloat16" in {*kinds} else "float32"),
        "rounds": groups.size(), "train_images_per_s": 1 / train, "validation_images_per_s": 1 / validation,
        "schedule_s": epochs * (PUBLISHED["train"] * train + PUBLISHED["validation"] * validation),
        "anew_images_per_s": middle.train_images / middle.anew_seconds,
        "cached_schedule_s": features + middle.head_seconds / middle.train_images * PUBLISHED["train"],
        "peak_mib": middle.peak_mib,
    })  # fmt: skip
    plain, expert, ours = (table.xs(way, level="way") for way in ("plain", "expert", "ours"))
    columns = ["train_images_per_s", "validation_images_per_s", "peak_mib"]
    ratios = (ours[columns] / plain[columns]).add_suffix("_ratio").assign(
        way="ours",
        train_against_expert=ours.train_images_per_s / expert.train_images_per_s,
        validation_against_expert=ours.validation_images_per_s / expert.validation_images_per_s,
        anew_images_per_s_ratio=ours.anew_images_per_s / plain.train_images_per_s,
        schedule_s_ratio=plain.schedule_s / ours.schedule_s,
        cached_schedule_s_ratio=plain.schedule_s / ours.cached_schedule_s,
    )  # fmt: skip
    return table.reset_index().merge(ratios.reset_index(), how="left", on=["model", "way"])


def block(table: pd.DataFrame) -> str:
    """Return the README's table: how many times as fast as the plain and the expert's loop ours is, per network."""
    header = ["ours against", "plain: training", "expert: training", "plain: validation", "expert: validation"]
    rows = []
    for row in table[table.way == "ours"].itertuples():
        training, schedule = f"{row.train_images_per_s_ratio:.1f} x", f"{row.schedule_s_ratio:.1f} x"
        if pd.notna(row.cached_schedule_s_ratio):
            training += f"; our recipe, batch norm frozen: {row.anew_images_per_s_ratio:.1f} x"
            schedule += f"; our recipe, features computed once: {row.cached_schedule_s_ratio:.0f} x"
        validation = [f"{row.validation_images_per_s_ratio:.1f} x", f"{row.validation_against_expert:.2f} x"]
        cells = [training, f"{row.train_against_expert:.2f} x", *validation, schedule, f"{row.peak_mib_ratio:.2f} x"]
        rows.append([row.model, *cells])
    text = markdown([*header, "plain: published schedule", "plain: peak memory"], rows)
    return f"{text}\n\n*Medians of {table.rounds.max()} rounds, so without an interval.*"


def main() -> None:
    """Measure, then write and print the tables; machines with bfloat16 and without have tables of their own."""
    arguments(__doc__)
    rows, sizes = [], {f"{part}_images": n for part, n in MEASURED.items()}
    with tempfile.TemporaryDirectory() as place:
        make_images(Path(place))
        for number, name, way in product(range(ROUNDS), config.MODELS, ("plain", "expert", "ours")):
            taken, peak = measured(way, name, place)
            if way == "ours" and name == "densenet201":
                taken |= measured("frozen", name, place)[0]
            rows.append({"model": name, "way": way, **taken, "peak_mib": peak, "round": number} | sizes)
            print(json.dumps(rows[-1]), flush=True)
    table = summary(pd.DataFrame(rows))
    name = "training" if "bfloat16" in {*table.precision} else "training_float32"
    write_csv(OUT / f"{name}_rounds.csv", pd.DataFrame(rows))
    publish(name, block, **{name: table})


if __name__ == "__main__":
    main()
