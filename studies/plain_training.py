"""Train as the published study wrote it: image folders, Pillow transforms, one worker per core, float32.

It is a baseline: nothing in it is tuned, and nothing is slowed down. ``expert`` is a second, faster one.
"""

import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from pcos_utils.models import architectures
from pcos_utils.models.recipes import RECIPES
from studies.machine import seconds
from studies.training_report import SIDE

BATCH = 32


def steps_of(name: str) -> transforms.Compose:
    """Return how the published study prepares an image for a network."""
    steps = [transforms.Resize((SIDE, SIDE)), transforms.ToTensor()]
    if name != "iustnet":
        steps += [transforms.Normalize(architectures.IMAGENET_MEAN, architectures.IMAGENET_STD), transforms.Grayscale()]
    return transforms.Compose(steps)


def loader(folder: Path, name: str) -> DataLoader:
    """Return shuffled batches of a folder of class folders, prepared in the published order."""
    images = datasets.ImageFolder(folder, steps_of(name))
    return DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=os.cpu_count())


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


def sgd(name: str, model: nn.Module) -> torch.optim.Optimizer:
    """Return the published optimiser."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(trained, lr=RECIPES[name, "published"].learning_rate)


def measure(name: str, place: Path, precision: str) -> dict:
    """Return the seconds of a whole epoch in training and in validation, after one short epoch to warm up."""
    model, loss_of = as_published(architectures.build(name, SIDE)), nn.BCEWithLogitsLoss()
    optimiser = sgd(name, model)

    def epoch(part: str, training: bool) -> None:
        """Pass over the images of a part once, with the running loss and accuracy that the study printed."""
        model.train(training)
        total, right = 0.0, 0.0
        with torch.inference_mode(not training):
            for images, labels in loader(place / part, name):
                logits = model(images).squeeze(1)
                loss = loss_of(logits, labels.float())
                total += loss.item()
                if training:
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                right += ((torch.sigmoid(logits) > 0.5) == labels).float().mean().item()

    epoch("warm", True)
    return {
        "train_seconds": seconds(lambda: epoch("train", True)),
        "validation_seconds": seconds(lambda: epoch("validation", False)),
    }


def expert(name: str, place: Path, precision: str) -> dict:
    """Return the seconds of a whole epoch in training and in validation, by a short loop as an expert would write it.

    It has pixels in memory, channels last, no workers, and bfloat16 where ``precision`` says so.
    """
    model, loss_of = architectures.build(name, SIDE).to(memory_format=torch.channels_last), nn.BCEWithLogitsLoss()
    optimiser = sgd(name, model)
    fast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

    def epoch(pixels: torch.Tensor, labels: torch.Tensor, training: bool) -> None:
        """Pass over the images once."""
        model.train(training)
        with torch.inference_mode(not training):
            for rows in (torch.randperm(len(pixels)) if training else torch.arange(len(pixels))).split(BATCH):
                x = architectures.prepare(name, pixels[rows]).to(memory_format=torch.channels_last)
                with fast:
                    logits = model(x).squeeze(1)
                loss = loss_of(logits.float(), labels[rows])
                if training:
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()

    epoch(*_in_memory(place / "warm"), True)
    train, validation = (_in_memory(place / part) for part in ("train", "validation"))
    return {
        "train_seconds": seconds(lambda: epoch(*train, True)),
        "validation_seconds": seconds(lambda: epoch(*validation, False)),
        "precision": precision,
    }


def _in_memory(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    images = datasets.ImageFolder(folder)
    pixels = np.stack([np.asarray(image.convert("RGB").resize((SIDE, SIDE))) for image, _ in images])
    return torch.from_numpy(pixels), torch.tensor([float(label) for _, label in images.samples])
