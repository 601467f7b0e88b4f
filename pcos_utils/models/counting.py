"""Follicles one by one, and one row of numbers per image, from the maps of the follicle network; without torch."""

import numpy as np
from scipy import ndimage

THRESHOLD = 0.5  # of a probability, for the follicle and the ovary map
CORE_THRESHOLD, LEAST_CORE = 0.2, 4  # of a core's probability and px; chosen on phantoms (benchmarks/count_choice.py)
SETTINGS = {"core_threshold": CORE_THRESHOLD, "least_core": LEAST_CORE}
LEAST_OVARY = 200  # px, with fewer no ovary was found and the frame stands for it
PERIPHERAL = 0.55  # of the way from the ovary's centre to its outline
COLUMNS = ("count", "mean_diameter", "largest_diameter", "area_share", "peripheral_share")


def cores(core_map: np.ndarray, threshold: float = CORE_THRESHOLD, least: int = LEAST_CORE) -> np.ndarray:
    """The connected parts of a core map (H, W) that count, numbered from 1 without gaps, int32 (H, W); 0 is none.

    A part counts where its probability is above ``threshold`` on at least ``least`` pixels.
    """
    seeds, _ = ndimage.label(core_map > threshold)
    large = np.bincount(seeds.ravel()) >= least
    large[0] = False
    return (np.cumsum(large) * large)[seeds].astype(np.int32)


def instances(maps: np.ndarray) -> np.ndarray:
    """The follicles of one image, numbered from 1 without gaps, int32 (H, W); 0 is none. ``maps``: (3, H, W).

    Each core is one follicle and grows to the pixels of the follicle map that lie nearest to it. A part of the
    follicle map without a core is no follicle.
    """
    inside, seeds = maps[0] > THRESHOLD, cores(maps[1])
    if not seeds.any():
        return seeds
    nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    parts, _ = ndimage.label(inside | (seeds > 0))
    cored = np.isin(parts, np.unique(parts[seeds > 0]))
    return np.where(cored, seeds[tuple(nearest)], 0).astype(np.int32)


def measure(maps: np.ndarray, numbered: np.ndarray | None = None) -> dict:
    """One row about one image: COLUMNS, from ``maps`` (3, H, W). Diameters in % of the frame's width.

    ``area_share``: of the ovary that is follicle; ``peripheral_share``: of the follicles that have their centre in
    the outer part of the ovary. All are 0 where no follicle is found. ``numbered``: ``instances(maps)``, where known.
    """
    numbered = instances(maps) if numbered is None else numbered
    areas = np.bincount(numbered.ravel())[1:]  # (count,)
    if not len(areas):
        return dict.fromkeys(COLUMNS, 0)
    diameters = 100 * 2 * np.sqrt(areas / np.pi) / maps.shape[2]
    ovary = maps[2] > THRESHOLD
    if ovary.sum() < LEAST_OVARY:
        ovary = np.ones_like(ovary)
    centres = np.array(ndimage.center_of_mass(numbered > 0, numbered, range(1, len(areas) + 1)))
    outer = _reach(ovary, centres) > PERIPHERAL
    area = areas.sum() / (ovary | (numbered > 0)).sum()
    return dict(zip(COLUMNS, (len(areas), diameters.mean(), diameters.max(), area, outer.mean()), strict=True))


def _reach(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    # How far points (n, 2) lie from a mask's centre, 1 on the ellipse of its second moments: a uniform ellipse
    # reaches to two standard deviations.
    pixels = np.argwhere(mask)
    away = points - pixels.mean(axis=0)
    return np.sqrt(np.einsum("ni,ij,nj->n", away, np.linalg.inv(np.cov(pixels.T)), away) / 4)
