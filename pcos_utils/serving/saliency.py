"""Where an answer rests. Of a network: how far the logit falls when a place is covered (Zeiler and Fergus 2014).

The covered place takes the frame's mean, so that the cover brings no edge of its own where it can help it. Of a count:
the map that was counted in. No torch.
"""

import numpy as np
from scipy import ndimage

from pcos_utils.data import images
from pcos_utils.data.grey import grey
from pcos_utils.serving.predict import Served

CELLS = 8  # places a side; each is covered together with half of its neighbours
BATCH = 8


READING = {
    False: "Orange places speak for polycystic, blue ones against: covering them changes the answer.",
    True: "The stronger the orange, the surer the counting network is of a follicle there.",
}


def rests_on(model: Served, pixels: np.ndarray) -> np.ndarray:
    """The map of one image, uint8 (H, W, 3): of a network in logits, of a count the probability of a follicle."""
    return model.maps(grey(pixels))[0] if model.counts else occlusion(model, pixels)


def occlusion(model: Served, pixels: np.ndarray) -> np.ndarray:
    """How much each place speaks for polycystic (above 0) or against it, float32 (side, side), in logits.

    ``pixels``: one image, uint8 (H, W, 3), of a model that is a network.
    """
    side = model.side
    small = images.resize(pixels, side)
    cover = small.mean(axis=(0, 1)).round().astype(np.uint8)
    edges = np.linspace(0, side, CELLS + 1).round().astype(int)
    reach = (edges[1] - edges[0]) // 2
    covered = np.repeat(small[None], CELLS**2, axis=0)
    for place in range(CELLS**2):
        top, left = edges[place // CELLS], edges[place % CELLS]
        bottom, right = edges[place // CELLS + 1], edges[place % CELLS + 1]
        covered[place, max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach] = cover
    whole = float(model.logits(small[None])[0])
    logits = np.concatenate([model.logits(covered[start : start + BATCH]) for start in range(0, CELLS**2, BATCH)])
    map_ = (whole - logits).reshape(CELLS, CELLS).astype(np.float32)
    return ndimage.zoom(map_, side / CELLS, order=1, grid_mode=True, mode="nearest")
