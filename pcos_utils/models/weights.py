"""Weights in and out, as safetensors: a format that holds numbers and cannot run code."""

import socket
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import DenseNet201_Weights, densenet201

from pcos_utils.config import StudyError
from pcos_utils.files import appearing
from pcos_utils.models.architectures import sum_over_rgb

PATIENCE = 20  # seconds without an answer before the weights' server counts as unreachable


def save(model: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """The model's state as a safetensors file with text metadata; it appears whole."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with appearing(path) as temporary:
        save_file(state, temporary, metadata)


def load(model: nn.Module, path: Path) -> None:
    """The model with the file's weights, every name and shape matched. Raises StudyError."""
    try:
        model.load_state_dict(load_file(path), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StudyError(
            f"The weights {path} cannot be used ({reason}); give a .safetensors file of this very network."
        ) from error


def start(model: nn.Module, name: str, weights: str, *, must_fetch: bool) -> str:
    """What the network starts from: "imagenet", "random", "random (ImageNet weights unreachable)" or the file's name.

    Only DenseNet201 starts from ImageNet; the other two are trained from scratch, as published. With ``must_fetch``
    unreachable ImageNet weights stop the study (StudyError); without it the network keeps its random weights.
    """
    if name != "densenet201" or weights == "none":
        return "random"
    if weights != "imagenet":
        load(model, Path(weights))
        return Path(weights).name
    try:
        state = _imagenet()
    except OSError as error:  # no network, refused, timed out
        if must_fetch:
            raise StudyError(_instructions(error)) from error
        return "random (ImageNet weights unreachable)"
    own_head = {key: tensor for key, tensor in model.state_dict().items() if key.startswith("classifier.")}
    state["features.conv0.weight"] = sum_over_rgb(state["features.conv0.weight"])
    kept = {key: tensor for key, tensor in state.items() if not key.startswith("classifier.")}
    model.load_state_dict(kept | own_head, strict=True)
    return "imagenet"


def _imagenet() -> dict:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # the download has no time limit of its own
    try:
        # torchvision's own builder renames the old checkpoint's "norm.1" keys.
        return densenet201(weights=DenseNet201_Weights.IMAGENET1K_V1, progress=False).state_dict()
    finally:
        socket.setdefaulttimeout(before)


def _instructions(error: OSError) -> str:
    url = DenseNet201_Weights.IMAGENET1K_V1.url
    return (
        f"The ImageNet weights of DenseNet201 cannot be fetched ({type(error).__name__}); download {url} where there "
        "is a network and put the file into the folder torch/hub/checkpoints of your cache (TORCH_HOME/hub/"
        "checkpoints where that is set), or state WEIGHTS=none to train without them."
    )
