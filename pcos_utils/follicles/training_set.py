"""Make phantoms by the thousand for training, with images and masks at the network's size, many to a file."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from pcos_utils.data.images import shrink
from pcos_utils.files import appearing, code
from pcos_utils.phantom import simulator
from pcos_utils.phantom.anatomy import EVERY, Effects

# The modules whose code decides the phantoms of a file.
CODE = ("data/images.py", "follicles/training_set.py", "phantom/anatomy.py", "phantom/display.py", "phantom/scene.py",
        "phantom/simulator.py", "phantom/ultrasound.py")  # fmt: skip
SHARD = 250  # phantoms in a file
FIRST_SEED = 1_000_000_000  # far above those of `simulator.generate`, so that no phantom both trains and tests
MASKS = ("follicles", "cores", "ovary")
TRUTH = ("label", "FNPO", "FNPS", "dominant", "volume", "seed")


def shards(folder: Path, per_class: int, seed: int = 0, effects: Effects = EVERY, processes=None) -> list[Path]:
    """Make ``per_class`` phantoms of each label, and return their files in order, for ``load``.

    Files that already exist are kept, so an interrupted call can go on. A smaller set is the start of a larger set of
    the same ``seed``, apart from its last file. ``processes`` (all cores if None) changes the speed and no byte. Raises
    ValueError if ``per_class`` is out of range.
    """
    drawn = seeds(per_class, seed)
    starts = range(drawn.start, drawn.stop, SHARD)
    paths = [Path(folder) / f"{effects.name}-s{seed}-{number:04d}.npz" for number in range(len(starts))]
    jobs = [(path, start, min(start + SHARD, drawn.stop), effects) for path, start in zip(paths, starts, strict=True)]
    make(jobs, _settings, make_shard, processes)
    return paths


def make(jobs: list[tuple], settings: Callable[..., str], make_one: Callable, processes: int | None = None) -> None:
    """Call ``make_one`` for each job, a path and its arguments, whose file does not hold ``settings`` of them yet."""
    jobs = [job for job in jobs if _settings_in(job[0]) != settings(*job[1:])]
    if jobs:
        with simulator.workers(processes) as pool:
            list(pool.map(make_one, *zip(*jobs, strict=True)))


def seeds(per_class: int, seed: int = 0) -> range:
    """Return the seeds of the phantoms of a training set, whose label is the last bit of its seed."""
    return simulator.seeds_of(per_class, seed, FIRST_SEED)


def make_shard(path: Path, start: int, stop: int, effects: Effects) -> None:
    """Write the phantoms of the seeds from ``start`` to ``stop`` (excluded) to one file, which appears whole."""
    phantoms = [simulator.simulate(seed, seed % 2, effects=effects) for seed in range(start, stop)]
    maps = {"images": np.stack([shrink(phantom.image, cv2.INTER_AREA) for phantom in phantoms])}
    for name in MASKS:
        maps[name] = np.stack([shrink(getattr(phantom, name), cv2.INTER_NEAREST) for phantom in phantoms])
    truth = {name: np.array([phantom.truth[name] for phantom in phantoms]) for name in TRUTH}
    with appearing(path) as temporary:
        np.savez_compressed(temporary, settings=_settings(start, stop, effects), **maps, **truth)


def load(paths: list[Path]) -> dict[str, np.ndarray]:
    """Load images, follicles, cores and ovary, uint8 (n, 128, 192), and the columns of the truth, (n,)."""
    parts = [dict(np.load(path)) for path in paths]
    return {name: np.concatenate([part[name] for part in parts]) for name in ("images", *MASKS, *TRUTH)}


def _settings(start: int, stop: int, effects: Effects) -> str:
    facts = {"version": simulator.VERSION, "code_sha256": code(*CODE), "start": start, "stop": stop}
    return json.dumps(facts | {"effects": effects._asdict()})


def _settings_in(path: Path) -> str | None:
    """Return the settings of a file, or None if there is no readable file."""
    try:
        with np.load(path) as shard:
            return str(shard["settings"])
    except Exception:  # a damaged zip raises many types
        return None
