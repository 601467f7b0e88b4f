"""Simulated ovaries whose truth is known: anatomy in three dimensions, seen in one ultrasound section.

The label is the 2023 rule on the whole ovary but the frame shows one section, so even a perfect reader of
frames cannot reach it: the count of follicles in the section has an AUC of .90. For checking methods, never
for clinical numbers. Priors: PMC9938076 (meta-analysis) for normal, Balen 2003 and Pache for PCOM.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pcos_utils.data import bmode

VERSION = "1"  # to be raised whenever a seed gives other bytes
MANY_FOLLICLES = 20  # of 2 to 9 mm in the ovary (2023 international guideline)
LARGE_OVARY = 10.0  # mL (the same)
VISIBLE_PIXELS = 40  # the least of a follicle that counts in a frame, about 1 mm across
FOLDERS = ("normal", "pcom")  # by label


class Phantom(NamedTuple):
    """One source: image and numbered follicles (0 is none), both uint8 (200, 300), and the truth about it."""

    image: np.ndarray
    follicles: np.ndarray
    truth: dict


@dataclass(frozen=True)
class Ovary:
    """An ellipsoid holding follicles, cut by a plane. Lengths in metres, angles in radians."""

    volume: float  # mL
    semi_axes: np.ndarray  # (3,), the third across the section
    follicles: np.ndarray  # (n, 4), centre along the semi-axes and radius
    shapes: np.ndarray  # (n, 8), turn, flattening, amplitudes and phases of waves 2 to 4 of the outline
    offset: float  # of the section from the centre
    centre: np.ndarray  # (2,), x and z in the scan
    tilt: float
    outline: np.ndarray  # (8,), amplitudes and phases of waves 2 to 5

    @property
    def label(self) -> int:
        """1 if polycystic by the 2023 rule on the whole ovary, else 0."""
        return int(len(self.follicles) >= MANY_FOLLICLES or self.volume >= LARGE_OVARY)

    def along_axes(self, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scan positions as coordinates on the first two semi-axes."""
        cos, sin = np.float32(np.cos(self.tilt)), np.float32(np.sin(self.tilt))
        x, z = x - np.float32(self.centre[0]), z - np.float32(self.centre[1])
        return x * cos + z * sin, z * cos - x * sin


