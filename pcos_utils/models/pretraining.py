"""Training on phantoms alone: the network that outlines follicles, from shards to weights that a count can be made of.

Nothing here reads a real frame, so what the weights say about one owes nothing to its label.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from pcos_utils.data import phantom
from pcos_utils.data import shards as shard_files
from pcos_utils.data.effects import Effects
from pcos_utils.files import alone_in, sha256, write_csv, write_json
from pcos_utils.models import counting, devices, follicles, training, unet, weights
from pcos_utils.models.checkpoints import Checkpoint
from pcos_utils.models.recipes import FOLLICLES, Recipe

PHANTOM_SEED, HELD_OUT_SEED = 0, 1_000  # of the shards that train, the same for all runs, and of those that judge
BLUR = 0.3  # probability


def jitter(images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] as another scanner might have set them, (n, 1, H, W), and their maps: gain, grey curve, blur,
    grain; half of them mirrored with their maps. ``images``: uint8."""
    n = len(images)

    def drawn(low: float, high: float) -> Tensor:
        """One number for each image, (n, 1, 1, 1)."""
        return (low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)).to(images.device)

    x = (images.float() / 255).clamp(min=1e-3) ** drawn(0.7, 1.4) * drawn(0.75, 1.25) + drawn(-0.06, 0.06)
    x = torch.where(drawn(0, 1) < BLUR, F.avg_pool2d(x, 3, 1, 1), x)
    x = x + drawn(0, 0.02) * torch.randn(x.shape, generator=generator).to(x.device)
    mirrored = drawn(0, 1) < 0.5
    x, maps = (torch.where(mirrored, part.flip(3), part) for part in (x, maps))
    return x.clamp(0, 1), maps


def prepare(images: Tensor) -> Tensor:
    """What the network takes, standardised (n, 1, H, W), of grey images: uint8, or jittered ones in [0, 1]."""
    return unet.standardise(images if images.is_floating_point() else images.float() / 255)


def pretrain(
    folder: Path,
    per_class: int,
    seed: int,
    engine: devices.Engine,
    *,
    recipe: Recipe = FOLLICLES,
    held_out: int = 200,
    effects: Effects | None = None,
    shard_folder: Path | None = None,
    on_epoch: Callable[[dict], None] = lambda row: None,
) -> dict:
    """The record of one follicle network, whose folder then holds weights.safetensors, history.csv and run.json.

    Trained on ``per_class`` phantoms of each label, and judged on ``held_out`` of each (at most as many) that it never
    saw: Dice of the three maps, and how the count agrees with the truth. A finished run with the same settings is read,
    an unfinished one goes on. ``seed`` draws weights, order and changes; the phantoms are the same for every seed.
    ``effects``: of the phantoms that train; those that judge always have all. Raises StudyError where nothing can be
    written.
    """
    shard_folder, held_out = shard_folder or folder.parent / "shards", min(held_out, per_class)
    settings = {
        "model": "follicle_unet",
        "recipe": recipe.model_dump(),
        "phantoms_per_class": per_class,
        "held_out_per_class": held_out,
        "phantom_version": phantom.VERSION,
        "seed": seed,
        "precision": engine.precision,
    }
    if effects:
        settings["effects"] = effects.name
    settings = json.loads(json.dumps(settings))  # as it will be read again
    record = folder / "run.json"
    with alone_in(folder, lambda: print("another process is at this run; waiting for it to end", flush=True)):
        made = json.loads(record.read_text()) if record.exists() else {}
        finished = made.items() >= settings.items()
        if finished and made.items() >= counting.SETTINGS.items():
            return made
        held = shard_files.load(shard_files.shards(shard_folder, held_out, HELD_OUT_SEED))
        network = unet.follicle_unet()
        if finished:  # trained, but judged by a count that has changed since
            weights.load(network, folder / "weights.safetensors")
            write_json(record, made | counting.SETTINGS | judge(network, held))
            return json.loads(record.read_text())
        seen = shard_files.load(shard_files.shards(shard_folder, per_class, PHANTOM_SEED, effects))
        torch.manual_seed(seed)
        network = unet.follicle_unet()
        keep = Checkpoint(folder / "checkpoint.pt", json.dumps([settings, engine.device.type]))
        history = training.fit(
            network, prepare, _images(seen), _images(held), recipe, seed=seed, engine=engine, change=jitter,
            loss=unet.segmentation_loss, on_epoch=on_epoch, keep=keep,
        )  # fmt: skip
        seconds = keep.seconds
        place = folder / "weights.safetensors"
        weights.save(network, place, {"model": "follicle_unet", "phantom_version": phantom.VERSION})
        write_csv(folder / "history.csv", history)
        made = settings | counting.SETTINGS | judge(network.cpu(), held)
        made |= {"weights_sha256": sha256(place), "seconds": round(seconds, 1)}
        write_json(record, made)
        keep.remove()
    return made


def judge(network: torch.nn.Module, held: dict[str, np.ndarray]) -> dict[str, float]:
    """Dice of each map over all pixels of the phantoms, and Spearman correlation, mean absolute error and bias of the
    count against the number of visible follicles. ``held`` as ``shards.load`` gives it."""
    answered = follicles.predict_maps(network, held["images"]) > follicles.THRESHOLD
    truth = unet.targets(held["follicles"], held["cores"], held["ovary"]).numpy() > 0.5
    made = {}
    for place, name in enumerate(unet.MAPS):
        both = (answered[:, place] & truth[:, place]).sum()
        made[f"dice_{name}"] = round(float(2 * both / (answered[:, place].sum() + truth[:, place].sum())), 4)
    count = follicles.measure_all(network, held["images"])["count"].to_numpy()
    error = count - held["FNPS"]
    varies = len(set(count)) > 1 and len(set(held["FNPS"])) > 1
    agreement = round(float(spearmanr(count, held["FNPS"])[0]), 4) if varies else None
    made |= {"count_spearman": agreement, "count_mae": round(float(np.abs(error).mean()), 3)}
    return made | {"count_bias": round(float(error.mean()), 3), "held_out_phantoms": len(count)}


def count(network: torch.nn.Module, pixels: list[np.ndarray]) -> pd.DataFrame:
    """One row per image, uint8 (H, W, 3) of any size: columns as in ``follicles.COLUMNS``."""
    grey = [shard_files.shrink(image.mean(axis=2).astype(np.uint8)) for image in pixels]
    return follicles.measure_all(network, np.stack(grey))


def _images(maps: dict[str, np.ndarray]) -> training.Images:
    target = np.stack([maps["follicles"] > 0, maps["cores"] > 0, maps["ovary"] > 0], axis=1).astype(np.uint8)
    pixels = torch.from_numpy(maps["images"])[:, None]
    return training.Images(pixels, torch.from_numpy(target), torch.ones(len(pixels)))
