"""Two reports of one study side by side: which cells of the tables differ by more than their band allows.

A band is what a cell may differ by, with its reason: ``bands.csv`` beside this module. Text is exact; so is all that
is counted, drawn or hashed. What a training gave may move as far as another seed of the training moves it
(``benchmarks/seed_bands.py``), because another processor's rounding is no better than another seed.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.config import MODELS, StudyError
from pcos_utils.evaluation.readings import many
from pcos_utils.evaluation.report import PROVENANCE
from pcos_utils.files import sha256

BANDS = Path(__file__).parent / "bands.csv"
COLUMNS = ("table", "rows", "metric", "column", "band", "origin")  # of the bands; "*" fits all
KEYS = {  # what names a row; of a table that is not here, its place
    "sources": ["path"],
    "audit": ["fact"],
    "shortcuts": ["shortcut", "split", "metric"],
    "metrics": ["model", "protocol", "level", "metric", "at", "beside"],
    "comparisons": ["first", "second", "metric"],
    "gains": ["first", "second", "metric"],
    "flips": ["model", "flips"],
    "answers": ["model", "source"],
    "repeats": ["model", "repeat"],
    "repetition": ["model", "protocol", "of", "label"],
    "thresholds": ["model", "repeat", "fold"],
    "published": ["model", "metric", "way"],
    "published_rerun": ["model", "run", "level"],
    "leakage": ["split"],
    "follicles": ["path"],
} | {f"runs_{model}": ["arm", "protocol", "seed", "repeat", "fold", "inner"] for model in MODELS}  # fmt: skip
EXACT = ("sources", "images", "n", "few_sources", "crossing_sources", "crossings", "train_images", "test_sources",
         "folds", "label", "beside", "groups", "polycystic", "normal")  # fmt: skip
ROUNDING = 1e-4  # the band of what nothing was trained for
SKIPPED = ("timings",)  # seconds never repeat, and git ignores them
FOUND = ["table", "row", "column", "committed", "made", "band", "origin"]


def bands() -> pd.DataFrame:
    """The bands: columns COLUMNS. ``band``: a number, "exact" or "free". The first row that fits counts; rows of table
    "*" serve the tables that no row names."""
    return pd.read_csv(BANDS, dtype=str, keep_default_na=False)


def keyed(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table with its rows named ``model=iustnet metric=auc``, numbered where a name comes twice."""
    keys = [key for key in KEYS.get(name, []) if key in table]
    if keys:
        words = [f"{key}=" + table[key].astype(object).where(table[key].notna(), "").astype(str) for key in keys]
        names = words[0].str.cat(words[1:], sep=" ") if len(words) > 1 else words[0]
        again = names.groupby(names).cumcount()
        return table.set_index(names + np.where(again > 0, " #" + (again + 1).astype(str), ""))
    return table.set_index(pd.Index([f"number {place}" for place in range(1, len(table) + 1)]))


def kinds(name: str, table: pd.DataFrame) -> pd.Series:
    """What each row rests on: "untrained", or "trained" by the study, with its protocol and level where it has them."""
    own = pd.Series(name.removeprefix("runs_") in MODELS, index=table.index)
    for column in ("model", "first", "second"):
        own |= table[column].isin(MODELS) if column in table else False
    # Of the published study's own numbers nothing is trained here.
    own &= table["run"] != "published" if "run" in table else name != "published"
    kind = own.map({True: "trained", False: "untrained"})
    for column in ("protocol", "level"):
        kind = kind.where(~own, kind + " " + table[column]) if column in table else kind
    return kind


