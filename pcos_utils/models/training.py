"""Train a network and predict with it, whatever the images show: labels are 0 or 1, and the output is a logit."""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pcos_utils.models.checkpoints import Best, Checkpoint
from pcos_utils.models.devices import Engine
from pcos_utils.models.recipes import Recipe


class Images(NamedTuple):
    """The images of one role: ``pixels`` uint8 (n, H, W, 3), ``labels`` (n,) in {0, 1}, ``weights`` (n,) for drawing.

    ``pixels`` may also be any tensor whose first dimension is the image, such as features.
    """

    pixels: Tensor
    labels: Tensor
    weights: Tensor


Prepare = Callable[[Tensor], Tensor]  # from images (n, H, W, 3) in [0, 255] to the network's input
# A random change of a batch, drawn from the generator. Labels that are maps change with their images.
Change = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]  # from logits and labels to the mean over the batch


def fit(
    model: nn.Module,
    prepare: Prepare,
    train: Images,
    selection: Images | None,
    recipe: Recipe,
    *,
    seed: int,
    engine: Engine | None = None,
    change: Change | None = None,
    loss: Loss = F.binary_cross_entropy_with_logits,
    on_epoch: Callable[[dict], None] = lambda row: None,
    keep: Checkpoint | None = None,
    stop: int | None = None,
) -> pd.DataFrame:
    """Train the model, leave it with the chosen weights and return the history.

    The history has one row per epoch: epoch, losses, accuracies and ``chosen``. Without selection images, the selection
    columns are NaN. ``seed`` fixes the order of the images and their changes; the caller sets the starting weights. By
    default ``engine`` is the CPU in float32 and ``change`` is the recipe's augmentation. If the network returns maps
    and ``loss`` compares them, labels are maps (n, maps, H, W). ``stop`` ends the training after this many epochs, but
    the schedule still spans all epochs of the recipe. With ``keep``, the state is saved after every epoch but the last,
    and an interrupted training resumes there; ``on_epoch`` is then called again for the earlier epochs. If the engine
    is shared, each process calls this with the same arguments. Raises FloatingPointError if the training loss is not
    finite.
    """
    engine = engine or Engine()
    change = change or augmentation_of(recipe)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    engine.place(model)
    if not recipe.freeze_batch_norm:
        engine.join_norms(model)
    parts = _parts(model, recipe, len(train.labels))
    schedule, average = parts.get("schedule"), parts.get("average")
    judged = average.module if average else model
    rows, best = keep.restore(parts, generator) if keep else ([], None)
    network, stepper = engine.fabric.setup(model, parts["optimiser"])
    for row in rows:
        on_epoch(row)
    last = stop or recipe.epochs
    for epoch in range(len(rows) + 1, last + 1):
        model.train()
        for part in model.modules():
            if recipe.freeze_batch_norm and isinstance(part, nn.BatchNorm2d):
                part.eval()
        losses, hits, sizes = [], [], []
        for batch in _order(train, recipe, generator).split(recipe.batch):
            pixels, labels = (part[batch.to(part.device)].to(engine.device) for part in (train.pixels, train.labels))
            pixels, labels = change(pixels, labels, generator)
            stepper.zero_grad()
            # All processes draw the same batch and the same changes of it; each computes its share.
            n, share = len(labels), engine.share(len(labels))
            pixels, labels = pixels[share], labels[share]
            size = engine.at_once(recipe.at_once, len(labels))
            for images, truth in zip(pixels.split(size), labels.split(size), strict=True):
                logits = network(engine.batch(prepare(images))).squeeze(1)  # (n, 1) -> (n,); maps keep their shape
                cost = loss(logits, truth.float())
                engine.fabric.backward(cost * (len(truth) / n * engine.processes))  # of which they take the mean
                # They stay on the device: reading a number after every step would make a GPU wait.
                losses.append(cost.detach())
                hits.append(((logits > 0) == (truth > 0.5)).float().mean())
                sizes.append(len(truth))
            stepper.step()
            if schedule:
                schedule.step()
            if average:
                average.update_parameters(model)
        selection_loss, selection_accuracy = _judge(judged, prepare, selection, engine, loss)
        row = {"epoch": epoch, "train_loss": _mean(losses, sizes, engine), "train_accuracy": _mean(hits, sizes, engine),
               "selection_loss": selection_loss, "selection_accuracy": selection_accuracy}  # fmt: skip
        rows.append(row)
        if not np.isfinite(row["train_loss"]):
            raise FloatingPointError(f"The loss of epoch {epoch} is not a number; lower the learning rate.")
        if recipe.select_epoch and selection_loss < (best.loss if best else np.inf):
            best = Best(epoch, selection_loss, copy.deepcopy(judged.state_dict()))
        if keep and epoch < last and not engine.rank:
            keep.save(parts, generator, rows, best)
        on_epoch(row)
    if best or average:
        model.load_state_dict(best.weights if best else judged.state_dict())
    history = pd.DataFrame(rows)
    return history.assign(chosen=history.epoch == (best.epoch if best else last))


