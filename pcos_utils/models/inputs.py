"""Collect what a network is trained on: its starting weights, the part that learns, and images or their features."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from pcos_utils.config import Study
from pcos_utils.models import architectures, frozen, training, weights
from pcos_utils.models.devices import Engine
from pcos_utils.models.recipes import Recipe


class Lesson(NamedTuple):
    """A network before training, with the part that learns and what it learns from.

    ``learner``: the part of ``network`` that learns, or all of it. ``pixels``: the images, or stored features in their
    place; the file ``behind`` then holds the network that computed them. ``origin``: what the network starts from, as
    given by ``weights.start``.
    """

    network: nn.Module
    learner: nn.Module
    prepare: training.Prepare
    pixels: torch.Tensor
    change: training.Change | None
    origin: str
    behind: Path | None = None


def lesson(model: str, study: Study, how: Recipe, rows: pd.DataFrame, pixels: torch.Tensor, engine: Engine) -> Lesson:
    """Return the network before its training, with what it learns from; weights are drawn from torch's generator.

    ``how``: its recipe. ``pixels``: uint8 (n, H, W, 3), the images of ``rows``.
    """
    if how.freeze_batch_norm:
        features, behind, origin = frozen.shared(model, study, how, rows, pixels, engine)
        head = nn.Linear(features.shape[-1], 1)
        network = architectures.build(model, how.side)
        weights.load(network, behind)
        network.classifier = head
        return Lesson(network, head, frozen.only, features, frozen.pick, origin, behind)
    network = architectures.build(model, how.side)
    origin = weights.start(network, model, study.weights, must_fetch=study.preset == "full")
    return Lesson(network, network, partial(architectures.prepare, model), pixels, None, origin)


def images_of(roles: pd.DataFrame, pixels: torch.Tensor, role: str) -> training.Images:
    """Return the images of one role, with their weights for drawing.

    Classes have equal weight, and so have the sources within a class and the images within a source.
    """
    rows = roles[roles.role == role]
    of_source = rows.groupby("source").path.transform("size")
    of_class = rows.groupby("label").source.transform("nunique")
    return training.Images(
        pixels[rows.index.to_numpy(copy=True)],
        torch.tensor(rows.label.to_numpy(np.float32)),
        torch.tensor((1 / of_source / of_class).to_numpy(np.float64)),
    )
