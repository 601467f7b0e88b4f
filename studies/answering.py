"""Time one answer, from JPEG bytes to a probability: ours with onnxruntime, and the plain published way, in turn.

    python -m studies.answering                # 200 rounds, on a machine that does nothing else
    python -m studies.answering --rounds 20    # a try

The plain way is Pillow, torchvision's transforms in the published order, eager float32, and model.eval() each time.
Ours is ``Served.calibrated`` (the calibrated value and its interval). A column of its own times
``Served.answer``, which adds follicles and refusals. Weights are random, which does not change the time. All use two
threads, each in a process of its own, and ours stop them after each run: threads that wait for work on all cores slow
whoever computes next, here the plain way (which measured 149 instead of 111 ms).
"""

import io
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from pcos_utils import config
from pcos_utils.data import images
from pcos_utils.files import write_json
from pcos_utils.follicles import network as follicle_network
from pcos_utils.models import architectures
from pcos_utils.phantom import simulator
from pcos_utils.reporting.text import TITLES, markdown
from pcos_utils.serving import export
from pcos_utils.serving.model import Served
from studies import OUT, arguments, plain_training, publish

SIDE = architectures.PUBLISHED_SIDE
THREADS = 2
WAYS = "ours", "whole", "plain"
_way: dict = {}  # what this process answers with


def untaught(name: str) -> torch.nn.Module:
    """Return a network with the same random weights each time."""
    torch.manual_seed(0)
    return architectures.build(name, SIDE).eval()


def served(name: str, folder: Path) -> None:
    """Write a served model with random weights."""
    folder.mkdir()
    export.to_onnx(export.Answering(name, untaught(name)), (SIDE, SIDE, 3), folder / "model.onnx", "pixels")
    export.to_onnx(follicle_network.Outlining(follicle_network.UNet()), (128, 192), folder / "follicles.onnx", "grey")
    export.to_onnx(follicle_network.Outlining(follicle_network.Locator()), (192, 192), folder / "locator.onnx", "grey")
    usual = {"quantiles": np.zeros((33, 23)).tolist(), "precision": np.eye(23).tolist()}
    card = {
        "kind": "network", "model": name, "data": "phantom", "run": "", "side": SIDE, "threshold": 0.5,
        "calibration": {"slope": 1.0, "intercept": 0.0}, "conformal": {"alpha": 0.1, "normal": 0.9, "polycystic": 0.9},
        "interval": {"logit": [-5, 5], "low": [0, 0.9], "high": [0.1, 1]},
        **dict.fromkeys(("suitability", "boxed"), usual | {"limit": np.inf, "least_sharpness": 0.0}),
        "sources": {"normal": 50, "polycystic": 50},
    }  # fmt: skip
    write_json(folder / "model.json", card)


def plain(network: torch.nn.Module, content: bytes, name: str) -> float:
    """Return the probability as the page of the published study computes it: everything anew for each image."""
    network.eval()
    with torch.no_grad():
        pixels = plain_training.steps_of(name)(Image.open(io.BytesIO(content)).convert("RGB"))
        return torch.sigmoid(network(pixels[None]))[0, 0].item()


def prepare(name: str, way: str, folder: Path, content: bytes) -> None:
    """Make this process ready to answer in one way."""
    torch.set_num_threads(THREADS)
    model = Served(folder, THREADS) if way != "plain" else untaught(name)
    _way["answer"] = {
        "ours": lambda: model.calibrated(images.load(io.BytesIO(content), "a"), 0, model.card)[0],
        "whole": lambda: model.answer(content, "a").value,
        "plain": lambda: plain(model, content, name),
    }[way]


def timed() -> tuple[float, float]:
    """Return this process's answer, and its milliseconds."""
    started = time.perf_counter()
    value = _way["answer"]()
    return value, 1000 * (time.perf_counter() - started)


def measure(rounds: int) -> pd.DataFrame:
    """Return one row per network: median and 95th percentile of each way in ms, and the ratio of the medians."""
    stream, rows, spawn = io.BytesIO(), [], multiprocessing.get_context("spawn")
    Image.fromarray(simulator.simulate(2_200_000_000, 0).image).convert("RGB").save(stream, "JPEG", quality=90)
    for name in config.MODELS:
        with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
            served(name, Path(place) / name)
            process = {
                way: stack.enter_context(
                    ProcessPoolExecutor(1, spawn, prepare, (name, way, Path(place) / name, stream.getvalue()))
                )
                for way in WAYS
            }
            answers = [{way: process[way].submit(timed).result() for way in WAYS} for _ in range(rounds + 3)][3:]
        row = {"model": name, "rounds": rounds}
        for way in WAYS:
            taken = [answer[way][1] for answer in answers]
            row |= {f"{way}_median": np.median(taken), f"{way}_p95": np.quantile(taken, 0.95)}
        row["ratio"] = row["plain_median"] / row["ours_median"]
        rows.append(row | {"apart": abs(answers[0]["ours"][0] - answers[0]["plain"][0])})
    return pd.DataFrame(rows)


def block(table: pd.DataFrame) -> str:
    """Return the table of studies/README.md."""
    rows = [
        [
            TITLES[row.model], *(f"{value:.0f}" for value in (row.ours_median, row.whole_median, row.plain_median)),
            f"{row.ratio:.1f}", f"{row.plain_median / row.whole_median:.1f}",
        ]
        for row in table.itertuples()
    ]  # fmt: skip
    head = ["medians", "probability, ms", "whole answer, ms", "plain probability, ms", "plain : ours", "plain : whole"]
    return markdown(head, rows)


def main() -> None:
    """Print the table, and write it if there were enough rounds to report."""
    rounds = arguments(__doc__, rounds=200).rounds
    # The package sets it where nobody has; who runs a page in the plain way leaves it to the library, as "" does.
    os.environ["OMP_WAIT_POLICY"] = ""
    table = measure(rounds)
    if rounds >= 100:
        publish("answering", block, {OUT / "answering.csv": table})
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
