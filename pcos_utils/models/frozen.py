"""Compute frozen features once for all epochs and folds, so that only the head is trained, which takes seconds.

This gives the same training only if batch norm is frozen too. Otherwise an image's features depend on its batch.
"""

import copy
import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval
from torchvision.models import DenseNet

from pcos_utils.config import Study
from pcos_utils.data import images
from pcos_utils.files import alone_in, appearing, code, read_record
from pcos_utils.models import architectures, training, weights
from pcos_utils.models.devices import Engine
from pcos_utils.models.recipes import Recipe
from pcos_utils.phantom import simulator

# The modules whose code decides the features.
CODE = (
    "data/images.py",
    "data/levels.py",
    *(f"models/{name}.py" for name in ("architectures", "devices", "frozen", "training")),
)
BATCH = 64
STAND_INS = range(2_000_000_000, 2_000_000_032)  # phantom seeds, far from all others


@functools.lru_cache(maxsize=1)
def start(name: str, study: Study) -> tuple[DenseNet, str]:
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
        prepare = functools.partial(architectures.prepare, name)
        training.calibrate_batch_norm(network, prepare, torch.from_numpy(np.stack(pixels)))
    return network, origin


def shared(
    name: str, study: Study, recipe: Recipe, rows: pd.DataFrame, pixels: Tensor, engine: Engine
) -> tuple[Tensor, Path]:
    """Return the features of all images of a study, and the file of the network that computed them.

    Features are float32 (n, 1 + copies, channels): first of the image itself, computed in float32, then of the recipe's
    changes of it. ``rows`` holds the images' ``sha256``. The first run computes and saves them; all others read them.
    """
    network, _ = start(name, study)
    state = hashlib.sha256(b"".join(part.numpy().tobytes() for part in network.state_dict().values())).hexdigest()
    facts = [code(*CODE), list(rows.sha256), study.image_side, study.seed, engine.precision, engine.device.type, state]
    facts += [(recipe.feature_copies, recipe.rotation, recipe.brightness, recipe.flip)]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]
    folder = study.runs_dir / name / "features"
    path, behind = folder / f"{key}.npy", folder / f"{key}.safetensors"
    with alone_in(folder, lambda: None):
        if not path.exists():
            prepare = functools.partial(architectures.prepare, name)
            generator = torch.Generator().manual_seed(study.seed)
            features = copies(network, prepare, pixels, engine, recipe, generator)
            weights.save(network, behind, {"model": name})
            with appearing(path) as temporary:
                np.save(temporary, features.cpu().numpy())
    return torch.from_numpy(np.load(path)), behind


def trained(name: str, study: Study, folder: Path) -> nn.Module:
    """Return the network of a finished run; a head trained alone is put on the network that computed its features."""
    network = architectures.build(name, read_record(folder)["recipe"]["side"])
    path = folder / "weights.safetensors"
    with safe_open(path, "pt") as stored:
        behind = (stored.metadata() or {}).get("features")
    if behind:
        weights.load(network, study.runs_dir / name / "features" / behind)
    weights.load(network.classifier if behind else network, path)
    return network


def copies(
    model: DenseNet, prepare, pixels: Tensor, engine: Engine, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Return what a head learns from: float32 on the device, shape (n, 1 + feature_copies, channels).

    The features of each image come first, computed in float32 because the head is evaluated on them too. Those of the
    recipe's changes of it follow. ``pixels`` as in ``extract``.
    """
    augmentation = training.augmentation_of(recipe)
    change = lambda batch: augmentation(batch, None, generator)[0]  # noqa: E731
    of_images = extract(model, prepare, pixels, engine.exact())
    return torch.cat([of_images, extract(model, prepare, pixels, engine, change, recipe.feature_copies)], dim=1)


def extract(model: DenseNet, prepare, pixels: Tensor, engine: Engine, change=None, copies: int = 1) -> Tensor:
    """Return features of each image or of ``copies`` changes: float32 on the device, shape (n, copies, channels).

    ``pixels``: uint8 (n, H, W, 3). ``change`` returns a changed batch; without it all copies are the same.
    """
    compute = computing(model, prepare, engine)
    features = []
    for _ in range(copies):
        batches = (part.to(engine.device) for part in pixels.split(BATCH))
        features.append(torch.cat([compute(change(batch) if change else batch) for batch in batches]))
    return torch.stack(features, dim=1)


def computing(model: DenseNet, prepare, engine: Engine) -> training.Prepare:
    """Return a function from images (n, H, W, 3) on the device to features, float32 (n, channels), without gradient.

    The model's own batch norms and convolutions do not change.
    """
    network = engine.place(_folded(model.features))

    @torch.no_grad()  # not inference_mode, whose results cannot be used in training
    def compute(images: Tensor) -> Tensor:
        """Return features, float32 (n, channels), of images (n, H, W, 3) in [0, 255] on the device."""
        x = engine.batch(prepare(images))
        with engine.fabric.autocast():
            x = F.adaptive_avg_pool2d(F.relu(network(x)), 1).flatten(1)
        return x.float()

    return compute


def _folded(features: nn.Module) -> nn.Module:
    """Return a copy for inference in which all batch norms but the last are merged into neighbouring convolutions."""
    folded = copy.deepcopy(features).eval()
    for name, part in list(folded.named_children()):
        if name.startswith("denseblock"):
            setattr(folded, name, _Block(part))
        elif name.startswith("transition"):
            setattr(folded, name, nn.Sequential(_Cut(part.norm, part.conv), part.pool, part.conv))
    folded.conv0, folded.norm0 = fuse_conv_bn_eval(folded.conv0, folded.norm0), nn.Identity()
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


class _Block(nn.ModuleList):
    """A dense block whose batch norms are merged into its convolutions."""

    def __init__(self, block: nn.Module):
        super().__init__()
        for layer in block.children():
            conv = fuse_conv_bn_eval(layer.conv1, layer.norm2)
            self.append(nn.Sequential(_Cut(layer.norm1, conv), conv, nn.ReLU(inplace=True), layer.conv2))

    def forward(self, x: Tensor) -> Tensor:
        """Return all maps, (n, channels + growth * layers, h, w), for maps (n, channels, h, w)."""
        for layer in self:
            x = torch.cat([x, layer(x)], dim=1)
        return x


def pick(features: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the features of one random copy of each image of a batch, shape (n, channels), and its labels."""
    n, copies = features.shape[:2]
    chosen = torch.randint(copies, (n,), generator=generator).to(features.device)
    return features[torch.arange(n, device=features.device), chosen], labels


def only(features: Tensor) -> Tensor:
    """Return the features of the images themselves, shape (n, channels); features that were picked are unchanged."""
    return features[:, 0] if features.ndim == 3 else features
