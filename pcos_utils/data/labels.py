"""Read labels, patients and splits from a table, one row per image, and match its rows with the files of a folder."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pandas as pd

from pcos_utils.config import StudyError
from pcos_utils.data import tables, words

# The usual names of columns, as ``words.key`` writes them, the surest first.
COLUMNS = {
    "image": tables.IMAGE,
    "label": ("label", "class", "diagnosis", "classlabel", "category", "target", "pathology", "finding"),
    "group": ("patient", "patientid", "patientnum", "subject", "subjectid", "case", "caseid", "group", "groupid",
              "clip", "clipid", "video", "videoid", "cine", "sequence", "series"),
    "split": ("split", "set", "subset", "partition", "fold"),
}  # fmt: skip
PATIENTS = ("patient", "subject", "participant")  # begin the names of columns that hold no class
# Further names of a column of patients: "Patient No.", "MRN", "StudyInstanceUID". A "study_id" may be a hospital's.
PATIENT = re.compile(
    r"(?:patient|subject|participant|person|case|exam|accession)(?:file)?(?:no|nr|num|number|name|code|key|u?id|hash)|"
    r"(?:study|series)(?:instance)?uid|participant|person|pid|mrn"
)
NOBODY = tables.EMPTY | {"none", "-"}  # a class may be called None, and "-" beside "+"
REMEDY = "give it one column 'image' and one column 'label'"
# A spreadsheet writes 1 as 1.0 where a column has gaps.
BITS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
BITS |= {word: int(word.lower() == "true") for word in ("True", "TRUE", "true", "False", "FALSE", "false")}


def read(table: Path, *, signs: bool = True) -> pd.DataFrame:
    """Read a table of labels into columns ``row`` (as a spreadsheet counts), ``image``, ``class`` (text) and ``label``.

    Its columns stand in any order and case, under one of the names in COLUMNS; ``group`` (a patient or a clip) and
    ``split`` are read where they are there. Instead of a label there may be one column of 0 and 1 for each class, or
    ``Healthy`` alone, as in PCOSGen's own table. ``label`` is 0 or 1, from 0, 1 or a class word such as ``pco``; with
    ``signs``, as a study needs, every row must have one. Otherwise any word is a class, an empty cell is none, and a
    table of groups or splits needs no label. ``attrs`` names the column ``split`` and those that are ``unread``. Raises
    StudyError, which names the row and the remedy.
    """
    names, cells = tables.read(table)
    found = {part: tables.place(table, names, wanted, REMEDY) for part, wanted in COLUMNS.items()}
    found = {part: place for part, place in found.items() if place is not None}
    named = {place: words.key(name) for place, name in enumerate(names) if name and place not in found.values()}
    patients = [place for place, name in named.items() if PATIENT.fullmatch(name) and cells[place].nunique() > 1]
    found |= {"group": patients[0]} if patients and "group" not in found else {}
    splits = [place for place in named if place in cells and _says_splits(named[place], cells[place])]
    if splits and "split" not in found:
        found["split"] = splits[0]
        bits = {"1": "test", "0": "train"} if "test" in named[splits[0]] else {"1": "train", "0": "test"}
        cells[splits[0]] = cells[splits[0]].replace(bits)
    image, label = found.pop("image", None), found.pop("label", None)
    for place in [*found.values(), *([] if label is None else [label])]:
        cells[place] = cells[place].mask(cells[place].str.lower().isin(tables.EMPTY if place == label else NOBODY), "")
    if "group" in found and "split" not in found and _says_splits("", cells[found["group"]]):
        found["split"] = found.pop("group")  # "group" of a trial
    if "group" in found:
        _need_patients(table, names[found["group"]], cells[found["group"]])
    others = cells.drop(columns=[*found.values(), image], errors="ignore")
    one_hot = _one_hot(names, others, found) if label is None else []
    if image is None or (label is None and not one_hot and (signs or not found)):
        holds = ", ".join(filter(None, map(words.fold, names))) or "nothing"
        lacks = "image" if image is None else "label"
        raise StudyError(f"{table.name} has no column called '{lacks}' (its first row holds: {holds}); {REMEDY}.")
    rows = pd.DataFrame({"row": cells.index, "image": cells[image].to_numpy()})
    unread = set(others) - {label, *one_hot}
    rows.attrs["split"] = names[found["split"]] if "split" in found else ""
    rows.attrs["unread"] = [name for place, name in enumerate(names) if name and place in unread]
    for row in rows[rows.image == ""].row:
        raise StudyError(f"Row {row} of {table.name} has no image; name its file or delete the row.")
    if label is not None:
        rows["class"] = [str(BITS.get(word, word)) for word in cells[label]]
    elif one_hot:
        rows["class"] = _chosen(table, cells[one_hot].set_axis([names[place] for place in one_hot], axis=1), rows.image)
    if "class" in rows:
        rows["label"] = rows["class"].map(_sign)
    for row in rows[rows.label.isna()].to_dict("records") if signs else ():
        allowed = f"0, 1 or one of {', '.join(words.LABEL_OF_FOLDER)}"
        problem = f"has label '{row['class']}' for {row['image']}"
        raise StudyError(f"Row {row['row']} of {table.name} {problem}; write {allowed}.")
    if rows.empty:
        raise StudyError(f"{table.name} has no row below its column names; add one row for each image.")
    rows = rows.assign(**{part: cells[place].to_numpy() for part, place in found.items()})
    if "group" in rows:
        rows["group"] = rows.group.groupby(rows.group.map(patient)).transform("first")
    return rows


def patient(name: str) -> str:
    """Return a patient's or clip's name as names are compared: P 01, p1 and P-1 are one, and so are 3 and 3.0."""
    text = re.sub(r"(?<=[a-z])[\s_-]+(?=\d)", "", words.fold(name))
    return re.sub(r"(?<![\d.])0+(?=\d)", "", re.sub(r"^(\d+)\.0+$", r"\1", text))


def _says_splits(name: str, cells: pd.Series) -> bool:
    """Return whether a column that is called otherwise holds splits: their words, or 0 and 1 in ``is_test``."""
    values = set(cells) - {""}
    if name in ("istest", "istrain", "test", "train"):
        return values == {"0", "1"}
    return len(values) > 1 and all(words.split(value) for value in values)


def _sign(word: str) -> int | None:
    """Return 0 or 1 for a cell or a folder's name that says it, else None."""
    return BITS.get(word, words.sign(word) if word else None)


