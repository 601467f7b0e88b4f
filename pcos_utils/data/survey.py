"""List every image of any folder for an audit, frame by frame, and set apart what is no scan.

A mask, a plain picture, a thumbnail or the litter of a desktop is counted and never compared.
"""

import re
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pandas as pd

from pcos_utils.config import StudyError
from pcos_utils.data import images, layout, manifest
from pcos_utils.data import labels as label_table

COLUMNS = ["path", "class", *manifest.COLUMNS[1:]]
APART = {
    "mask": "a mask or a drawing of few grey levels",
    "plain": "a picture of one grey level",
    "thumbnail": "a small copy",
    "litter": "a hidden file or a desktop's own",
    "other file": "a table, a text or a program",
}
OTHER = re.compile(
    r"\.(?:txt|md|csv|tsv|xlsx?|json|jsonl|xml|ya?ml|html?|pdf|docx?|py|ipynb|m|r|sh|log|ini|toml|cff|npy|npz|mat|h5|"
    r"hdf5|pkl|pt|pth|onnx|db|lock|zip|gz|tar|7z|rar)|(?:readme|licen[cs]e|citation|makefile|changelog)[^.]*",
    re.IGNORECASE,
)
SUFFIX = r"masks?|seg|segmentation|gt|ground_?truth|labels?|annotations?|contours?|lesion|roi"
MASK = re.compile(rf"(.+?)[-_. ]*(?:{SUFFIX})(?:[-_ ]?\d+)?", re.IGNORECASE)
THUMBNAIL = re.compile(r"thumb(?:nail)?s?[-_. ]?(.+)|(.+?)[-_. ]thumb(?:nail)?s?", re.IGNORECASE)
FLAT = 4  # grey levels to each side that count as one level, as JPEG blurs them
SHARE = {1: 0.999, 2: 0.995, 6: 0.98}  # of pixels at so many levels: plain, a drawing, a mask whose name says so
SMALL, LARGE = 64, 128  # px: longest side of an icon, and of half of the images beside which it is one


def survey(folder: Path, labels: Path | None = None, group_by: str = "") -> pd.DataFrame:
    """Return one row per image of a folder, of any classes and splits, sorted by path; a frame is ``file.tif#3``.

    Columns: as of ``manifest.scan``, with ``class`` ("" for none), ``label`` (the class's sign, or missing) and
    ``folder_split`` (train, val, test, fold 1, ...). ``status`` may also be a key of APART. With ``labels``, a table as
    in ``labels.read``, the table gives the class, and ``group`` and the split where it has them.
    ``group_by``, a regular expression, gives as ``group`` what its groups hold in a path. Raises StudyError if the
    folder cannot be audited.
    """
    files = {path.relative_to(folder).as_posix(): path for path in manifest.walk(folder, follow=True)}
    names = sorted(files)
    if not names:
        raise StudyError(f"{folder} holds no files; name a folder of images.")
    scans = [name for name in names if not manifest.litter(name)]
    rows = [{"path": name, "status": "litter", "reason": APART["litter"]} for name in set(names) - set(scans)]
    beside = {PurePosixPath(name).with_suffix("").as_posix() for name in scans}
    for found in manifest.decoded([(files[name], name) for name in scans], lambda *seen: _frames(*seen, beside)):
        rows += [_set_apart(row) for row in found]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "file"]).sort_values("path", ignore_index=True, kind="stable")
    table["file"] = table.file.fillna(table.path)
    _find_icons(table)
    table = _described(table, labels, scans)
    if group_by:
        table["group"] = groups(table.path, group_by)
    if not table.status.eq("ok").any():
        raise StudyError(f"None of the {len(table)} files under {folder} is a scan that can be read; check the folder.")
    return table.drop(columns="file")


def groups(paths: pd.Series, pattern: str) -> pd.Series:
    """Return what the groups of a regular expression hold in each path, or "" where it is not found."""
    try:
        pattern = re.compile(pattern)
    except re.error as error:
        raise StudyError(f"--group-by '{pattern}' is no regular expression ({error}); correct it.") from None
    found = [pattern.search(path) for path in paths]
    return pd.Series(["/".join(map(str, each.groups() or [each[0]])) if each else "" for each in found], paths.index)


