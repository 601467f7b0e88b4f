"""Paint what a pelvic scan shows besides ovaries: wall, bladder, uterus, bowel, vessels, sacs, cysts and free fluid.

Lengths are in millimetres of the body. Depth ``z`` counts from the probe's face.
"""

import numpy as np

from pcos_utils.phantom import ultrasound
from pcos_utils.phantom.anatomy import Ovary
from pcos_utils.phantom.ultrasound import even, length

STRUCTURES = ("bladder", "uterus", "bowel", "vessel", "sac", "cyst", "ascites")  # numbered from 1 in ``Pelvis.code``
CLEAR = (-40, -26)  # dB, of fluid


class Pelvis:
    """The maps of a section on a polar grid, (rows, lines), to which structures are added one over the other.

    ``power`` is in dB and ``attenuation`` in dB/cm/MHz; ``code`` is the number of the structure on top, 0 for none,
    uint8. ``face``: m, depth of the probe's face in the grid. ``unit``: m of the grid for one millimetre of the body.
    """

    def __init__(self, grid: ultrasound.Grid, face: float, unit: float, rng: np.random.Generator):
        self.grid, self.unit, self.rng, uniform = grid, unit, rng, rng.uniform
        x, z = grid.positions
        self.x, self.z = x / np.float32(unit), (z - np.float32(face)) / np.float32(unit)
        self.below = ultrasound.Grid(grid.depth - face, grid.angle)
        self.depth = (self.below.depth / unit).astype(np.float32)[:, None]  # (rows, 1), mm along the beam
        self.code = np.zeros(grid.shape, np.uint8)
        self.attenuation = np.full(grid.shape, ultrasound.TISSUE_ATTENUATION, np.float32)
        large, coarse, fine = self.noise(25, 30), self.noise(5, 9), self.noise(1.5, 3)
        self.power = uniform(1, 7) * large + uniform(1, 5) * coarse + uniform(0, 3) * fine
        self.power += uniform(0, 7) * self.noise(1.2, 12) * np.clip(self.noise(20, 20), 0, 1.5)  # fibres in places
        self.power += uniform(0, 10) * np.clip(self.noise(0.9, 14) - 0.5, 0, 2)  # bright interfaces
        self.power += uniform(-4, 8) * self.depth / self.depth.max()

    def noise(self, along: float, across: float) -> np.ndarray:
        """Draw a smooth random map of variance about 1, with its grain along and across the beams."""
        return ultrasound.smooth_field(self.rng, self.below, along * self.unit, across * self.unit)

    def ellipse(self, x: float, z: float, a: float, b: float, turn: float = 0.0, rough: float = 0.06) -> np.ndarray:
        """Return the distance from the centre of an uneven ellipse, scaled to 1 on its outline."""
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        u, v = (self.x - x) * cos + (self.z - z) * sin, (self.z - z) * cos - (self.x - x) * sin
        grain = max(a, b) / 1.5
        return length(u / np.float32(a), v / np.float32(b)) + rough * self.noise(grain, grain)

    def paint(self, name: str, reach: np.ndarray, power, *, absorbs: float | None = None, rim: float = 0.0) -> None:
        """Add a structure where ``reach`` is below 1, with its echo in dB, attenuation and a rim of ``rim`` dB."""
        cover = ultrasound.step((1 - reach) * 25)
        self.power += cover * (power - self.power)
        self.power += rim * even(np.exp, -(((reach - 1.04) / 0.06) ** 2))
        if absorbs is not None:
            self.attenuation += cover * (absorbs - self.attenuation)
        self.code[reach < 1] = STRUCTURES.index(name) + 1

    def fluid(self, name: str, reach: np.ndarray, rim: float = 3.0, haze: float = 0.0) -> None:
        """Add a structure of fluid, with the reverberation of the wall above it as ``haze`` (dB at the face)."""
        clear = self.rng.uniform(*CLEAR) + haze * even(np.exp, -self.depth / 14) * np.ones_like(reach)
        self.paint(name, reach, clear, absorbs=ultrasound.FLUID_ATTENUATION, rim=rim)

    def wall(self, thickness: float, contrast: float) -> None:
        """Add the layers of skin, fat and muscle, or of the vaginal wall, below the probe."""
        layers = contrast * self.noise(1.6, 80) + self.rng.uniform(-6, 6)
        share = ultrasound.step((thickness - self.depth) / 1.5)
        self.power += share * (layers - self.power)
        lines = self.rng.uniform(0, [1.2, 2.5, thickness])
        for at, bright in zip(lines, self.rng.uniform([0, 0, 0], [24, 15, 10]), strict=True):
            self.power += bright * even(np.exp, -(((self.depth - at - 0.3 * self.noise(9, 40)) / 0.6) ** 2))

    def bladder(self, x: float, z: float, a: float, b: float) -> None:
        """Add a bladder."""
        self.fluid("bladder", self.ellipse(x, z, a, b, self.rng.uniform(-0.3, 0.3), 0.09), 5, self.rng.uniform(0, 25))

    def uterus(self, x: float, z: float, sac: bool) -> None:
        """Add a uterus with its stripe or with a gestational sac."""
        uniform = self.rng.uniform
        long, high, turn = uniform(20, 48), uniform(15, 28), uniform(-0.8, 0.8)
        if sac:
            long, high = max(long, 28), max(high, 22)
        muscle = uniform(-8, 1) + uniform(0.5, 2.5) * self.noise(4, 6) + uniform(0, 2) * self.noise(1.5, 2)
        reach = self.ellipse(x, z, long, high, turn)
        self.paint("uterus", reach, muscle, absorbs=uniform(0.5, 0.75), rim=uniform(0, 4))
        if not sac:
            stripe, thick = uniform(0.4, 0.7) * long, uniform(1.5, 6)
            reach = self.ellipse(x, z, stripe, thick, turn, 0.15)
            dark = 3 * even(np.exp, -(((reach - 1.5) / 0.3) ** 2))
            self.power += uniform(2, 9) * ultrasound.step((1 - reach) * 8) - dark
            return
        size, lean = uniform(6, 0.8 * high), uniform(0.6, 1)
        at = x + uniform(-0.2, 0.2) * long, z + uniform(-0.15, 0.15) * high
        reach = self.ellipse(*at, size, size * lean, uniform(-1.5, 1.5), 0.08)
        self.power += uniform(3, 11) * even(np.exp, -(((reach - 1.25) / 0.2) ** 2))  # decidua
        self.fluid("sac", reach)
        if self.rng.random() < 0.6:  # embryo at the wall
            turn, share = uniform(0, 2 * np.pi), uniform(0.15, 0.45)
            place = at[0] + 0.6 * size * np.cos(turn), at[1] + 0.6 * size * lean * np.sin(turn)
            self.paint("sac", self.ellipse(*place, size * share, size * share * 0.7, turn), uniform(-6, 6))

    def bowel(self, x: float, z: float) -> None:
        """Add a loop whose gas throws a shadow."""
        uniform = self.rng.uniform
        reach = self.ellipse(x, z, uniform(6, 22), uniform(4, 12), uniform(-0.5, 0.5), 0.15)
        self.paint("bowel", reach, uniform(-5, 9) + 3 * self.noise(2, 3), absorbs=uniform(0.8, 3), rim=uniform(2, 9))

    def vessel(self, x: float, z: float) -> None:
        """Add a vessel, cut along or across."""
        uniform = self.rng.uniform
        wide = uniform(2, 5)
        long = wide * (uniform(1, 1.6) if self.rng.random() < 0.4 else uniform(3, 8))
        self.fluid("vessel", self.ellipse(x, z, long, wide, uniform(-1.6, 1.6), 0.12), uniform(0, 6))

    def cyst(self, x: float, z: float, a: float, b: float, complex_: bool) -> None:
        """Add a simple cyst or a complex one, with echoes, septa and solid parts."""
        uniform, chance = self.rng.uniform, self.rng.random(4)
        reach = self.ellipse(x, z, a, b, uniform(-0.6, 0.6), 0.07)
        self.fluid("cyst", reach, uniform(0, 7))
        if not complex_:
            return
        inside = ultrasound.step((1 - reach) * 20)
        if chance[0] < 0.4:  # blood, mucus or fat
            self.power += inside * (uniform(-20, -6) + uniform(0, 2) * self.noise(1.5, 2) - self.power)
        if chance[1] < 0.7:
            self.power += inside * uniform(10, 38) * self.septa(x, z, a, b)
        if chance[2] < 0.6:
            for _ in range(self.rng.integers(1, 4)):
                turn, share = uniform(0, 2 * np.pi), uniform(0.1, 0.4)
                place = x + 0.8 * a * np.cos(turn), z + 0.8 * b * np.sin(turn)
                solid = np.maximum(self.ellipse(*place, a * share, a * share * uniform(0.5, 1), turn, 0.2), reach)
                self.paint("cyst", solid, uniform(-8, 10) + 3 * self.noise(2, 3), absorbs=uniform(0.4, 1.5))
        if chance[3] < 0.15:  # a storm of echoes
            self.power += inside * (uniform(-8, 0) + uniform(4, 10) * np.abs(self.noise(1.5, 3)) - self.power)

    def septa(self, x: float, z: float, a: float, b: float) -> np.ndarray:
        """Return thin walls between two to six chambers, 0 to 1."""
        rng = self.rng
        centres = rng.uniform([x - a, z - b], [x + a, z + b], (rng.integers(2, 7), 2)).astype(np.float32)
        away = np.sort([length(self.x - p, self.z - q) for p, q in centres], axis=0)
        return even(np.exp, -(((away[1] - away[0] + 2 * self.noise(10, 10)) / rng.uniform(1, 3)) ** 2))

    def ovary(self, ovary: Ovary) -> np.ndarray:
        """Add an ovary, without its follicles, and return the distance from its centre, 1 on its outline."""
        uniform = self.rng.uniform
        reach = ovary.reach(*ovary.along_axes(*self.grid.positions))
        ring = np.cos(uniform(6, 16) * reach + self.noise(12, 12) + uniform(0, 6))
        self.power += uniform(0, 5) * ring * even(np.exp, -(((reach - 1.25) / 0.2) ** 2))  # tissue that wraps it
        self.power += uniform(0, 7) * even(np.exp, -(((reach - 1.35) / 0.3) ** 2))  # fat
        stroma = self.rng.normal(-4, 3) + uniform(0.7, 2.7) * self.noise(4, 6) + uniform(0, 2.5) * self.noise(1.2, 2)
        inside = ultrasound.step((1 - reach) * uniform(10, 30))
        self.power += inside * (stroma - self.power)
        self.power += uniform(0, 5) * even(np.exp, -(((reach - 1.05) / 0.07) ** 2))  # capsule
        self.attenuation += inside * (ultrasound.TISSUE_ATTENUATION - self.attenuation)
        self.code[reach < 1] = 0
        return reach