def _need_patients(table: Path, name: str, cells: pd.Series) -> None:
    """Raise StudyError where a column whose name may mean patients holds the classes, as "group" does in a trial."""
    values = set(cells) - {""}
    classes = values and all(value in BITS or words.sign(value) is not None for value in values)
    if classes and len(values) > 1 and not words.key(name).startswith(PATIENTS):
        holds = ", ".join(sorted(values)[:3])
        raise StudyError(
            f"The column '{name}' of {table.name} holds classes ({holds}) and no patients; call it 'label' if images "
            "are of these classes, or 'patient' if these are patients."
        )


def match(table: Path, files: list[str], *, signs: bool = True, frames: Iterable[str] = ()) -> pd.DataFrame:
    """Return the rows of ``read`` for the files that the table names, with the file's path as index.

    ``files`` are paths relative to the folder, with slashes; ``frames``, such as ``file.tif#3``, may be named, too. The
    table names an image by its path, or by its file name alone if only one file has it. The suffix may be left out if
    only one file fits. Raises StudyError if a name, in Unicode NFC, fits no file or several, or a file gets two labels.
    """
    rows, fitting_files = read(table, signs=signs), files_of_name(files)
    for frame in frames:
        for name in {frame, PurePosixPath(frame).name}:
            fitting_files.setdefault(words.composed(name), []).append(frame)
    fits = [fitting_files.get(as_path(name), []) for name in rows.image]
    if not any(fits):
        raise StudyError(
            f"No image of {table.name} is in the folder (row {rows.row[0]} names '{rows.image[0]}'); "
            "write paths relative to the folder that DATA names, or bare file names."
        )
    said = rows.drop(columns=["row", "image"])
    # "1" and "pco" are one label; words without a sign are compared as they are.
    told = said.fillna({"label": said["class"]}).drop(columns="class") if "class" in said else said
    first = {}
    for place, (number, image, fitting) in enumerate(zip(rows.row, rows.image, fits, strict=True)):
        here = f"Row {number} of {table.name} names '{image}', which"
        if not fitting:
            raise StudyError(f"{here} is not in the folder; correct the name, add the file or delete the row.")
        if len(fitting) > 1:
            some = ", ".join([*fitting[:2], *["..."] * (len(fitting) > 2)])
            remedy = "write the path relative to the folder, with its suffix"
            raise StudyError(f"{here} fits {len(fitting)} files ({some}); {remedy}.")
        earlier = first.setdefault(fitting[0], place)
        differ = [name for name in told if told[name].iloc[earlier] != told[name].iloc[place]]
        if differ:
            what = "labels" if "label" in differ else f"values of '{differ[0]}'"
            both = f"Rows {rows.row[earlier]} and {number} of {table.name}"
            raise StudyError(f"{both} give {fitting[0]} different {what}; keep one.")
    return said.iloc[list(first.values())].set_index(pd.Index(list(first)))


