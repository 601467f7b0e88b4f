"""Compute a map of what an answer rests on, without torch."""

import numpy as np
from scipy import ndimage

from pcos_utils.data import images
from pcos_utils.serving.model import Served

CELLS = 8  # places per side; each is covered together with half of its neighbours
READING = {
    False: "Orange places speak for polycystic, blue ones against: covering them changes the answer.",
    True: "The stronger the orange, the surer the counting network is of a follicle there.",
}


def rests_on(model: Served, pixels: np.ndarray) -> np.ndarray:
    """Return the map (H, W) of one image, uint8 (H, W, 3): for a network in logits, for a count the probability of a
    follicle.

    For a network it holds how far the logit falls when a place is covered with the mean colour (Zeiler and Fergus
    2014).
    """
    if model.counts:
        return model.maps(images.grey(pixels))[0]
    image = images.resize(pixels, model.side)
    edges = np.linspace(0, model.side, CELLS + 1).round().astype(int)
    reach = (edges[1] - edges[0]) // 2
    covered = np.repeat(image[None], CELLS**2, axis=0)
    for copy, place in zip(covered, np.ndindex(CELLS, CELLS), strict=True):
        rows, columns = (slice(max(0, edges[at] - reach), edges[at + 1] + reach) for at in place)
        copy[rows, columns] = image.mean(axis=(0, 1)).round()
    logits = np.array([model.logits(row) for row in np.split(covered, CELLS)])  # (CELLS, CELLS)
    fallen = (model.logits(image[None]) - logits).astype(np.float32)
    return ndimage.zoom(fallen, model.side / CELLS, order=1, grid_mode=True, mode="nearest")
