"""Turn an envelope into the stored frame: log compression, speckle reduction, grey map, marks and JPEG.

A whole sector is then shown on a scanner's screen with its scale and marks, or photographed from it.
"""

from typing import NamedTuple, Self

import cv2
import numpy as np

from pcos_utils.phantom.ultrasound import COLUMNS, ROWS, even

WORDS = ("LT OV", "RT OV", "LATERAL", "MEDIAL", "D 1", "SAG", "TRV")
SIDE = 256  # px of the square frame of a whole sector; a frame of another shape is stretched to it


class Screen(NamedTuple):
    """The settings of an examination's display."""

    dynamic_range: float  # dB
    white_share: float  # of pixels saturated
    black_share: float  # of pixels at the bottom
    mean: float  # of full scale, reached by a gamma curve
    floor: float  # grey level of black
    ceiling: float  # grey level of white
    blur: tuple[float, float]  # px, across and down
    smoothing: float  # weight of the speckle-reduced copy, 0 to 1
    edges: bool  # whether speckle reduction keeps them (bilateral filter) or not (median)
    tolerance: float  # grey steps, as a share of full scale, that the bilateral filter still smooths
    grain: float  # SD of camera noise, grey levels
    quality: int  # of the JPEG, 0 to 100

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


def on_screen(image: np.ndarray, seen: np.ndarray, millimetre: float, top: float, rng) -> np.ndarray:
    """Return the image on a scanner's screen; ``millimetre`` and ``top``, row of the probe's face, are in pixels."""
    chance, level = rng.random(6), int(rng.integers(120, 256))
    surround = int(rng.choice([0, 0, rng.integers(0, 30), np.quantile(image, 0.02)]))
    image = np.where(seen, image, surround).astype(np.uint8)
    if chance[0] < 0.4:
        step = (10 if chance[1] < 0.5 else 5) * millimetre
        column = int(rng.choice([3, SIDE - 6]))
        for number, row in enumerate(np.arange(top, SIDE, step)):
            if row > 0:
                cv2.line(image, (column, int(row)), (column + (3 if number % 5 else 5), int(row)), level)
    if chance[2] < 0.4:
        for _ in range(rng.integers(1, 4)):
            column = int(rng.integers(0, SIDE - 60))
            row = int(rng.choice([rng.integers(8, 25), rng.integers(SIDE - 20, SIDE - 3)]))
            word, size = str(rng.choice(WORDS)), rng.uniform(0.25, 0.45)
            cv2.putText(image, word, (column, row), cv2.FONT_HERSHEY_SIMPLEX, size, level)
    if chance[3] < 0.15:
        ends = rng.integers(40, SIDE - 40, (2, 2)).tolist()
        for end in ends:
            cv2.drawMarker(image, end, level, int(rng.choice([cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS])), 7)
        for column, row in np.linspace(*ends, int(rng.integers(8, 25))).round().astype(int)[1:-1]:
            image[row, column] = level
    if chance[4] < 0.1:
        tip = rng.integers(20, SIDE - 20, 2)
        cv2.arrowedLine(image, (tip + rng.integers(-30, 30, 2)).tolist(), tip.tolist(), level, 2)
    if chance[5] < 0.15:  # gain curve
        rows = np.linspace(0.65 * SIDE, 0.97 * SIDE, 8)
        points = np.stack([SIDE - 14 + rng.uniform(-5, 5, 8), rows], axis=1).round().astype(np.int32)
        cv2.polylines(image, [points], False, level)
    return image


def photograph(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame as a camera may see it on a screen, and where a finger hides it, bool.

    A third of the frames are photographed. A tint leaves no trace in a grey frame.
    """
    covered = np.zeros(image.shape, bool)
    photographed, moire, finger = rng.random(3) < [0.35, 0.3, 0.15]
    if not photographed:
        return image, covered
    down, across = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    x, y, fall = rng.uniform([-0.5, -0.5, 0], [0.5, 0.5, 0.35])
    light = 1 - fall * ((across - x) ** 2 + (down - y) ** 2) / 2
    if moire:
        turn, waves = rng.uniform([0, 40], [np.pi, 220])
        light *= 1 + rng.uniform(0.02, 0.1) * np.cos(waves * (across * np.cos(turn) + down * np.sin(turn)))
    photo = image * light * rng.uniform(0.8, 1.1) + rng.uniform(0, 25)
    if finger:
        side, along, wide = 1 - 2 * rng.integers(0, 2), rng.uniform(-0.6, 0.9), rng.uniform(0.06, 0.14)
        covered = (np.abs(across - along - 0.2 * down) < wide) & (side * down > rng.uniform(0, 0.6))
        photo = np.where(covered, rng.uniform(20, 120), photo)
    photo = cv2.GaussianBlur(photo.astype(np.float32), (0, 0), rng.uniform(0.3, 1.4))
    return np.clip(photo, 0, 255).astype(np.uint8), covered
