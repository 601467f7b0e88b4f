"""Sketch pictures: shrink each to a common size and describe its keypoints, from whichever side it is seen."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

AREA = 40_000  # pixels of every picture after resizing, about 200 x 200: speckle is still resolved
KEYPOINTS = 300  # of a picture at most; the strongest are kept
DENSE_KEYPOINTS = 900  # where a picture may be a small part of another: the part has its share of them
GLANCE_AREA, GLANCE_KEYPOINTS = 7_000, 70  # the same for a first look, which most copies need no more than
SMALL_AREA, FEW_KEYPOINTS = 15_000, 120  # the same for a stretched picture
ROUGH = (1.15, 3.0)  # px at half size, between the bands of speckle and of anatomy
# Least ratio of their spreads. Blurred copies reached .42 and more, twins that agreed after smoothing .37 and less.
SPECKLED = 0.37

# Where two pictures meet: least ratio of the step across a line to the steps across the lines around, and least share
# of its pixels with more than the mean step around. They find 99 % of the seams of collages and none in phantoms.
SEAM, ALL_ALONG = 1.6, 0.62
NEARBY, ALONG = 12, 9  # px: lines to each side that are around a line, and the length that is around a pixel
ONE_SIDE, LEAST_BEYOND = 0.85, 0.15  # least shares of keypoints on one side of a seam, and of lines beyond it
PLAIN = 8.0  # grey levels, SD of an empty margin

# A mirrored patch has the descriptor of the patch itself in another order: rows reversed, directions negated. In an
# inverted patch each gradient, and so the keypoint's own direction, turns by 180 degrees: rows and columns reversed.
ORDER = np.arange(128)
MIRROR = ORDER.reshape(4, 4, 8)[::-1][:, :, [0, 7, 6, 5, 4, 3, 2, 1]].ravel()
INVERT = ORDER.reshape(4, 4, 8)[::-1, ::-1].ravel()


class View(NamedTuple):
    """How a copy may look; its descriptors are those of its source in another ``order``."""

    mirrored: bool = False
    inverted: bool = False  # black for white

    @property
    def order(self) -> np.ndarray:
        """Return the order of the 128 numbers of a descriptor in this view of it."""
        order = MIRROR if self.mirrored else ORDER
        return order[INVERT] if self.inverted else order

    def after(self, other: "View") -> "View":
        """Return the view of one picture in another, where both are seen in a third, in this view and in the other."""
        return View(self.mirrored != other.mirrored, self.inverted != other.inverted)


AS_IT_IS = View()
UPRIGHT, INVERTED = (AS_IT_IS, View(True)), (View(False, True), View(True, True))


@dataclass(frozen=True, eq=False)
class Sketch:
    """The parts of a picture that are compared."""

    grey: np.ndarray  # uint8, about AREA pixels
    points: np.ndarray  # float32 (n, 2), x and y in ``grey``
    descriptors: np.ndarray  # uint8 (n, 128)
    enlarged: float  # pixels of ``grey`` per pixel of the file, along a side

    @cached_property
    def speckled(self) -> bool:
        """Whether the picture has speckle, which tells one scan from another of the same ovary."""
        coarser = float(np.clip(self.enlarged, 1, 3))
        grey = cv2.resize(self.grey, None, fx=1 / coarser, fy=1 / coarser, interpolation=cv2.INTER_AREA)
        half = cv2.pyrDown(grey).astype(np.float32)
        middle, large = (cv2.GaussianBlur(half, (0, 0), sigma) for sigma in ROUGH)
        return bool((half - middle).std() > SPECKLED * (middle - large).std())

    @cached_property
    def seams(self) -> list[tuple[int, int, bool]]:
        """Straight seams from edge to edge: (axis, line, whether a panel may lie after it, beside a picture)."""
        seams = []
        for axis, lines in enumerate((cv2.transpose(self.grey), self.grey)):
            steps = cv2.absdiff(lines[2:], lines[:-2])  # over two lines, as resizing blurs a seam
            step = cv2.reduce(steps, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F).ravel() / lines.shape[1]
            windows = sliding_window_view(np.pad(step, NEARBY, "edge"), 2 * NEARBY + 1)
            around = np.partition(windows, NEARBY, axis=1)[:, NEARBY]  # the median
            for seam in 1 + np.flatnonzero(step > SEAM * np.maximum(around, 1)):
                sides = {after: lines[:seam] if after else lines[seam + 1 :] for after in (True, False)}
                beyond = [after for after, side in sides.items() if len(side) >= LEAST_BEYOND * len(lines)]
                if _abrupt(steps, seam - 1):
                    seams += [(axis, seam, after) for after in beyond if sides[after].std() > PLAIN]
        return seams


def sketch(pixels: np.ndarray) -> Sketch:
    """Sketch an 8-bit image, grey (h, w) or RGB (h, w, 3); a plain image has no keypoints, which is not an error."""
    return detailed(_blank(pixels))


def glance(pixels: np.ndarray) -> Sketch:
    """Sketch an image with a few keypoints of a smaller picture; ``detailed`` finds the others."""
    picture = _blank(pixels)
    small = _resized(picture.grey, GLANCE_AREA)
    points, descriptors = _detect(small, GLANCE_KEYPOINTS)
    larger = np.divide(picture.grey.shape, small.shape)[::-1]
    points = ((points + 0.5) * larger - 0.5).astype(np.float32)  # the middle of the first pixel lies at 0
    return replace(picture, points=points, descriptors=descriptors)


def detailed(picture: Sketch, most: int = KEYPOINTS) -> Sketch:
    """Return the sketch of a picture with its ``most`` strongest keypoints."""
    points, descriptors = _detect(picture.grey, most)
    return replace(picture, points=points, descriptors=descriptors)


@lru_cache(8)
def dense(picture: Sketch) -> Sketch:
    """Return the sketch of a picture of which another may show a small part, with many keypoints."""
    return detailed(picture, DENSE_KEYPOINTS)


def _blank(pixels: np.ndarray) -> Sketch:
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = (AREA / grey.size) ** 0.5
    return Sketch(_resized(grey, AREA), np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), scale)


def _resized(grey: np.ndarray, area: int, factor: float = 1) -> np.ndarray:
    """Return a picture of so many pixels, made ``factor`` times wider relative to its height."""
    (height, width), scale = grey.shape, (area / grey.size) ** 0.5
    size = [max(16, round(width * scale * factor**0.5)), max(16, round(height * scale / factor**0.5))]
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def stretched(picture: Sketch, factor: float) -> np.ndarray:
    """Return the descriptors, uint8 (n, 128), of the picture made ``factor`` times wider relative to its height.

    Keypoints survive rotation and zoom but not stretching, so a stretched copy is looked up with these descriptors.
    They are fewer and come from a smaller picture, which is enough to look a picture up.
    """
    return _detect(_resized(picture.grey, SMALL_AREA, factor), FEW_KEYPOINTS)[1]


def _detect(grey: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    # Threads cannot safely share a detector, and a new one costs little.
    detector = cv2.SIFT_create(most, contrastThreshold=0.015, enable_precise_upscale=True)
    keypoints, descriptors = detector.detectAndCompute(grey, None)
    points = np.array([keypoint.pt for keypoint in keypoints[:most]], np.float32).reshape(-1, 2)
    return points, np.zeros((0, 128), np.uint8) if descriptors is None else descriptors[:most].astype(np.uint8)


def root(descriptors: np.ndarray) -> np.ndarray:
    """Return RootSIFT descriptors, float32 (n, 128), of unit length."""
    values = descriptors.astype(np.float32)
    return np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1))


def panel(picture: Sketch, points: np.ndarray) -> list[float] | None:
    """Return the box of ``points`` (n, 2), [left, top, right, bottom], if they lie in one of several panels.

    A collage, or a screen with a menu, has a straight seam from edge to edge with the panel on one side of it.
    """
    for axis, seam, after in picture.seams:
        beyond = np.mean(points[:, axis] <= seam) if after else np.mean(points[:, axis] > seam)
        if beyond <= 1 - ONE_SIDE:
            return np.quantile(points, [0.05, 0.95], axis=0).ravel().tolist()
    return None


def overlap(first: list[float], second: list[float]) -> bool:
    """Return whether two boxes, [left, top, right, bottom], share more than half of the smaller one."""
    width, height = (min(first[axis + 2], second[axis + 2]) - max(first[axis], second[axis]) for axis in (0, 1))
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return width > 0 and height > 0 and width * height > 0.5 * smaller


def _abrupt(steps: np.ndarray, line: int) -> bool:
    """Return whether the step across a line is greater than those around it, all along the line."""
    near = steps[max(0, line - NEARBY) : line + NEARBY + 1].astype(np.float32)
    around = cv2.blur(near, (ALONG, 2 * NEARBY + 1))[min(line, NEARBY)]
    return bool((steps[line] > around + 1).mean() > ALL_ALONG)
