"""Form B-mode images: turn maps of echo and attenuation on a polar grid into the envelope that a frame shows.

This is the linear model of Bamber and Dickinson (Ultrasonic B-scanning: a computer simulation, 1980). White complex
Gaussian scatterers times an echo map, filtered by a separable pulse, give fully developed speckle. The model leaves
out refraction, multiple scattering and motion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import cv2
import numpy as np

SPEED_OF_SOUND = 1540.0  # m/s, soft-tissue convention
PROBE_RADIUS = 10e-3  # m, convex endocavity probe
TISSUE_ATTENUATION = 0.5  # dB/cm/MHz, that of liver, .50 (PMC10001275, table 4)
FLUID_ATTENUATION = 0.01  # dB/cm/MHz; water has .0022 (the same table)
DEPTH_OF_FIELD = 24e-3  # m, from the focus to where the beam is twice as wide
FWHM_PER_SIGMA = 2.355  # of a Gaussian
FIELD_DEPTH, FIELD_ANGLE = 66e-3, 1.45  # m and radians, the extent of random fields
COMMON_WIDTH = 41e-3  # m, of a window of scale 1
ROWS, COLUMNS = 200, 300  # px, the frame size of the Telkom images


def even(function: Callable, *values) -> np.ndarray:
    """Return ``function(*values)``, computed in double precision and rounded to float32.

    Processors differ in the last bit of exponentials, powers and angles; without it, phantoms are the same.
    """
    return function(*(np.asarray(value, np.float64) for value in values)).astype(np.float32)


def length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance of (x, y) from the origin, float32, with operations that every processor rounds alike."""
    return np.sqrt(x * x + y * y).astype(np.float32)


@dataclass(frozen=True)
class Beam:
    """The settings of the transducer."""

    frequency: float  # MHz
    axial_sigma: float = 0.5  # wavelengths, about a two-cycle pulse
    lateral_fwhm: float = 3.0  # wavelengths, at the focus
    focus: float = 28e-3  # m
    gain_slope: float = TISSUE_ATTENUATION  # dB/cm/MHz that the time-gain compensation assumes
    noise: float = 2e-3  # electronic noise relative to tissue of unit echo
    looks: int = 1  # frames averaged (compounding)
    thickness: float = 0.45e-3  # m, SD of the slice

    @property
    def wavelength(self) -> float:
        """Return the wavelength in metres."""
        return SPEED_OF_SOUND / (self.frequency * 1e6)

    @classmethod
    def draw(cls, rng: np.random.Generator, scale: float) -> Self:
        """Draw a beam whose speckle has one size on the screen at any ``scale``, so that it hides the ovary's size."""
        frequency, axial, lateral = rng.uniform([5, 0.5, 1.8], [8, 0.9, 3.8])
        focus, gain_slope, noise = rng.uniform([18e-3, 0.44, -3.2], [36e-3, 0.54, -1.8])
        looks, thickness = int(rng.integers(1, 7)), rng.uniform(0.2e-3, 0.75e-3)
        return cls(frequency, axial * scale, lateral * scale, focus, gain_slope, 10**noise, looks, thickness)


