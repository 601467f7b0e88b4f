"""Every image decoded and resized once: one file of 8-bit pixels, read from the disk's memory by all runs after."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.data import images, offline
from pcos_utils.files import alone_in, appearing

MAPPED = 256_000_000  # bytes; a larger file stays on the disk and is mapped, a smaller one is read


def stack(table: pd.DataFrame, folder: Path, side: int, cache: Path, *, seed: int = 0) -> np.ndarray:
    """The images of the table at one size, uint8, shape (n, side, side, 3).

    ``table`` has ``file`` (below ``folder``), ``sha256`` and ``copy``: 0 is the file's own image, any other number a
    changed copy, drawn from ``seed``, the file's digest and the number. The file in ``cache`` bears a digest of all
    that decides the pixels; one made for an earlier table of the same size is removed.
    """
    key = _key(table, side, seed)
    kind = f"{side}px-copies" if table["copy"].any() else f"{side}px"
    path = cache / f"{kind}-{key[:20]}.npy"
    with alone_in(cache, lambda: None):
        found = _read(path)
        if found is None:
            for earlier in cache.glob(f"{kind}-{'?' * 20}.npy"):
                earlier.unlink()
            _write(path, table, folder, side, seed)
            found = _read(path)
    return found


def _key(table: pd.DataFrame, side: int, seed: int) -> str:
    code = [Path(module.__file__).read_text() for module in (images, offline)]
    rows = table[["sha256", "copy"]].values.tolist()
    return hashlib.sha256(json.dumps([rows, side, seed, code]).encode()).hexdigest()


def _read(path: Path) -> np.ndarray | None:
    try:
        # Copy on write: torch wants memory that may be written to, and the file must stay as it is.
        return np.load(path, mmap_mode="c" if path.stat().st_size > MAPPED else None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):  # cut short or overwritten: made again
        return None


def _write(path: Path, table: pd.DataFrame, folder: Path, side: int, seed: int) -> None:
    with appearing(path) as temporary:
        pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(table), side, side, 3))

        def fill(rows: pd.DataFrame) -> None:
            """Nothing; one file's image and its copies stand in their places."""
            loaded = images.load(folder / rows.file.iloc[0])
            for place, digest, copy in zip(rows.index, rows.sha256, rows["copy"], strict=True):
                drawn = np.random.default_rng([seed, int(digest[:16], 16), copy])
                pixels[place] = images.resize(offline.change(loaded, drawn) if copy else loaded, side)

        numbered = table.reset_index(drop=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and resizes outside Python's lock
            list(pool.map(fill, [rows for _, rows in numbered.groupby("file", sort=False)]))
        pixels.flush()
