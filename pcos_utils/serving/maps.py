"""Compute a map of what an answer rests on, without torch."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from pcos_utils.data import images
from pcos_utils.serving.model import Served

CELLS = 8  # places per side; each is covered together with half of its neighbours
READING = {
    False: "Orange places speak for polycystic, blue ones against: covering them changes the answer.",
    True: "The stronger the orange, the surer the counting network is of a follicle there.",
}


def rests_on(model: Served, pixels: np.ndarray) -> Iterator[np.ndarray | None]:
    """Yield None after each part of the work, which may take seconds, and at last the map (H, W) of one image.

    ``pixels``: uint8 (H, W, 3). The map is in logits for a network, and the probability of a follicle for a count. For
    a network it holds how far the logit falls when a place is covered with the mean colour (Zeiler and Fergus 2014).
    """
    if model.counts:
        yield model.maps(images.grey(pixels))[0]
        return
    image = images.resize(pixels, model.side)
    edges = np.linspace(0, model.side, CELLS + 1).round().astype(int)
    reach = (edges[1] - edges[0]) // 2
    covered = np.repeat(image[None], CELLS**2, axis=0)
    for copy, place in zip(covered, np.ndindex(CELLS, CELLS), strict=True):
        rows, columns = (slice(max(0, edges[at] - reach), edges[at + 1] + reach) for at in place)
        copy[rows, columns] = image.mean(axis=(0, 1)).round()
    logits = []  # (CELLS, CELLS)
    for row in np.split(covered, CELLS):
        logits.append(model.logits(row))
        yield None
    fallen = (model.logits(image[None]) - np.array(logits)).astype(np.float32)
    yield ndimage.zoom(fallen, model.side / CELLS, order=1, grid_mode=True, mode="nearest")
