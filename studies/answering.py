"""Time one answer, from JPEG bytes to a probability: ours with onnxruntime, and the plain published way, in turn.

    python -m studies.answering      200 rounds, on a machine that does nothing else

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
from functools import partial
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
from studies import arguments, plain_training, publish

SIDE = architectures.PUBLISHED_SIDE
THREADS, ROUNDS = 2, 200
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


def prepare(name: str, way: str, folder: Path, content: bytes) -> None:
    """Make this process ready to answer in one way."""
    torch.set_num_threads(THREADS)
    model = Served(folder, THREADS) if way != "plain" else untaught(name)

    @torch.no_grad()
    def plain() -> float:
        steps = plain_training.steps_of(name)  # everything is done anew for each image
        pixels = steps(Image.open(io.BytesIO(content)).convert("RGB"))
        return torch.sigmoid(model.eval()(pixels[None]))[0, 0].item()

    _way["answer"] = {
        "ours": lambda: model.calibrated(images.load(io.BytesIO(content), "a"), 0, model.card)[0],
        "whole": lambda: model.answer(content, "a").value,
        "plain": plain,
    }[way]


def timed() -> tuple[float, float]:
    """Return this process's answer, and its milliseconds."""
    started = time.perf_counter()
    value = _way["answer"]()
    return value, 1000 * (time.perf_counter() - started)


def measure(name: str, content: bytes) -> dict:
    """Return the row of a network: median and 95th percentile of each way in ms, and the ratio of the medians."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        served(name, folder := Path(place) / name)
        start = partial(ProcessPoolExecutor, 1, multiprocessing.get_context("spawn"), prepare)
        process = {way: stack.enter_context(start((name, way, folder, content))) for way in WAYS}
        answers = [[process[way].submit(timed).result() for way in WAYS] for _ in range(ROUNDS + 3)][3:]
    row = {"model": name, "rounds": ROUNDS}
    for way, each in zip(WAYS, zip(*answers, strict=True), strict=True):
        taken = [milliseconds for _, milliseconds in each]
        row |= {f"{way}_median": np.median(taken), f"{way}_p95": np.quantile(taken, 0.95)}
    (ours, _), _, (plain, _) = answers[0]
    return row | {"ratio": row["plain_median"] / row["ours_median"], "apart": abs(ours - plain)}


def block(table: pd.DataFrame) -> str:
    """Return the table of studies/README.md."""
    rows = []
    for row in table.itertuples():
        ours, whole, plain = row.ours_median, row.whole_median, row.plain_median
        milliseconds = [f"{value:.0f}" for value in (ours, whole, plain)]
        rows.append([TITLES[row.model], *milliseconds, f"{row.ratio:.1f}", f"{plain / whole:.1f}"])
    head = ["medians", "probability, ms", "whole answer, ms", "plain probability, ms", "plain : ours", "plain : whole"]
    return markdown(head, rows)


def main() -> None:
    """Measure all networks, and write the table."""
    arguments(__doc__)
    # The package sets it where nobody has; who runs a page in the plain way leaves it to the library, as "" does.
    os.environ["OMP_WAIT_POLICY"] = ""
    content = io.BytesIO()
    Image.fromarray(simulator.simulate(2_200_000_000, 0).image).convert("RGB").save(content, "JPEG", quality=90)
    rows = [measure(name, content.getvalue()) for name in config.MODELS]
    publish("answering", block, answering=pd.DataFrame(rows))


if __name__ == "__main__":
    main()