@dataclass(frozen=True)
class Window:
    """The rectangle that the frame shows: centre ``x`` and ``z`` (below the probe) and ``width``, in metres."""

    x: float
    z: float
    width: float

    @classmethod
    def draw(cls, rng: np.random.Generator, x: float, z: float, length: float) -> Self:
        """Draw a window near a target at (``x``, ``z``), zoomed by its ``length`` so that the frame hides it."""
        width = length * rng.uniform(0.95, 1.6)
        height = width * ROWS / COLUMNS
        x, z = x + rng.uniform(-0.1, 0.1) * width, z + rng.uniform(-0.1, 0.12) * height
        return cls(x, max(z, height / 2 + rng.uniform(0.5e-3, 4e-3)), width)

    @property
    def scale(self) -> float:
        """Return the width relative to that of a common window."""
        return self.width / COMMON_WIDTH

    @cached_property
    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x and z of each pixel in metres, both float32 (200, 300)."""
        half, aspect = self.width / 2, ROWS / COLUMNS
        across = self.x + np.linspace(-half, half, COLUMNS, dtype=np.float32)
        down = self.z + np.linspace(-half * aspect, half * aspect, ROWS, dtype=np.float32)
        return np.meshgrid(across, down)


@dataclass(frozen=True)
class Grid:
    """Evenly spaced polar samples: ``depth`` from the probe face (rows,) in metres, ``angle`` (lines,) in radians."""

    depth: np.ndarray
    angle: np.ndarray

    @classmethod
    def covering(cls, window: Window, beam: Beam, top: float) -> Self:
        """Make a grid over the whole window, so that the frame has no black border, from depth ``top`` (m) at least.

        Its steps are two thirds of the pulse's sigma along the beam and a quarter of the focal width across it.
        """
        x, z = window.positions
        radius, angle = length(x, z + PROBE_RADIUS), even(np.arctan2, x, z + PROBE_RADIUS)
        focal_width, margin = beam.lateral_fwhm * beam.wavelength, 1.5e-3
        first = max(min(radius.min() - PROBE_RADIUS, top) - margin, 0.2e-3)
        last = radius.max() - PROBE_RADIUS + margin
        side = min(3 * focal_width / radius.min(), 0.1)
        left, right = angle.min() - side, angle.max() + side
        rows = 2 * int(np.clip((last - first) / (beam.axial_sigma * beam.wavelength / 1.5) / 2, 32, 350))
        arc = (right - left) * (beam.focus + PROBE_RADIUS)
        lines = 2 * int(np.clip(arc / (focal_width / 4) / 2, 32, 200))
        return cls(np.linspace(first, last, rows), np.linspace(left, right, lines))

    @property
    def shape(self) -> tuple[int, int]:
        """Return the numbers of rows and lines."""
        return len(self.depth), len(self.angle)

    @property
    def halved(self) -> Self:
        """Return the grid of the centres of 2 x 2 samples, for maps too smooth to need every sample."""
        return Grid(self.depth.reshape(-1, 2).mean(axis=1), self.angle.reshape(-1, 2).mean(axis=1))

    @cached_property
    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x and z of each sample in metres, both float32 (rows, lines)."""
        radius = (self.depth + PROBE_RADIUS)[:, None]
        x, z = radius * even(np.sin, self.angle), radius * even(np.cos, self.angle) - PROBE_RADIUS
        return x.astype(np.float32), z.astype(np.float32)


def step(x: np.ndarray) -> np.ndarray:
    """Return the logistic function, a smooth rise from 0 to 1 around 0."""
    return 1 / (1 + even(np.exp, -np.clip(x, -30, 30)))