@torch.inference_mode()
def predict(model: nn.Module, prepare: Prepare, pixels: Tensor, *, engine: Engine | None = None, batch=64) -> Tensor:
    """Return logits on the CPU, float32 (n,), for pixels uint8 (n, H, W, 3), with the model in eval mode."""
    engine = engine or Engine()
    engine.place(model).eval()
    logits = []
    for part in pixels.split(batch):
        with engine.fabric.autocast():
            logits.append(model(engine.batch(prepare(part.to(engine.device)))).squeeze(1))
    return torch.cat(logits).float().cpu()


def augmentation_of(recipe: Recipe) -> Change:
    """Return the recipe's random flips, rotations and brightness, or no change if it has none."""
    changes = recipe.rotation or recipe.brightness or recipe.flip
    return lambda images, labels, generator: (augment(images, recipe, generator) if changes else images, labels)


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Return changed copies of the images, float in [0, 255], shape (n, H, W, 3). Each image draws its own change.

    Corners that a rotation leaves empty become black, as in the published study. All randomness comes from
    ``generator``, a CPU generator, so that every device sees the same changes.
    """
    n = len(images)
    angle, light, side = torch.rand(3, n, generator=generator).to(images.device)
    turn = (2 * angle - 1) * math.radians(recipe.rotation)
    mirror = torch.where(side < recipe.flip, -1.0, 1.0)
    zero = torch.zeros_like(turn)
    rows = torch.stack([mirror * turn.cos(), -turn.sin(), zero, mirror * turn.sin(), turn.cos(), zero], dim=1)
    x = images.permute(0, 3, 1, 2).float()  # (n, 3, H, W)
    grid = F.affine_grid(rows.view(n, 2, 3), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, align_corners=False)
    x = x * (1 + (2 * light - 1) * recipe.brightness).view(n, 1, 1, 1)
    return x.clamp(0, 255).permute(0, 2, 3, 1)


def _judge(model, prepare: Prepare, selection: Images | None, engine: Engine, loss: Loss) -> tuple[float, float]:
    if selection is None or not len(selection.labels):
        return np.nan, np.nan
    logits, labels = predict(model, prepare, selection.pixels, engine=engine), selection.labels.cpu().float()
    return loss(logits, labels).item(), ((logits > 0) == (labels > 0.5)).float().mean().item()


def _mean(values: list[Tensor], sizes: list[int], engine: Engine) -> float:
    """Return the mean over all processes' images, given the mean of each part here and the number of images in it."""
    total = sum(value * n for value, n in zip(torch.stack(values).tolist(), sizes, strict=True) if n)
    return engine.total(total) / engine.total(sum(sizes))


def _parts(model: nn.Module, recipe: Recipe, images: int) -> dict:
    """Return all that has a state: model, optimiser and, if the recipe has them, schedule and average."""
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
