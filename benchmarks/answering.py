"""One answer, from JPEG bytes to a probability: ours in onnxruntime beside the plain published-style path, in turn.

    python -m benchmarks.answering                # 200 rounds, on a machine that does nothing else
    python -m benchmarks.answering --rounds 20    # a try

The plain path is Pillow, torchvision's transforms in the published order, eager float32, model.eval() each time. Ours
is ``Served.probability`` (the calibrated probability and its interval) and, in a column of its own, ``Served.answer``
with follicles and refusals. Weights are random: they change no time. Both have two threads.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torchvision import transforms

from benchmarks import machine
from pcos_utils import config
from pcos_utils.data import images, phantom
from pcos_utils.files import write_csv
from pcos_utils.models import architectures, unet
from pcos_utils.serving import export, fit, predict

OUT = config.ROOT / "reports" / "benchmarks" / "answering.csv"
SIDE = architectures.PUBLISHED_SIDE
TARGETS = {"densenet121d": 17, "densenet201": 26, "iustnet": 13}  # ms, median
THREADS = 2


def served(name: str, folder: Path) -> tuple[predict.Served, torch.nn.Module]:
    """A served model with random weights, and the same network for the plain path."""
    torch.manual_seed(0)
    network = architectures.build(name, SIDE).eval()
    folder.mkdir()
    export.to_onnx(
        fit.Answering(name, network), np.zeros((1, SIDE, SIDE, 3), np.uint8), folder / "model.onnx", "pixels"
    )
    outline = export.Outlining(unet.follicle_unet())
    export.to_onnx(outline, np.zeros((1, 128, 192), np.uint8), folder / "follicles.onnx", "grey")
    usual = {"quantiles": np.zeros((33, 23)).tolist(), "precision": np.eye(23).tolist()}
    card = {
        "kind": "network", "model": name, "data": "phantom", "run": "", "side": SIDE, "threshold": 0.5,
        "calibration": {"slope": 1.0, "intercept": 0.0}, "conformal": {"alpha": 0.1, "normal": 0.9, "polycystic": 0.9},
        "interval": {"logit": [-5, 5], "low": [0, 0.9], "high": [0.1, 1]},
        "suitability": usual | {"limit": np.inf, "least_sharpness": 0.0},
    }  # fmt: skip
    export.write_json(folder / "model.json", card)
    return predict.Served(folder, THREADS), network


def plain(network: torch.nn.Module, content: bytes, three: bool) -> float:
    """The probability as the published study's page answers: everything anew for each image."""
    steps = [transforms.Resize((SIDE, SIDE)), transforms.ToTensor()]
    if not three:
        steps += [transforms.Normalize(architectures.IMAGENET_MEAN, architectures.IMAGENET_STD), transforms.Grayscale()]
    network.eval()
    with torch.no_grad():
        pixels = transforms.Compose(steps)(Image.open(io.BytesIO(content)).convert("RGB"))
        return torch.sigmoid(network(pixels[None]))[0, 0].item()


def measure(rounds: int) -> pd.DataFrame:
    """One row per network: median and 95th percentile of each way in ms, the ratio of the medians, and the share of the
    machine's ceiling, its largest matrix product in float32, at which the network's operations run."""
    torch.set_num_threads(THREADS)
    ceiling = machine.ceiling()["float32"]
    stream = io.BytesIO()
    Image.fromarray(phantom.simulate(2_200_000_000, 0).image).convert("RGB").save(stream, "JPEG", quality=90)
    content, rows = stream.getvalue(), []
    with tempfile.TemporaryDirectory() as place:
        for name in config.MODELS:
            model, network = served(name, Path(place) / name)
            ways = {
                "ours": lambda model=model: model.probability(images.load(io.BytesIO(content), "a"))[0],
                "whole": lambda model=model: model.answer(content, "a").probability,
                "plain": lambda network=network, name=name: plain(network, content, name == "iustnet"),
            }
            apart = abs(ways["ours"]() - ways["plain"]())
            times = {way: [] for way in ways}
            for _ in range(rounds + 3):
                for way, answer in ways.items():
                    started = time.perf_counter()
                    answer()
                    times[way].append(1000 * (time.perf_counter() - started))
            row = {"model": name, "rounds": rounds, "target": TARGETS[name]}
            for way, taken in times.items():
                row |= {f"{way}_median": np.median(taken[3:]), f"{way}_p95": np.quantile(taken[3:], 0.95)}
            share = machine.operations(name, SIDE)["validation"] / ceiling / row["ours_median"] * 1000
            row |= {"ratio": row["plain_median"] / row["ours_median"], "apart": apart, "share_of_ceiling": share}
            rows.append(row)
            if name == config.MODELS[0]:
                start = first_answer(Path(place) / name)
    return pd.DataFrame(rows).assign(start_to_first_answer=start)


def first_answer(folder: Path) -> float:
    """Seconds from the start of Python to the first answer of a served model."""
    code = (
        "import sys; from pathlib import Path; from pcos_utils.serving.predict import Served; import numpy as np; "
        f"Served(Path({str(folder)!r}), {THREADS}).look(np.zeros((200, 300, 3), np.uint8))"
    )
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=config.ROOT)
    return time.perf_counter() - started


def main() -> None:
    """Prints the table; writes it where the rounds are enough to be reported."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    made = measure(rounds)
    if rounds >= 100:
        write_csv(OUT, made)
    print(made.round(3).to_string())


if __name__ == "__main__":
    main()
