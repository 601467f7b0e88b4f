"""Separate and measure the follicles of one image, from the maps of the follicle network and without torch."""

import numpy as np
from scipy import ndimage

THRESHOLD = 0.5  # probability, for the follicle map and the ovary map
# Probability and px of a core, chosen on phantoms (table: reports/studies/count_choice.csv).
CORE_THRESHOLD, LEAST_CORE = 0.2, 4
SETTINGS = {"core_threshold": CORE_THRESHOLD, "least_core": LEAST_CORE}
LEAST_OVARY = 200  # px; with fewer, no ovary was found and the whole image is used instead
PERIPHERAL = 0.55  # share of the way from the ovary's centre to its outline
COLUMNS = ("count", "mean_diameter", "largest_diameter", "area_share", "peripheral_share")


def instances(maps: np.ndarray) -> np.ndarray:
    """Return the follicles of one image, numbered from 1 without gaps, int32 (H, W); 0 is none.

    ``maps``: (3, H, W). A core is a connected part of the core map with at least LEAST_CORE pixels. Each core is one
    follicle and grows to the pixels of the follicle map that are nearest to it. A part of the follicle map without a
    core is no follicle.
    """
    parts, _ = ndimage.label(maps[1] > CORE_THRESHOLD)
    large = np.bincount(parts.ravel()) >= LEAST_CORE
    large[0] = False
    cores = (np.cumsum(large) * large)[parts].astype(np.int32)
    if not cores.any():
        return cores
    nearest = ndimage.distance_transform_edt(cores == 0, return_distances=False, return_indices=True)
    regions, _ = ndimage.label((maps[0] > THRESHOLD) | (cores > 0))
    cored = np.isin(regions, np.unique(regions[cores > 0]))
    return np.where(cored, cores[tuple(nearest)], 0).astype(np.int32)


def measure(maps: np.ndarray) -> dict:
    """Return COLUMNS for one image, from ``maps`` (3, H, W). Diameters are in % of the image's width.

    ``area_share``: share of the ovary that is follicle. ``peripheral_share``: share of the follicles whose centre is in
    the outer part of the ovary. All are 0 if no follicle is found.
    """
    numbered = instances(maps)
    areas = np.bincount(numbered.ravel())[1:]  # (count,)
    if not len(areas):
        return dict.fromkeys(COLUMNS, 0)
    diameters = 100 * 2 * np.sqrt(areas / np.pi) / maps.shape[2]
    ovary = maps[2] > THRESHOLD
    if ovary.sum() < LEAST_OVARY:
        ovary = np.ones_like(ovary)
    centres = np.array(ndimage.center_of_mass(numbered > 0, numbered, range(1, len(areas) + 1)))
    # The distance from the ovary's centre is 1 on the ellipse of its second moments. It is divided by 4, because a
    # uniform ellipse reaches to two standard deviations.
    pixels = np.argwhere(ovary)
    away = centres - pixels.mean(axis=0)
    outer = np.sqrt(np.einsum("ni,ij,nj->n", away, np.linalg.inv(np.cov(pixels.T)), away) / 4) > PERIPHERAL
    area = areas.sum() / (ovary | (numbered > 0)).sum()
    return dict(zip(COLUMNS, (len(areas), diameters.mean(), diameters.max(), area, outer.mean()), strict=True))
