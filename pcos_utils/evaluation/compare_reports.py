"""Compare two reports of one study: which cells of the tables differ.

What nothing was trained for must be equal, numbers to a millionth, or to a ten-thousandth where they passed through the
layers of a random network, which another processor rounds otherwise. What was trained comes out otherwise on another
processor: of it the AUCs and their differences are compared, within four standard deviations over seeds, which
``spread.csv`` beside this module holds, and the verdicts, of which each that changed is named.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.config import COUNT, FEATURES, MODELS, TUNED, ZERO_SHOT, StudyError

LEAST_SD = 0.003  # a fine-tuned network hardly moves with its seed, and rounds otherwise on another processor
SPREAD = Path(__file__).parent / "spread.csv"  # table, first, second, sd; made by studies.seed_spread
SDS = 4
CLOSE, ROUNDED = 1e-6, 1e-4  # relative, and absolute below 1
# Of each of these every number passed through a network that the study did not train.
THROUGH = (*FEATURES, ZERO_SHOT)
TRAINED = (*MODELS, TUNED)
# What names a row; the rows of a table that is not listed are numbered.
KEYS = {
    "sources": ["path"], "audit": ["fact"], "shortcuts": ["shortcut", "split"], "leakage": ["split"], COUNT: ["path"],
    "metrics": ["model", "protocol", "metric"], "comparisons": ["first", "second"], "flips": ["model", "flips"],
    "answers": ["model", "source"], "repeats": ["model", "repeat"], "thresholds": ["model", "repeat", "fold"],
    "repetition": ["model", "protocol", "label"], "published": ["model", "metric", "way"],
    "published_rerun": ["model", "run", "level"],
    **{f"runs_{model}": ["arm", "repeat", "fold", "inner"] for model in TRAINED},
}  # fmt: skip
# Of rows that were trained only these columns are compared: counts and names exactly, values within their spread.
COUNTED = ("protocol", "seed", "start", "crossings", "train_images", "test_sources", "sources", "images", "polycystic",
           "few_sources", "crossing_sources", "label", "n", "taught", "test", "verdict")  # fmt: skip
WITHIN = {"metrics": "value", "comparisons": "difference"}
FOUND = ["table", "row", "column", "committed", "made", "due"]


def compare(committed: Path, made: Path) -> tuple[pd.DataFrame, int]:
    """Return the cells that differ, columns FOUND, and the number of cells compared.

    ``committed``, ``made``: report folders with ``tables/``, sources.csv and plan.json; nothing is written. A missing
    table, row or column is one line. Raises StudyError where a folder holds no tables.
    """
    old, new = (_tables(Path(folder)) for folder in (committed, made))
    rows, cells = _absent(old, new, lambda file: (file, "", "")), 0
    for file in sorted(old.keys() & new.keys()):
        name = Path(file).stem
        before, after = keyed(name, old[file]), keyed(name, new[file])
        rows += _absent(before.index, after.index, lambda row, file=file: (file, row, ""))
        rows += _absent(before.columns, after.columns, lambda column, file=file: (file, "", column))
        both = before.index.intersection(after.index, sort=False)
        before, after = before.loc[both], after.loc[both]
        for column in before.columns.intersection(after.columns, sort=False):
            may = allowed(name, before, column)
            cells += int(np.isfinite(may).sum())
            for at in np.flatnonzero(np.isfinite(may) & ~alike(before[column], after[column], may)):
                due = "equal" if may[at] <= ROUNDED else f"within {may[at]:.3g}, {SDS} SD over seeds"
                rows.append((file, both[at], column, before[column].iloc[at], after[column].iloc[at], due))
    return pd.DataFrame(rows, columns=FOUND).sort_values("table", kind="stable", ignore_index=True), cells


def keyed(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its rows named ``model=iustnet metric=auc``, numbered where a name comes twice."""
    keys = [key for key in KEYS.get(name, []) if key in table]
    if not keys:
        return table.set_index(pd.Index([f"number {number}" for number in range(1, len(table) + 1)]))
    words = [f"{key}=" + table[key].astype(object).where(table[key].notna(), "").astype(str) for key in keys]
    names = words[0].str.cat(words[1:], sep=" ")
    again = names.groupby(names).cumcount()
    return table.set_index(names + np.where(again > 0, " #" + (again + 1).astype(str), ""))


