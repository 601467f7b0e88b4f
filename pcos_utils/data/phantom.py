"""Simulated ovaries whose truth is known: anatomy in three dimensions, seen in one ultrasound section.

The label is the 2023 rule on the whole ovary but the frame shows one section, so even a perfect reader of
frames cannot reach it: the count of follicles in the section has an AUC of .89. For checking methods, never
for clinical numbers.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pcos_utils.data import bmode, scene
from pcos_utils.data.anatomy import Ovary, draw_ovary, section
from pcos_utils.data.effects import Effects
from pcos_utils.data.screen import Screen, display, draw_marks

VERSION = "2"  # to be raised whenever a seed gives other bytes
VISIBLE_PIXELS = 60  # the least of a follicle that counts in a frame, about 1.2 mm across
THIN = 0.02e-3  # m, a slice without partial volume
FOLDERS = ("normal", "pcom")  # by label


class Phantom(NamedTuple):
    """One source: image, masks, all uint8 (200, 300), and the truth about it."""

    image: np.ndarray
    follicles: np.ndarray  # numbered, 0 is none
    cores: np.ndarray  # the inner parts of the follicles, which do not touch, with the same numbers
    ovary: np.ndarray  # 0 or 1
    truth: dict


def examination(ovary: Ovary, for_scanner, for_look, effects: Effects) -> tuple[bmode.Window, bmode.Beam, Screen]:
    """The window, the beam and the screen with which an ovary is looked at; one look for all without randomisation."""
    window = bmode.Window.draw(for_scanner, *ovary.centre, length=2 * ovary.semi_axes[0])
    beam, screen = bmode.Beam.draw(for_scanner, window.scale), Screen.draw(for_look)
    if not effects.randomisation:
        plain = bmode.Beam(beam.frequency, thickness=beam.thickness)
        beam = replace(plain, axial_sigma=0.6 * window.scale, lateral_fwhm=2.5 * window.scale)
        screen = Screen()
    return window, beam if effects.partial_volume else replace(beam, thickness=THIN), screen


def simulate(seed: int, label: int, speckle: int | None = None, effects: Effects | None = None) -> Phantom:
    """One phantom of the label, 0 normal or 1 polycystic; equal arguments, equal bytes; other ``speckle``, a twin.

    Truth: FNPO (follicles of 2 to 9 mm in the ovary), FNPS (follicles visible in the frame, a dominant one too),
    dominant (diameter of a follicle above 9 mm, else 0), volume in mL, f0 in MHz.
    """
    effects = effects or Effects()
    # A stream for each part: a change to one leaves what the others draw as it was.
    streams = np.random.default_rng(seed).spawn(8)
    for_ovary, for_scanner, for_look, for_tissue, for_distractors, for_marks, for_speckle, for_grain = streams
    if speckle is not None:
        for_speckle, for_grain = np.random.default_rng([seed, speckle]).spawn(2)
    ovary = draw_ovary(for_ovary, label, effects)
    window, beam, screen = examination(ovary, for_scanner, for_look, effects)
    grid = bmode.Grid.covering(window, beam, top=ovary.centre[1] - ovary.semi_axes[0])
    power = scene.tissue(ovary, grid.halved, window.scale, for_tissue)
    cut = section(*ovary.along_axes(*grid.positions), ovary, beam.thickness)
    attenuation, marks = bmode.absorption(cut.share), None
    if effects.distractors:
        power += scene.distractors(ovary, grid.halved, window.scale, for_distractors)
        attenuation += scene.shadows(grid, for_distractors)
        marks = draw_marks(for_marks)
    power = cv2.resize(power, grid.shape[::-1], interpolation=cv2.INTER_LINEAR)
    echo = scene.with_follicles(power, cut, for_tissue)
    amplitude = bmode.envelope(echo, attenuation, grid, beam, for_speckle)
    image = display(bmode.scan_convert(amplitude, grid, window), screen, for_grain, marks)
    u, v = ovary.along_axes(*window.positions)
    _, _, owner, core = section(u, v, ovary, beam.thickness)
    seen = (np.bincount(owner.ravel(), minlength=256) >= VISIBLE_PIXELS) & (np.arange(256) > 0)
    follicles = (np.cumsum(seen) * seen).astype(np.uint8)[owner]  # numbered without gaps
    truth = {"source": f"phantom_{seed:05d}", "label": label, "FNPO": ovary.count, "FNPS": int(seen.sum())}
    truth |= {"dominant": ovary.dominant, "volume": ovary.volume, "f0": round(beam.frequency, 3), "seed": seed}
    return Phantom(image, follicles, follicles * core, (ovary.reach(u, v) < 1).astype(np.uint8), truth)


def write(path: Path, content: bytes) -> None:
    """Nothing: the file appears whole, by renaming, or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def simulate_into(folder: Path, seed: int, label: int) -> dict:
    """The row of the truth table of one phantom, after its image and mask were written."""
    phantom = simulate(seed, label)
    name = phantom.truth["source"] + ".png"
    row = {"image": f"{FOLDERS[label]}/{name}", "mask": f"masks/{name}", **phantom.truth, "version": VERSION}
    write(folder / row["image"], cv2.imencode(".png", phantom.image)[1].tobytes())
    write(folder / row["mask"], cv2.imencode(".png", phantom.follicles)[1].tobytes())
    return row


def generate(folder: Path, per_class: int, seed: int = 0, workers: int | None = None, progress: bool = True):
    """Data frame of ``per_class`` phantoms of each label in ``folder``, one row a source, as in truth.csv.

    A folder that holds just these phantoms is left as it is, others in it are replaced. Sets of one ``seed``
    are nested: the smaller begins the larger. ``workers`` (all cores if None) changes the speed, no byte.
    """
    import pandas as pd  # here, because every worker imports this module and needs neither
    from tqdm.auto import tqdm

    if not 0 < per_class < 500_000:
        raise ValueError(f"per_class must lie between 1 and 499,999, not {per_class}")
    folder, truth, labels = Path(folder), Path(folder) / "truth.csv", [0, 1] * per_class
    seeds = [seed * 1_000_000 + number for number in range(1, len(labels) + 1)]
    if truth.exists():
        table = pd.read_csv(truth, dtype={"version": str})
        whole = all((folder / name).exists() for name in [*table["image"], *table["mask"]])
        if whole and table["seed"].tolist() == seeds and set(table["version"]) == {VERSION}:
            return table
        truth.unlink()  # first, so that it never vouches for a folder half replaced
    for name in (*FOLDERS, "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for old in (folder / name).glob("phantom_*.png*"):
            old.unlink()
    fresh = multiprocessing.get_context("spawn")  # the fork of a notebook kernel, which has threads, can hang
    with ProcessPoolExecutor(workers, fresh, cv2.setNumThreads, (1,)) as pool:
        jobs = pool.map(simulate_into, [folder] * len(seeds), seeds, labels, chunksize=4)
        table = pd.DataFrame(tqdm(jobs, "phantoms", len(labels), mininterval=2, disable=not progress))
    write(truth, table.to_csv(index=False).encode())
    return table


def ovary_mask(seed: int, label: int, effects: Effects | None = None) -> np.ndarray:
    """Where the ovary lies in the frame of ``simulate`` with these arguments, uint8 (200, 300), without its echoes."""
    effects = effects or Effects()
    for_ovary, for_scanner, for_look = np.random.default_rng(seed).spawn(8)[:3]
    ovary = draw_ovary(for_ovary, label, effects)
    window, _, _ = examination(ovary, for_scanner, for_look, effects)
    return (ovary.reach(*ovary.along_axes(*window.positions)) < 1).astype(np.uint8)
