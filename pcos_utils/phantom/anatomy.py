"""Draw an ovary, place its follicles in three dimensions, and cut one section through it.

The priors come from PMC9938076 (meta-analysis) for normal ovaries, and from Balen 2003 and Pache for polycystic ones.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from pcos_utils.phantom import ultrasound
from pcos_utils.phantom.ultrasound import even, length

MANY_FOLLICLES = 20  # of 2 to 9 mm in the ovary (2023 international guideline)
LARGEST_COUNTED = 9e-3  # m (the same guideline)
LARGE_OVARY = 10.0  # mL (the same guideline)
SPHERE = (0, 1, 0, *[0] * 6)  # a row of ``Ovary.shapes`` that deforms nothing
CORE = 0.45  # share of the squared radius of a section; small enough that touching follicles have separate cores


class Effects(NamedTuple):
    """What makes follicles differ, each with a switch for ablations that changes no other draw.

    There is one exception: an ovary whose follicles do not fit is drawn again, and ``shapes`` may decide that.
    """

    shapes: bool = True  # uneven, flat, crescent and merging follicles instead of separate spheres
    faint: bool = True  # echoes inside some follicles

    @property
    def name(self) -> str:
        """Return ``all``, or what is off, such as ``no-faint-shapes``."""
        off = sorted(name for name, on in self._asdict().items() if not on)
        return "-".join(["no", *off]) if off else "all"


EVERY = Effects()


@dataclass(frozen=True)
class Ovary:
    """An ellipsoid that holds follicles and is cut by a plane. Lengths are in metres, angles in radians."""

    volume: float  # mL
    semi_axes: np.ndarray  # (3,), the third perpendicular to the section
    follicles: np.ndarray  # (n, 4), three coordinates along the semi-axes and the radius
    shapes: np.ndarray  # (n, 9), turn, flattening, bend (1/m), amplitudes and phases of waves 2 to 4 of the outline
    clutter: np.ndarray  # (n,), echo power inside, relative to the tissue around
    septa: float  # amount of tissue between follicles that merge, 0 to 1
    offset: float  # distance of the section from the centre
    centre: np.ndarray  # (2,), x and z in the scan
    tilt: float
    outline: np.ndarray  # (8,), amplitudes and phases of waves 2 to 5

    @property
    def count(self) -> int:
        """Return the number of follicles of 2 to 9 mm, which leaves out a dominant one."""
        return int(np.sum(2 * self.follicles[:, 3] <= LARGEST_COUNTED))

    @property
    def dominant(self) -> float:
        """Return the diameter in millimetres of the follicle above 9 mm, or 0 if there is none."""
        largest = 2 * self.follicles[:, 3].max()
        return round(float(largest) * 1e3, 2) if largest > LARGEST_COUNTED else 0.0

    @property
    def label(self) -> int:
        """Return 1 if the whole ovary is polycystic by the 2023 rule, else 0."""
        return int(self.count >= MANY_FOLLICLES or self.volume >= LARGE_OVARY)

    def along_axes(self, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scan positions as coordinates on the first two semi-axes."""
        cos, sin = np.float32(np.cos(self.tilt)), np.float32(np.sin(self.tilt))
        x, z = x - np.float32(self.centre[0]), z - np.float32(self.centre[1])
        return x * cos + z * sin, z * cos - x * sin

    @property
    def section_axes(self) -> np.ndarray:
        """Return the two semi-axes of the section in metres."""
        return self.semi_axes[:2] * np.sqrt(1 - (self.offset / self.semi_axes[2]) ** 2)

    def reach(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return the distance of (``u``, ``v``) from the centre of the section, scaled to 1 on the ovary's outline."""
        p, q = u / np.float32(self.section_axes[0]), v / np.float32(self.section_axes[1])
        return length(p, q) / wavy(even(np.arctan2, q, p), self.outline)


def wavy(angle: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """Return the radius, about 1, of an outline with ``waves``: their amplitudes from order 2 up, then their phases."""
    pairs = zip(*np.split(waves.astype(np.float32), 2), strict=True)
    return 1 + sum(a * even(np.cos, order * angle + phase) for order, (a, phase) in enumerate(pairs, start=2))


def draw_ovary(rng: np.random.Generator, label: int, effects: Effects = EVERY) -> Ovary:
    """Draw an ovary from the priors of its class until its follicles fit and the 2023 rule gives ``label``."""
    while True:
        ovary = _draw(*rng.spawn(4), label, effects)
        if ovary and ovary.label == label:
            return ovary


def _draw(rng, for_shapes, for_faint, for_dominant, label: int, effects: Effects) -> Ovary | None:
    """Draw one ovary, or return None if its follicles do not fit."""
    volume, diameters, many = _sizes(rng, label)
    ratio = np.array([rng.uniform(1.3, 1.8), 1.0, 0.8])
    semi_axes = ratio * float(even(np.cbrt, 6 * volume / np.pi / ratio.prod())) * 1e-2 / 2  # V = pi/6 L W H
    offset, tilt = semi_axes[2] * rng.uniform(-0.35, 0.35), rng.uniform(-0.6, 0.6)
    centre = rng.uniform([-5e-3, 20e-3], [5e-3, 30e-3])
    outline = rng.uniform(0, [0.06] * 4 + [2 * np.pi] * 4)
    chance, largest = for_dominant.random(), for_dominant.uniform(9.1e-3, [13e-3, 16e-3])[1 - label]
    if chance < (0.05 if label else 0.15):
        diameters = np.append(diameters, min(largest, 1.7 * semi_axes[2]))
    touch, septa = for_shapes.uniform(0.84, 1.04), for_shapes.uniform(0.3, 1)
    diameters = np.sort(diameters)[::-1]  # large follicles find no room later
    follicles = place(rng, diameters, semi_axes, rim=many, touch=touch if effects.shapes else 1.05)
    if follicles is None:
        return None
    shapes, crescent = draw_shapes(for_shapes, follicles, semi_axes, tilt)
    if not effects.shapes:
        shapes, crescent = np.tile(SPHERE, (len(follicles), 1)), np.zeros(len(follicles), bool)
    clear, dim = for_faint.uniform(-30, -13), for_faint.uniform(-12, -6, len(crescent))  # dB
    # Crescents at the far wall are faint most often, because the beam is wide there and the wall is close.
    faint = for_faint.random(len(crescent)) < np.where(crescent, 0.4, 0.12)
    clutter = even(np.power, 10, np.where(faint & effects.faint, dim, clear) / 10)
    return Ovary(volume, semi_axes, follicles, shapes, clutter, septa, offset, centre, tilt, outline)


def _sizes(rng: np.random.Generator, label: int) -> tuple[float, np.ndarray, bool]:
    """Draw the volume in mL, the diameters in metres, and whether there are many follicles."""
    # A polycystic ovary may meet both criteria or only one, so the classes overlap in each, as in reality.
    many, large = [(True, True), (True, False), (False, True)][rng.choice(3, p=[0.7, 0.23, 0.07])]
    many, large = many and bool(label), large and bool(label)
    volume = round(rng.lognormal(*(np.log(11.5), 0.25) if large else (np.log(6.1), 0.30)), 3)
    count = rng.integers(20, 41) if many else np.clip(rng.poisson(8), 2, 17)
    diameters = rng.gamma(*(9, 0.45) if many else (6, 0.85), count) * 1e-3
    return volume, np.clip(diameters, 2e-3, LARGEST_COUNTED), many


def place(rng, diameters: np.ndarray, axes: np.ndarray, rim: bool, touch: float) -> np.ndarray | None:
    """Place spheres near the rim or all over, and return centres and radii (n, 4), or None if they do not fit.

    No two centres are nearer than ``touch`` times the sum of their radii.
    """
    side, one_sided = rng.normal(size=3), rng.random() < 0.5  # half of all ovaries have most follicles on one side
    tries = rng.normal(size=(200 * len(diameters), 3))
    tries /= np.linalg.norm(tries, axis=1, keepdims=True)
    tries[one_sided & ((tries * side).sum(axis=1) < 0) & (rng.random(len(tries)) < 0.6)] *= -1
    reach = rng.random(len(tries))
    tries *= (0.6 + 0.33 * reach if rim else 0.93 * even(np.cbrt, 0.05 + 0.95 * reach))[:, None]
    placed, n = np.empty((len(diameters), 4)), 0
    for direction in tries:
        radius = diameters[n] / 2
        centre = direction * np.maximum(axes - radius, 0.2e-3)
        apart = placed[:n, :3] - centre
        if np.all((apart * apart).sum(axis=1) > (touch * (placed[:n, 3] + radius)) ** 2):
            placed[n] = *centre, radius
            n += 1
        if n == len(diameters):
            return placed
    return None


def draw_shapes(rng, follicles: np.ndarray, axes: np.ndarray, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw shapes (n, 9) as in ``Ovary``, and mark which follicles are crescents that lie flat along the wall."""
    n = len(follicles)
    shapes = rng.uniform([0, 0.6, 0, *[0] * 6], [np.pi, 1, 0, 0.09, 0.07, 0.03, *[2 * np.pi] * 3], (n, 9))
    place_on_axes = follicles[:, :2] / axes[:2]
    outwards = follicles[:, :2] / axes[:2] ** 2
    far = (place_on_axes * even(np.array, [np.sin(tilt), np.cos(tilt)])).sum(axis=1) > 0.35
    at_wall = length(*place_on_axes.T) > 0.35
    small = follicles[:, 3] < 4.5e-3  # a dominant follicle is tense and round
    crescent = at_wall & small & (rng.random(n) < np.where(far, 0.45, 0.08))
    flat, curvature = rng.uniform(0.38, 0.62, n), rng.uniform(0.05, 0.3, n)
    shapes[crescent, 0] = (even(np.arctan2, outwards[:, 1], outwards[:, 0]) - np.pi / 2)[crescent]
    shapes[crescent, 1] = flat[crescent]
    shapes[crescent, 2] = (curvature / follicles[:, 3])[crescent]
    return shapes, crescent


class Section(NamedTuple):
    """The content of a slice of an ovary at each position, as four maps of one shape."""

    share: np.ndarray  # share of fluid in the slice, float32, 0 to 1
    void: np.ndarray  # share of the tissue's echo power that is missing, float32, 0 to 1
    owner: np.ndarray  # number of the follicle that holds most of the slice, 0 for none, uint8
    core: np.ndarray  # whether the position is in the core of that follicle, bool


def section(u: np.ndarray, v: np.ndarray, ovary: Ovary, thickness: float) -> Section:
    """Return the section at (``u``, ``v``) on the ovary's axes; what the slice (SD ``thickness``, m) grazes is grey."""
    share, void, septum, depth = (np.zeros(u.shape, np.float32) for _ in range(4))
    owner, core = np.zeros(u.shape, np.uint8), np.zeros(u.shape, bool)
    rows = np.hstack([ovary.follicles, ovary.clutter[:, None], ovary.shapes]).astype(np.float32)
    for number, (x, y, z, radius, clutter, turn, flat, bend, *waves) in enumerate(rows, start=1):
        across, extent = z - ovary.offset, 1.3 * radius / np.sqrt(flat)
        near = np.flatnonzero((np.abs(u - x) < extent) & (np.abs(v - y) < extent))
        if abs(across) > radius + 3 * thickness or not len(near):
            continue
        du, dv = u.flat[near] - x, v.flat[near] - y
        cos, sin = even(np.cos, turn), even(np.sin, turn)
        p, q = du * cos + dv * sin, dv * cos - du * sin
        p, q = p * np.sqrt(flat), (q + bend * p**2) / np.sqrt(flat)
        distance = length(p, q) / wavy(even(np.arctan2, q, p), np.array(waves))
        chord = np.sqrt(np.maximum(radius**2 - distance**2, 0))  # half the chord
        # The logistic function of 1.7 x is within .01 of the normal distribution function.
        front, back = (chord - across) / thickness, (-chord - across) / thickness
        inside = ultrasound.step(1.7 * front) - ultrasound.step(1.7 * back)
        share.flat[near] = np.maximum(share.flat[near], inside)
        void.flat[near] = np.maximum(void.flat[near], inside * (1 - clutter))
        half_axis = np.sqrt(max(radius**2 - across**2, 1e-12))
        below, rival = np.where(inside > 0.5, half_axis - distance, 0), depth.flat[near]
        # Follicles that merge keep a thin wall where their surfaces are equally far.
        wall = even(np.exp, -(((below - rival) / 0.4e-3) ** 2)) * ((below > 0) & (rival > 0))
        septum.flat[near] = np.maximum(septum.flat[near], wall)
        won = below > rival
        depth.flat[near[won]], owner.flat[near[won]] = below[won], number
        core.flat[near[won]] = (distance**2 < CORE * half_axis**2)[won]
    open_ = 1 - ovary.septa * septum
    return Section(share * open_, void * open_, owner, core & _apart(owner * core))


def _apart(cores: np.ndarray) -> np.ndarray:
    """Return where no pixel within two pixels belongs to another core, bool; ``cores`` are numbered, uint8."""
    around = np.ones((5, 5), np.uint8)
    highest = cv2.dilate(cores, around)
    lowest = 255 - cv2.dilate(np.where(cores > 0, 255 - cores, 0).astype(np.uint8), around)
    return (highest == cores) & (lowest == cores)
