"""Frozen features, computed once and used in every epoch and every fold: then only the head is trained, in seconds.

That is the same training only where batch norm is frozen too; else a picture's features depend on its batch.
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
from pcos_utils.data import images as loader
from pcos_utils.data import phantom
from pcos_utils.files import alone_in, appearing
from pcos_utils.models import architectures, training, weights
from pcos_utils.models.code import code_hash
from pcos_utils.models.devices import Engine
from pcos_utils.models.recipes import Recipe

BATCH = 64
STAND_INS = range(2_000_000_000, 2_000_000_032)  # seeds of phantoms, far from all others


@functools.lru_cache(maxsize=1)
def start(name: str, study: Study) -> tuple[DenseNet, str]:
    """The network whose features all runs of a study share, and what it starts from, as ``weights.start`` says it."""
    # The caller's draws go on as if nothing had been drawn here: else the first run of a process would have a head of
    # its own, and a sweep that was stopped between two runs would end otherwise than one that was not.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(study.seed)
        network = architectures.build(name, study.image_side, memory_efficient=study.memory_efficient)
        origin = weights.start(network, name, study.weights, must_fetch=study.preset == "full")
    if origin.startswith("random"):
        # Random weights have no statistics yet. They come from phantoms, so that no frame of the study is in them.
        drawn = [phantom.simulate(seed, seed % 2).image for seed in STAND_INS]
        grey = [loader.resize(np.repeat(image[..., None], 3, axis=2), study.image_side) for image in drawn]
        prepare = functools.partial(architectures.prepare, name)
        training.calibrate_batch_norm(network, prepare, torch.from_numpy(np.stack(grey)))
    return network, origin


def with_new_head(name: str, study: Study) -> tuple[DenseNet, str]:
    """A copy of ``start``'s network whose head is drawn anew from torch's generator, and what the rest starts from."""
    base, origin = start(name, study)
    network = copy.deepcopy(base)
    network.classifier = nn.Linear(base.classifier.in_features, base.classifier.out_features)
    return network, origin


def shared(
    name: str, study: Study, recipe: Recipe, rows: pd.DataFrame, pixels: Tensor, engine: Engine
) -> tuple[Tensor, Path]:
    """Features of all images of a study, float32 (n, 1 + copies, channels), and the file of the network behind them.

    First of the image itself, in float32; then of the recipe's changes of it. ``rows``: the images' ``sha256``.
    They are computed by the first run that asks and read by all others.
    """
    network, _ = start(name, study)
    state = hashlib.sha256(b"".join(part.numpy().tobytes() for part in network.state_dict().values())).hexdigest()
    change = (recipe.feature_copies, recipe.rotation, recipe.brightness, recipe.flip)
    facts = [code_hash(), list(rows.sha256), study.image_side, study.seed, engine.precision, engine.device.type, state]
    facts += [change]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]
    folder = study.runs_dir / name / "features"
    path, behind = folder / f"{key}.npy", folder / f"{key}.safetensors"
    with alone_in(folder, lambda: None):
        if not path.exists():
            draws = torch.Generator().manual_seed(study.seed)
            made = copies(network, functools.partial(architectures.prepare, name), pixels, engine, recipe, draws)
            weights.save(network, behind, {"model": name})
            with appearing(path) as temporary:
                np.save(temporary, made.cpu().numpy())
    return torch.from_numpy(np.load(path)), behind


def trained(name: str, study: Study, folder: Path) -> nn.Module:
    """The network of a finished run. Where the run trained a head alone, with the features that it was trained on."""
    network = architectures.build(name, json.loads((folder / "run.json").read_text())["recipe"]["side"])
    path = folder / "weights.safetensors"
    with safe_open(path, "pt") as stored:
        behind = (stored.metadata() or {}).get("features")
    if behind:
        weights.load(network, study.runs_dir / name / "features" / behind)
        weights.load(network.classifier, path)
    else:
        weights.load(network, path)
    return network


def copies(model: DenseNet, prepare, pixels: Tensor, engine: Engine, recipe: Recipe, draws: torch.Generator) -> Tensor:
    """What a head learns from, float32 on the device, shape (n, 1 + feature_copies, channels): features of each image
    itself, in float32 because it is judged by them too, and of the recipe's changes of it. ``pixels`` as of extract."""
    changed = training.augmentation_of(recipe)
    own = extract(model, prepare, pixels, engine.exact())
    change = lambda batch: changed(batch, None, draws)[0]  # noqa: E731
    return torch.cat([own, extract(model, prepare, pixels, engine, change, recipe.feature_copies)], dim=1)


