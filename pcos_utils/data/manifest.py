"""List every file in class folders, one row per file; each file is decoded once, and bad files stay in the list."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.config import CLASS_NAMES, Study, StudyError
from pcos_utils.data import labels as label_table
from pcos_utils.data import layout, words
from pcos_utils.data.images import ImageError, decode, opened
from pcos_utils.files import sha256
from pcos_utils.progress import bar

COLUMNS = ["path", "label", "folder_split", "status", "reason", "width", "height", "mode", "format", "bytes"]
COLUMNS += ["sha256", "pixel_sha256"]
# Read as text, because a digest of digits alone is not a number and an empty cell is an empty text.
TEXT = {"path", "folder_split", "status", "reason", "mode", "format", "sha256", "pixel_sha256"}
TEXT |= {"source", "evidence", "used", "split", "class", "group", "dataset"}
MOST_LINKS = 20  # to one folder; folders that all link to one another have endless ways through them
LITTER = {"thumbs.db", "desktop.ini"}  # of Windows; the litter of other systems begins with a dot


def scan(folder: Path, labels: Path | None = None) -> pd.DataFrame:
    """Return the manifest of a folder of class folders, one row per file, sorted by path.

    Columns: ``path`` (relative), ``label`` (0 or 1), ``folder_split`` (train, test or empty, from the folder names),
    ``status`` (ok, empty, not a file, unreadable, not an image, damaged, too large) with its ``reason``, size, mode,
    format, bytes, ``sha256`` of the file, and ``pixel_sha256`` of the decoded pixels. With ``labels``, a table as in
    ``labels.read``, the table and not the class folders decides which files are read and what their labels are; its
    ``group`` is kept. Raises StudyError if the folder cannot be studied.
    """
    files = sorted(listing(folder, labels), key=lambda file: file[1])
    if not files:
        classes = "pco or infected for polycystic, normal or notinfected for normal"
        raise StudyError(f"{folder} holds no class folders with files; name them {classes}, or give LABELS=TABLE.")
    table = pd.DataFrame(decoded([file[:2] for file in files]), columns=COLUMNS)
    table["label"], table["folder_split"] = zip(*(file[2:4] for file in files), strict=True)
    if files[0][4] is not None:
        table["group"] = [file[4] for file in files]
    readable = table[table.status == "ok"]
    if readable.empty:
        raise StudyError(f"None of the {len(table)} files under {folder} is a readable image; check the folder.")
    if readable.label.nunique() < 2:
        name = CLASS_NAMES[readable.label.iloc[0]]
        remedy = "label images of the other class too" if labels else "add the other class's folder"
        raise StudyError(f"{folder} holds readable images of one class only ({name}); {remedy}.")
    return table


def decoded(
    files: list[tuple[Path, str]],
    look: Callable[[Path, dict, np.ndarray], list[dict]] | None = None,
    keep: Callable[[list, Callable], Iterable[list[dict]]] | None = None,
) -> Iterator[dict]:
    """Yield the row of each file, (place, relative path), or the rows that ``look`` returns for its frames.

    ``look`` takes the file, its row and the pixels of its first frame. ``keep``, such as ``shards.kept`` of a folder,
    keeps the rows for whoever asks again.
    """
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        make = partial(pool.map, lambda file: _rows(*file, look))
        for rows in keep(files, make) if keep else bar(make(files), "decode", total=len(files)):
            yield from rows


def read(path: Path) -> pd.DataFrame:
    """Read a manifest, or the table of sources made from it; empty cells are NaN in numeric columns and "" in text."""
    columns = pd.read_csv(path, nrows=0).columns
    numbers = {name: [""] for name in columns if name not in TEXT}
    return pd.read_csv(path, keep_default_na=False, na_values=numbers, dtype=dict.fromkeys(TEXT & set(columns), str))


def used(study: Study) -> pd.DataFrame:
    """Return the used rows of a study's sources.csv, numbered from 0."""
    return read(study.report_dir / "sources.csv").query("used == 'yes'").reset_index(drop=True)


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
    """Count the files that are not read, since they are hidden or of no class; ``own``: a study's data folder."""
    ours = own and own / "manifest.csv"  # which the study writes
    return sum(path != ours for path in walk(folder)) - len(listing(folder, labels))