def smooth_field(rng: np.random.Generator, grid: Grid, along: float, across: float) -> np.ndarray:
    """Draw a smooth random map (rows, lines) of variance about 1, its grain in metres along and across the beams.

    It is drawn for every place that a grid may cover, so the grid changes neither the map nor how much is drawn.
    """
    spacing = across / (PROBE_RADIUS + FIELD_DEPTH / 2)  # radians
    nodes = int(FIELD_DEPTH / along) + 3, int(2 * FIELD_ANGLE / spacing) + 3
    coarse = rng.standard_normal(nodes, dtype=np.float32)
    rows, lines = grid.depth / along + 1, (grid.angle + FIELD_ANGLE) / spacing + 1
    lines, rows = np.meshgrid(lines.astype(np.float32), rows.astype(np.float32))
    # Interpolation between independent nodes loses about a third of the amplitude.
    return 1.4 * cv2.remap(coarse, lines, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def transmission(attenuation: np.ndarray, grid: Grid, beam: Beam) -> np.ndarray:
    """Return the amplitude left after the way there and back and time-gain compensation, (rows, lines).

    Where tissue absorbs less than the gain assumes, everything below is brighter: behind fluid by 2 x .49 x MHz x cm
    decibels (posterior enhancement). Tissue above the first row counts as compensated.
    """
    step = (grid.depth[1] - grid.depth[0]) * 100  # cm
    excess = np.cumsum(attenuation - beam.gain_slope, axis=0, dtype=np.float32)
    return even(np.power, 10, excess * (-2 * step * beam.frequency / 20))


def point_spread(signal: np.ndarray, grid: Grid, beam: Beam) -> np.ndarray:
    """Filter ``signal``, complex64 (rows, lines), with the pulse; its filters have unit energy, so power is kept."""
    sigma = beam.axial_sigma * beam.wavelength / (grid.depth[1] - grid.depth[0])  # rows
    pulse = cv2.getGaussianKernel(2 * int(np.ceil(3 * sigma)) + 1, sigma, cv2.CV_32F)
    pulse /= np.sqrt(np.sum(pulse**2))
    planes = signal.view(np.float32).reshape(*signal.shape, 2)  # two channels, as OpenCV filters no complex numbers
    planes = cv2.sepFilter2D(planes, -1, np.ones(1, np.float32), pulse)
    fwhm = beam.lateral_fwhm * beam.wavelength * (1 + ((grid.depth - beam.focus) / DEPTH_OF_FIELD) ** 2)
    spacing = (grid.angle[1] - grid.angle[0]) * (grid.depth + PROBE_RADIUS)
    sigma = fwhm / FWHM_PER_SIGMA / spacing  # lines; differs from row to row, hence the Fourier transform
    frequency = np.fft.fftfreq(grid.shape[1])
    transfer = even(np.exp, -0.5 * (2 * np.pi * frequency * sigma[:, None]) ** 2)
    transfer /= np.sqrt(np.mean(transfer**2, axis=1, keepdims=True))
    spectrum = np.fft.fft(planes.view(np.complex64)[..., 0], axis=1)
    return np.fft.ifft(spectrum * transfer, axis=1)


def white_noise(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw complex Gaussian samples of unit mean power, complex64."""
    parts = rng.standard_normal((*shape, 2), dtype=np.float32) * np.float32(np.sqrt(0.5))
    return parts.view(np.complex64)[..., 0]


def beside(scatterers: np.ndarray, elevation: float, thickness: float, rng: np.random.Generator) -> np.ndarray:
    """Return the scatterers of the parallel slice at ``elevation`` (m), given those of the slice at 0, complex64.

    The scatterers that a slice shows are weighted by the beam's profile, Gaussian with the ``thickness`` (SD of its
    power, metres), so those of two slices at a distance d have the correlation exp(-d^2 / 8 thickness^2). Slices from
    equal ``rng`` belong to one sweep.
    """
    step, seed = thickness, rng.integers(2**63)  # between the layers of scatterers, which are finer than the profile
    middle, reach = round(elevation / step), 5
    here, there = np.zeros_like(scatterers), np.zeros_like(scatterers)
    for layer in {*range(-reach, reach + 1), *range(middle - reach, middle + reach + 1)}:
        drawn = white_noise(np.random.default_rng([seed, layer + 2**20]), scatterers.shape)
        for total, place in ((here, 0.0), (there, elevation)):
            total += np.float32(np.exp(-(((layer * step - place) / thickness) ** 2) / 4)) * drawn
    power = np.float32((2 * np.pi) ** -0.25 * np.sqrt(step / thickness))
    shared = np.float32(np.exp(-((elevation / thickness) ** 2) / 8))
    # The layers know nothing of the slice at 0, so what they say of it is exchanged for what is known.
    return power * there + shared * (scatterers - power * here)


def envelope(echo, attenuation, grid: Grid, beam: Beam, rng, elevation: float = 0.0, for_noise=None) -> np.ndarray:
    """Return the detected amplitude, float32 (rows, lines), averaged over the beam's looks.

    ``echo`` is the scatterer amplitude, 1 in reference tissue, and ``attenuation`` is in dB/cm/MHz, both (rows, lines).
    One look at uniform tissue is Rayleigh distributed, with a mean of 1.91 times its SD (Wagner 1983). At another
    ``elevation`` (m) the slice holds other scatterers, as in ``beside``, and other noise, of ``for_noise``.
    """
    echo = np.asarray(echo, np.float32)
    arriving = transmission(attenuation, grid, beam)
    total, (for_layers,) = np.zeros(grid.shape, np.float32), rng.spawn(1)
    for _ in range(beam.looks):
        scatterers, noise = white_noise(rng, grid.shape), white_noise(rng, grid.shape)
        if elevation:
            scatterers = beside(scatterers, elevation, beam.thickness, for_layers)
            noise = white_noise(for_noise, grid.shape)
        signal = point_spread(scatterers * echo, grid, beam) * arriving
        signal += np.float32(beam.noise) * noise
        total += length(signal.real, signal.imag)
    return total / beam.looks


def scan_convert(polar: np.ndarray, grid: Grid, window: Window) -> np.ndarray:
    """Return a polar map (rows, lines) as the window shows it, float32 (200, 300)."""
    x, z = window.positions
    depth, angle = length(x, z + PROBE_RADIUS) - PROBE_RADIUS, even(np.arctan2, x, z + PROBE_RADIUS)
    row = (depth - grid.depth[0]) / (grid.depth[1] - grid.depth[0])
    line = (angle - grid.angle[0]) / (grid.angle[1] - grid.angle[0])
    return cv2.remap(polar, line.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)
