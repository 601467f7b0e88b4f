"""Train as the published study wrote it: image folders, Pillow transforms, one worker per core, float32.

It is a baseline: nothing in it is tuned, and nothing is slowed down. ``expert`` is a second, faster one.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from pcos_utils.models import architectures, devices
from pcos_utils.models.recipes import RECIPES
from studies import seconds

SIDE, BATCH = 224, 32


def steps_of(name: str) -> transforms.Compose:
    """Return how the published study prepares an image for a network."""
    steps = [transforms.Resize((SIDE, SIDE)), transforms.ToTensor()]
    if name != "iustnet":
        steps += [transforms.Normalize(architectures.IMAGENET_MEAN, architectures.IMAGENET_STD), transforms.Grayscale()]
    return transforms.Compose(steps)


def as_published(model: nn.Module) -> nn.Module:
    """Return the network with its layers in the published order; ours gives the same numbers with less work."""
    for name, part in model.named_modules():
        if "transition" in name and hasattr(part, "pool"):
            pool = part.pool
            del part.pool
            part.pool = pool  # set again, so that it comes after the convolution
    for name in ("block_1", "block_2"):
        if hasattr(model, name):
            first, relu, second, pool, _ = getattr(model, name)
            setattr(model, name, nn.Sequential(first, relu, second, nn.ReLU(), pool))
    return model


def measure(name: str, place: Path) -> dict:
    """Return the seconds of a whole epoch in training and in validation, as the study wrote it.

    With batches from workers, float32, and the running loss and accuracy that the study printed.
    """

    def batches(part: str, training: bool) -> DataLoader:
        images = datasets.ImageFolder(place / part, steps_of(name))
        return DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=os.cpu_count())

    def watch(logits: torch.Tensor, labels: torch.Tensor, loss: torch.Tensor) -> tuple[float, float]:
        return loss.item(), ((torch.sigmoid(logits) > 0.5) == labels).float().mean().item()

    return timed(name, as_published(architectures.build(name, SIDE)), batches, watch=watch)


def expert(name: str, place: Path) -> dict:
    """Return the seconds of a whole epoch in training and in validation, by a short loop as an expert would write it.

    It has pixels in memory, channels last, no workers, and bfloat16 where the processor computes in it.
    """
    held = {}
    for part in ("warm", "train", "validation"):
        images = datasets.ImageFolder(place / part)
        pixels = np.stack([np.asarray(image.convert("RGB").resize((SIDE, SIDE))) for image, _ in images])
        held[part] = torch.from_numpy(pixels), torch.tensor([float(label) for _, label in images.samples])

    def batches(part: str, training: bool):
        pixels, labels = held[part]
        for rows in (torch.randperm(len(pixels)) if training else torch.arange(len(pixels))).split(BATCH):
            yield architectures.prepare(name, pixels[rows]).to(memory_format=torch.channels_last), labels[rows]

    model, fast = architectures.build(name, SIDE).to(memory_format=torch.channels_last), devices.has_bfloat16("cpu")
    return timed(name, model, batches, fast=fast) | {"precision": "bfloat16" if fast else "float32"}


def timed(name: str, model: nn.Module, batches: Callable, *, fast: bool = False, watch: Callable | None = None) -> dict:
    """Return the seconds of an epoch in training and in validation, after one short epoch to warm up.

    ``batches``: yields images and labels of a part. ``fast``: in bfloat16. ``watch``: called after each batch.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=RECIPES[name, "published"].learning_rate)
    loss_of, autocast = nn.BCEWithLogitsLoss(), torch.autocast("cpu", torch.bfloat16, enabled=fast)

    def epoch(part: str, training: bool) -> None:
        model.train(training)
        with torch.inference_mode(not training):
            for images, labels in batches(part, training):
                with autocast:
                    logits = model(images).squeeze(1)
                loss = loss_of(logits.float(), labels.float())
                if training:
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                if watch:
                    watch(logits, labels, loss)

    epoch("warm", True)
    parts = {"train": True, "validation": False}
    return {f"{part}_seconds": seconds(lambda: epoch(part, training)) for part, training in parts.items()}  # noqa: B023
