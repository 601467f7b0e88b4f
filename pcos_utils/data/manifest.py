"""One row per file: every file in a class folder is decoded once; bad files are named, never dropped in silence."""

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from pcos_utils.config import StudyError
from pcos_utils.data import labels as label_table
from pcos_utils.data.datasets import LABEL_OF_FOLDER, SPLIT_OF_FOLDER
from pcos_utils.data.images import ImageError, decode, opened

COLUMNS = ["path", "label", "folder_split", "status", "reason", "width", "height", "mode", "format", "bytes"]
COLUMNS += ["sha256", "pixel_sha256"]
# Read as text: a digest of digits alone is no number, and an empty cell is an empty text.
TEXT = {"path", "folder_split", "status", "reason", "mode", "format", "sha256", "pixel_sha256"}
TEXT |= {"source", "evidence", "used", "split"}
LITTER = {"thumbs.db", "desktop.ini"}  # of Windows; other systems' begins with a dot


def scan(folder: Path, labels: Path | None = None, every: bool = False) -> pd.DataFrame:
    """The manifest of a folder of class folders, one row per file, sorted by path.

    With ``labels``, a table as in ``labels.read``, the table says which files are read and what they show, and class
    folders say nothing. Columns: ``path`` (relative), ``label`` (0 or 1), ``folder_split`` (train, test or empty, from
    the folder names), ``status`` (ok, empty, not a file, unreadable, not an image, damaged, too large) with its
    ``reason``, size, mode, format, bytes, ``sha256`` of the file, and ``pixel_sha256`` of the decoded pixels. With
    ``every``, which an audit asks for, files outside class folders are read too and have no label. Raises StudyError
    when no study, or no audit, can be made of it.
    """
    files = sorted(listing(folder, labels, every), key=lambda file: file[1])
    if not files and every:
        raise StudyError(f"{folder} holds no files; name a folder of images.")
    if not files:
        classes = "pco or infected for polycystic, normal or notinfected for normal"
        raise StudyError(f"{folder} holds no class folders with files; name them {classes}, or give LABELS=TABLE.")
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = pool.map(_row, *zip(*files, strict=True))
        plain = "PCOS_PLAIN" in os.environ  # a stored bar is dead on every other page
        rows = list(tqdm(found, total=len(files), desc="decode", mininterval=2, disable=plain))
    table = pd.DataFrame(rows, columns=COLUMNS)
    if every:
        table["label"] = table.label.astype("Int64")
    readable = table[table.status == "ok"]
    if readable.empty:
        raise StudyError(f"None of the {len(table)} files under {folder} is a readable image; check the folder.")
    if readable.label.nunique() < 2 and not every:
        found = "polycystic" if readable.label.iloc[0] else "normal"
        remedy = "label images of the other class too" if labels else "add the other class's folder"
        raise StudyError(f"{folder} holds readable images of one class only ({found}); {remedy}.")
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


def outside(folder: Path, labels: Path | None = None, own: Path | None = None) -> int:
    """The number of files under the folder that are not read: outside class folders, hidden, or not in the table.

    What a study keeps in its ``own`` data folder, the manifest and a cache that grows, is not counted.
    """
    written = {own / "manifest.csv", own / "cache"} if own else set()
    found = [path for path in _walk(folder) if not written & {path, *path.parents}]
    return len(found) - len(listing(folder, labels))


def listing(folder: Path, labels: Path | None = None, every: bool = False) -> list[tuple[Path, str, int | None, str]]:
    """The files to read, each with its relative path, label and folder split. Raises StudyError as the table does."""
    found = [(path, path.relative_to(folder)) for path in _walk(folder)]
    label_of = label_table.match(labels, [short.as_posix() for _, short in found]) if labels else None
    files = []
    for path, short in found:
        # A folder that is listed as a file, because it is a link or may not be listed, can itself be a class folder.
        parts = [part.lower() for part in (short if os.path.isdir(path) else short.parent).parts]
        litter = any(part.startswith(".") for part in short.parts) or path.name.lower() in LITTER
        if label_of is not None:
            label = label_of.get(short.as_posix())
        else:
            label = next((LABEL_OF_FOLDER[part] for part in reversed(parts) if part in LABEL_OF_FOLDER), None)
        named = label is not None and label_of is not None
        if named or not litter and (label is not None or every):
            split = next((SPLIT_OF_FOLDER[part] for part in parts if part in SPLIT_OF_FOLDER), "")
            files.append((path, short.as_posix(), label, split))
    return files


def named_frame(path: str) -> str:
    """The frame that a file name says it shows, such as ``pco_1`` for ``22_pco_1.jpg`` and ``pco_1.jpg``, or "".

    The scheme is [number of the augmented copy]_class_number. A name is a claim: it is compared with what the audit
    finds in the pixels, and never stands in for it.
    """
    stem = path.rpartition("/")[2].rpartition(".")[0].lower()
    named = re.fullmatch(rf"(?:[0-9]+_)?((?:{'|'.join(LABEL_OF_FOLDER)})_[0-9]+)", stem)
    return named[1] if named else ""


def _walk(folder: Path) -> Iterator[Path]:
    # Every file, and every folder that is not entered. Links to folders are not, so that a link to its own parent
    # cannot loop; nor is what may not be listed. os.walk would drop both, and its recursion ends at 1,000 folders.
    places = [folder]
    while places:
        place = places.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        places.append(Path(entry.path))
                    else:
                        yield Path(entry.path)
        except OSError as error:
            if place == folder:
                raise StudyError(f"{folder} cannot be listed ({error.strerror}); give yourself permission.") from None
            yield place


def _row(path: Path, relative: str, label: int, split: str) -> dict:
    row = {"path": relative, "label": label, "folder_split": split, "status": "ok", "reason": ""}
    if not _fits_a_table(relative):
        written = os.fsencode(relative).decode("utf-8", "backslashreplace").replace("\r", "\\r")
        return row | {"path": written, "status": "unreadable", "reason": "its name is not printable text; rename it"}
    try:
        with opened(path, relative) as stream:
            row |= {
                "bytes": os.fstat(stream.fileno()).st_size,
                "sha256": hashlib.file_digest(stream, "sha256").hexdigest(),
            }
            pixels, facts = decode(stream, relative)
    except ImageError as error:
        return row | {"status": error.status, "reason": error.reason}
    except OSError as error:
        return row | {"status": "unreadable", "reason": (error.strerror or "no reason given").lower()}
    return row | facts | {"pixel_sha256": digest(pixels)}


def _fits_a_table(name: str) -> bool:
    # A name of bytes that are no UTF-8 cannot be written, and a carriage return is read back as the end of a row.
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\r" not in name