def listing(folder: Path, labels: Path | None = None) -> list[tuple[Path, str, int, str, str | None]]:
    """List the files to read as (path, name, label, split, group or None). Raises StudyError if it cannot."""
    paths = {path.relative_to(folder).as_posix(): path for path in walk(folder)}
    # A folder that is a link or may not be listed comes as a file, and can itself be a class folder.
    folders = {name: tuple(name.split("/"))[: None if os.path.isdir(path) else -1] for name, path in paths.items()}
    groups = {}
    if labels:
        table = label_table.match(labels, list(paths))
        label_of, groups = table.label.to_dict(), table.get("group", {})
        seen = layout.read([folders[name] for name in table.index]).set_index(table.index)["class"]
        label_table.contradicting(labels, table.label.astype(int).astype(str), seen)
    else:
        visible = [name for name in paths if not litter(name)]
        named = layout.answered([folders[name] for name in visible])
        label_of = {name: layout.signed(parts) for name, parts in zip(visible, named, strict=True)}
        if all(label is None for label in label_of.values()):  # folders called 0 and 1
            label_of = dict(zip(visible, layout.read([folders[name] for name in visible]).label, strict=True))
    files = []
    for name, path in paths.items():
        if pd.notna(label := label_of.get(name)):
            files.append((path, name, int(label), layout.train_or_test(folders[name]), groups.get(name)))
    return files


def litter(name: str) -> bool:
    """Return whether a relative path is of the desktop and not of the data: hidden, or Windows' and macOS's own."""
    parts = name.lower().split("/")
    return parts[-1] in LITTER or "__macosx" in parts or any(part.startswith((".", "~$", "@")) for part in parts)


def named_frame(path: str) -> str:
    """Return the frame that a file name claims, such as ``pco_1`` for ``22_pco_1.jpg`` and ``pco_1.jpg``, or "".

    The scheme is [number of the copy]_class_number. A claim never replaces what the audit finds in the pixels.
    """
    stem = path.rpartition("/")[2].rpartition(".")[0].lower()
    named = re.fullmatch(rf"(?:[0-9]+_)?((?:{'|'.join(words.LABEL_OF_FOLDER)})_[0-9]+)", stem)
    return named[1] if named else ""


def walk(folder: Path, *, follow: bool = False) -> Iterator[Path]:
    """Yield every file, and every folder that is not entered: links, which could loop, and what may not be listed.

    With ``follow``, for an audit, a link is entered unless it leads to a folder around it or around a link on the way,
    and hidden folders are not. ``os.walk`` would drop what is not entered.
    """
    places, linked = [(folder, ())], Counter()
    while places:
        place, way = places.pop()
        try:
            with os.scandir(place) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if place == folder:
                raise StudyError(f"{folder} cannot be listed ({error.strerror}); give yourself permission.") from None
            yield place
            continue
        for entry in entries:
            path, here = Path(entry.path), way
            enter = entry.is_dir(follow_symlinks=False) and not (follow and litter(entry.name))
            # entry.is_dir() would raise for a link to itself.
            if follow and entry.is_symlink() and os.path.isdir(entry.path):
                real, here = os.path.realpath(path), (*way, os.path.realpath(place))
                enter = linked[real] < MOST_LINKS and not any(Path(passed).is_relative_to(real) for passed in here)
                linked[real] += enter
            if enter:
                places.append((path, here))
            else:
                yield path


def _rows(path: Path, relative: str, look: Callable | None) -> list[dict]:
    row = {"path": relative, "status": "ok", "reason": ""}
    # Bytes that are not UTF-8 cannot be written to a table, and a carriage return is read back as the end of a row.
    printable = os.fsencode(relative).decode("utf-8", "backslashreplace").replace("\r", "\\r")
    if printable != relative:
        reason = "its name is not printable text; rename it"
        return [row | {"path": printable, "status": "unreadable", "reason": reason}]
    try:
        with opened(path, relative) as stream:
            row["bytes"] = os.fstat(stream.fileno()).st_size
            row["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
        pixels, facts = decode(path, relative)
    except ImageError as error:
        return [row | {"status": error.status, "reason": error.reason}]
    except OSError as error:
        return [row | {"status": "unreadable", "reason": (error.strerror or "no reason given").lower()}]
    row |= facts | {"pixel_sha256": digest(pixels)}
    return look(path, row, pixels) if look else [row]
