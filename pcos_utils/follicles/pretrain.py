"""Train the network that outlines follicles, on phantoms alone, and keep its weights for counting.

No real image is read here, so what the network says about a real image cannot depend on that image's label.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from pcos_utils.files import CHECKPOINT, cached, read_record, write_csv
from pcos_utils.follicles import counting, kept
from pcos_utils.follicles import network as follicle_network
from pcos_utils.follicles import training_set as shard_files
from pcos_utils.models import devices, training, weights
from pcos_utils.models.checkpoints import BUSY, Checkpoint
from pcos_utils.models.recipes import FOLLICLES, Recipe
from pcos_utils.phantom import simulator
from pcos_utils.phantom.anatomy import EVERY, Effects

PHANTOM_SEED, HELD_OUT_SEED = 0, 1_000  # of the training shards, the same for all runs, and of the held-out ones
BLUR = 0.3  # probability


def jitter(images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return uint8 images as another scanner might have set them, (n, 1, H, W) in [0, 1], and their maps.

    Gain, grey curve, blur and grain vary at random. Half of the images are mirrored, with their maps.
    """
    n = len(images)

    def drawn(low: float, high: float) -> Tensor:
        """Draw one number for each image, (n, 1, 1, 1)."""
        return (low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)).to(images.device)

    x = (images.float() / 255).clamp(min=1e-3) ** drawn(0.7, 1.4) * drawn(0.75, 1.25) + drawn(-0.06, 0.06)
    x = torch.where(drawn(0, 1) < BLUR, F.avg_pool2d(x, 3, 1, 1), x)
    x = x + drawn(0, 0.02) * torch.randn(x.shape, generator=generator).to(x.device)
    mirrored = drawn(0, 1) < 0.5
    x, maps = (torch.where(mirrored, part.flip(3), part) for part in (x, maps))
    return x.clamp(0, 1), maps


def prepare(images: Tensor) -> Tensor:
    """Return the network's input, standardised (n, 1, H, W), from grey images: uint8, or jittered ones in [0, 1]."""
    return follicle_network.standardise(images if images.is_floating_point() else images.float() / 255)


def pretrain(
    folder: Path,
    per_class: int,
    seed: int,
    engine: devices.Engine,
    *,
    recipe: Recipe = FOLLICLES,
    held_out: int = 200,
    effects: Effects = EVERY,
    shard_folder: Path | None = None,
    on_epoch: Callable[[dict], None] = lambda row: None,
) -> dict:
    """Train one follicle network and return its record; the folder then holds weights, history.csv and run.json.

    The network is trained on ``per_class`` phantoms of each label, with ``effects``, and judged on at most ``held_out``
    of each that it never saw, with every effect. A finished run with the same settings is read; an unfinished one
    resumes. ``seed`` draws weights, order and changes; the phantoms are the same for every seed. Raises StudyError if
    nothing can be written.
    """
    shard_folder = shard_folder or folder.parent / "shards"
    settings = kept.settings_of(per_class, seed, recipe=recipe, held_out=held_out, effects=effects)
    settings |= {"precision": engine.precision, "device": engine.device.type}
    checkpoint = Checkpoint(folder / CHECKPOINT, json.dumps(settings))

    def make() -> dict:
        """Train and judge the network, and return what run.json says besides the settings."""
        held = shard_files.load(shard_files.shards(shard_folder, settings["held_out_per_class"], HELD_OUT_SEED))
        seen = shard_files.load(shard_files.shards(shard_folder, per_class, PHANTOM_SEED, effects))
        torch.manual_seed(seed)
        network = follicle_network.UNet()
        history = training.fit(
            network, prepare, _images(seen), _images(held), recipe, seed=seed, engine=engine, change=jitter,
            loss=follicle_network.segmentation_loss, on_epoch=on_epoch, keep=checkpoint,
        )  # fmt: skip
        seconds = checkpoint.seconds
        facts = {"model": "follicle_unet", "phantom_version": simulator.VERSION}
        weights.save(network, folder / "weights.safetensors", facts)
        write_csv(folder / "history.csv", history)
        return judge(network.cpu(), held) | {"seconds": round(seconds, 1)}

    record, _ = cached(folder, settings, make, waiting=lambda: print(BUSY, flush=True))
    checkpoint.remove()
    return record


def judge(network: torch.nn.Module, held: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the Dice of each map over all pixels, and Spearman, mean absolute error and bias of the count."""
    maps = follicle_network.predict_maps(network, held["images"])
    predicted, truth = maps > counting.THRESHOLD, follicle_network.targets(held).numpy() > 0
    both, either = (predicted & truth).sum(axis=(0, 2, 3)), predicted.sum(axis=(0, 2, 3)) + truth.sum(axis=(0, 2, 3))
    dice = (2 * both / either).tolist()
    scores = {f"dice_{name}": round(value, 4) for name, value in zip(follicle_network.MAPS, dice, strict=True)}
    count = np.array([counting.measure(each)["count"] for each in maps])
    error = count - held["FNPS"]
    varies = len(set(count)) > 1 and len(set(held["FNPS"])) > 1
    return scores | {
        "count_spearman": round(float(spearmanr(count, held["FNPS"])[0]), 4) if varies else None,
        "count_mae": round(float(np.abs(error).mean()), 3),
        "count_bias": round(float(error.mean()), 3),
        "held_out_phantoms": len(count),
    }


def _images(phantoms: dict[str, np.ndarray]) -> training.Images:
    pixels = torch.from_numpy(phantoms["images"])[:, None]
    return training.Images(pixels, follicle_network.targets(phantoms), torch.ones(len(pixels)))


def keep(folder: Path, target: Path = kept.KEPT) -> Path:
    """Save the weights of a pretrained run in float16, with what it says of itself, as ``target``, and return that."""
    record = read_record(folder)
    names = ("phantoms_per_class", "phantom_version", "seed", "dice_follicle", "count_spearman", "count_mae")
    network = follicle_network.load(folder / "weights.safetensors").half()
    weights.save(network, target, {"model": "follicle_unet"} | {name: record[name] for name in names})
    return target