def extract(model: DenseNet, prepare, pixels: Tensor, engine: Engine, change=None, copies: int = 1) -> Tensor:
    """Features, float32 on the device, shape (n, copies, channels): of each image, or of so many changes of it.

    ``pixels``: uint8 (n, H, W, 3). ``change`` gives a changed batch for a batch; without it all copies are the same.
    """
    compute = computing(model, prepare, engine)
    made = []
    for _ in range(copies):
        batches = (part.to(engine.device) for part in pixels.split(BATCH))
        made.append(torch.cat([compute(change(batch) if change else batch) for batch in batches]))
    return torch.stack(made, dim=1)


def computing(model: DenseNet, prepare, engine: Engine) -> training.Prepare:
    """What gives the features of a batch of images (n, H, W, 3) on the device: float32 (n, channels), no gradient.

    ``extract`` asks it once; a head that is to see new changes in every epoch is trained with it in place of
    ``prepare``. The model's own batch norms and convolutions are as they were.
    """
    network = engine.place(_folded(model.features))

    @torch.no_grad()  # and not inference_mode, whose results cannot be trained on
    def compute(images: Tensor) -> Tensor:
        """Features, float32 (n, channels), of images (n, H, W, 3) in [0, 255] on the device."""
        x = engine.batch(prepare(images))
        with engine.fabric.autocast():
            x = F.adaptive_avg_pool2d(F.relu(network(x)), 1).flatten(1)
        return x.float()

    return compute


def _folded(features: nn.Module) -> nn.Module:
    """A copy for answering alone, in which all batch norms but the last are part of the convolutions beside them."""
    made = copy.deepcopy(features).eval()
    for name, part in list(made.named_children()):
        if name.startswith("denseblock"):
            setattr(made, name, _Block(part))
        elif name.startswith("transition"):
            setattr(made, name, nn.Sequential(_Cut(part.norm, part.conv), part.pool, part.conv))
    made.conv0, made.norm0 = fuse_conv_bn_eval(made.conv0, made.norm0), nn.Identity()
    return made


class _Cut(nn.Module):
    """Batch norm and ReLU before a 1 x 1 convolution: what remains when the convolution has taken over all it can.

    Where a channel's scale is positive, relu(scale x + shift) is scale max(x, -shift / scale) + shift: scale and shift
    become the convolution's, and the cut is left. Where the scale is negative, the cut is from above; where it is 0,
    the channel adds a constant.
    """

    @torch.no_grad()
    def __init__(self, norm: nn.BatchNorm2d, conv: nn.Conv2d):
        super().__init__()
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        scale = torch.where(scale.abs() < torch.finfo(scale.dtype).tiny, 0, scale)  # or a shift over it is infinite
        shift = norm.bias - norm.running_mean * scale
        at = torch.where(scale == 0, 0, -shift / scale).view(1, -1, 1, 1)
        high = torch.where(scale.view(at.shape) > 0, torch.inf, at) if (scale <= 0).any() else None
        self.register_buffer("low", torch.where(scale.view(at.shape) < 0, -torch.inf, at))
        self.register_buffer("high", high)
        given = conv.weight[:, :, 0, 0] @ torch.where(scale == 0, shift.relu(), shift)
        conv.weight = nn.Parameter(conv.weight * scale.view(at.shape), requires_grad=False)
        conv.bias = nn.Parameter(given if conv.bias is None else conv.bias + given, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """The maps, cut; shape and type as they come."""
        low = self.low.to(x)
        return torch.maximum(x, low) if self.high is None else torch.clamp(x, low, self.high.to(x))


class _Block(nn.Module):
    """A dense block whose layers write their maps beside those that they read, where torchvision copies all anew."""

    def __init__(self, block: nn.Module):
        super().__init__()
        layers = list(block.children())
        fused = [fuse_conv_bn_eval(layer.conv1, layer.norm2) for layer in layers]
        cuts = [_Cut(layer.norm1, conv) for layer, conv in zip(layers, fused, strict=True)]
        self.layers = nn.ModuleList(
            nn.Sequential(cut, conv, nn.ReLU(inplace=True), layer.conv2)
            for cut, conv, layer in zip(cuts, fused, layers, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """All maps, (n, channels + growth * layers, h, w), of maps (n, channels, h, w)."""
        filled, each = x.shape[1], self.layers[0][-1].out_channels
        layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        shape = (len(x), filled + each * len(self.layers), *x.shape[2:])
        maps = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
        maps[:, :filled] = x
        for layer in self.layers:
            maps[:, filled : filled + each] = layer(maps[:, :filled])
            filled += each
        return maps


def pick(features: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One of its copies for each image of a batch, shape (n, channels), drawn at random, and the labels as they are."""
    n, copies = features.shape[:2]
    chosen = torch.randint(copies, (n,), generator=generator).to(features.device)
    return features[torch.arange(n, device=features.device), chosen], labels


def only(features: Tensor) -> Tensor:
    """Of each image's copies the first, its own features, shape (n, channels); what was picked stays as it is."""
    return features[:, 0] if features.ndim == 3 else features