def _described(table: pd.DataFrame, labels: Path | None, scans: list[str]) -> pd.DataFrame:
    """Return the table with class, label, split and what else the table of labels says."""
    ok = table.status == "ok"
    parents = [tuple(PurePosixPath(file).parent.parts) for file in table.file[ok]]
    said = layout.read(parents).set_index(table.index[ok])
    if labels:
        given = label_table.match(labels, scans, signs=False)
        given = given.reindex(table.file[ok]).set_index(table.index[ok])
        if "class" in given:
            said["class"] = given["class"].fillna("")
            said = layout.with_labels(said, by_folder=False)
        if "split" in given:
            said["folder_split"] = given.split.fillna("").map(lambda word: layout.split(word) or word)
        if "group" in given:
            table["group"] = given.group.reindex(table.index).fillna("")
    table[said.columns] = said.reindex(table.index)
    table["label"] = table.label.astype("Int64")
    return table.fillna({"class": "", "folder_split": ""})


def _frames(path: Path, row: dict, pixels: np.ndarray, beside: set[str]) -> list[dict]:
    """Return a row for each frame of a file, each with its status."""
    name, rows = row["path"], []
    try:
        for frame, shown in images.frames(path) if images.count(path) > 1 else [("", pixels)]:
            facts = {"file": name} | _what(name, shown, beside)
            if frame:
                facts |= {"path": f"{name}#{frame}", "width": shown.shape[1], "height": shown.shape[0]}
                facts["pixel_sha256"] = manifest.digest(shown)
            rows.append(row | facts)
    except images.ImageError as error:
        place = {"path": f"{name}#{len(rows) + 1}", "file": name, "pixel_sha256": None}
        rows.append(row | place | {"status": error.status, "reason": error.reason})
    return rows


def _what(name: str, pixels: np.ndarray, beside: set[str]) -> dict:
    """Return the status of one frame: ok, or a key of APART with its reason."""
    place = PurePosixPath(name)
    mask, small = MASK.fullmatch(place.stem), THUMBNAIL.fullmatch(place.stem)
    folders = {word for part in place.parent.parts for word in layout.tokens(part)}
    counted = cv2.calcHist([pixels.max(axis=2)], [0], None, [256], [0, 256]).ravel()
    levels = next((count for count, share in SHARE.items() if _share(counted, count) >= share), 256)
    named = bool(mask or folders & layout.MASKS)
    status = "ok"
    if named and (levels <= 6 or (mask and (place.parent / mask[1]).as_posix() in beside)):
        status = "mask"
    elif small and (place.parent / (small[1] or small[2])).as_posix() in beside:
        status = "thumbnail"
    elif levels <= 2:
        status = "plain" if levels == 1 else "mask"
    return {"status": status, "reason": APART.get(status, "")}


def _share(counted: np.ndarray, levels: int) -> float:
    """Return the share of pixels at the commonest so many grey levels and FLAT levels to each side of them."""
    left, total = counted.copy(), counted.sum()
    for _ in range(levels):
        top = int(left.argmax())
        left[max(0, top - FLAT) : top + FLAT + 1] = 0
    return 1 - left.sum() / total


def _set_apart(row: dict) -> dict:
    """Return the row, with a file that is no image and is not called one set apart."""
    name = PurePosixPath(row["path"]).name
    if row["status"] == "not an image" and OTHER.fullmatch(PurePosixPath(name).suffix or name):
        row |= {"status": "other file", "reason": APART["other file"]}
    return row


def _find_icons(table: pd.DataFrame) -> None:
    """Set apart pictures of an icon's size where half of the images are much larger."""
    ok, side = table.status == "ok", table[["width", "height"]].max(axis=1)
    if ok.any() and side[ok].median() >= LARGE:
        icons = ok & (side < SMALL)
        table.loc[icons, ["status", "reason"]] = "thumbnail", APART["thumbnail"]
