"""Show a whole sector as it is stored: on a scanner's screen with its scale and marks, or photographed from it."""

import cv2
import numpy as np

from pcos_utils.phantom.display import WORDS

SIDE = 256  # px of the square frame; a frame of another shape is stretched to it


def on_screen(
    image: np.ndarray, seen: np.ndarray, millimetre: float, top: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the image on a scanner's screen: a black surround, a depth scale, captions and callipers.

    ``millimetre`` and ``top``, the row of the probe's face, are in pixels.
    """
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
            place = (
                int(rng.integers(0, SIDE - 60)),
                int(rng.choice([rng.integers(8, 25), rng.integers(SIDE - 20, SIDE - 3)])),
            )
            cv2.putText(image, str(rng.choice(WORDS)), place, cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.25, 0.45), level)
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