def trained(name: str, table: pd.DataFrame) -> np.ndarray:
    """Return which rows rest on a network that the study trained, bool (n,)."""
    if name == "published":  # the published study's own numbers: nothing is trained here
        return np.zeros(len(table), bool)
    named = table.reindex(columns=["model", "first", "second"]).isin(TRAINED).any(axis=1).to_numpy()
    rows = named | (name.removeprefix("runs_") in TRAINED)
    return rows & (table["run"] != "published").to_numpy() if "run" in table else rows


def allowed(name: str, table: pd.DataFrame, column: str) -> np.ndarray:
    """Return by how much each cell of a column may differ, float (n,): NaN where it is not compared."""
    # Holm's correction of one pair counts how many others are smaller, those of trained networks among them.
    rows = trained(name, table) | (column == "p_holm")
    through = table.reindex(columns=["model", "first", "second"]).isin(THROUGH).any(axis=1)
    may = np.where(through, ROUNDED, CLOSE)
    may = np.where(rows & (column not in (*COUNTED, *KEYS.get(name, []))), np.nan, may)
    if column != WITHIN.get(name):
        return may
    spread = pd.read_csv(SPREAD).query("table == @name").set_index(["first", "second"]).sd.clip(lower=LEAST_SD)
    within = SDS * spread.reindex(pd.MultiIndex.from_frame(table[KEYS[name][:2]])).to_numpy()
    if name == "metrics":
        within[table.metric.to_numpy() != "auc"] = np.nan
    return np.where(rows, within, may)


def alike(old: pd.Series, new: pd.Series, may: np.ndarray) -> np.ndarray:
    """Return which cells are equal, or numbers that differ by no more than they may, bool (n,)."""
    same = (old.astype(object) == new.astype(object)).to_numpy() | (old.isna() & new.isna()).to_numpy()
    before, after = (pd.to_numeric(side, errors="coerce").to_numpy(float) for side in (old, new))
    with np.errstate(invalid="ignore"):
        return same | (np.abs(before - after) <= may * np.where(may <= ROUNDED, np.maximum(1, np.abs(before)), 1))


def sentences(found: pd.DataFrame) -> list[str]:
    """Return a sentence for each cell that differs."""
    return [
        f"{table}{row and f', row {row}'}{column and f', column {column}'}: committed {old}, made {new}; due: {due}"
        for table, row, column, old, new, due in found.itertuples(index=False)
    ]


def verdict(found: pd.DataFrame, cells: int) -> str:
    """Return how many cells were compared, and how many differ."""
    if found.empty:
        return f"{cells:,} cells compared: none differs."
    return f"{cells:,} cells compared: {len(found):,} {'differs' if len(found) == 1 else 'differ'}, named above."


def _absent(old, new, where) -> list[tuple]:
    names = [name for name in (*old, *new) if (name in old) != (name in new)]
    return [(*where(name), *("present" if name in side else "absent" for side in (old, new)), "on both sides")
            for name in names]  # fmt: skip


def _tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of a report by file name, and its plan as a row, but for the plans before it."""
    paths = sorted((folder / "tables").glob("*.csv"))
    if not paths:
        raise StudyError(f"{folder} holds no tables; name the folder of a report, such as reports/phantom-demo.")
    paths += [path for path in [folder / "sources.csv"] if path.exists()]
    tables = {path.name: pd.read_csv(path, low_memory=False) for path in paths}
    if (folder / "plan.json").exists():
        plan = pd.json_normalize(json.loads((folder / "plan.json").read_text())).astype(str)
        tables["plan.json"] = plan.drop(columns="supersedes")  # nobody can make those again
    return tables
