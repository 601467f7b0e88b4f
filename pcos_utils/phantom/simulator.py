"""Simulate ovaries whose truth is known: anatomy in three dimensions, seen in one ultrasound section.

The label follows the 2023 rule on the whole ovary but the frame shows one section, so not even a perfect method
can recover it: the count of follicles in the section has an AUC of .89. Phantoms serve to check methods, never
for clinical numbers.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pcos_utils.files import appearing, write_text
from pcos_utils.phantom import scene, ultrasound
from pcos_utils.phantom.anatomy import EVERY, Effects, draw_ovary, section
from pcos_utils.phantom.display import Screen, display, draw_marks

VERSION = "3"  # raise it whenever a seed gives other bytes
VISIBLE_PIXELS = 60  # least area of a follicle that counts in a frame, about 1.2 mm across
CHANGES = 2e-3  # m, elevation (SD of a Gaussian) over which the tissue of a sweep becomes other tissue
FOLDERS = ("normal", "pcom")  # by label


class Phantom(NamedTuple):
    """One source: its image and masks, all uint8 (200, 300), and the truth about it."""

    image: np.ndarray
    follicles: np.ndarray  # numbered, 0 is none
    cores: np.ndarray  # inner parts of the follicles, which do not touch, with the same numbers
    ovary: np.ndarray  # 0 or 1
    truth: dict


def simulate(seed: int, label: int, speckle=None, effects: Effects = EVERY, elevation: float = 0.0) -> Phantom:
    """Simulate one phantom of the label, 0 normal or 1 polycystic. Equal arguments give equal bytes.

    Another ``speckle``, an integer, gives a twin: the same scene with other speckle and camera noise. An ``elevation``
    (m) gives a parallel section of the same ovary, as a frame of one sweep: follicles are cut elsewhere, scatterers
    leave the slice (``ultrasound.beside``), and tissue and distractors fade into others over CHANGES. Window, screen,
    marks and shadows stay, so frames are more alike than those of a real hand. Truth: FNPO (follicles of 2 to 9 mm in
    the ovary), FNPS (those visible in the frame, with a dominant one), dominant (mm, or 0), volume in mL, f0 in MHz.
    """
    # Each part has its own stream, so that a change to one part leaves what the others draw.
    streams = np.random.default_rng(seed).spawn(8)
    for_ovary, for_scanner, for_look, for_tissue, for_distractors, for_marks, for_speckle, for_grain = streams
    if speckle is not None:
        for_speckle, for_grain = np.random.default_rng([seed, speckle]).spawn(2)
    for_noise = None
    if elevation:
        for_noise, for_grain = np.random.default_rng([seed, round(elevation * 1e7) + 2**32]).spawn(2)
    ovary = draw_ovary(for_ovary, label, effects)
    ovary = replace(ovary, offset=ovary.offset + elevation)
    window = ultrasound.Window.draw(for_scanner, *ovary.centre, length=2 * ovary.semi_axes[0])
    beam, screen = ultrasound.Beam.draw(for_scanner, window.scale), Screen.draw(for_look)
    grid = ultrasound.Grid.covering(window, beam, top=ovary.centre[1] - ovary.semi_axes[0])
    place = ovary, grid.halved, window.scale
    power = scene.tissue(*place, for_tissue) + scene.distractors(*place, for_distractors)
    if elevation:
        one, two = np.random.default_rng([seed, 2**33]).spawn(2)
        other = scene.tissue(*place, one) + scene.distractors(*place, two)
        power += np.float32(1 - np.exp(-((elevation / CHANGES) ** 2) / 2)) * (other - power)
    cut = section(*ovary.along_axes(*grid.positions), ovary, beam.thickness)
    fluid, tissue = ultrasound.FLUID_ATTENUATION, ultrasound.TISSUE_ATTENUATION
    attenuation = tissue + cut.share * (fluid - tissue)
    attenuation += scene.shadows(grid, for_distractors)
    power = cv2.resize(power, grid.shape[::-1], interpolation=cv2.INTER_LINEAR)
    echo = scene.with_follicles(power, cut, for_tissue)
    amplitude = ultrasound.envelope(echo, attenuation, grid, beam, for_speckle, elevation, for_noise)
    image = display(ultrasound.scan_convert(amplitude, grid, window), screen, for_grain, draw_marks(for_marks))
    u, v = ovary.along_axes(*window.positions)
    _, _, owner, core = section(u, v, ovary, beam.thickness)
    seen = (np.bincount(owner.ravel(), minlength=256) >= VISIBLE_PIXELS) & (np.arange(256) > 0)
    follicles = (np.cumsum(seen) * seen).astype(np.uint8)[owner]  # numbers without gaps
    truth = {"source": f"phantom_{seed:05d}", "label": label, "FNPO": ovary.count, "FNPS": int(seen.sum())}
    truth |= {"dominant": ovary.dominant, "volume": ovary.volume, "f0": round(beam.frequency, 3), "seed": seed}
    return Phantom(image, follicles, follicles * core, (ovary.reach(u, v) < 1).astype(np.uint8), truth)


def simulate_into(folder: Path, seed: int, label: int) -> dict:
    """Write the image and mask of one phantom, and return its row of the truth table."""
    phantom = simulate(seed, label)
    name = phantom.truth["source"] + ".png"
    row = {"image": f"{FOLDERS[label]}/{name}", "mask": f"masks/{name}", **phantom.truth, "version": VERSION}
    for place, pixels in ((row["image"], phantom.image), (row["mask"], phantom.follicles)):
        with appearing(folder / place) as temporary:
            temporary.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return row


def workers(count: int | None = None) -> ProcessPoolExecutor:
    """Return processes that compute in parallel, with one thread each; as many as there are cores if None."""
    spawn = multiprocessing.get_context("spawn")  # forking a notebook kernel, which has threads, can hang
    return ProcessPoolExecutor(count, spawn, cv2.setNumThreads, (1,))


def seeds_of(per_class: int, seed: int, first: int = 1) -> range:
    """Return the seeds of ``per_class`` phantoms of each label, which take turns; of another ``seed``, other ones."""
    if not 0 < per_class < 500_000:
        raise ValueError(f"per_class must lie between 1 and 499,999, not {per_class}")
    first += seed * 1_000_000
    return range(first, first + 2 * per_class)


def generate(folder: Path, per_class: int, seed: int = 0, processes: int | None = None):
    """Write ``per_class`` phantoms of each label to ``folder``, and return truth.csv as a data frame, one row a source.

    A folder that already holds just these phantoms is left alone; other phantoms in it are replaced. A smaller set is
    the start of a larger set of the same ``seed``. ``processes`` (all cores if None) changes the speed and no byte.
    Raises ValueError if ``per_class`` is out of range.
    """
    import pandas as pd  # here, because every worker loads this module and does not need it

    from pcos_utils.progress import bar

    folder, truth, seeds = Path(folder), Path(folder) / "truth.csv", list(seeds_of(per_class, seed))
    if truth.exists():
        table = pd.read_csv(truth, dtype={"version": str})
        whole = all((folder / name).exists() for name in [*table["image"], *table["mask"]])
        if whole and table["seed"].tolist() == seeds and set(table["version"]) == {VERSION}:
            return table
        truth.unlink()  # first, so that it never vouches for a half-replaced folder
    for name in (*FOLDERS, "masks"):
        for old in (folder / name).glob("*phantom_*.png*"):
            old.unlink()
    with workers(processes) as pool:
        jobs = pool.map(simulate_into, [folder] * len(seeds), seeds, [0, 1] * per_class, chunksize=4)
        table = pd.DataFrame(bar(jobs, "phantoms", total=len(seeds)))
    write_text(truth, table.to_csv(index=False))
    return table
