"""Turn an envelope into the stored frame: log compression, speckle reduction, grey map, marks and JPEG."""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from pcos_utils.phantom.ultrasound import COLUMNS, ROWS, even

WORDS = ("LT OV", "RT OV", "LATERAL", "MEDIAL", "D 1", "SAG", "TRV")


@dataclass(frozen=True)
class Screen:
    """The settings of an examination's display."""

    dynamic_range: float = 60.0  # dB
    white_share: float = 3e-3  # of pixels saturated
    black_share: float = 1e-2  # of pixels at the bottom
    mean: float = 0.3  # of full scale, reached by a gamma curve
    floor: float = 0.0  # grey level of black
    ceiling: float = 255.0  # grey level of white
    blur: tuple[float, float] = (0.5, 0.5)  # px, across and down
    smoothing: float = 0.0  # weight of the speckle-reduced copy, 0 to 1
    edges: bool = True  # whether speckle reduction keeps them (bilateral filter) or not (median)
    tolerance: float = 0.2  # grey steps, as a share of full scale, that the bilateral filter still smooths
    grain: float = 1.0  # SD of camera noise, grey levels
    quality: int = 90  # of the JPEG, 0 to 100

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw a screen; its brightness and blacks are targets, so they do not depend on the scene."""
        dynamic_range, white, black, mean = rng.uniform([50, -3.3, -3, 0.16], [72, -2, -1.3, 0.42])
        # Many stored frames have neither a true black nor a true white.
        floor = 255 * mean * rng.uniform(0, 0.5) * (rng.random() < 0.3)
        ceiling = rng.uniform(150, 255)
        blur = tuple(rng.uniform(0.1, [1.5, 1.1] if rng.random() < 0.7 else 0.2, 2))
        smoothing, edges = rng.uniform(0.3, 0.9) * (rng.random() < 0.8), bool(rng.random() < 0.6)
        tolerance, grain, quality = rng.uniform(0.1, 0.3), rng.uniform(0, 4), int(rng.integers(60, 96))
        levels = 10**white, 10**black, mean, floor, ceiling
        return cls(dynamic_range, *levels, blur, smoothing, edges, tolerance, grain, quality)


def gamma_for(image: np.ndarray, mean: float) -> float:
    """Return the exponent in [.3, 3.5] that brings the mean of ``image``, values in [0, 1], nearest to ``mean``."""
    share = np.histogram(image, bins=256, range=(0, 1))[0] / image.size
    level = (np.arange(256) + 0.5) / 256
    exponents = np.geomspace(0.3, 3.5, 200)
    means = (even(np.power, level, exponents[:, None]) * share).sum(axis=1)
    return exponents[np.abs(means - mean).argmin()]


def display(amplitude: np.ndarray, screen: Screen, rng: np.random.Generator, marks=None) -> np.ndarray:
    """Return the frame that a screen shows of a scan-converted envelope and ``marks``, uint8 of the same shape."""
    decibels = 20 * even(np.log10, np.maximum(amplitude, 1e-6))
    decibels -= np.quantile(decibels, 1 - screen.white_share)
    image = np.clip(decibels / screen.dynamic_range + 1, 0, 1).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), screen.blur[0], sigmaY=screen.blur[1])
    calm = cv2.bilateralFilter(image, 9, screen.tolerance, 3) if screen.edges else cv2.medianBlur(image, 5)
    image += screen.smoothing * (calm - image)
    black = np.quantile(image, screen.black_share)
    image = np.clip((image - black) / (image.max() - black), 0, 1)
    span = screen.ceiling - screen.floor
    image = screen.floor + span * even(np.power, image, gamma_for(image, (255 * screen.mean - screen.floor) / span))
    image += screen.grain * rng.standard_normal(image.shape, dtype=np.float32)
    image = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    if marks is not None:
        image = np.maximum(image, marks)
    stored = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, screen.quality])[1]
    return cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)


def draw_marks(rng: np.random.Generator) -> np.ndarray:
    """Draw the marks that an examiner leaves on a frame, uint8 (200, 300), 0 where there is no mark.

    Most frames have none. Calipers are placed at random, because calipers on follicles would tell a network their size.
    """
    marks = np.zeros((ROWS, COLUMNS), np.uint8)
    calipers, caption, arrow = rng.random(3) < [0.12, 0.08, 0.12]
    places = rng.integers([10, 10], [COLUMNS - 10, ROWS - 10], (4, 2)).tolist()
    level, arm, dots = int(rng.integers(180, 256)), int(rng.integers(5, 10)), int(rng.integers(8, 25))
    shape = int(rng.choice([cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS]))
    word, side = str(rng.choice(WORDS)), int(rng.integers(0, 2))
    if calipers:
        for place in places[:2]:
            cv2.drawMarker(marks, place, level, shape, arm)
        for column, row in np.linspace(*places[:2], dots).round().astype(int)[1:-1]:
            marks[row, column] = level
    if caption:
        cv2.putText(marks, word, (places[2][0] - 10, ROWS - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.35, level)
    if arrow:
        row, column = places[3][1], side * (COLUMNS - 1)
        tip = column + (6 if side == 0 else -6)
        cv2.fillPoly(marks, [np.array([[column, row - 4], [column, row + 4], [tip, row]], np.int32)], level)
    return marks
