"""Phantoms by the thousand for training: images and masks at the network's size, many to a file."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from pcos_utils.data import phantom
from pcos_utils.data.effects import Effects
from pcos_utils.data.grey import shrink
from pcos_utils.files import appearing

SHARD = 250  # phantoms in a file
FIRST_SEED = 1_000_000_000  # far from those of `phantom.generate`, so that no phantom trains and tests
TRUTH = ("label", "FNPO", "FNPS", "dominant", "volume", "seed")


def shards(
    folder: Path, per_class: int, seed: int = 0, effects: Effects | None = None, workers: int | None = None
) -> list[Path]:
    """The files, in order, that hold ``per_class`` phantoms of each label, as ``load`` reads them.

    Those that are already there are kept, so an interrupted call goes on. Sets of one ``seed`` are nested up to
    the last file. ``workers`` (all cores if None) changes the speed, no byte. Raises ValueError for an impossible
    size.
    """
    if not 0 < per_class < 500_000:
        raise ValueError(f"per_class must lie between 1 and 499,999, not {per_class}")
    folder, effects = Path(folder), effects or Effects()
    first, last = FIRST_SEED + seed * 1_000_000, FIRST_SEED + seed * 1_000_000 + 2 * per_class
    starts = range(first, last, SHARD)
    paths = [folder / f"{effects.name}-s{seed}-{number:04d}.npz" for number in range(len(starts))]
    jobs = [(path, start, min(start + SHARD, last), effects) for path, start in zip(paths, starts, strict=True)]
    jobs = [job for job in jobs if _settings_in(job[0]) != _settings(*job[1:])]
    if jobs:
        fresh = multiprocessing.get_context("spawn")  # the fork of a notebook kernel, which has threads, can hang
        with ProcessPoolExecutor(workers, fresh, cv2.setNumThreads, (1,)) as pool:
            list(pool.map(make_shard, *zip(*jobs, strict=True)))
    return paths


def make_shard(path: Path, start: int, stop: int, effects: Effects) -> None:
    """Nothing; the phantoms of the seeds from ``start`` to before ``stop`` lie in one file, which appears whole."""
    phantoms = [phantom.simulate(seed, seed % 2, effects=effects) for seed in range(start, stop)]
    maps = {"images": np.stack([shrink(one.image, cv2.INTER_AREA) for one in phantoms])}
    for name in ("follicles", "cores", "ovary"):
        maps[name] = np.stack([shrink(getattr(one, name), cv2.INTER_NEAREST) for one in phantoms])
    truth = {name: np.array([one.truth[name] for one in phantoms]) for name in TRUTH}
    with appearing(path) as temporary:
        np.savez_compressed(temporary, settings=_settings(start, stop, effects), **maps, **truth)


def load(paths: list[Path]) -> dict[str, np.ndarray]:
    """The maps, uint8 (n, 128, 192), named images, follicles, cores and ovary, and the columns of the truth, (n,)."""
    names, parts = ("images", "follicles", "cores", "ovary", *TRUTH), []
    for path in paths:
        with np.load(path) as shard:
            parts.append({name: shard[name] for name in names})
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _settings(start: int, stop: int, effects: Effects) -> str:
    return json.dumps({"version": phantom.VERSION, "start": start, "stop": stop, "effects": asdict(effects)})


def _settings_in(path: Path) -> str | None:
    # What a file on the disk holds; None where there is no readable one.
    try:
        with np.load(path) as shard:
            return str(shard["settings"])
    except Exception:  # a torn zip raises what it likes
        return None
