"""Weights in and out, as safetensors: a format that holds numbers and cannot run code."""

import functools
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import nn
from torchvision.models import DenseNet201_Weights, densenet201

from pcos_utils.config import StudyError
from pcos_utils.files import appearing
from pcos_utils.models.architectures import sum_over_rgb

PATIENCE = 10  # seconds without an answer before the weights' server counts as unreachable


def save(model: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """The model's state as a safetensors file with text metadata; it appears whole. Equal content, equal bytes."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    content = serialised(state, metadata)
    # The library puts metadata into the header in an order of chance; the header is JSON behind its own length.
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length]) | {"__metadata__": dict(sorted(metadata.items()))}
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    with appearing(path) as temporary:
        temporary.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


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
    state = _imagenet()
    if isinstance(state, OSError):
        if must_fetch:
            raise StudyError(_instructions(state)) from state
        return "random (ImageNet weights unreachable)"
    own_head = {key: tensor for key, tensor in model.state_dict().items() if key.startswith("classifier.")}
    kept = {key: tensor for key, tensor in state.items() if not key.startswith("classifier.")}
    kept["features.conv0.weight"] = sum_over_rgb(kept["features.conv0.weight"])
    model.load_state_dict(kept | own_head, strict=True)
    return "imagenet"


@functools.cache
def _imagenet() -> dict | OSError:
    """torchvision's checkpoint, or why it cannot be had: asked once per process, because many runs want it."""
    weights = DenseNet201_Weights.IMAGENET1K_V1
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(weights.url).path).name)
    before = socket.getdefaulttimeout()
    try:
        if "PCOS_OFFLINE" in os.environ:  # tests compare with outputs that were made without ImageNet weights
            raise ConnectionRefusedError("PCOS_OFFLINE is set")
        if not cached.exists():
            _reach(urlparse(weights.url).hostname)
        socket.setdefaulttimeout(PATIENCE)  # the download has no time limit of its own
        # torchvision's own builder renames the old checkpoint's "norm.1" keys.
        return densenet201(weights=weights, progress=False).state_dict()
    except OSError as error:  # no network, refused, timed out
        return error
    finally:
        socket.setdefaulttimeout(before)


def _reach(host: str) -> None:
    """Nothing, when the host answers within ``PATIENCE``; OSError otherwise. Looking up a name has no limit itself."""
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(socket.create_connection, (host, 443), PATIENCE).result(PATIENCE).close()
    except Late:
        raise TimeoutError(f"{host} did not answer within {PATIENCE} s") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _instructions(error: OSError) -> str:
    url = DenseNet201_Weights.IMAGENET1K_V1.url
    return (
        f"The ImageNet weights of DenseNet201 cannot be fetched ({type(error).__name__}); download {url} where there "
        "is a network and put the file into the folder torch/hub/checkpoints of your cache (TORCH_HOME/hub/"
        "checkpoints where that is set), or state WEIGHTS=none to train without them."
    )
