"""Training as the published study wrote it: image folders, Pillow transforms, one worker per core, float32.

The side to compare with: nothing here is tuned, and nothing is slowed down.
"""

import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from pcos_utils.models import architectures
from pcos_utils.models.recipes import RECIPES

BATCH = 32


def loader(folder: Path, name: str, side: int) -> DataLoader:
    """Shuffled batches of a folder of class folders, prepared in the published order."""
    steps = [transforms.Resize((side, side)), transforms.ToTensor()]
    if name != "iustnet":
        steps += [transforms.Normalize(architectures.IMAGENET_MEAN, architectures.IMAGENET_STD), transforms.Grayscale()]
    images = datasets.ImageFolder(folder, transforms.Compose(steps))
    return DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=os.cpu_count())


def train_epoch(model: nn.Module, batches: DataLoader, optimiser, loss_of) -> float:
    """Seconds of one epoch of training, with the running loss and accuracy that the study printed."""
    began = time.perf_counter()
    model.train()
    total, right = 0.0, 0.0
    for images, labels in batches:
        logits = model(images).squeeze(1)
        loss = loss_of(logits, labels.float())
        total += loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        right += ((torch.sigmoid(logits) > 0.5) == labels).float().mean().item()
    return time.perf_counter() - began


def validate_epoch(model: nn.Module, batches: DataLoader, loss_of) -> float:
    """Seconds of one pass over the validation images."""
    began = time.perf_counter()
    model.eval()
    total, right = 0.0, 0.0
    with torch.inference_mode():
        for images, labels in batches:
            logits = model(images).squeeze(1)
            total += loss_of(logits, labels.float()).item()
            right += ((torch.sigmoid(logits) > 0.5) == labels).float().mean().item()
    return time.perf_counter() - began


def as_published(model: nn.Module) -> nn.Module:
    """The network with its layers in the published order, where ours gives the same numbers with less work."""
    for name, part in model.named_modules():
        if "transition" in name and hasattr(part, "pool"):
            pool = part.pool
            del part.pool
            part.pool = pool  # after the convolution
    for name in ("block_1", "block_2"):
        if hasattr(model, name):
            first, relu, second, pool, _ = getattr(model, name)
            setattr(model, name, nn.Sequential(first, relu, second, nn.ReLU(), pool))
    return model


def measure(name: str, place: Path, side: int) -> dict[str, float]:
    """Seconds of a whole epoch in training and in validation, after one short epoch to warm up."""
    model = as_published(architectures.build(name, side))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser, loss_of = torch.optim.SGD(trained, lr=RECIPES[name, "published"].learning_rate), nn.BCEWithLogitsLoss()
    train_epoch(model, loader(place / "warm", name, side), optimiser, loss_of)
    return {
        "train_seconds": train_epoch(model, loader(place / "train", name, side), optimiser, loss_of),
        "validation_seconds": validate_epoch(model, loader(place / "validation", name, side), loss_of),
    }
