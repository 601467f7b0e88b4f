"""The training loop, top to bottom. It knows nothing of what the images show: labels are 0 or 1, a logit comes out."""

import copy
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pcos_utils.models.augmentation import augment
from pcos_utils.models.checkpoints import Best, Checkpoint
from pcos_utils.models.devices import Engine
from pcos_utils.models.recipes import Recipe


class Images(NamedTuple):
    """Images for one role: ``pixels`` uint8 (n, H, W, 3), ``labels`` (n,) in {0, 1}, ``weights`` (n,) for drawing.

    In place of pixels there may be anything whose first dimension is the image, such as features.
    """

    pixels: Tensor
    labels: Tensor
    weights: Tensor


Prepare = Callable[[Tensor], Tensor]  # images (n, H, W, 3) in [0, 255] to what the network takes
# A random change of a batch and, where they show the same place, of its labels, drawn from the generator.
Change = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]  # of logits and labels, a mean over the batch


def fit(
    model: nn.Module,
    prepare: Prepare,
    train: Images,
    selection: Images,
    recipe: Recipe,
    *,
    seed: int,
    engine: Engine | None = None,
    change: Change | None = None,
    loss: Loss = F.binary_cross_entropy_with_logits,
    on_epoch: Callable[[dict], None] = lambda row: None,
    keep: Checkpoint | None = None,
) -> pd.DataFrame:
    """The history, one row per epoch: epoch, losses and accuracies, ``chosen``. The model ends with the chosen weights.

    ``seed`` fixes the order and the changes; the model's starting weights are the caller's. ``engine`` is the CPU in
    float32 where none is given, ``change`` the recipe's augmentation. Labels may be maps, (n, maps, H, W), where the
    network answers with maps and ``loss`` is theirs. Without selection images their columns are NaN.
    With ``keep`` the state after every epoch but the last is kept, and a training that was interrupted goes on from
    there; ``on_epoch`` then hears of the earlier epochs again.
    """
    engine = engine or Engine()
    change = change or augmentation_of(recipe)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    engine.place(model)
    parts = _parts(model, recipe, len(train.labels))
    schedule, average = parts.get("schedule"), parts.get("average")
    judged = average.module if average else model
    rows, best = keep.restore(parts, generator) if keep else ([], None)
    network, stepper = engine.fabric.setup(engine.compiled_or_not(model), parts["optimiser"])
    for row in rows:
        on_epoch(row)
    for epoch in range(len(rows) + 1, recipe.epochs + 1):
        model.train()
        if recipe.freeze_batch_norm:
            _freeze_batch_norm(model)
        losses, hits, sizes = [], [], []
        for batch in _order(train, recipe, generator).split(recipe.batch):
            pixels, labels = (part[batch.to(part.device)].to(engine.device) for part in (train.pixels, train.labels))
            pixels, labels = change(pixels, labels, generator)
            stepper.zero_grad()
            size = engine.at_once(recipe.at_once, len(labels))
            for some, truth in zip(pixels.split(size), labels.split(size), strict=True):
                logits = network(engine.batch(prepare(some))).squeeze(1)  # (n, 1) -> (n,); maps stay maps
                cost = loss(logits, truth.float())
                engine.fabric.backward(cost * (len(truth) / len(labels)))
                # Kept on the device: to ask a GPU for a number after every step would make it wait.
                losses.append(cost.detach())
                hits.append(((logits > 0) == (truth > 0.5)).float().mean())
                sizes.append(len(truth))
            stepper.step()
            if schedule:
                schedule.step()
            if average:
                average.update_parameters(model)
        selection_loss, selection_accuracy = _judge(judged, prepare, selection, engine, loss)
        row = {
            "epoch": epoch,
            "train_loss": _mean(losses, sizes),
            "train_accuracy": _mean(hits, sizes),
            "selection_loss": selection_loss,
            "selection_accuracy": selection_accuracy,
        }
        rows.append(row)
        if not np.isfinite(row["train_loss"]):
            raise FloatingPointError(f"The loss of epoch {epoch} is not a number; lower the learning rate.")
        if recipe.select_epoch and selection_loss < (best.loss if best else np.inf):
            best = Best(epoch, selection_loss, copy.deepcopy(judged.state_dict()))
        if keep and epoch < recipe.epochs:
            keep.save(parts, generator, rows, best)
        on_epoch(row)
    if best or average:
        model.load_state_dict(best.weights if best else judged.state_dict())
    history = pd.DataFrame(rows)
    return history.assign(chosen=history.epoch == (best.epoch if best else recipe.epochs))


@torch.inference_mode()
def predict(
    model: nn.Module, prepare: Prepare, pixels: Tensor, *, engine: Engine | None = None, batch: int = 64
) -> Tensor:
    """Logits on the CPU, float32 (n,), for pixels uint8 (n, H, W, 3); the model in eval mode, nothing random."""
    engine = engine or Engine()
    engine.place(model).eval()
    logits = []
    for part in pixels.split(batch):
        with engine.fabric.autocast():
            logits.append(model(engine.batch(prepare(part.to(engine.device)))).squeeze(1))
    return torch.cat(logits).float().cpu()


def augmentation_of(recipe: Recipe) -> Change:
    """The recipe's random flips, rotations and brightness; images as they are where it has none."""
    if not (recipe.rotation or recipe.brightness or recipe.flip):
        return lambda images, labels, generator: (images, labels)
    changed = partial(augment, rotation=recipe.rotation, brightness=recipe.brightness, flip=recipe.flip)
    return lambda images, labels, generator: (changed(images, generator), labels)


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


def _judge(model, prepare: Prepare, selection: Images, engine: Engine, loss: Loss) -> tuple[float, float]:
    if not len(selection.labels):
        return np.nan, np.nan
    logits, labels = predict(model, prepare, selection.pixels, engine=engine), selection.labels.cpu().float()
    return loss(logits, labels).item(), ((logits > 0) == (labels > 0.5)).float().mean().item()


def _mean(values: list[Tensor], sizes: list[int]) -> float:
    """The mean over images of what is known per part of so many."""
    return sum(value * n for value, n in zip(torch.stack(values).tolist(), sizes, strict=True)) / sum(sizes)


def _parts(model: nn.Module, recipe: Recipe, images: int) -> dict:
    """All that has a state: model and optimiser, and the schedule and the average where the recipe has them."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    how = dict(lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    if recipe.optimiser == "sgd":
        optimiser = torch.optim.SGD(trainable, **how, momentum=recipe.momentum)
    else:
        optimiser = torch.optim.AdamW(trainable, **how)
    parts = {"model": model, "optimiser": optimiser}
    if recipe.one_cycle:
        steps = -(-images // recipe.batch) * recipe.epochs
        parts["schedule"] = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps)
    if recipe.average:
        parts["average"] = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
    return parts


def _order(train: Images, recipe: Recipe, generator: torch.Generator) -> Tensor:
    n = len(train.labels)
    if not recipe.balance:
        return torch.randperm(n, generator=generator)
    return torch.multinomial(train.weights, n, replacement=True, generator=generator)


def _freeze_batch_norm(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
