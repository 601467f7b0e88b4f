"""One row per file: every file in a class folder is decoded once; bad files are named, never dropped in silence."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from pcos_utils.config import StudyError
from pcos_utils.data.datasets import LABEL_OF_FOLDER, SPLIT_OF_FOLDER
from pcos_utils.data.images import ImageError, decode

COLUMNS = ["path", "label", "folder_split", "status", "width", "height", "mode", "format", "bytes"]
COLUMNS += ["sha256", "pixel_sha256", "phash"]
# Read as text: a digest of digits alone is no number, and an empty cell is an empty text.
TEXT = {"path", "folder_split", "status", "mode", "format", "sha256", "pixel_sha256", "phash"}
TEXT |= {"source", "used", "split"}


def scan(folder: Path) -> pd.DataFrame:
    """The manifest of a folder of class folders, one row per file, sorted by path.

    Columns: ``path`` (relative), ``label`` (0 or 1), ``folder_split`` (train, test or empty, from the folder names),
    ``status`` (ok, empty, truncated, not an image, too large, unreadable), size, mode, format, bytes, ``sha256`` of
    the file, ``pixel_sha256`` of the decoded pixels and their 64-bit perceptual hash ``phash``. Raises StudyError
    when no study can be made of it.
    """
    files = sorted(_labelled_files(folder))
    if not files:
        classes = "pco or infected for polycystic, normal or notinfected for normal"
        raise StudyError(f"{folder} holds no class folders with files; name them {classes}.")
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        rows = list(tqdm(pool.map(_row, *zip(*files, strict=True)), total=len(files), desc="decode", mininterval=2))
    table = pd.DataFrame(rows, columns=COLUMNS)
    readable = table[table.status == "ok"]
    if readable.empty:
        raise StudyError(f"None of the {len(table)} files under {folder} is a readable image; check the folder.")
    if readable.label.nunique() < 2:
        found = "polycystic" if readable.label.iloc[0] else "normal"
        raise StudyError(f"{folder} holds readable images of one class only ({found}); add the other class's folder.")
    return table


def read(path: Path) -> pd.DataFrame:
    """A manifest, or the table of sources made from it, as it was written: numbers may be missing, text not."""
    columns = pd.read_csv(path, nrows=0).columns
    numbers = {name: [""] for name in columns if name not in TEXT}
    return pd.read_csv(path, keep_default_na=False, na_values=numbers, dtype=dict.fromkeys(TEXT & set(columns), str))


def digest(pixels: np.ndarray) -> str:
    """SHA-256, hexadecimal, of 8-bit pixels and their shape: equal for one picture saved in two lossless formats."""
    # Without the shape a 40 x 60 and a 60 x 40 frame of the same bytes would be one picture.
    return hashlib.sha256(f"{pixels.shape}:".encode() + pixels.tobytes()).hexdigest()


def outside(folder: Path) -> int:
    """The number of files under the folder that lie in no class folder and are therefore not read."""
    every = sum(len(names) for _, _, names in os.walk(folder))
    return every - sum(1 for _ in _labelled_files(folder))


def _labelled_files(folder: Path) -> Iterator[tuple[Path, str, int, str]]:
    # os.walk does not follow links to folders, so a link that points at its own parent cannot loop.
    for place, _, names in os.walk(folder):
        parts = [part.lower() for part in Path(place).relative_to(folder).parts]
        labels = [LABEL_OF_FOLDER[part] for part in parts if part in LABEL_OF_FOLDER]
        if not labels:
            continue
        split = next((SPLIT_OF_FOLDER[part] for part in parts if part in SPLIT_OF_FOLDER), "")
        for name in names:
            if not name.startswith("."):
                path = Path(place, name)
                yield path, path.relative_to(folder).as_posix(), labels[-1], split


def _row(path: Path, relative: str, label: int, split: str) -> dict:
    row = {"path": relative, "label": label, "folder_split": split, "status": "ok"}
    try:
        data = path.read_bytes()
        row |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        pixels, facts = decode(path, relative)
    except ImageError as error:
        return row | {"status": error.status}
    except OSError:  # no permission, or a dangling link
        return row | {"status": "unreadable"}
    return row | facts | {"pixel_sha256": digest(pixels), "phash": str(imagehash.phash(Image.fromarray(pixels)))}