def contradicting(table: Path, given: pd.Series, folders: pd.Series) -> pd.Series:
    """Return for each image whether the class that a table gives it contradicts that of its folder; "" is none.

    Classes contradict each other by their sign, or where both are words of the table and of the folders; one folder
    alone contradicts nothing. Raises StudyError where all images contradict theirs, as if 1 stood for healthy.
    """
    told, seen = given.map(words.key), folders.map(words.key)
    common = {*told} & {*seen} - {""}
    signs = [names.map(_sign) for names in (given, folders)]
    signed, named = signs[0].notna() & signs[1].notna(), told.isin(common) & seen.isin(common)
    against = (signed & (signs[0] != signs[1])) | (~signed & named & (told != seen))
    compared = signed | named
    if seen[compared].nunique() < 2:
        return against & False
    if against[compared].all():
        one = against.index[compared][0]
        raise StudyError(
            f"{table.name} contradicts the folders of all {compared.sum():,} images, such as {one}: '{given[one]}' in "
            f"'{folders[one]}'; turn its labels round, or move the images out of folders that are named as classes."
        )
    return against


def _one_hot(names: list[str], cells: pd.DataFrame, found: dict[str, int]) -> list[int]:
    """Return the places of the columns of 0 and 1 that stand for classes, or of the one column with a sign.

    ``found``: columns of patients and splits. Beside these, columns of which a row has several or none are facts.
    """
    named = [place for place in cells if names[place]]
    bits = [place for place in named if len(cells) and cells[place].isin(list(BITS)).all()]
    signed = [place for place in named if words.sign(names[place]) is not None]
    if found and len(bits) > 1 and (cells[bits].replace(BITS).astype(int).sum(axis=1) != 1).any():
        bits = []
    return bits if len(bits) > 1 else signed if len(signed) == 1 else []


def _chosen(table: Path, bits: pd.DataFrame, images: pd.Series) -> list[str]:
    """Return the class of each row from columns of 0 and 1; one alone says its name, or "not" its name."""
    if bits.shape[1] == 1:
        (name,) = bits
        for row, value, image in zip(bits.index, bits[name], images, strict=True):
            if value not in BITS:
                problem = f"has {words.fold(name)} '{value}' for {image}"
                raise StudyError(f"Row {row} of {table.name} {problem}; write 1 or 0.")
        return [name if BITS[value] else f"not {name}" for value in bits[name]]
    ones = bits.isin([word for word in BITS if BITS[word]])
    for row, number, image in zip(bits.index, ones.sum(axis=1), images, strict=True):
        if number != 1:
            problem = f"has {number} classes for {image} in the columns {', '.join(bits)}"
            remedy = "put a 1 under one of them, or write one column 'label'"
            raise StudyError(f"Row {row} of {table.name} {problem}; {remedy}.")
    return list(ones.idxmax(axis=1))


def as_path(name: str) -> str:
    """Return a table's name of an image with forward slashes, no leading "./" and no blanks around, in Unicode NFC."""
    return words.composed(PurePosixPath(name.strip().replace("\\", "/")).as_posix())


def files_of_name(files: list[str]) -> dict[str, list[str]]:
    """Return the files that each name fits; a whole path is never ambiguous, as it comes before shorter names."""
    fits = [defaultdict(list) for _ in range(4)]
    for file in files:
        path = PurePosixPath(words.composed(file))
        for fitting, name in zip(fits, (path.stem, path.name, str(path.with_suffix("")), str(path)), strict=True):
            fitting[name].append(file)
    return fits[0] | fits[1] | fits[2] | fits[3]
