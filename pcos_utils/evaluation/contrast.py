"""A follicle counter without a network: dark places against their surroundings. The baseline to beat.

A place is dark where the frame, slightly blurred, falls below a share of its own strongly blurred self; dark regions
of a follicle's size are counted. Its few settings are chosen on phantoms, never on a real frame.
"""

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from pcos_utils.evaluation import metrics

SIZE = (300, 200)  # px, width and height that every frame is brought to


class Settings(NamedTuple):
    """What counts as a dark region of a follicle's size, in pixels of a frame of ``SIZE``."""

    share: float  # of the surroundings' brightness, below which a place is dark
    fine: float  # px, SD of the blur that calms speckle
    coarse: float  # px, SD of the blur that makes the surroundings
    least: int  # px of area
    most: int  # px of area


GRID = tuple(
    Settings(*values)
    for values in product((0.4, 0.5, 0.6, 0.7), (1.0, 2.0, 3.0), (15.0, 30.0, 45.0), (60, 150), (4000,))
)
# The best of the grid on 400 phantoms (table: reports/benchmarks/contrast_choice.csv, made by
# python -m benchmarks.contrast_choice); no real frame had a say.
CHOSEN = Settings(share=0.6, fine=1.0, coarse=45.0, least=150, most=4000)


def count(image: np.ndarray, settings: Settings) -> int:
    """The number of dark regions of a follicle's size. ``image``: uint8, grey (H, W) or colour (H, W, 3)."""
    return counts(image, [settings])[0]


def counts(image: np.ndarray, grid: Iterable[Settings]) -> list[int]:
    """The number of dark regions under each of the settings; each blur is made once."""
    grey = image if image.ndim == 2 else image.mean(axis=2)
    grey = cv2.resize(grey.astype(np.float32), SIZE, interpolation=cv2.INTER_AREA)
    blurred, made = {}, []
    for settings in grid:
        for width in (settings.fine, settings.coarse):
            if width not in blurred:
                blurred[width] = cv2.GaussianBlur(grey, (0, 0), width, borderType=cv2.BORDER_REPLICATE)
        dark = blurred[settings.fine] < settings.share * blurred[settings.coarse]
        areas = cv2.connectedComponentsWithStats(dark.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
        made.append(int(((areas >= settings.least) & (areas <= settings.most)).sum()))
    return made


def choose(images: Iterable[np.ndarray], labels: np.ndarray, grid: tuple[Settings, ...] = GRID) -> pd.DataFrame:
    """The settings with the AUC of their count, best first; ties keep the grid's order. The images are phantoms'."""
    table = np.array([counts(image, grid) for image in images], float)  # (images, settings)
    even = np.ones(len(table))
    scored = [float(metrics.auc(np.asarray(labels), column, even)) for column in table.T]
    return (
        pd.DataFrame(grid, columns=Settings._fields)
        .assign(auc=scored)
        .sort_values("auc", ascending=False, kind="stable")
    )
