"""What a network is trained on: its starting weights, the part of it that learns, and the images or their features."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from pcos_utils.config import Study
from pcos_utils.models import architectures, features, training, weights
from pcos_utils.models.devices import Engine
from pcos_utils.models.recipes import Recipe


class Lesson(NamedTuple):
    """What is trained, and on what.

    ``learner``: the part of ``network`` that learns, or all of it; ``pixels``: in their place there may be features,
    whose network lies in the file ``behind``; ``origin``: what the network starts from, as ``weights.start`` says it.
    """

    network: nn.Module
    learner: nn.Module
    prepare: training.Prepare
    pixels: torch.Tensor
    change: training.Change | None
    origin: str
    behind: Path | None = None


def lesson(model: str, study: Study, how: Recipe, rows: pd.DataFrame, pixels: torch.Tensor, engine: Engine) -> Lesson:
    """The network before its training by the recipe, drawn from torch's generator, with what it learns from.

    ``pixels``: uint8 (n, H, W, 3) of the images of ``rows``.
    """
    prepare = partial(architectures.prepare, model)
    if not how.freeze_batch_norm:
        network = architectures.build(model, how.side, memory_efficient=study.memory_efficient)
        origin = weights.start(network, model, study.weights, must_fetch=study.preset == "full")
        return Lesson(network, network, prepare, pixels, None, origin)
    network, origin = features.with_new_head(model, study)
    if not how.feature_copies:
        computing = features.computing(network, prepare, engine)
        return Lesson(network, network.classifier, computing, pixels, None, origin)
    values, behind = features.shared(model, study, how, rows, pixels, engine)
    return Lesson(network, network.classifier, features.only, values, features.pick, origin, behind)


def images_of(roles: pd.DataFrame, pixels: torch.Tensor, role: str) -> training.Images:
    """The images of one role. Each class has one share, each source in it an equal part, each image of it an equal
    part of that."""
    rows = roles[roles.role == role]
    of_source = rows.groupby("source").path.transform("size")
    of_class = rows.groupby("label").source.transform("nunique")
    return training.Images(
        pixels[rows.index.to_numpy(copy=True)],
        torch.tensor(rows.label.to_numpy(np.float32)),
        torch.tensor((1 / of_source / of_class).to_numpy(np.float64)),
    )
