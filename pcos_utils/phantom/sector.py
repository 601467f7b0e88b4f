"""Simulate whole frames of a pelvic scan, through the abdomen or from inside, whose truth is known.

The physics is that of ``ultrasound``: every scan is shrunk to COMMON_DEPTH and its frequency raised as much, which
changes neither echoes nor attenuation. Anatomy: ``pelvis``; ovaries: ``anatomy``. Phantoms serve to teach and to check
methods, never for clinical numbers.
"""

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from pcos_utils.phantom import scene, ultrasound
from pcos_utils.phantom.anatomy import Ovary, Section, draw_ovary, section
from pcos_utils.phantom.display import SIDE, Screen, display, on_screen, photograph
from pcos_utils.phantom.pelvis import STRUCTURES, Pelvis
from pcos_utils.phantom.ultrasound import PROBE_RADIUS, even, length

VERSION = "1"  # raise it whenever a seed gives other bytes
SAMPLES, LINES = 320, 224  # of the polar grid
COMMON_DEPTH = 60e-3  # m
LEAST = 20  # px of a follicle that counts


class Sector(NamedTuple):
    """One frame and its masks, all uint8 (SIDE, SIDE), and the truth about it."""

    image: np.ndarray
    ovary: np.ndarray  # numbered, 0 is none
    follicles: np.ndarray  # numbered over all ovaries, 0 is none
    other: np.ndarray  # number in STRUCTURES, from 1; 0 is none
    truth: dict


