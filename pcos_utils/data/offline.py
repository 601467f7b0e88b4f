"""Augmentation before training, as published: changed copies of each picture, made once and kept.

The recipe of the published study: a left-right flip with probability .5, a rotation within 20 degrees and a brightness
factor within .75 and 1.25; 30 copies of each polycystic and 11 of each normal frame, the frame itself among them.
"""

from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

FLIP, ROTATION, BRIGHTNESS = 0.5, 20.0, 0.25
# What the copies were made for: 30 of 10 polycystic and 11 of 28 normal training frames.
PUBLISHED_IMAGES = {1: 300, 0: 308}


def copies_of(images: pd.DataFrame, copies: dict[int, int], *, synthetic: bool) -> dict[int, int]:
    """How many copies of each image of a class are made, the image itself among them: at least 1.

    ``images`` are those of the training side, with ``label``; ``copies`` is the recipe. Data with more pictures than
    dataset B get fewer copies, so that a class keeps about its published number of images; phantoms get none, because
    a simulator makes new pictures instead.
    """
    if synthetic:
        return {0: 1, 1: 1}
    have = images.label.value_counts()
    return {label: max(1, min(n, round(PUBLISHED_IMAGES[label] / have[label]))) for label, n in copies.items()}


def expand(images: pd.DataFrame, copies: dict[int, int]) -> pd.DataFrame:
    """One row per copy, with ``copy`` (0 is the image itself) and, in its ``path``, the copy's number as published.

    ``file`` is the image on disk: ``pco/3_pco_1.jpg`` is copy 3 of ``pco/pco_1.jpg``.
    """
    rows = images.loc[images.index.repeat(images.label.map(copies))].rename(columns={"path": "file"})
    number = rows.groupby("file").cumcount()
    path = [_numbered(name, n) if n else name for name, n in zip(rows.file, number, strict=True)]
    return rows.assign(copy=number, path=path).reset_index(drop=True)


def _numbered(file: str, number: int) -> str:
    place = PurePosixPath(file)
    return str(place.with_name(f"{number}_{place.name}"))


def change(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One changed copy of an image, uint8 (height, width, 3) like it; corners that a rotation uncovers are black."""
    image = Image.fromarray(pixels)
    if rng.random() < FLIP:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = image.rotate(rng.uniform(-ROTATION, ROTATION))  # the nearest pixel, as torchvision's rotation takes it
    return np.asarray(ImageEnhance.Brightness(image).enhance(rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)))
