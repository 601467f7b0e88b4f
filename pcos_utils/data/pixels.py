"""Decode and resize every image once for all later runs, with the changed copies of the published study.

The published study used a left-right flip with probability .5, a rotation within 20 degrees and a brightness factor
from .75 to 1.25. Before training it made 30 copies of each polycystic and 11 of each normal frame, itself included.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

from pcos_utils.data import images, manifest
from pcos_utils.files import alone_in, appearing, code

MAPPED = 256_000_000  # bytes; a larger file is mapped from the disk, a smaller one is read
FLIP, ROTATION, BRIGHTNESS = 0.5, 20.0, 0.25
# 30 copies of 10 polycystic and 11 copies of 28 normal training frames.
PUBLISHED_IMAGES = {1: 300, 0: 308}


def stack(table: pd.DataFrame, folder: Path, side: int, cache: Path, *, seed: int = 0) -> np.ndarray:
    """Return the images of the table at one size, uint8, shape (n, side, side, 3), from the cache if they are there.

    ``table`` has ``file`` (below ``folder``), ``sha256`` and ``copy``. Copy 0 is the file's own image, and any other
    number is a changed copy, drawn from ``seed``, the file's digest and that number. The name of the file in ``cache``
    holds a digest of everything that decides the pixels. A file made for an earlier table at the same ``side`` is
    removed. Raises StudyError if a file no longer has its ``sha256``.
    """
    manifest.need_unchanged(table, folder)
    facts = [table[["sha256", "copy"]].values.tolist(), side, seed, code(*images.CODE, "data/pixels.py")]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    kind = f"{side}px-copies" if table["copy"].any() else f"{side}px"
    path = cache / f"{kind}-{key[:20]}.npy"
    with alone_in(cache, lambda: None):
        if (pixels := _read(path)) is None:
            for earlier in cache.glob(f"{kind}-{'?' * 20}.npy"):
                earlier.unlink()
            _write(path, table, folder, side, seed)
            pixels = _read(path)
    return pixels


def _read(path: Path) -> np.ndarray | None:
    try:
        # Copy on write, because torch needs writable memory and the file must not change.
        return np.load(path, mmap_mode="c" if path.stat().st_size > MAPPED else None)
    except (OSError, ValueError, EOFError):  # missing, cut short or overwritten, so it is made again
        return None


def _write(path: Path, table: pd.DataFrame, folder: Path, side: int, seed: int) -> None:
    with appearing(path) as temporary:
        pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(table), side, side, 3))

        def fill(rows: pd.DataFrame) -> None:
            """Put one file's image and its copies in their places."""
            loaded = images.load(folder / rows.file.iloc[0])
            for place, digest, copy in zip(rows.index, rows.sha256, rows["copy"], strict=True):
                drawn = np.random.default_rng([seed, int(digest[:16], 16), copy])
                pixels[place] = images.resize(change(loaded, drawn) if copy else loaded, side)

        numbered = table.reset_index(drop=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and resizes outside Python's lock
            list(pool.map(fill, [rows for _, rows in numbered.groupby("file", sort=False)]))
        pixels.flush()


def copies_of(images: pd.DataFrame, copies: dict[int, int], *, synthetic: bool) -> dict[int, int]:
    """Return the number of copies of each image by class, at least 1 because it counts the image itself.

    ``images`` are those of the training side, with ``label``, and ``copies`` is the recipe. Data with more images than
    dataset B get fewer copies, so that a class keeps about its published number of images. Phantoms get no extra
    copies, because a simulator can make new images instead.
    """
    if synthetic:
        return {0: 1, 1: 1}
    have = images.label.value_counts()
    return {label: max(1, min(n, round(PUBLISHED_IMAGES[label] / have[label]))) for label, n in copies.items()}


def expand(images: pd.DataFrame, copies: dict[int, int]) -> pd.DataFrame:
    """Return one row per copy, with its number in ``copy`` (0 is the image itself) and, as published, in ``path``.

    ``file`` is the image on disk: the path ``pco/3_pco_1.jpg`` is copy 3 of the file ``pco/pco_1.jpg``.
    """
    rows = images.loc[images.index.repeat(images.label.map(copies))].rename(columns={"path": "file"})
    rows["copy"] = rows.groupby("file").cumcount()
    files = zip(map(PurePosixPath, rows.file), rows["copy"], strict=True)
    rows["path"] = [str(file.with_name(f"{copy}_{file.name}") if copy else file) for file, copy in files]
    return rows.reset_index(drop=True)


def change(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a changed copy of an image, uint8 (height, width, 3); corners that the rotation uncovers are black."""
    image = Image.fromarray(pixels)
    if rng.random() < FLIP:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = image.rotate(rng.uniform(-ROTATION, ROTATION))  # nearest pixel, as torchvision rotates
    return np.asarray(ImageEnhance.Brightness(image).enhance(rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)))
