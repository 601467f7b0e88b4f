"""Draw what a section shows besides follicles: tissue, and distractors that look like follicles or hide them.

Both classes share one distribution, because their mean stromal echo does not differ (a study of 67 women). Depths
are drawn from the ovary's centre and lengths follow the window's ``scale``, so that neither reveals its size.
"""

import cv2
import numpy as np

from pcos_utils.phantom import ultrasound
from pcos_utils.phantom.anatomy import Ovary, Section
from pcos_utils.phantom.ultrasound import even, length


def _field(rng: np.random.Generator, grid: ultrasound.Grid, scale: float, along: float, across: float) -> np.ndarray:
    """Draw a smooth random map, with its grain in millimetres of a window of scale 1."""
    return ultrasound.smooth_field(rng, grid, along * 1e-3 * scale, across * 1e-3 * scale)


def tissue(ovary: Ovary, grid: ultrasound.Grid, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the echo power in decibels of the ovary and its surroundings, float32 (rows, lines)."""
    uniform, (x, z) = rng.uniform, grid.positions
    reach = ovary.reach(*ovary.along_axes(x, z))
    below = (z - np.float32(ovary.centre[1])) / np.float32(scale)
    coarse, fine, uneven = (_field(rng, grid, scale, *size) for size in ((5, 7), (1.2, 2), (12, 12)))
    beyond = uniform(-2, 9) * ultrasound.step(below / 4e-3)  # brighter tissue behind the ovary
    power = beyond + uniform(1, 3.2) * coarse + uniform(0, 2.5) * fine
    stroma = rng.normal(-3, 2.5) + uniform(0.7, 2.7) * coarse + uniform(0, 2.5) * fine + uniform(0.5, 1) * beyond
    power += ultrasound.step((1 - reach) * uniform(8, 30)) * (stroma - power)
    power += uniform(0, 5) * even(np.exp, -(((reach - 1.05) / 0.07) ** 2))  # capsule
    power += uniform(0.5, 4) * uneven  # contact and gain
    return power.astype(np.float32)


def distractors(ovary: Ovary, grid: ultrasound.Grid, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the echo power in decibels that bands, vessels, fluid and dark patches add, float32 (rows, lines)."""
    uniform, (x, z), scale = rng.uniform, grid.positions, np.float32(scale)
    u, v = ovary.along_axes(x, z)
    reach, (a, b) = ovary.reach(u, v), ovary.section_axes / scale
    x, u, v, below = x / scale, u / scale, v / scale, (z - np.float32(ovary.centre[1])) / scale
    ragged, power = 0.12 * _field(rng, grid, scale, 5, 7), np.zeros(grid.shape, np.float32)
    for _ in range(rng.integers(1, 6)):  # bands along the probe: bladder and vaginal wall, fascia, bowel
        level = uniform(-20e-3, 18e-3) + 2.5e-3 * _field(rng, grid, scale, 60, 18) - uniform(2, 14) * x**2
        power += uniform(-11, 8) * even(np.exp, -(((below - level) / uniform(0.4e-3, 2e-3)) ** 2))
    for _ in range(rng.integers(0, 4)):  # vessels and pockets of fluid outside the ovary
        sizes = ([3e-3, 0.8e-3], [12e-3, 3e-3]) if rng.random() < 0.7 else ([5e-3, 3e-3], [12e-3, 7e-3])
        (turn, lean), (long, high) = uniform([0, -1], [2 * np.pi, 1]), uniform(*sizes)
        p, q = u - a * uniform(1.1, 1.8) * np.cos(turn), v - b * uniform(1.2, 2.2) * np.sin(turn)
        rim = length((p + lean * q) / long, (q - lean * p) / high) + ragged
        power += uniform(-16, -4) * ultrasound.step((1 - rim) * 8)
    power *= ultrasound.step((reach - 1) * 15)  # the ovary covers all of these
    for _ in range(rng.integers(0, 3)):  # darker patches of stroma that are not follicles
        p = (u - uniform(-8e-3, 8e-3)) / uniform(2e-3, 6e-3)
        q = (v - uniform(-5e-3, 5e-3)) / uniform(1.5e-3, 4e-3)
        power += uniform(-6, -1) * even(np.exp, -(p**2) - q**2)
    near = uniform(-16e-3, -6e-3) + 1.5e-3 * _field(rng, grid, scale, 60, 20) - uniform(0, 10) * x**2 - below
    power -= uniform(0, 10) * ultrasound.step(near / uniform(1e-3, 4e-3))  # dark near field
    return power.astype(np.float32)


def shadows(grid: ultrasound.Grid, rng: np.random.Generator) -> np.ndarray:
    """Draw the attenuation, dB/cm/MHz (rows, lines), of up to two shadows and of poor contact at one probe edge."""
    attenuation = np.zeros(grid.shape)
    for _ in range(rng.choice([0, 0, 1, 2])):
        angle, width, start, strength = rng.uniform([-0.8, 0.03, 5e-3, 0.1], [0.8, 0.15, 30e-3, 0.9])
        shade = even(np.exp, -(((grid.angle - angle) / width) ** 2))
        attenuation += strength * shade * (grid.depth > start)[:, None]
    lifted, side = rng.random(2) < [0.25, 0.5]
    edge, width, strength = rng.uniform([0.35, 0.05, 0.1], [0.7, 0.2, 0.8])
    if lifted:
        attenuation += strength * ultrasound.step((grid.angle * (1 if side else -1) - edge) / width)
    return attenuation


def with_follicles(power: np.ndarray, section: Section, rng: np.random.Generator) -> np.ndarray:
    """Return the echo amplitude (rows, lines) of tissue with follicles that are nearly echo-free in brighter walls."""
    wall = np.clip(cv2.GaussianBlur(section.share, (0, 0), 2.5) - section.share, 0, 0.5)
    power = even(np.power, 10, (power + rng.uniform(0, 8) * wall) / 10)
    return np.sqrt(power * (1 - section.void))
