"""Compute frozen features once for all epochs and folds, so that only the head is trained, which takes seconds.

Batch norm must be frozen too, because an image's features would otherwise depend on its batch.
"""

import copy
import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval
from torch.optim.swa_utils import update_bn
from torchvision.models import DenseNet
from torchvision.models.densenet import _DenseLayer, _Transition

from pcos_utils.config import Study
from pcos_utils.data import images
from pcos_utils.files import appearing, cached, code, read_record
from pcos_utils.models import architectures, training, weights
from pcos_utils.models.devices import Engine
from pcos_utils.models.recipes import Recipe
from pcos_utils.phantom import simulator

# The modules whose code decides the features.
CODE = (*images.CODE, *(f"models/{name}.py" for name in ("architectures", "devices", "frozen", "training")))
BATCH = 64
STAND_INS = range(2_000_000_000, 2_000_000_032)  # phantom seeds, far from all others


def start(name: str, study: Study) -> tuple[nn.Module, str]:
    """Return the network whose features all runs of a study share, and its origin as given by ``weights.start``."""
    # These draws must not change the caller's random state. Otherwise the first run of a process would get a different
    # head, and a sweep stopped between two runs would end differently from one that was not stopped.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(study.seed)
        network = architectures.build(name, study.image_side)
        origin = weights.start(network, name, study.weights, must_fetch=study.preset == "full")
    if origin.startswith("random"):
        # Random weights have no batch norm statistics yet. Phantoms provide them, so no image of the study is used.
        phantoms = [simulator.simulate(seed, seed % 2).image for seed in STAND_INS]
        pixels = [images.resize(np.repeat(image[..., None], 3, axis=2), study.image_side) for image in phantoms]
        update_bn([architectures.prepare(name, torch.from_numpy(np.stack(pixels)))], network)
    return network, origin


def shared(name: str, study: Study, recipe: Recipe, rows: pd.DataFrame, pixels, engine) -> tuple[Tensor, Path, str]:
    """Return what ``copies`` gives of a study's images, the file of the network that computed it, and its origin.

    ``rows`` holds the images' ``sha256``. The first run computes and saves the features; all others read them.
    """
    facts = {
        "starts_from": weights.identity(name, study.weights, must_fetch=study.preset == "full"),
        "code_sha256": code(*CODE), "images": list(rows.sha256), "side": study.image_side, "seed": study.seed,
        "precision": engine.precision, "device": engine.device.type, "phantom_version": simulator.VERSION,
        "changes": recipe.model_dump(include={"feature_copies", "rotation", "brightness", "flip"}),
        "torch": torch.__version__,
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]
    folder = study.runs_dir / name / "features" / key

    def make() -> dict:
        """Compute and save the features and their network."""
        network, origin = start(name, study)
        generator = torch.Generator().manual_seed(study.seed)
        features = copies(network, partial(architectures.prepare, name), pixels, engine, recipe, generator)
        weights.save(network, folder / "shared.safetensors", {"model": name})
        with appearing(folder / "shared.npy") as temporary:
            np.save(temporary, features.cpu().numpy())
        return {"origin": origin}

    record, _ = cached(folder, facts, make)
    return torch.from_numpy(np.load(folder / "shared.npy")), folder / "shared.safetensors", record["origin"]


def trained(name: str, study: Study, folder: Path) -> nn.Module:
    """Return the network of a finished run; a head trained alone is put on the network that computed its features."""
    network = architectures.build(name, read_record(folder)["recipe"]["side"])
    path = folder / "weights.safetensors"
    with safe_open(path, "pt") as stored:
        behind = stored.metadata().get("features")
    if behind:
        weights.load(network, study.runs_dir / name / "features" / behind)
    weights.load(network.classifier if behind else network, path)
    return network


def copies(model: nn.Module, prepare, pixels: Tensor, engine: Engine, recipe: Recipe, generator) -> Tensor:
    """Return what a head learns from: float32 on the device, shape (n, 1 + feature_copies, channels).

    The features of each image come first, computed in float32 because the head is evaluated on them too. Those of the
    recipe's changes of it follow. ``pixels`` as in ``extract``.
    """
    augmentation = training.augmentation_of(recipe)
    change = lambda batch: augmentation(batch, None, generator)[0]  # noqa: E731
    of_images = extract(model, prepare, pixels, engine.exact())
    return torch.cat([of_images, extract(model, prepare, pixels, engine, change, recipe.feature_copies)], dim=1)


