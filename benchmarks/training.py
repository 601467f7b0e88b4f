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
from benchmarks.training_report import SIDE, draw, name_of, summary
from pcos_utils import config
from pcos_utils.data import cache, offline, phantom
from pcos_utils.files import sha256, write_csv

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


def measure_ours(name: str, place: Path, part: str, precision: str) -> dict:
    """Seconds of a whole epoch as published, by our loop ("ours"); of what our own recipe needs ("frozen"): an epoch
    with features computed anew, and a schedule with cached ones; or the shares of a step's operations ("profile")."""
    import torch

    from pcos_utils.models import architectures, devices, features, training
    from pcos_utils.models.recipes import RECIPES

    engine = devices.engine_for(config.study("full", allow_cpu=True, precision=precision))
    copies = pd.read_csv(place / "copies.csv")
    prepare = partial(architectures.prepare, name)
    parts = {}
    for side, rows in copies.groupby("part"):
        stack = cache.stack(rows.reset_index(drop=True), place / "frames", SIDE, place / "cache" / side)
        labels = torch.tensor(rows.label.to_numpy(np.float32))
        parts[side] = training.Images(torch.from_numpy(stack), labels, torch.ones(len(labels)))
    train, validation, warm = (parts[side] for side in ("train", "validation", "warm"))
    nothing = training.Images(warm.pixels[:0], torch.zeros(0), torch.zeros(0))
    model = architectures.build(name, SIDE)
    recipe = RECIPES[name, "published"].model_copy(update={"epochs": 1})
    fit = partial(training.fit, recipe=recipe, seed=0, engine=engine)

    def timed(work) -> float:
        """Seconds that the work takes."""
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    fit(model, prepare, warm, nothing)
    if part == "profile":
        return machine.profile(lambda: fit(model, prepare, warm, nothing))
    if part == "ours":
        return {
            "train_seconds": timed(lambda: fit(model, prepare, train, nothing)),
            "validation_seconds": timed(
                lambda: training.predict(model, prepare, validation.pixels, engine=engine, batch=32)
            ),
            "precision": engine.precision,
        }
    ours, made = RECIPES[name, "ours"].model_copy(update={"epochs": 15}), {}
    head = partial(training.fit, model.classifier, seed=0, engine=engine)
    one_epoch = ours.model_copy(update={"epochs": 1, "batch": 32})  # the batch that the plain loop has
    anew = partial(head, features.computing(model, prepare, engine), recipe=one_epoch)
    anew(warm, nothing)

    def extract() -> None:
        """Nothing; the features of both parts are in ``made``."""
        made["train"] = features.copies(model, prepare, train.pixels, engine, ours, torch.Generator())
        made["validation"] = features.extract(model, prepare, validation.pixels, engine.exact())

    seconds = {"anew_seconds": timed(lambda: anew(train, nothing)), "features_seconds": timed(extract)}
    held, seen = (one._replace(pixels=made[side]) for one, side in ((validation, "validation"), (train, "train")))
    epochs = partial(head, features.only, seen, held, recipe=ours, change=features.pick)
    return seconds | {"head_seconds": timed(epochs)}


def one(way: str, name: str, place: Path, precision: str) -> tuple[dict, float]:
    """What one measurement in a process of its own said, and the peak memory of it and its workers, in MiB."""
    command = [sys.executable, "-m", "benchmarks.training", "--child", way, name, "--place", str(place)]
    command += ["--precision", precision]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=config.ROOT)
    with machine.peak_memory(child) as peak:
        said, _ = child.communicate()
    if child.returncode:
        raise SystemExit(f"The measurement of {name} ({way}) ended with {child.returncode}.")
    return json.loads(said.splitlines()[-1]), peak()


def pair(name: str, place: Path, sizes: dict[str, int], precision: str) -> list[dict]:
    """A row of the plain way and one of ours, measured in turn."""
    rows = []
    for way in ("plain", "ours"):
        said, peak = one(way, name, place, precision)
        row = {"model": name, "way": way, **said, "peak_mib": peak}
        if way == "ours" and name == "densenet201":
            said, row["frozen_peak_mib"] = one("frozen", name, place, precision)
            row |= said
        rows.append(row | {f"{part}_images": n for part, n in sizes.items()})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Measures, prints and writes the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--train", type=int, default=192, help="images of an epoch; a multiple of 32")
    parser.add_argument("--validation", type=int, default=64)
    parser.add_argument("--models", nargs="+", default=list(config.MODELS))
    parser.add_argument(
        "--precision", choices=("auto", "float32"), default="auto", help="of ours; the plain is float32"
    )
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--child", nargs=2)
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    if options.child:
        from benchmarks import plain_training

        way, name = options.child
        plain = way == "plain"
        ours = partial(measure_ours, name, options.place, way, options.precision)
        made = plain_training.measure(name, options.place, SIDE) if plain else ours()
        print(json.dumps(made))
        return
    sizes, rows, profiles = {"train": options.train, "validation": options.validation}, [], []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        setup = make_images(place, sizes)
        for number in range(options.rounds):
            for name in options.models:
                rows += [row | {"round": number} for row in pair(name, place, sizes, options.precision)]
        for name in options.models:
            shares, _ = one("profile", name, place, options.precision)
            profiles += [{"model": name, "operation": part, "share": share} for part, share in shares.items()]
    measured, speeds = pd.DataFrame(rows), machine.ceiling()
    table = summary(measured, speeds)
    name = name_of(table)
    facts = {f"setup_{way}_s": value for way, value in setup.items()}
    facts |= {f"ceiling_{kind}_gflops": value / 1e9 for kind, value in speeds.items()} | {"cores": os.cpu_count()}
    tables = {"": table, "_rounds": measured, "_profile": pd.DataFrame(profiles), "_machine": pd.DataFrame([facts])}
    for part, made in tables.items():
        write_csv(options.out / f"{name}{part}.csv", made)
    draw(table, options.out / f"{name}.png")
    print(table.T.to_string(), facts, sep="\n")


if __name__ == "__main__":
    main()
