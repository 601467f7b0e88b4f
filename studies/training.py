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
from studies import OUT, arguments, machine, plain_training
from studies.training_report import SIDE, block, name_of, summary


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
    return parts | {"none": training.Images(parts["warm"].pixels[:0], torch.zeros(0), torch.zeros(0))}


def ours(name: str, place: Path, precision: str) -> dict:
    """Return the seconds of a whole epoch as published, by our loop."""
    parts, engine = images(place), devices.Engine(precision=precision)
    model, prepare = architectures.build(name, SIDE), partial(architectures.prepare, name)
    recipe = RECIPES[name, "published"].model_copy(update={"epochs": 1})
    fit = partial(training.fit, model, prepare, selection=parts["none"], recipe=recipe, seed=0, engine=engine)
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
    anew = partial(fit, frozen.computing(model, prepare, engine), selection=parts["none"], recipe=one_epoch)
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
    with machine.peak_memory(process) as peak:
        output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"The measurement {job} ended with exit code {process.returncode}.")
    return json.loads(output.splitlines()[-1]), peak()


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
    write_csv(settings.out / f"{name}.csv", table)
    write_csv(settings.out / f"{name}_rounds.csv", pd.DataFrame(rows))
    print(table.T.to_string(), block(table), sep="\n")
    if settings.out == OUT:
        from pcos_utils.reporting.readme import write_block  # here, so that no child carries matplotlib

        write_block(name, block(pd.read_csv(OUT / f"{name}.csv")))


if __name__ == "__main__":
    main()
