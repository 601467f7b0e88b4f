"""List every file in class folders, one row per file; each file is decoded once, and bad files stay in the list."""

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.config import CLASS_NAMES, StudyError
from pcos_utils.data import labels as label_table
from pcos_utils.data.datasets import LABEL_OF_FOLDER, SPLIT_OF_FOLDER
from pcos_utils.data.images import ImageError, decode, opened
from pcos_utils.files import sha256
from pcos_utils.progress import bar

COLUMNS = ["path", "label", "folder_split", "status", "reason", "width", "height", "mode", "format", "bytes"]
COLUMNS += ["sha256", "pixel_sha256"]
# Read as text, because a digest of digits alone is not a number and an empty cell is an empty text.
TEXT = {"path", "folder_split", "status", "reason", "mode", "format", "sha256", "pixel_sha256"}
TEXT |= {"source", "evidence", "used", "split"}
LITTER = {"thumbs.db", "desktop.ini"}  # of Windows; the litter of other systems begins with a dot


def scan(folder: Path, labels: Path | None = None, every: bool = False) -> pd.DataFrame:
    """Return the manifest of a folder of class folders, one row per file, sorted by path.

    Columns: ``path`` (relative), ``label`` (0 or 1), ``folder_split`` (train, test or empty, from the folder names),
    ``status`` (ok, empty, not a file, unreadable, not an image, damaged, too large) with its ``reason``, size, mode,
    format, bytes, ``sha256`` of the file, and ``pixel_sha256`` of the decoded pixels. With ``labels``, a table as in
    ``labels.read``, the table and not the class folders decides which files are read and what their labels are. With
    ``every``, for an audit, files outside class folders are read too and have no label. Raises StudyError if the
    folder cannot be studied or audited.
    """
    files = sorted(listing(folder, labels, every), key=lambda file: file[1])
    if not files and every:
        raise StudyError(f"{folder} holds no files; name a folder of images.")
    if not files:
        classes = "pco or infected for polycystic, normal or notinfected for normal"
        raise StudyError(f"{folder} holds no class folders with files; name them {classes}, or give LABELS=TABLE.")
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        rows = bar(pool.map(_row, *zip(*files, strict=True)), "decode", total=len(files))
        table = pd.DataFrame(list(rows), columns=COLUMNS)
    if every:
        table["label"] = table.label.astype("Int64")
    readable = table[table.status == "ok"]
    if readable.empty:
        raise StudyError(f"None of the {len(table)} files under {folder} is a readable image; check the folder.")
    if readable.label.nunique() < 2 and not every:
        name = CLASS_NAMES[readable.label.iloc[0]]
        remedy = "label images of the other class too" if labels else "add the other class's folder"
        raise StudyError(f"{folder} holds readable images of one class only ({name}); {remedy}.")
    return table


def read(path: Path) -> pd.DataFrame:
    """Read a manifest, or the table of sources made from it; empty cells are NaN in numeric columns and "" in text."""
    columns = pd.read_csv(path, nrows=0).columns
    numbers = {name: [""] for name in columns if name not in TEXT}
    return pd.read_csv(path, keep_default_na=False, na_values=numbers, dtype=dict.fromkeys(TEXT & set(columns), str))


def need_unchanged(table: pd.DataFrame, folder: Path) -> None:
    """Raise StudyError unless each ``file`` below the folder still has the ``sha256`` that the table recorded."""
    for name, recorded in table.drop_duplicates("file").set_index("file").sha256.items():
        try:
            problem = "" if sha256(folder / name) == recorded else "changed"
        except OSError:
            problem = "is gone or cannot be read"
        if problem:
            raise StudyError(
                f"{folder / name} {problem} since the images were listed; run notebook 01 again, then all after it."
            )


def digest(pixels: np.ndarray) -> str:
    """Return the SHA-256, hexadecimal, of 8-bit pixels and their shape, which is the same in every lossless format."""
    # Without the shape, a 40 x 60 and a 60 x 40 frame of the same bytes would be one picture.
    return hashlib.sha256(f"{pixels.shape}:".encode() + pixels.tobytes()).hexdigest()


def outside(folder: Path, labels: Path | None = None, own: Path | None = None) -> int:
    """Count the files under the folder that are not read: outside class folders, hidden, or not in the table.

    The manifest that a study writes to its ``own`` data folder is left out.
    """
    ours = own and own / "manifest.csv"
    return sum(path != ours for path in _walk(folder)) - len(listing(folder, labels))


def listing(folder: Path, labels: Path | None = None, every: bool = False) -> list[tuple[Path, str, int | None, str]]:
    """List the files to read with their relative path, label and folder split. Raises StudyError if it cannot."""
    paths = {path.relative_to(folder).as_posix(): path for path in _walk(folder)}
    label_of = label_table.match(labels, list(paths)) if labels else {}
    files = []
    for name, path in paths.items():
        parts = name.lower().split("/")
        litter = parts[-1] in LITTER or any(part.startswith(".") for part in parts)
        # A folder that is a link or may not be listed comes as a file, and can itself be a class folder.
        folders = parts if os.path.isdir(path) else parts[:-1]
        label = label_of.get(name)
        if not labels and not litter:
            label = next((LABEL_OF_FOLDER[part] for part in reversed(folders) if part in LABEL_OF_FOLDER), None)
        if label is not None or (every and not litter):
            split = next((SPLIT_OF_FOLDER[part] for part in folders if part in SPLIT_OF_FOLDER), "")
            files.append((path, name, label, split))
    return files


def named_frame(path: str) -> str:
    """Return the frame that a file name claims, such as ``pco_1`` for ``22_pco_1.jpg`` and ``pco_1.jpg``, or "".

    The scheme is [number of the augmented copy]_class_number. A name is only a claim. It is compared with what the
    audit finds in the pixels and never replaces it.
    """
    stem = path.rpartition("/")[2].rpartition(".")[0].lower()
    named = re.fullmatch(rf"(?:[0-9]+_)?((?:{'|'.join(LABEL_OF_FOLDER)})_[0-9]+)", stem)
    return named[1] if named else ""


def _walk(folder: Path) -> Iterator[Path]:
    """Yield every file, and every folder that is not entered: links, which could loop, and what may not be listed.

    ``os.walk`` would drop both.
    """
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
    # Bytes that are not UTF-8 cannot be written to a table, and a carriage return is read back as the end of a row.
    printable = os.fsencode(relative).decode("utf-8", "backslashreplace").replace("\r", "\\r")
    if printable != relative:
        return row | {"path": printable, "status": "unreadable", "reason": "its name is not printable text; rename it"}
    try:
        with opened(path, relative) as stream:
            row["bytes"] = os.fstat(stream.fileno()).st_size
            row["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
            pixels, facts = decode(stream, relative)
    except ImageError as error:
        return row | {"status": error.status, "reason": error.reason}
    except OSError as error:
        return row | {"status": "unreadable", "reason": (error.strerror or "no reason given").lower()}
    return row | facts | {"pixel_sha256": digest(pixels)}
