"""Teach the network that finds ovaries in whole frames, on phantoms of whole sectors alone, and keep its weights."""

from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from pcos_utils.config import home
from pcos_utils.files import appearing, code
from pcos_utils.follicles import locator, network, pretrain, training_set
from pcos_utils.models import devices, training, weights
from pcos_utils.models.recipes import FOLLICLES
from pcos_utils.phantom import sector

# The modules whose code decides the phantoms of a file.
CODE = tuple(f"phantom/{name}.py" for name in ("anatomy", "display", "pelvis", "scene", "sector", "ultrasound"))
EPOCHS = 12
SHARD, FIRST_SEED, HELD_OUT_SEED, HELD_OUT = 100, 3_000_000_000, 3_900_000_000, 200
RECIPE = FOLLICLES.model_copy(update={"epochs": EPOCHS})
ZOOM, SHIFT = 0.3, 0.2  # largest change of each side, as a logarithm, and of the place, as a share of the frame


def phantoms(count: int, first: int) -> training.Images:
    """Return ``count`` sectors, uint8 (n, 1, SIDE, SIDE), and their maps, uint8 (n, 3, SIDE, SIDE), in order of MAPS.

    They are kept in files of SHARD sectors, so an interrupted call can go on.
    """
    folder = home() / "runs" / "locator" / "shards"
    jobs = [(folder / f"{start}.npz", start) for start in range(first, first + count, SHARD)]
    training_set.make(jobs, _settings, make_shard)
    maps = torch.from_numpy(np.concatenate([np.load(path)["maps"] for path, _ in jobs])[:count])
    return training.Images(maps[:, :1], maps[:, 1:], torch.ones(len(maps)))


def make_shard(path: Path, start: int) -> None:
    """Write image and maps of SHARD sectors from the seed ``start`` on, uint8 (SHARD, 4, SIDE, SIDE), to one file."""
    maps = []
    for seed in range(start, start + SHARD):
        image, *masks = sector.simulate(seed)[:4]
        near = [cv2.resize(np.uint8(mask > 0), (locator.SIDE,) * 2, interpolation=cv2.INTER_NEAREST) for mask in masks]
        maps.append(np.stack([locator.stretched(image), *near]))
    with appearing(path) as temporary:
        np.savez_compressed(temporary, settings=_settings(start), maps=np.stack(maps))


def _settings(start: int) -> str:
    return f"sectors {start} to {start + SHARD} by {code(*CODE)}"


def change(images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the images zoomed, moved and as another scanner might have set them, and their maps."""
    n = len(images)
    zoom, move = (torch.rand(n, 2, generator=generator) * 2 - 1 for _ in range(2))
    rows = torch.zeros(n, 2, 3)
    rows[:, 0, 0], rows[:, 1, 1] = (zoom * ZOOM).exp().T
    rows[:, :, 2] = move * 2 * SHIFT
    both = torch.cat([images, maps], dim=1).float()
    both = F.grid_sample(both, F.affine_grid(rows, list(both.shape), align_corners=False), align_corners=False)
    return pretrain.jitter(both[:, :1], (both[:, 1:] > 0.5).float(), generator)


def teach(per_class: int, seed: int, on_epoch=lambda row: None, target: Path = locator.KEPT) -> dict:
    """Train the locator on phantoms alone, save its weights in float16 as ``target``, and return what they are.

    It sees twice ``per_class`` sectors; the last epoch is kept. It is judged, by the weights as saved, on HELD_OUT
    sectors that it never saw.
    """
    count = 2 * per_class
    held, train = phantoms(HELD_OUT, HELD_OUT_SEED), phantoms(count, FIRST_SEED + seed * 1_000_000)
    torch.manual_seed(seed)
    learner = network.Locator()
    training.fit(
        learner, pretrain.prepare, train, None, RECIPE, seed=seed, engine=devices.fastest(), change=change,
        loss=network.segmentation_loss, on_epoch=on_epoch,
    )  # fmt: skip
    learner = learner.half().float()
    facts = {"phantoms": count, "sector_version": sector.VERSION, "seed": seed, **judge(learner, held)}
    weights.save(learner.half(), target, {"model": "ovary_locator"} | facts)
    return facts


def judge(learner: torch.nn.Module, held: training.Images) -> dict:
    """Return the share of visible ovaries that are found, and the false boxes in a frame without an ovary."""
    maps = network.predict_maps(learner, held.pixels[:, 0].numpy())
    hits = ovaries = false = empty = 0
    for predicted, truth in zip(maps, held.labels[:, 0].numpy(), strict=True):
        found, there = locator.boxes(predicted, truth.shape), locator.outlined(ndimage.label(truth)[0])
        hits, ovaries = hits + locator.matched(found, there), ovaries + len(there)
        empty, false = empty + (not there), false + len(found) * (not there)
    facts = {"found": round(hits / max(ovaries, 1), 4), "ovaries": ovaries}
    return facts | {"false_boxes": round(false / max(empty, 1), 4), "frames_without": empty}
