"""A finished study becomes a served model: one folder that onnxruntime answers from, without torch and repository."""

import io
import json
import math
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image
from torch import nn

from pcos_utils.config import CAVEAT, Study, StudyError
from pcos_utils.data import phantom, shards
from pcos_utils.data.grey import HEIGHT, WIDTH
from pcos_utils.files import appearing, sha256, write_json, write_text
from pcos_utils.models import counts, unet
from pcos_utils.models.pretraining import HELD_OUT_SEED
from pcos_utils.serving import card, evidence, suitability
from pcos_utils.serving.fit import Fitted, fit_served, outline_weights

OPSET = 18
AGREEMENT = 1e-4  # between torch's and onnxruntime's logits, at most
TRIED = 16  # made-up images at export; a test tries 200
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "scipy", "pillow", "opencv-python-headless")
EXAMPLES = range(2_100_000_000, 2_100_000_004)  # seeds of phantoms, far from all that trained or judged


class Outlining(nn.Module):
    """The follicle network with its preprocessing: grey uint8 (n, 128, 192) to probabilities (n, 3, 128, 192).

    As ``follicles.predict_maps``: the mean over each image and its mirror.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.eval()

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        """Probabilities of follicle, core and ovary."""
        x = unet.standardise(grey[:, None].float() / 255)
        return (self.network(x).sigmoid() + self.network(x.flip(3)).sigmoid().flip(3)) / 2


def to_onnx(module: nn.Module, example: np.ndarray, path: Path, name: str) -> float:
    """The largest difference between torch and onnxruntime on made-up input like ``example``, uint8 (1, ...).

    The file at ``path`` has a dynamic batch, one input ``name`` and opset 18. Raises StudyError above AGREEMENT.
    """
    given, content = torch.from_numpy(example).repeat(2, *[1] * (example.ndim - 1)), io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(
            module.eval(), (given,), content, input_names=[name], output_names=["answer"], opset_version=OPSET,
            dynamic_axes={name: {0: "n"}, "answer": {0: "n"}}, dynamo=False,
        )  # fmt: skip
    onnx.checker.check_model(onnx.load_from_string(content.getvalue()), full_check=True)
    session = onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])
    drawn = np.random.default_rng(0).integers(0, 256, (TRIED, *example.shape[1:]), dtype=np.uint8)
    with torch.inference_mode():
        wanted = module(torch.from_numpy(drawn)).numpy()
    apart = float(np.abs(session.run(None, {name: drawn})[0] - wanted).max())
    if not apart <= AGREEMENT:
        raise StudyError(f"{path.name} differs from its network by {apart:.1e}; report this with the versions in use.")
    with appearing(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return apart


def export(model: str, study: Study, folder: Path, *, phantoms: int = 300, fitted: Fitted | None = None) -> dict:
    """The card of a served model, whose folder then holds model.onnx, follicles.onnx, model.json, card.md, examples.

    ``phantoms`` of each class, that no network was trained on, say what a usual frame looks like. Raises StudyError
    where the study is not finished or the folder cannot be written.
    """
    fitted = fitted or fit_served(model, study)
    outline = outline_weights(study)
    outlining, side = Outlining(counts.load(outline)), fitted.facts["side"]
    grey = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    apart = {"follicles.onnx": to_onnx(outlining, grey, folder / "follicles.onnx", "grey")}
    if fitted.network is not None:
        pixels = np.zeros((1, side, side, 3), np.uint8)
        apart["model.onnx"] = to_onnx(fitted.network, pixels, folder / "model.onnx", "pixels")
    written = {name: sha256(folder / name) for name in apart}
    made = {
        "format": 1,
        "model": model,
        "data": study.data_name,
        "study": study.name,
        "kind": "count" if fitted.network is None else "network",
        **fitted.facts,
        **evidence.tabulate(fitted.predictions, resamples=study.resamples, seed=study.seed),
        "auc": evidence.ranking(fitted.predictions),
        "suitability": usual(outlining, study, phantoms),
        "preprocessing": f"8-bit RGB, upright, stretched to {side} x {side}, bilinear with antialiasing",
        "outline_sha256": sha256(outline),
        "files": written,
        "agreement": {name: float(f"{value:.1e}") for name, value in apart.items()},
        "packages": {name: version(name) for name in PACKAGES},
        "caveat": CAVEAT,
    }
    if not all(math.isfinite(value) for value in made["calibration"].values()):
        raise StudyError(f"The calibration of {model} is not a number; look at its out-of-fold predictions.")
    examples(folder / "examples")
    write_text(folder / "card.md", card.card(made))
    write_json(folder / "model.json", made)  # last: a folder without it is unfinished
    return made


def usual(outlining: nn.Module, study: Study, per_class: int) -> dict:
    """What ``suitability.judge`` needs, from held-out phantoms: of each three pairs one says what is usual, one sets
    the limit, and one is asked how many are refused by mistake."""
    place = study.runs_dir.parent / counts.NAME / "shards"
    frames = shards.load(shards.shards(place, per_class, HELD_OUT_SEED))["images"]
    rows = []
    with torch.inference_mode():
        for frame in frames:
            maps = outlining(torch.from_numpy(frame[None])).numpy()[0]
            rows.append(suitability.features(frame, maps))
    sharp = np.array([suitability.sharpness(frame) for frame in frames])
    # Neighbouring seeds alternate in class, so pairs do.
    third = np.arange(len(frames)) // 2 % 3
    rows, order = np.array(rows), np.argsort(third, kind="stable")
    return suitability.fit(*(rows[third == part] for part in range(3)), sharp[order])


def examples(folder: Path) -> None:
    """Nothing; the folder holds phantoms of both classes, which may be shown to anybody."""
    for seed in EXAMPLES:
        name = f"phantom_{phantom.FOLDERS[seed % 2]}_{seed - EXAMPLES[0] + 1}.png"
        content = io.BytesIO()
        Image.fromarray(phantom.simulate(seed, seed % 2).image).save(content, "PNG")
        with appearing(folder / name) as temporary:
            temporary.write_bytes(content.getvalue())


def read_card(folder: Path) -> dict:
    """The model.json of a served model. Raises StudyError where there is none."""
    try:
        return json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise StudyError(
            f"{folder} is no served model; make one with pcos export --model MODEL --out {folder}."
        ) from None
