"""The training loop, top to bottom. It knows nothing of what the images show: labels are 0 or 1, a logit comes out."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcos_utils.models.augmentation import augment
from pcos_utils.models.checkpoints import Best, Checkpoint
from pcos_utils.models.recipes import Recipe


class Images(NamedTuple):
    """Images for one role: ``pixels`` uint8 (n, H, W, 3), ``labels`` (n,) in {0, 1}, ``weights`` (n,) for drawing."""

    pixels: Tensor
    labels: Tensor
    weights: Tensor


Prepare = Callable[[Tensor], Tensor]  # images (n, H, W, 3) in [0, 255] to what the network takes


def fit(
    model: nn.Module,
    prepare: Prepare,
    train: Images,
    selection: Images,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[dict], None] = lambda row: None,
    keep: Checkpoint | None = None,
) -> pd.DataFrame:
    """The history, one row per epoch: epoch, losses and accuracies, ``chosen``. The model ends with the chosen weights.

    ``seed`` fixes the order and the augmentation; the model's starting weights are the caller's. With ``keep`` the
    state after every epoch but the last is kept, and a training that was interrupted goes on from there; ``on_epoch``
    then hears of the earlier epochs again.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model.to(device, memory_format=torch.channels_last)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = _optimiser(trainable, recipe)
    steps = -(-len(train.labels) // recipe.batch)
    schedule = (
        torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps * recipe.epochs)
        if recipe.one_cycle
        else None
    )
    parts = {"model": model, "optimiser": optimiser} | ({"schedule": schedule} if schedule else {})
    rows, best = keep.restore(parts, generator) if keep else ([], None)
    for row in rows:
        on_epoch(row)
    for epoch in range(len(rows) + 1, recipe.epochs + 1):
        model.train()
        if recipe.freeze_batch_norm:
            _freeze_batch_norm(model)
        losses, hits = [], 0
        for batch in _order(train, recipe, generator).split(recipe.batch):
            pixels, labels = train.pixels[batch].to(device), train.labels[batch].to(device)
            pixels = augment(
                pixels, generator, rotation=recipe.rotation, brightness=recipe.brightness, flip=recipe.flip
            )
            logits = model(prepare(pixels).contiguous(memory_format=torch.channels_last)).squeeze(1)  # (n, 1) -> (n,)
            loss = F.binary_cross_entropy_with_logits(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if schedule:
                schedule.step()
            losses.append(loss.item() * len(labels))
            hits += int(((logits > 0) == (labels > 0.5)).sum())
        logits = predict(model, prepare, selection.pixels, device=device)
        selection_loss = F.binary_cross_entropy_with_logits(logits, selection.labels).item()
        row = {
            "epoch": epoch,
            "train_loss": sum(losses) / len(train.labels),
            "train_accuracy": hits / len(train.labels),
            "selection_loss": selection_loss,
            "selection_accuracy": ((logits > 0) == (selection.labels > 0.5)).float().mean().item(),
        }
        rows.append(row)
        if not np.isfinite(row["train_loss"]):
            raise FloatingPointError(f"The loss of epoch {epoch} is not a number; lower the learning rate.")
        if recipe.select_epoch and selection_loss < (best.loss if best else np.inf):
            best = Best(epoch, selection_loss, copy.deepcopy(model.state_dict()))
        if keep and epoch < recipe.epochs:
            keep.save(parts, generator, rows, best)
        on_epoch(row)
    if best:
        model.load_state_dict(best.weights)
    history = pd.DataFrame(rows)
    return history.assign(chosen=history.epoch == (best.epoch if best else recipe.epochs))


@torch.inference_mode()
def predict(
    model: nn.Module, prepare: Prepare, pixels: Tensor, *, device: torch.device | str = "cpu", batch: int = 64
) -> Tensor:
    """Logits on the CPU, shape (n,), for pixels uint8 (n, H, W, 3); the model in eval mode, nothing random."""
    model.eval()
    logits = [
        model(prepare(part.to(device)).contiguous(memory_format=torch.channels_last)).squeeze(1)
        for part in pixels.split(batch)
    ]
    return torch.cat(logits).float().cpu()


@torch.no_grad()
def calibrate_batch_norm(model: nn.Module, prepare: Prepare, pixels: Tensor, *, batch: int = 64) -> None:
    """Batch norm statistics taken from these images: for frozen features whose random weights have none yet."""
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in norms:
        part.reset_running_stats()
        part.momentum = None  # a plain average over the batches
    model.train()
    for images in pixels.split(batch):
        model(prepare(images))
    for part in norms:
        part.momentum = 0.1


def _optimiser(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    kind = torch.optim.SGD if recipe.optimiser == "sgd" else torch.optim.AdamW
    return kind(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _order(train: Images, recipe: Recipe, generator: torch.Generator) -> Tensor:
    n = len(train.labels)
    if not recipe.balance:
        return torch.randperm(n, generator=generator)
    return torch.multinomial(train.weights, n, replacement=True, generator=generator)


def _freeze_batch_norm(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