def extract(model: nn.Module, prepare, pixels: Tensor, engine: Engine, change=None, copies: int = 1) -> Tensor:
    """Return features of each image or of ``copies`` changes: float32 on the device, shape (n, copies, channels).

    ``pixels``: uint8 (n, H, W, 3). ``change`` returns a changed batch; without it all copies are the same.
    """
    compute, features = computing(model, prepare, engine), []
    for _ in range(copies):
        batches = (part.to(engine.device) for part in pixels.split(BATCH))
        features.append(torch.cat([compute(change(batch) if change else batch) for batch in batches]))
    return torch.stack(features, dim=1)


def computing(model: nn.Module, prepare, engine: Engine) -> training.Prepare:
    """Return a function from images (n, H, W, 3) on the device to features, float32 (n, channels), without gradient.

    The model's own batch norms and convolutions do not change.
    """
    densenet = isinstance(model, DenseNet)
    network = engine.place(_folded(model.features) if densenet else copy.deepcopy(model).eval())
    if not densenet:
        network.reset_classifier(0)  # timm's networks then end with their pooled features

    @torch.no_grad()  # not inference_mode, whose results cannot be used in training
    def compute(images: Tensor) -> Tensor:
        """Return features, float32 (n, channels), of images (n, H, W, 3) in [0, 255] on the device."""
        x = engine.batch(prepare(images))
        with engine.fabric.autocast():
            x = network(x)
            x = F.adaptive_avg_pool2d(F.relu(x), 1).flatten(1) if densenet else x
        return x.float()

    return compute


def _folded(features: nn.Module) -> nn.Module:
    """Return a copy for inference in which all batch norms but the last are merged into neighbouring convolutions."""
    folded = copy.deepcopy(features).eval()
    folded.conv0, folded.norm0 = fuse_conv_bn_eval(folded.conv0, folded.norm0), nn.Identity()
    for part in list(folded.modules()):
        if isinstance(part, _DenseLayer):
            part.conv1, part.norm2 = fuse_conv_bn_eval(part.conv1, part.norm2), nn.Identity()
            part.norm1, part.relu1 = _Cut(part.norm1, part.conv1), nn.Identity()
        elif isinstance(part, _Transition):
            part.norm, part.relu = _Cut(part.norm, part.conv), nn.Identity()
    return folded


class _Cut(nn.Module):
    """Batch norm and ReLU before a 1 x 1 convolution, reduced to a cut; the convolution takes over the rest.

    Where a channel's scale is positive, relu(scale x + shift) is scale max(x, -shift / scale) + shift. The convolution
    takes over scale and shift, and the maximum remains as a cut from below. Where the scale is negative, the cut is
    from above; where it is 0, the channel adds a constant.
    """

    @torch.no_grad()
    def __init__(self, norm: nn.BatchNorm2d, conv: nn.Conv2d):
        super().__init__()
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        scale = torch.where(scale.abs() < torch.finfo(scale.dtype).tiny, 0, scale)  # else -shift / scale is infinite
        shift = norm.bias - norm.running_mean * scale
        cut, scales = (x.view(1, -1, 1, 1) for x in (torch.where(scale == 0, 0, -shift / scale), scale))
        self.register_buffer("low", torch.where(scales < 0, -torch.inf, cut))
        self.register_buffer("high", torch.where(scales > 0, torch.inf, cut) if (scale <= 0).any() else None)
        constant = conv.weight[:, :, 0, 0] @ torch.where(scale == 0, shift.relu(), shift)
        conv.weight = nn.Parameter(conv.weight * scales, requires_grad=False)
        conv.bias = nn.Parameter(constant if conv.bias is None else conv.bias + constant, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps after the cut, in the same shape and type."""
        low = self.low.to(x)
        return torch.maximum(x, low) if self.high is None else torch.clamp(x, low, self.high.to(x))


def pick(features: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the features of one random copy of each image of a batch, shape (n, channels), and its labels."""
    n, copies = features.shape[:2]
    chosen = torch.randint(copies, (n,), generator=generator).to(features.device)
    return features[torch.arange(n, device=features.device), chosen], labels


def only(features: Tensor) -> Tensor:
    """Return the features of the images themselves, shape (n, channels); features that were picked are unchanged."""
    return features[:, 0] if features.ndim == 3 else features
