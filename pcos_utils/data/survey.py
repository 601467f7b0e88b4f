"""List every image of any folder for an audit, frame by frame, and set apart what is no scan.

A mask, a plain picture, a thumbnail or the litter of a desktop is counted and never compared.
"""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pandas as pd

from pcos_utils.config import StudyError
from pcos_utils.data import clinic, images, layout, manifest, words
from pcos_utils.data import labels as label_table

COLUMNS = ["path", "class", *manifest.COLUMNS[1:]]
APART = {
    "mask": "a mask or a drawing of few grey levels",
    "plain": "a picture of one grey level",
    "thumbnail": "a small copy",
    "collage": "several pictures, each in a panel",
    "archive": "a packed folder, which is not looked into; unpack it",
    "litter": "a hidden file or a desktop's own",
    "other file": "a table, a text or a program",
}
OTHER = re.compile(
    r"\.(?:txt|md|csv|tsv|xlsx?|json|jsonl|xml|ya?ml|html?|pdf|docx?|py|ipynb|m|r|sh|log|ini|toml|cff|npy|npz|mat|h5|"
    r"hdf5|pkl|pt|pth|onnx|db|lock)\Z|(?:^|/)(?:readme|licen[cs]e|citation|makefile|changelog)[^./]*\Z",
    re.IGNORECASE,
)
ARCHIVE = re.compile(r".+(?<!\.nii)\.(?:zip|gz|tgz|tar|7z|rar|bz2|xz)", re.IGNORECASE)
SUFFIX = r"masks?|seg|segmentation|gt|ground_?truth|labels?|annotations?|contours?|lesion|roi"
SURE = re.compile(r".*(?:masks?|segmentation|ground_?truth)(?:[-_ ]?\d+)?", re.IGNORECASE)  # no scan by its name alone
MASK = re.compile(rf"(.+?)[-_. ]*(?:{SUFFIX})(?:[-_ ]?\d+)?", re.IGNORECASE)
THUMBNAIL = re.compile(r"thumb(?:nail)?s?[-_. ]?(.+)|(.+?)[-_. ]thumb(?:nail)?s?", re.IGNORECASE)
FLAT = 4  # grey levels to each side that count as one level, as JPEG blurs them
SHARE = {1: 0.999, 2: 0.995, 6: 0.98}  # of pixels at so many levels: plain, a drawing, a mask whose name says so
SINGLE = ("JPEG", "BMP", "DIB", "PPM")  # formats of one frame
SMALL, LARGE = 64, 128  # px: longest side of an icon, and of half of the images beside which it is one
TINY = 192  # px: longest side of a picture that its name calls a thumbnail


def survey(folder: Path, labels: Path | None = None, group_by: str = "", keep: Callable | None = None) -> pd.DataFrame:
    """Return one row per image of a folder, of any classes and splits, sorted by path; a frame is ``file.tif#3``.

    Columns: as of ``manifest.scan``, with ``class`` ("" for none), ``label`` (the class's sign, or missing) and
    ``folder_split`` (train, val, test, fold 1, ...). ``status`` may also be a key of APART. With ``labels``, a table as
    in ``labels.read``, the table gives the class, and ``group`` and the split where it has them; ``attrs["unread"]``
    names its other columns. ``group_by``, a regular expression, gives as ``group`` what its groups hold in a path; else
    the group of a DICOM file is a digest of its patient. ``keep``: as in ``manifest.decoded``. Raises StudyError.
    """
    files = {path.relative_to(folder).as_posix(): path for path in manifest.walk(folder, follow=True)}
    if not files:
        raise StudyError(f"{folder} holds no files; name a folder of images.")
    litter = list(filter(manifest.litter, files))
    scans = sorted(set(files) - set(litter))
    beside = {PurePosixPath(name).with_suffix("").as_posix() for name in scans}
    places = [(files[name], name) for name in scans]
    rows = list(manifest.decoded(places, lambda *seen: _frames(*seen, beside), keep))
    rows += [{"path": name, "status": "litter"} for name in litter]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "file"]).sort_values("path", ignore_index=True, kind="stable")
    table["file"] = table.file.fillna(table.path)
    foreign = table.status == "not an image"
    table.loc[foreign & table.path.map(lambda path: OTHER.search(path) is not None), "status"] = "other file"
    table.loc[foreign & table.path.map(lambda path: ARCHIVE.fullmatch(path) is not None), "status"] = "archive"
    ok, side = table.status == "ok", table[["width", "height"]].max(axis=1)
    if side[ok].median() >= LARGE:
        table.loc[ok & (side < SMALL), "status"] = "thumbnail"
    table["reason"] = table.status.map(APART).fillna(table.reason)
    if not table.status.eq("ok").any():
        packed = table.path[table.status == "archive"].tolist()
        remedy = f"unpack {packed[0]}" if packed else "check the folder"
        raise StudyError(f"None of the {len(table)} files under {folder} is a scan that can be read; {remedy}.")
    table = _described(table, labels, scans)
    if group_by and "group" in table:
        raise StudyError(f"{labels} names patients or clips, and so does --group-by; leave one of them out.")
    if group_by:
        table["group"] = groups(table.path, group_by)
    elif "group" not in table:
        patients = {name: clinic.patient(files[name]) for name in table.file[table.format == "DICOM"]}
        if any(patients.values()):
            table["group"] = table.file.map(patients).fillna("")
    return table.drop(columns="file")


