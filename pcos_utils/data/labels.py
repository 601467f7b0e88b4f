"""Labels from a table, where the folders do not carry them: one row per image, checked against the files on disk."""

from collections import defaultdict
from pathlib import Path, PurePosixPath

import pandas as pd

from pcos_utils.config import StudyError
from pcos_utils.data.datasets import LABEL_OF_FOLDER

# What a cell may say; a spreadsheet writes 1 as 1.0 where a column has gaps.
LABEL_OF_CELL = LABEL_OF_FOLDER | {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
SUFFIXES = (".csv", ".xlsx")


def read(table: Path) -> pd.DataFrame:
    """The rows of a table of labels: columns ``row`` (as a spreadsheet counts it), ``image`` (text), ``label`` (0, 1).

    The table is a .csv (commas, semicolons or tabs) or the first sheet of an .xlsx, with columns ``image`` and
    ``label`` in any order and case, among any others. ``label`` holds 0, 1 or a class word such as ``pco``. Only where
    there is no ``label`` column may a column ``Healthy`` stand for it, as in PCOSGen's own table (``imagePath``,
    ``Healthy``): 1 is healthy, so label 0, and 0 is not, so label 1. Rows without any value are skipped. Raises
    StudyError naming the row and the remedy.
    """
    cells = _cells(table)
    names = [str(name).strip().casefold() for name in cells.iloc[0]] if len(cells) else []
    wanted = "healthy" if "healthy" in names and "label" not in names else "label"
    named = "imagepath" if wanted == "healthy" and "image" not in names and "imagepath" in names else "image"
    for name in (named, wanted):
        if names.count(name) != 1:
            found = ", ".join(name for name in names if name) or "nothing"
            many = f"{names.count(name)} columns" if name in names else "no column"
            raise StudyError(
                f"{table.name} has {many} called '{name}' (its first row holds: {found}); "
                "give it one column 'image' and one column 'label'."
            )
    rows = []
    for number, line in enumerate(cells.iloc[1:].itertuples(index=False), start=2):
        image, said = (str(line[names.index(name)]).strip() for name in (named, wanted))
        if not any(str(cell).strip() for cell in line):
            continue
        if not image:
            raise StudyError(f"Row {number} of {table.name} has no image; name its file or delete the row.")
        label = LABEL_OF_CELL.get(said.casefold())
        if label is None or (wanted == "healthy" and said.casefold() in LABEL_OF_FOLDER):
            allowed = "1 (healthy) or 0" if wanted == "healthy" else f"0, 1 or one of {', '.join(LABEL_OF_FOLDER)}"
            raise StudyError(f"Row {number} of {table.name} has {wanted} '{said}' for {image}; write {allowed}.")
        rows.append((number, image, 1 - label if wanted == "healthy" else label))
    if not rows:
        raise StudyError(f"{table.name} has no row below its column names; add one row for each image.")
    return pd.DataFrame(rows, columns=["row", "image", "label"])


def match(table: Path, files: list[str]) -> dict[str, int]:
    """The label of every file that the table names; ``files`` are paths relative to the folder, with slashes.

    An image is named by its path or, where only one file has it, by its bare file name; the suffix may be left out
    where only one file remains. Raises StudyError for a name that fits no file or several, and for two labels.
    """
    rows = read(table)
    known = _names(files)
    fits = [known.get(_plain(image), []) for image in rows.image]
    if not any(fits):
        raise StudyError(
            f"No image of {table.name} is in the folder (row {rows.row[0]} names '{rows.image[0]}'); "
            "write paths relative to the folder that DATA names, or bare file names."
        )
    label_of, row_of = {}, {}
    for (number, image, label), found in zip(rows.itertuples(index=False), fits, strict=True):
        if not found:
            raise StudyError(
                f"Row {number} of {table.name} names '{image}', which is not in the folder; "
                "correct the name, add the file or delete the row."
            )
        if len(found) > 1:
            raise StudyError(
                f"Row {number} of {table.name} names '{image}', which fits {len(found)} files ({found[0]}, {found[1]}"
                f"{', ...' if len(found) > 2 else ''}); write the path relative to the folder, with its suffix."
            )
        if label_of.setdefault(found[0], label) != label:
            raise StudyError(
                f"Rows {row_of[found[0]]} and {number} of {table.name} give {found[0]} different labels; keep one."
            )
        row_of.setdefault(found[0], number)
    return label_of


def _plain(image: str) -> str:
    # As a path on this machine, wherever the table was written: a\b.jpg and ./a/b.jpg are a/b.jpg.
    return PurePosixPath(image.replace("\\", "/")).as_posix()


def _names(files: list[str]) -> dict[str, list[str]]:
    # The files that each name fits. A whole path is never ambiguous, whatever else ends like it.
    ways: list[dict] = [defaultdict(list) for _ in range(4)]
    for file in files:
        path = PurePosixPath(file)
        for way, name in zip(ways, (file, path.with_suffix("").as_posix(), path.name, path.stem), strict=True):
            way[name].append(file)
    whole, without_suffix, bare, stem = ways
    return stem | bare | without_suffix | whole


def _cells(table: Path) -> pd.DataFrame:
    # Every cell as text, the first row included: "NA" may be a file name, and 007 is not 7.
    kind = table.suffix.lower()
    if kind not in SUFFIXES:
        raise StudyError(f"{table.name} is no table of labels that can be read; save it as {' or '.join(SUFFIXES)}.")
    as_text = dict(header=None, dtype=str, keep_default_na=False, na_filter=False)
    try:
        if kind == ".xlsx":
            return pd.read_excel(table, engine="openpyxl", **as_text).fillna("")
        with open(table, encoding="utf-8-sig") as stream:
            first = stream.readline()
        separator = max(",;\t", key=first.count)
        return pd.read_csv(table, sep=separator, encoding="utf-8-sig", skip_blank_lines=False, **as_text)
    except ImportError:
        raise StudyError(f"Reading {table.name} needs openpyxl; run 'make setup', or save the table as .csv.") from None
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except UnicodeDecodeError:
        raise StudyError(f"{table.name} is not UTF-8 text; save it again as 'CSV UTF-8'.") from None
    except Exception as error:  # a damaged workbook fails in many ways, and none of them helps its owner
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise StudyError(f"{table.name} cannot be read ({said}); save it again as .csv or .xlsx.") from None
