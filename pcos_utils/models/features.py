"""Frozen features, computed once and used in every epoch: then only the head is trained, in seconds.

That is the same training only where batch norm is frozen too; else a picture's features depend on its batch.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval
from torchvision.models import DenseNet

from pcos_utils.models.devices import Engine

BATCH = 32


def head_of(model: DenseNet) -> nn.Linear:
    """The layer that answers from the features; training it trains the model."""
    return model.classifier


@torch.no_grad()  # and not inference_mode, whose results cannot be trained on
def extract(model: DenseNet, prepare, pixels: Tensor, engine: Engine, change=None, copies: int = 1) -> Tensor:
    """Features, float32 on the device, shape (n, copies, channels): of each image, or of so many changes of it.

    ``pixels``: uint8 (n, H, W, 3). ``change`` gives a changed batch for a batch; without it all copies are the same.
    """
    network = engine.place(_folded(model.features))
    made = []
    for _ in range(copies):
        parts = []
        for part in pixels.split(BATCH):
            x = part.to(engine.device)
            x = engine.batch(prepare(change(x) if change else x))
            with engine.fabric.autocast():
                x = F.adaptive_avg_pool2d(F.relu(network(x)), 1).flatten(1)
            parts.append(x.float())
        made.append(torch.cat(parts))
    return torch.stack(made, dim=1)


def _folded(features: nn.Module) -> nn.Module:
    """A copy for answering alone, in which the batch norms that follow a convolution have become part of it."""
    made = copy.deepcopy(features).eval()
    for layer in made.modules():
        if isinstance(getattr(layer, "norm2", None), nn.BatchNorm2d):
            layer.conv1, layer.norm2 = fuse_conv_bn_eval(layer.conv1, layer.norm2), nn.Identity()
    made.conv0, made.norm0 = fuse_conv_bn_eval(made.conv0, made.norm0), nn.Identity()
    return made


def pick(features: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One of its copies for each image of a batch, shape (n, channels), drawn at random, and the labels as they are."""
    n, copies = features.shape[:2]
    chosen = torch.randint(copies, (n,), generator=generator).to(features.device)
    return features[torch.arange(n, device=features.device), chosen], labels


def only(features: Tensor) -> Tensor:
    """The single copy of each image, shape (n, channels); what was picked already stays as it is."""
    return features[:, 0] if features.ndim == 3 else features