def compare(committed: Path, made: Path) -> tuple[pd.DataFrame, int]:
    """The cells that left their band, columns FOUND, and the number of cells compared.

    ``committed``, ``made``: report folders with ``tables/``, sources.csv and plan.json; nothing is written. A missing
    table, row or column is one line. Raises StudyError where a folder holds no tables.
    """
    folders = [Path(folder) for folder in (committed, made)]
    files = [_files(folder) for folder in folders]
    rows, cells, known = [], 0, bands()
    for name in sorted(files[0].keys() | files[1].keys()):
        missing = [side for side, there in zip(("committed", "made"), files, strict=True) if name not in there]
        if missing:
            rows.append(_absent(f"{name}.csv", "", "", missing[0]))
            continue
        tables = [keyed(name, pd.read_csv(there[name], low_memory=False)) for there in files]
        found, count = _tables(name, *tables, known)
        rows, cells = rows + found, cells + count
    rows += [
        (name, "", "", digest[:12], sha256(folders[0] / "tables" / name)[:12], "exact", "as its run wrote it")
        for name, digest in _written(folders[0]).items()
        if (folders[0] / "tables" / name).exists() and sha256(folders[0] / "tables" / name) != digest
    ]
    plans = [folder / "plan.json" for folder in folders]
    if any(path.exists() for path in plans):
        old, new = (_flat(_plan(path)) for path in plans)
        cells += len(old)
        rows += [
            ("plan.json", "", key, old.get(key, "absent"), new.get(key, "absent"), "exact", "written before training")
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
    return pd.DataFrame(rows, columns=FOUND), cells


def sentences(found: pd.DataFrame) -> list[str]:
    """A sentence for each cell that left its band."""
    made = []
    for row in found.itertuples():
        place = ", ".join(part for part in (row.table, row.row, row.column and f"column {row.column}") if part)
        if row.origin == "absent":
            made.append(f"{place}: absent on the {row.band} side")
        else:
            band = "exact" if row.band == "exact" else f"within {row.band}"
            made.append(f"{place}: committed {row.committed}, made {row.made}; due: {band} ({row.origin})")
    return made


def verdict(found: pd.DataFrame, cells: int) -> str:
    """How many cells were compared, and how many left their band."""
    if found.empty:
        return f"{many(cells, 'cell')} compared: each is inside its band."
    return f"{many(cells, 'cell')} compared: {many(len(found), 'difference')} outside its band, named above."


def _files(folder: Path) -> dict[str, Path]:
    found = {path.stem: path for path in sorted((folder / "tables").glob("*.csv")) if path.stem not in SKIPPED}
    if not found:
        raise StudyError(f"{folder} holds no tables; name the folder of a report, such as reports/phantom-demo.")
    return found | ({"sources": folder / "sources.csv"} if (folder / "sources.csv").exists() else {})


def _written(folder: Path) -> dict[str, str]:
    path = folder / PROVENANCE
    return json.loads(path.read_text())["tables"] if path.exists() else {}


def _plan(path: Path) -> dict:
    # Which plans came before is history; nobody can make it again.
    made = json.loads(path.read_text()) if path.exists() else {}
    return {name: part for name, part in made.items() if name != "supersedes"}


def _absent(table: str, row: str, column: str, side: str) -> tuple:
    return (table, row, column, "", "", side, "absent")


def _tables(name: str, old: pd.DataFrame, new: pd.DataFrame, known: pd.DataFrame) -> tuple[list[tuple], int]:
    file, rows, cells = f"{name}.csv", [], 0
    for side, one, other in (("made", old, new), ("committed", new, old)):
        rows += [_absent(file, f"row {row}", "", side) for row in one.index.difference(other.index, sort=False)]
        rows += [_absent(file, "", column, side) for column in one.columns.difference(other.columns, sort=False)]
    both = old.index.intersection(new.index, sort=False)
    old, new = old.loc[both], new.loc[both]
    kind = kinds(name, old).to_numpy(str)
    metrics = old["metric"].to_numpy(str) if "metric" in old else np.full(len(old), "")
    for column in old.columns.intersection(new.columns, sort=False):
        cells += len(old)
        alike = old[column].eq(new[column]) | (old[column].isna() & new[column].isna())
        for place in np.flatnonzero(~alike.to_numpy()):
            before, after = old[column].iloc[place], new[column].iloc[place]
            band, origin = _band(known, name, kind[place], metrics[place], column)
            reasons = [table["reason"].iloc[place] if "reason" in table else np.nan for table in (old, new)]
            if not _inside(before, after, band) and not _excused(column, (before, after), reasons, band):
                rows.append((file, f"row {both[place]}", column, before, after, band, origin))
    return rows, cells


def _band(known: pd.DataFrame, name: str, kind: str, metric: str, column: str) -> tuple[str, str]:
    of_rows = known[[row == "*" or f"{kind} ".startswith(f"{row} ") for row in known.rows]]
    # Gains are comparisons, too, each network with the best reader that is none; as columns, so bands.
    named = of_rows[of_rows.table == ("comparisons" if name == "gains" else name)]
    known = named if len(named) else of_rows[of_rows.table == "*"]
    fits = known.metric.isin(["*", metric]) & known.column.isin(["*", column])
    if column in EXACT or not fits.any():
        return "exact", "counted, drawn or named"
    first = known[fits].iloc[0]
    return first.band, first.origin


def _inside(before, after, band: str) -> bool:
    if band in ("exact", "free"):
        return band == "free"
    try:
        before, after = float(before), float(after)
    except ValueError:  # words
        return False
    # A number beside none, or infinity, differs by more than any band; what is large may round in proportion.
    return bool(abs(before - after) <= float(band) * max(1.0, abs(before)))


def _excused(column: str, values: tuple, reasons: list, band: str) -> bool:
    # What training gave may have an interval in one place and in another a reason why it has none.
    gone = pd.isna(values[0]), pd.isna(values[1])
    said = pd.notna(reasons[0]), pd.notna(reasons[1])
    return column in ("low", "high") and band != "exact" and float(band) > ROUNDING and gone == said and sum(gone) == 1


def _flat(value, path: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        parts = [_flat(part, f"{path}.{key}" if path else str(key)) for key, part in value.items()]
        return {key: part for each in parts for key, part in each.items()}
    return {path: json.dumps(value)}