def wavy(angle: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """Radius around 1 of an uneven outline, from the amplitudes and then phases of its waves from order 2."""
    pairs = zip(*np.split(waves.astype(np.float32), 2), strict=True)
    return 1 + sum(a * np.cos(order * angle + phase) for order, (a, phase) in enumerate(pairs, start=2))


def place(rng: np.random.Generator, diameters: np.ndarray, axes: np.ndarray, rim: bool) -> np.ndarray | None:
    """Spheres that do not overlap, (n, 4) centre and radius, near the rim or all over; None if they jam."""
    side, one_sided = rng.normal(size=3), rng.random() < 0.5  # half of all ovaries keep most to one side
    tries = rng.normal(size=(200 * len(diameters), 3))
    tries /= np.linalg.norm(tries, axis=1, keepdims=True)
    tries[one_sided & (tries @ side < 0) & (rng.random(len(tries)) < 0.6)] *= -1
    reach = rng.random(len(tries))
    tries *= (0.6 + 0.33 * reach if rim else 0.93 * np.cbrt(0.05 + 0.95 * reach))[:, None]
    placed, n = np.empty((len(diameters), 4)), 0
    for direction in tries:
        radius = diameters[n] / 2
        centre = direction * np.maximum(axes - radius, 0.2e-3)
        apart = placed[:n, :3] - centre
        if np.all((apart * apart).sum(axis=1) > (placed[:n, 3] + radius + 0.1e-3) ** 2):
            placed[n] = *centre, radius
            n += 1
        if n == len(diameters):
            return placed
    return None


def draw_ovary(rng: np.random.Generator, label: int) -> Ovary:
    """An ovary from the priors of its class, redrawn until the rule gives ``label``."""
    while True:
        # A polycystic ovary qualifies by both criteria, by follicles or by volume alone: overlap is real.
        many, large = [(True, True), (True, False), (False, True)][rng.choice(3, p=[0.7, 0.2, 0.1])]
        many, large = many and bool(label), large and bool(label)
        volume = round(rng.lognormal(*(np.log(11.5), 0.25) if large else (np.log(6.1), 0.30)), 3)
        count = rng.integers(20, 41) if many else np.clip(rng.poisson(8), 2, 17)
        diameters = rng.gamma(*(9, 0.45) if many else (6, 0.85), count)
        diameters = np.sort(np.clip(diameters, 2, 9))[::-1] * 1e-3  # the largest are placed first
        ratio = np.array([rng.uniform(1.3, 1.8), 1.0, 0.8])
        semi_axes = ratio * np.cbrt(6 * volume / np.pi / ratio.prod()) * 1e-2 / 2  # V = pi/6 L W H
        follicles = place(rng, diameters, semi_axes, rim=many)
        if follicles is None:
            continue
        shapes = rng.uniform([0, 0.65, *[0] * 6], [np.pi, 1, 0.09, 0.07, 0.03, *[2 * np.pi] * 3], (count, 8))
        offset, tilt = semi_axes[2] * rng.uniform(-0.35, 0.35), rng.uniform(-0.6, 0.6)
        centre = rng.uniform([-5e-3, 20e-3], [5e-3, 30e-3])
        outline = rng.uniform(0, [0.06] * 4 + [2 * np.pi] * 4)
        ovary = Ovary(volume, semi_axes, follicles, shapes, offset, centre, tilt, outline)
        if ovary.label == label:
            return ovary


def fluid(u: np.ndarray, v: np.ndarray, ovary: Ovary, thickness: float) -> tuple[np.ndarray, np.ndarray]:
    """Share of fluid in the slice, float32, and number of the follicle, uint8, at ``u``, ``v`` on the axes.

    The slice has a ``thickness`` (SD, metres), so a follicle that it grazes is grey: partial volume.
    """
    share, owner = np.zeros(u.shape, np.float32), np.zeros(u.shape, np.uint8)
    rows = np.hstack([ovary.follicles, ovary.shapes]).astype(np.float32)
    for number, (x, y, z, radius, turn, flat, *waves) in enumerate(rows, start=1):
        across = z - ovary.offset
        near = np.flatnonzero((np.abs(u - x) < 1.5 * radius) & (np.abs(v - y) < 1.5 * radius))
        if abs(across) > radius + 3 * thickness or not len(near):
            continue
        du, dv = u.flat[near] - x, v.flat[near] - y
        p = (du * np.cos(turn) + dv * np.sin(turn)) * np.sqrt(flat)
        q = (dv * np.cos(turn) - du * np.sin(turn)) / np.sqrt(flat)
        distance = np.hypot(p, q) / wavy(np.arctan2(q, p), np.array(waves))
        chord = np.sqrt(np.maximum(radius**2 - distance**2, 0))  # half of it
        # The logistic curve with 1.7 stays within .01 of the normal distribution function.
        front, back = (chord - across) / thickness, (-chord - across) / thickness
        inside = bmode.step(1.7 * front) - bmode.step(1.7 * back)
        more = (inside > share.flat[near]) & (distance < radius)
        share.flat[near[more]] = inside[more]
        owner.flat[near[more & (inside > 0.5)]] = number
    return share, owner


def tissue(ovary: Ovary, grid: bmode.Grid, rng: np.random.Generator) -> np.ndarray:
    """Echo power in decibels of all but follicles, float32 (rows, lines).

    One law for both classes: mean stromal echo does not differ (a study of 67 women). Depths are drawn from
    the ovary's centre rather than its edge, or the layers would tell its size.
    """
    uniform, (x, z), field = rng.uniform, grid.positions, bmode.smooth_field
    u, v = ovary.along_axes(x, z)
    a, b, _ = ovary.semi_axes * np.sqrt(1 - (ovary.offset / ovary.semi_axes[2]) ** 2)
    below = z - np.float32(ovary.centre[1])
    coarse, fine = field(rng, grid, 5e-3, 7e-3), field(rng, grid, 1.2e-3, 2e-3)
    beyond = uniform(-2, 9) * bmode.step(below / 4e-3)  # brighter tissue behind the ovary
    power = beyond + uniform(1.5, 3.5) * coarse + uniform(0, 2.5) * fine
    for _ in range(rng.integers(1, 6)):  # bands along the probe: bladder and vaginal wall, fascia, bowel
        level = uniform(-20e-3, 18e-3) + 2.5e-3 * field(rng, grid, 60e-3, 18e-3) - 8 * x**2
        power += uniform(-11, 8) * np.exp(-(((below - level) / uniform(0.4e-3, 2e-3)) ** 2))
    for _ in range(rng.integers(0, 4)):  # vessels and pockets of fluid outside the ovary
        turn, lean, length, height = uniform([0, -1, 3e-3, 0.8e-3], [2 * np.pi, 1, 12e-3, 4e-3])
        p, q = u - a * uniform(1.1, 1.8) * np.cos(turn), v - b * uniform(1.2, 2.2) * np.sin(turn)
        rim = np.hypot((p + lean * q) / length, (q - lean * p) / height) + 0.12 * coarse
        power += uniform(-16, -4) * bmode.step((1 - rim) * 8)
    rho = np.hypot(u / a, v / b) / wavy(np.arctan2(v / b, u / a), ovary.outline)
    stroma = rng.normal(-4, 3) + uniform(1, 3) * coarse + uniform(0, 2.5) * fine + uniform(0.5, 1) * beyond
    power += bmode.step((1 - rho) * uniform(10, 30)) * (stroma - power)
    power += uniform(0, 5) * np.exp(-(((rho - 1.05) / 0.07) ** 2))  # capsule
    for _ in range(rng.integers(0, 3)):  # darker patches of stroma, which are no follicles
        p = (u - uniform(-8e-3, 8e-3)) / uniform(2e-3, 6e-3)
        q = (v - uniform(-5e-3, 5e-3)) / uniform(1.5e-3, 4e-3)
        power += uniform(-6, -1) * np.exp(-(p**2) - q**2)
    near = uniform(-16e-3, -6e-3) + 1.5e-3 * field(rng, grid, 60e-3, 20e-3) - below
    power -= uniform(0, 12) * bmode.step(near / uniform(1e-3, 4e-3))  # dark near field
    power += uniform(0.5, 4) * field(rng, grid, 12e-3, 12e-3)  # uneven contact and gain
    return power.astype(np.float32)


def with_follicles(power: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Echo amplitude (rows, lines) of tissue with a ``share`` of nearly echo-free fluid in brighter walls."""
    wall = np.clip(cv2.GaussianBlur(share, (0, 0), 2.5) - share, 0, 0.5)
    power = 10 ** ((power + rng.uniform(0, 8) * wall) / 10)
    clutter = 10 ** (rng.uniform(-30, -11) / 10)  # of the tissue around, so that no follicle drowns by chance
    return np.sqrt(power * (1 - (1 - clutter) * share))


def simulate(seed: int, label: int, speckle: int | None = None) -> Phantom:
    """One phantom of the label, 0 normal or 1 polycystic; equal arguments, equal bytes; other ``speckle``, a twin.

    Truth: FNPO and FNPS (follicles in the ovary, and visible in the frame), volume in mL, f0 in MHz."""
    # A stream for each part: a change to one leaves what the others draw as it was.
    for_ovary, for_scanner, for_tissue, for_speckle = np.random.default_rng(seed).spawn(4)
    for_speckle = for_speckle if speckle is None else np.random.default_rng([seed, speckle])
    ovary = draw_ovary(for_ovary, label)
    beam, screen = bmode.Beam.draw(for_scanner), bmode.Screen.draw(for_scanner)
    window = bmode.Window.draw(for_scanner, *ovary.centre)
    grid = bmode.Grid.covering(window, beam, top=ovary.centre[1] - ovary.semi_axes[0])
    power = tissue(ovary, grid.halved, for_tissue)
    power = cv2.resize(power, grid.shape[::-1], interpolation=cv2.INTER_LINEAR)
    share, _ = fluid(*ovary.along_axes(*grid.positions), ovary, beam.thickness)
    echo, attenuation = with_follicles(power, share, for_tissue), bmode.absorption(share, grid, for_tissue)
    amplitude = bmode.envelope(echo, attenuation, grid, beam, for_speckle)
    image = bmode.display(bmode.scan_convert(amplitude, grid, window), screen, for_speckle)
    _, owner = fluid(*ovary.along_axes(*window.positions), ovary, beam.thickness)
    seen = (np.bincount(owner.ravel(), minlength=256) >= VISIBLE_PIXELS) & (np.arange(256) > 0)
    follicles = (np.cumsum(seen) * seen).astype(np.uint8)[owner]  # numbered without gaps
    truth = {"source": f"phantom_{seed:05d}", "label": label, "FNPO": len(ovary.follicles)}
    truth |= {"FNPS": int(seen.sum()), "volume": ovary.volume, "f0": round(beam.frequency, 3), "seed": seed}
    return Phantom(image, follicles, truth)


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