def groups(paths: pd.Series, pattern: str) -> pd.Series:
    """Return what the groups of a regular expression hold in each path, or "" where it is not found."""
    try:
        found = [re.search(pattern, path) for path in paths]
    except re.error as error:
        raise StudyError(f"--group-by '{pattern}' is no regular expression ({error}); correct it.") from None
    return pd.Series(["/".join(map(str, each.groups() or [each[0]])) if each else "" for each in found], paths.index)


def _described(table: pd.DataFrame, labels: Path | None, scans: list[str]) -> pd.DataFrame:
    """Return the table with class, label, split and what else the table of labels says."""
    file, path = (table.loc[table.status == "ok", name] for name in ("file", "path"))
    said = layout.read([PurePosixPath(name).parent.parts for name in file]).set_index(file.index)
    if labels:
        given = label_table.match(labels, scans, signs=False, frames=path[path != file])
        table.attrs["unread"] = given.attrs["unread"]
        given = given.reindex(path.where(path.isin(given.index), file)).set_index(file.index)
        if "class" in given:
            both = given["class"].fillna(""), said["class"]
            against = label_table.contradicting(labels, *(names.set_axis(path) for names in both)).to_numpy()
            table.loc[file.index[against], "reason"] = "its folder says " + both[1][against]
            said = layout.with_labels(said.assign(**{"class": given["class"].fillna("")}), by_folder=False)
        if "split" in given:
            told = given.split.fillna("")
            named = told[told != ""].map(words.split)
            # "set", "fold" and "subset" are also names of other facts, and one word for all images tells nothing.
            if not (said.folder_split != "").any() or (named.ne("").all() and named.nunique() > 1):
                told = told.map(lambda word: words.split(word) or word)
                against = (told != "") & (said.folder_split != "") & (told != said.folder_split)
                table.loc[file.index[against], "reason"] = "its folder says " + said.folder_split[against]
                said["folder_split"] = told.where(told != "", said.folder_split)
            else:
                table.attrs["unread"] = [*table.attrs["unread"], given.attrs["split"]]
        if "group" in given:
            table["group"] = given.group.reindex(table.index).fillna("")
    table[said.columns] = said.reindex(table.index)
    return table.astype({"label": "Int64"}).fillna({"class": "", "folder_split": ""})


def _frames(path: Path, row: dict, pixels: np.ndarray, beside: set[str]) -> list[dict]:
    """Return a row for each frame of a file, each with its status."""
    name, rows = row["path"], []
    if row["format"] in SINGLE or images.count(path) == 1:
        return [row | {"file": name, "status": _status(name, pixels, beside)}]
    try:
        for number, shown in images.frames(path):
            facts = {"path": f"{name}#{number}", "file": name, "status": _status(name, shown, beside)}
            size = {"width": shown.shape[1], "height": shown.shape[0], "pixel_sha256": manifest.digest(shown)}
            rows.append(row | facts | size)
    except images.ImageError as error:
        place = {"path": f"{name}#{len(rows) + 1}", "file": name, "pixel_sha256": None}
        rows.append(row | place | {"status": error.status, "reason": error.reason})
    return rows


def _status(name: str, pixels: np.ndarray, beside: set[str]) -> str:
    """Return the status of one frame: ok, or a key of APART."""
    place = PurePosixPath(name)
    mask, small = MASK.fullmatch(place.stem), THUMBNAIL.fullmatch(place.stem)
    in_masks = any(words.MASKS.intersection(words.tokens(part)) for part in place.parent.parts)
    levels = _levels(pixels)
    named_after = mask and (place.parent / mask[1]).as_posix()
    if (named_after in beside and SURE.fullmatch(place.stem)) or (levels <= 6 and (mask or in_masks)):
        return "mask"
    if small and max(pixels.shape[:2]) <= TINY and (place.parent / (small[1] or small[2])).as_posix() in beside:
        return "thumbnail"
    return {1: "plain", 2: "mask"}.get(levels, "ok")


def _levels(pixels: np.ndarray) -> int:
    """Return the least number of grey levels in SHARE, with FLAT levels to each side, that hold its share of pixels."""
    counted = cv2.calcHist([pixels.max(axis=2)], [0], None, [256], [0, 256]).ravel()
    for levels in range(1, 1 + max(SHARE)):
        top = int(counted.argmax())
        counted[max(0, top - FLAT) : top + FLAT + 1] = 0
        if levels in SHARE and 1 - counted.sum() / (pixels.size // 3) >= SHARE[levels]:
            return levels
    return 256