class View(NamedTuple):
    """A probe and the rectangle of its scan that a frame shows, in metres of the common scan."""

    inside: bool  # endocavity probe instead of a convex one on the abdomen
    depth: float  # mm of the body
    radius: float  # of the probe
    half: float  # radians, half the sector's angle
    left: float
    top: float  # below the probe's face
    width: float
    height: float

    @property
    def unit(self) -> float:
        """Return metres of the common scan for one millimetre of the body."""
        return COMMON_DEPTH / self.depth

    @property
    def face(self) -> float:
        """Return the depth of the probe's face in the grid, which begins at PROBE_RADIUS from the sector's apex."""
        return self.radius - PROBE_RADIUS

    def grid(self) -> ultrasound.Grid:
        """Return the polar grid that covers the sector."""
        depth = np.linspace(max(self.face, 0.2e-3), self.face + COMMON_DEPTH, SAMPLES)
        return ultrasound.Grid(depth, np.linspace(-self.half, self.half, LINES))

    def samples(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the line and the row of the grid at each pixel, float32, and which pixels are in the sector."""
        grid, pixels = self.grid(), np.arange(SIDE, dtype=np.float32) + 0.5
        x = (self.left + pixels * self.width / SIDE)[None]
        z = (self.top + self.radius + pixels * self.height / SIDE)[:, None]
        reach, angle = length(x, z), even(np.arctan2, x, z)
        row = (reach - PROBE_RADIUS - grid.depth[0]) / (grid.depth[1] - grid.depth[0])
        line = (angle - grid.angle[0]) / (grid.angle[1] - grid.angle[0])
        seen = (row >= 0) & (row <= SAMPLES - 1) & (line >= 0) & (line <= LINES - 1)
        return line.astype(np.float32), row.astype(np.float32), seen


def draw_view(rng: np.random.Generator) -> View:
    """Draw a probe, a depth of 4 to 16 cm, and what of its sector the frame shows: all, most, or a part of it."""
    uniform, inside = rng.uniform, bool(rng.random() < 0.4)
    depth = uniform(40, 80) if inside else uniform(70, 160)
    radius, half = (uniform(10e-3, 14e-3), uniform(0.9, 1.3)) if inside else (uniform(14e-3, 26e-3), uniform(0.4, 0.65))
    aspect = np.exp(uniform(-0.3, 0.35))  # of a pixel: most frames were stretched somewhere on their way
    if rng.random() < 0.15:  # zoomed
        height = uniform(25e-3, 50e-3)
        left, top = uniform(-20e-3, 20e-3) - height / 2, uniform(0, COMMON_DEPTH - height)
        return View(inside, depth, radius, half, left, top, height * aspect, height)
    top = radius * (np.cos(half) - 1) * uniform(0, 1) - uniform(0, 6e-3) * (rng.random() < 0.4)
    height = COMMON_DEPTH * uniform(0.75 if inside else 0.85, 1.08) - top
    width = height * aspect * uniform(1, 1.35)
    return View(inside, depth, radius, half, -width / 2 + uniform(-0.06, 0.06) * width, top, width, height)


def simulate(seed: int) -> Sector:
    """Simulate one frame with none, one or two ovaries anywhere. Equal seeds give equal bytes.

    Truth: view (abdominal or endocavity), depth in mm, ovaries (seen in the frame), follicles (visible ones of each
    ovary), structures (names of what else is seen), seed.
    """
    for_view, for_scene, for_ovaries, for_look, for_speckle, for_grain, for_marks = np.random.default_rng(seed).spawn(7)
    view = draw_view(for_view)
    pelvis = Pelvis(view.grid(), view.face, view.unit, for_scene)
    ovaries = _compose(pelvis, view, for_ovaries)
    grid, beam = pelvis.grid, _beam(view, for_look)
    numbers, follicles = np.zeros((2, *grid.shape), np.uint8)
    share, void = np.zeros((2, *grid.shape), np.float32)
    for number, ovary in enumerate(ovaries, start=1):
        reach = pelvis.ovary(ovary)
        cut = section(*ovary.along_axes(*grid.positions), ovary, beam.thickness)
        numbers[reach < 1] = number
        follicles = np.where(cut.owner > 0, cut.owner + follicles.max(), np.where(reach < 1, 0, follicles))
        share, void = np.maximum(share, cut.share), np.maximum(void, cut.void)
    attenuation = pelvis.attenuation + share * (ultrasound.FLUID_ATTENUATION - pelvis.attenuation)
    attenuation += scene.shadows(pelvis.below, for_scene)
    echo = scene.with_follicles(pelvis.power, Section(share, void, numbers, numbers > 0), for_scene)
    amplitude = ultrasound.envelope(echo, attenuation, grid, beam, for_speckle)
    line, row, seen = view.samples()
    scan = cv2.remap(amplitude, line, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    maps = (each.astype(np.uint8) for each in (numbers, follicles, pelvis.code))
    masks = [cv2.remap(each, line, row, cv2.INTER_NEAREST) for each in maps]
    pixels = SIDE / view.height  # in a metre of the common scan
    shown = display(scan, _settings(for_look), for_grain)
    image = on_screen(shown, seen, view.unit * pixels, -view.top * pixels, for_marks)
    image, covered = photograph(image, for_marks)
    numbers, follicles, other = (np.where(seen & ~covered, mask, 0).astype(np.uint8) for mask in masks)
    sizes = [np.bincount(follicles[numbers == number])[1:] for number in np.unique(numbers[numbers > 0])]
    counts = [int((each >= LEAST).sum()) for each in sizes]
    names = [STRUCTURES[code - 1] for code in np.unique(other[other > 0])]
    truth = {"view": "endocavity" if view.inside else "abdominal", "depth": round(view.depth, 1),
             "ovaries": len(counts), "follicles": counts, "structures": names, "seed": seed}  # fmt: skip
    return Sector(image, numbers, follicles, other, truth)


def _settings(rng: np.random.Generator) -> Screen:
    """Draw a display whose blacks are those of fluid, of which a whole sector holds more than a crop."""
    screen, (span, black) = Screen.draw(rng), rng.uniform([40, 0.005], [62, 0.08])
    mean, floor = rng.uniform(0.14, 0.36), screen.floor * (rng.random() < 0.4)
    return screen._replace(dynamic_range=span, black_share=black, mean=mean, floor=floor)


def _beam(view: View, rng: np.random.Generator) -> ultrasound.Beam:
    """Draw a beam whose speckle has a size of one to five pixels."""
    pixel = max(view.width, view.height) / SIDE
    frequency = (rng.uniform(5, 8) if view.inside else rng.uniform(2.5, 5)) * view.depth * 1e-3 / COMMON_DEPTH
    wave = ultrasound.SPEED_OF_SOUND / (frequency * 1e6)
    axial, lateral = max(rng.uniform(0.5, 1.1) * pixel, 0.19e-3) / wave, rng.uniform(1.5, 4) * pixel / wave
    focus, slope, noise = rng.uniform([20e-3, 0.42, -3.2], [45e-3, 0.55, -1.9])
    thickness = rng.uniform(0.2, 0.9) * view.unit
    looks = int(rng.integers(1, 5))
    return ultrasound.Beam(frequency, axial, lateral, view.face + focus, slope, 10**noise, looks, thickness)


def _compose(pelvis: Pelvis, view: View, rng: np.random.Generator) -> list[Ovary]:
    """Add the structures of a scan in the order in which they cover one another, and return its ovaries."""
    uniform, chance, depth = rng.uniform, rng.random(10), view.depth
    count = int(rng.choice(3, p=[0.3, 0.7, 0] if view.inside else [0.4, 0.25, 0.35]))
    wall = uniform(2, 8) if view.inside else uniform(0.06, 0.25) * depth
    pelvis.wall(wall, uniform(3, 9))
    middle, bottom = uniform(0.25, 0.5) * depth, 0.0
    if chance[0] < 0.1:  # free fluid behind and around the organs
        pelvis.fluid("ascites", pelvis.ellipse(uniform(-20, 20), middle, uniform(25, 70), uniform(12, 35), 0, 0.25))
    for _ in range(rng.integers(0, 4)):
        pelvis.bowel(uniform(-0.5, 0.5) * depth, uniform(0.3, 0.9) * depth)
    if chance[1] < (0.15 if view.inside else 0.65):
        high = uniform(0.06, 0.2) * depth
        bottom = wall + 2 * high + uniform(-3, 5)
        pelvis.bladder(uniform(-0.2, 0.2) * depth, bottom - high, uniform(0.2, 0.5) * depth, high)
        middle = bottom + uniform(2, 14)
    side = 1 if chance[2] < 0.5 else -1
    mass = chance[3] < (0.5 if count == 0 else 0.1)
    sac = not mass and chance[4] < (0.5 if count == 0 else 0.06)
    if sac or chance[5] < (0.35 if view.inside else 0.7):
        away = uniform(0, 18) if sac or not view.inside else uniform(10, 40)
        pelvis.uterus(-side * away, middle + uniform(0, 15), sac)
    for _ in range(rng.integers(0, 4) if view.inside else rng.integers(0, 2)):
        pelvis.vessel(uniform(-0.6, 0.6) * depth, uniform(0.15, 0.9) * depth)
    if mass:
        size = uniform(0.12, 0.42) * depth
        place = uniform(-0.2, 0.2) * depth, uniform(0.35, 0.6) * depth
        pelvis.cyst(*place, size, size * uniform(0.6, 1), chance[6] < 0.7)
    if mass and chance[7] < 0.2:
        size = uniform(6, 15)
        pelvis.cyst(uniform(-0.3, 0.3) * depth, uniform(0.3, 0.7) * depth, size, size, False)
    ovaries = []
    for number in range(count):
        ovary = draw_ovary(rng, int(rng.random() < 0.75))
        if view.inside:
            place = uniform(-12, 12), wall + uniform(8, 30)
        elif chance[8] < 0.75:  # beside the uterus, at the bladder's lower wall
            place = side * (1 - 2 * number) * uniform(18, 50) * depth / 120, middle + uniform(-12, 14)
        else:
            turn, along = side * (1 - 2 * number) * uniform(0.1, 0.9) * view.half, uniform(0.25, 0.8) * depth
            place = along * np.sin(turn) * 1.4, along
        ovaries.append(_placed(ovary, view, *place, uniform(-1.6, 1.6)))
    return ovaries


def _placed(ovary: Ovary, view: View, x: float, z: float, tilt: float) -> Ovary:
    """Return the ovary at a place (mm of the body) in the common scan."""
    scale = 1e3 * view.unit  # of lengths
    shapes = ovary.shapes * np.where(np.arange(9) == 2, 1 / scale, 1)
    centre = np.array([x * view.unit, z * view.unit + view.face])
    return replace(ovary, semi_axes=ovary.semi_axes * scale, follicles=ovary.follicles * scale, shapes=shapes,
                   offset=ovary.offset * scale, centre=centre, tilt=tilt)  # fmt: skip
