"""Find ovaries in a whole frame: boxes with scores, from the maps of a network that whole-sector phantoms taught.

torch is imported only to run the kept network. Where its maps come from elsewhere, as from ONNX, none is needed.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage

from pcos_utils.config import ROOT

KEPT = ROOT / "pcos_utils" / "weights" / "ovary_locator.safetensors"  # made by pcos pretrain --locator
MAPS = ("ovary", "follicle", "other")
SIDE = 192  # px of the square to which a frame is stretched
# Probability and px of a part of the ovary map, and probability of a follicle in it, chosen on phantoms.
THRESHOLD, LEAST, FOLLICLE = 0.5, 250, 0.3

SEEN = 120  # px of an ovary that counts in a mask
OVERLAP = 0.3  # least intersection over union of a box that found an ovary
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the frame, x1 and y1 excluded


class Found(NamedTuple):
    """An ovary that was found."""

    box: Box
    score: float  # mean probability of the ovary's pixels, 0 to 1


def locate(grey: np.ndarray, maps_of: Callable[[np.ndarray], np.ndarray] | None = None) -> list[Found]:
    """Return the ovaries of a grey frame, uint8 (H, W), best first; an empty list if there is none.

    ``maps_of`` computes the maps (3, SIDE, SIDE) of a stretched frame, uint8 (SIDE, SIDE); by default the kept network
    does, with torch. Raises ValueError for a frame of another kind.
    """
    if grey.ndim != 2 or grey.dtype != np.uint8:
        raise ValueError(f"A frame must be grey, uint8 (H, W), not {grey.dtype} {grey.shape}.")
    return boxes((maps_of or _kept())(stretched(grey)), grey.shape)


def stretched(grey: np.ndarray) -> np.ndarray:
    """Return a frame, uint8 (H, W), as the network reads it, uint8 (SIDE, SIDE)."""
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def boxes(maps: np.ndarray, shape: tuple[int, int]) -> list[Found]:
    """Return the ovaries in a frame of a ``shape`` (H, W), best first, from the frame's ``maps`` (3, SIDE, SIDE).

    A connected part of the ovary map above THRESHOLD is an ovary if it has at least LEAST pixels and the follicle map
    reaches FOLLICLE in it.
    """
    parts, _ = ndimage.label(maps[0] > THRESHOLD)
    areas, found = np.bincount(parts.ravel()), []
    down, across = shape[0] / maps.shape[1], shape[1] / maps.shape[2]
    for number, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
        if areas[number] < LEAST or maps[1][parts == number].max() < FOLLICLE:
            continue
        corners = columns.start * across, rows.start * down, columns.stop * across, rows.stop * down
        found.append(Found(tuple(round(each) for each in corners), float(maps[0][parts == number].mean())))
    return sorted(found, key=lambda each: -each.score)


def outlined(mask: np.ndarray) -> list[Box]:
    """Return the boxes of the ovaries in a mask (H, W) of whole numbers, where 0 is none."""
    places = [place for place in ndimage.find_objects(mask) if place and np.count_nonzero(mask[place]) >= SEEN]
    return [(x.start, y.start, x.stop, y.stop) for y, x in places]


def matched(found: list[Found], there: list[Box]) -> int:
    """Return how many of the boxes that are ``there`` have a found box of their own, overlapping by OVERLAP."""
    return len(paired([each.box for each in found], there))


def paired(ones: list[Box], others: list[Box]) -> dict[int, int]:
    """Return the places of boxes that overlap by OVERLAP, from the largest overlap down, each in one pair at most."""
    overlaps = [(overlap(one, other), i, j) for i, one in enumerate(ones) for j, other in enumerate(others)]
    pairs = {}
    for over, i, j in sorted(overlaps, reverse=True):
        if over >= OVERLAP and i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes."""
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one, other)]
    return width * height / (sum(areas) - width * height)


@cache
def _kept() -> Callable[[np.ndarray], np.ndarray]:
    from pcos_utils.follicles import network

    finder = network.load(KEPT, network.Locator)
    return lambda frame: network.predict_maps(finder, frame[None])[0]
