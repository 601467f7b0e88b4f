"""Read labels from a table, one row per image, and match them with the files of folders that carry no labels."""

from collections import defaultdict
from pathlib import Path, PurePosixPath

import pandas as pd

from pcos_utils.config import StudyError
from pcos_utils.data.datasets import LABEL_OF_FOLDER

# A spreadsheet writes 1 as 1.0 where a column has gaps.
LABEL_OF_CELL = LABEL_OF_FOLDER | {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


def read(table: Path) -> pd.DataFrame:
    """Read a table of labels into columns ``row`` (as a spreadsheet counts), ``image`` (text) and ``label`` (0 or 1).

    The table is a .csv (commas, semicolons or tabs) or the first sheet of an .xlsx. It has columns ``image`` and
    ``label`` in any order and case, and may have others. ``label`` holds 0, 1 or a class word such as ``pco``. Without
    a ``label`` column, a column ``Healthy`` is read as in PCOSGen's own table (``imagePath``, ``Healthy``): 1 means
    healthy (label 0) and 0 means not healthy (label 1). Rows without any value are skipped. Raises StudyError, which
    names the row and the remedy.
    """
    cells = _cells(table)
    names = [str(name).strip().casefold() for name in cells.iloc[0]] if len(cells) else []
    healthy = "healthy" in names and "label" not in names
    label_column = "healthy" if healthy else "label"
    image_column = "imagepath" if healthy and "image" not in names and "imagepath" in names else "image"
    for name in (image_column, label_column):
        if names.count(name) != 1:
            columns = f"{names.count(name)} columns" if name in names else "no column"
            raise StudyError(
                f"{table.name} has {columns} called '{name}' (its first row holds: "
                f"{', '.join(filter(None, names)) or 'nothing'}); give it one column 'image' and one column 'label'."
            )
    rows = []
    for number, line in enumerate(cells.iloc[1:].itertuples(index=False), start=2):
        image, word = (str(line[names.index(name)]).strip() for name in (image_column, label_column))
        if not any(str(cell).strip() for cell in line):
            continue
        if not image:
            raise StudyError(f"Row {number} of {table.name} has no image; name its file or delete the row.")
        label = LABEL_OF_CELL.get(word.casefold())
        if label is None or (healthy and word.casefold() in LABEL_OF_FOLDER):
            allowed = "1 (healthy) or 0" if healthy else f"0, 1 or one of {', '.join(LABEL_OF_FOLDER)}"
            raise StudyError(f"Row {number} of {table.name} has {label_column} '{word}' for {image}; write {allowed}.")
        rows.append((number, image, 1 - label if healthy else label))
    if not rows:
        raise StudyError(f"{table.name} has no row below its column names; add one row for each image.")
    return pd.DataFrame(rows, columns=["row", "image", "label"])


def match(table: Path, files: list[str]) -> dict[str, int]:
    """Return the label of every file that the table names; ``files`` are paths relative to the folder, with slashes.

    The table names an image by its path, or by its file name alone if only one file has it. The suffix may be left out
    if only one file fits. Raises StudyError if a name fits no file or several, and if a file gets two labels.
    """
    rows, files_of_name = read(table), _files_of_name(files)
    # Forward slashes and no leading "./", whichever system wrote the table.
    fits = [files_of_name.get(PurePosixPath(name.replace("\\", "/")).as_posix(), []) for name in rows.image]
    if not any(fits):
        raise StudyError(
            f"No image of {table.name} is in the folder (row {rows.row[0]} names '{rows.image[0]}'); "
            "write paths relative to the folder that DATA names, or bare file names."
        )
    label_of, row_of = {}, {}
    for (number, image, label), fitting in zip(rows.itertuples(index=False), fits, strict=True):
        if not fitting:
            raise StudyError(
                f"Row {number} of {table.name} names '{image}', which is not in the folder; "
                "correct the name, add the file or delete the row."
            )
        file = fitting[0]
        if len(fitting) > 1:
            raise StudyError(
                f"Row {number} of {table.name} names '{image}', which fits {len(fitting)} files ({file}, {fitting[1]}"
                f"{', ...' if len(fitting) > 2 else ''}); write the path relative to the folder, with its suffix."
            )
        if label_of.setdefault(file, label) != label:
            raise StudyError(
                f"Rows {row_of[file]} and {number} of {table.name} give {file} different labels; keep one."
            )
        row_of.setdefault(file, number)
    return label_of


def _files_of_name(files: list[str]) -> dict[str, list[str]]:
    """Return the files that each name fits; a whole path is never ambiguous, as it comes before shorter names."""
    stems, bare, without_suffix, whole = (defaultdict(list) for _ in range(4))
    for file in files:
        path = PurePosixPath(file)
        stems[path.stem].append(file)
        bare[path.name].append(file)
        without_suffix[path.with_suffix("").as_posix()].append(file)
        whole[file].append(file)
    return stems | bare | without_suffix | whole


def _cells(table: Path) -> pd.DataFrame:
    """Return every cell as text, the first row included, because "NA" may be a file name and 007 is not 7."""
    suffix = table.suffix.lower()
    if suffix not in (".csv", ".xlsx"):
        raise StudyError(f"{table.name} is no table of labels that can be read; save it as .csv or .xlsx.")
    as_text = dict(header=None, dtype=str, keep_default_na=False, na_filter=False)
    try:
        if suffix == ".xlsx":
            return pd.read_excel(table, engine="openpyxl", **as_text).fillna("")
        with open(table, encoding="utf-8-sig") as stream:
            separator = max(",;\t", key=stream.readline().count)
        return pd.read_csv(table, sep=separator, encoding="utf-8-sig", skip_blank_lines=False, **as_text)
    except ImportError:
        raise StudyError(f"Reading {table.name} needs openpyxl; run 'make setup', or save the table as .csv.") from None
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except UnicodeDecodeError:
        raise StudyError(f"{table.name} is not UTF-8 text; save it again as 'CSV UTF-8'.") from None
    except Exception as error:  # a damaged workbook raises many types, and their messages do not help its owner
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise StudyError(f"{table.name} cannot be read ({reason}); save it again as .csv or .xlsx.") from None
