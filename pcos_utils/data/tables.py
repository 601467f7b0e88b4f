"""Read the tables that people make: .csv and .tsv with commas, semicolons or tabs, and the first sheet of an .xlsx."""

import csv
import re
from pathlib import Path

import pandas as pd

from pcos_utils.config import StudyError
from pcos_utils.data import words

# Names of the column that names an image, as ``words.key`` writes them, the surest first.
IMAGE = ("image", "imagepath", "file", "filename", "filepath", "path", "imagename", "imagefile", "imageid", "id")
TITLE = 6  # rows at most, of which the last may be the names of columns and those above a title or a remark
EMPTY = {"na", "n/a", "#n/a", "nan", "null", "?", "unknown"}  # what programs write into an empty cell


def read(table: Path) -> tuple[list[str], pd.DataFrame]:
    """Return the names in a table's first row, and the cells below as text, by place and by a spreadsheet's row.

    Empty rows are skipped, and so is a title above a row that names a column of images. Raises StudyError.
    """
    cells = _cells(table).map(lambda cell: str(cell).strip())
    cells.index += 1
    cells = cells[cells.ne("").any(axis=1)]
    cells = cells[_header(cells.to_numpy().tolist()) :]
    return (cells.iloc[0].tolist(), cells.iloc[1:]) if len(cells) else ([], cells)


def place(table: Path, names: list[str], wanted: tuple[str, ...], remedy: str) -> int | None:
    """Return the place of the first column that has one of the wanted names (as ``words.key`` writes them), or None."""
    keys = [words.key(name) if name else "" for name in names]
    name = next((name for name in wanted if name in keys), None)
    if name and keys.count(name) > 1:
        raise StudyError(f"{table.name} has {keys.count(name)} columns called '{name}'; {remedy}.")
    return keys.index(name) if name else None


def numbers(cells: pd.Series) -> pd.Series:
    """Return cells as numbers, also with a decimal comma; NaN for one that is empty or holds anything else."""
    return pd.to_numeric(cells.str.replace(",", "."), errors="coerce")


def _header(rows: list[list[str]]) -> int:
    """Return which of the first rows names the columns: the first that names one of images beside others, or row 0."""
    named = [len(row) > 1 and any(words.key(cell) in IMAGE for cell in row if cell) for row in rows[:TITLE]]
    return named.index(True) if any(named) else 0


def _cells(table: Path) -> pd.DataFrame:
    """Return every cell as text, the first row included, because "NA" may be a file name and 007 is not 7."""
    suffix = table.suffix.lower()
    if not table.is_file():
        raise StudyError(f"{table} is no file; name a table.")
    if suffix not in (".csv", ".tsv", ".xlsx"):
        raise StudyError(f"{table.name} is no table that can be read; save it as .csv or .xlsx.")
    try:
        if suffix == ".xlsx":
            import openpyxl

            as_text = dict(header=None, dtype=str, keep_default_na=False, na_filter=False)
            cells = pd.read_excel(table, engine="openpyxl", **as_text).fillna("")
            for merged in openpyxl.load_workbook(table).worksheets[0].merged_cells.ranges:  # written in the first alone
                rows, columns = slice(merged.min_row - 1, merged.max_row), slice(merged.min_col - 1, merged.max_col)
                cells.iloc[rows, columns] = cells.iat[merged.min_row - 1, merged.min_col - 1]
            return cells
        with open(table, encoding="utf-8-sig", newline="") as stream:
            lines = stream.readlines()
        named = re.fullmatch(r"sep=(.)\s*", lines[0]) if lines else None  # Excel's own line
        lines[:1] = ["\n"] if named else lines[:1]
        full = list(filter(str.strip, lines)) or [""]
        names = full[_header([re.split(r"[,;\t]", line.replace('"', "")) for line in full[:TITLE]])]
        rows = list(csv.reader(lines, delimiter=named[1] if named else max(",;\t", key=names.count), strict=True))
        filled = [(number, row) for number, row in enumerate(rows, start=1) if any(row)] or [(1, [])]
        filled = filled[_header([row for _, row in filled]) :]
        width = len(filled[0][1])
        for number, row in filled:
            if "".join(row[width:]).strip():
                raise StudyError(
                    f"Row {number} of {table.name} has more cells than its first row; quote texts with commas."
                )
        return pd.DataFrame(rows).fillna("")  # rows may end with commas that the first one lacks
    except StudyError:
        raise
    except ImportError:
        raise StudyError(f"Reading {table.name} needs openpyxl; run 'make setup', or save the table as .csv.") from None
    except UnicodeDecodeError:
        raise StudyError(f"{table.name} is not UTF-8 text; save it again as 'CSV UTF-8'.") from None
    except Exception as error:  # a damaged workbook raises many types, and their messages do not help its owner
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise StudyError(f"{table.name} cannot be read ({reason}); save it again as .csv or .xlsx.") from None
