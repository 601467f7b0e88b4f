"""An edited cell, row, table or plan is named; what another seed would move is let pass; nothing is written."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pcos_utils import config
from pcos_utils.evaluation import check
from pcos_utils.files import sha256, write_csv

DEMO = config.ROOT / "reports" / "phantom-demo"


@pytest.fixture
def made(tmp_path) -> Path:
    """A copy of the committed demo's tables, sources and plan."""
    shutil.copytree(DEMO / "tables", tmp_path / "tables")
    for name in ("sources.csv", "plan.json"):
        shutil.copyfile(DEMO / name, tmp_path / name)
    return tmp_path


def change(folder: Path, name: str, where: dict, column: str, value) -> None:
    """Nothing; the cell of the first row that fits holds ``value``."""
    path = folder / "tables" / f"{name}.csv" if name != "sources" else folder / "sources.csv"
    table = pd.read_csv(path, low_memory=False)
    fits = np.logical_and.reduce([table[key] == wanted for key, wanted in where.items()])
    table.loc[table.index[fits][0], column] = value
    write_csv(path, table)


def only(found: pd.DataFrame) -> pd.Series:
    """The one line, and it is in its sentence."""
    assert len(found) == 1, found.to_string()
    return found.iloc[0]


def test_the_same_report_has_no_difference(made):
    found, cells = check.compare(DEMO, made)
    assert found.empty and cells > 10_000 and "each is inside its band" in check.verdict(found, cells)


AUC = {"model": "follicles", "protocol": "grouped", "level": "source", "metric": "auc"}


@pytest.mark.parametrize(
    ("name", "where", "column", "value", "words"),
    [
        ("metrics", AUC, "value", 0.79, "model=follicles protocol=grouped level=source metric=auc"),
        ("metrics", AUC | {"model": "iustnet"}, "value", 0.69, "(seeds: "),
        ("metrics", AUC | {"model": "iustnet"}, "sources", 299, "due: exact"),
        ("comparisons", {"first": "follicles", "second": "local_contrast"}, "verdict", "worse", "made worse"),
        ("audit", {"fact": "readable images"}, "count", 299, "fact=readable images"),
        ("sources", {"label": 1}, "r0", 5, "sources.csv, row path="),
        ("published", {"model": "iustnet"}, "low", 0.5, "published.csv"),
        ("thresholds", {"model": "local_contrast"}, "threshold", 0.5, "column threshold: committed"),
        ("published_rerun", {"run": "published"}, "tp", 86, "published_rerun.csv"),
        ("runs_iustnet", {"fold": 1}, "start", "imagenet", "column start"),
    ],
)
def test_an_edited_cell_is_named(made, name, where, column, value, words):
    change(made, name, where, column, value)
    found, cells = check.compare(DEMO, made)
    row = only(found)
    assert row.column == column and row.table == f"{name}.csv" and str(value) in str(row.made)
    assert words in check.sentences(found)[0] and "1 difference outside" in check.verdict(found, cells)


def test_what_a_seed_moves_passes_and_what_is_counted_does_not(made):
    value = pd.read_csv(DEMO / "tables" / "metrics.csv").query("model == 'iustnet' and metric == 'auc'").value.iloc[0]
    change(made, "metrics", AUC | {"model": "iustnet"}, "value", value + 0.01)
    assert check.compare(DEMO, made)[0].empty
    change(made, "metrics", AUC | {"model": "local_contrast"}, "value", value)
    assert only(check.compare(DEMO, made)[0]).row.startswith("row model=local_contrast")


def test_a_number_that_vanished_is_outside_any_band(made):
    change(made, "metrics", AUC | {"model": "iustnet"}, "low", np.nan)
    assert only(check.compare(DEMO, made)[0]).column == "low"


def test_a_trained_interval_may_give_way_to_a_reason(made):
    change(made, "metrics", AUC | {"model": "iustnet"}, "low", np.nan)
    change(made, "metrics", AUC | {"model": "iustnet"}, "high", np.nan)
    change(made, "metrics", AUC | {"model": "iustnet"}, "reason", "the statistic is the same in every resample")
    assert check.compare(DEMO, made)[0].empty and check.compare(made, DEMO)[0].empty
    for column in ("low", "high"):
        change(made, "metrics", AUC | {"model": "local_contrast"}, column, np.nan)
    change(made, "metrics", AUC | {"model": "local_contrast"}, "reason", "no reason is good enough where none trained")
    assert set(check.compare(DEMO, made)[0].column) == {"low", "high", "reason"}


@pytest.mark.parametrize("side", ["made", "committed"])
def test_a_missing_row_and_a_missing_table_are_named(made, side):
    table = pd.read_csv(made / "tables" / "comparisons.csv")
    write_csv(made / "tables" / "comparisons.csv", table.iloc[1:])
    (made / "tables" / "leakage.csv").unlink()
    pair = (DEMO, made) if side == "made" else (made, DEMO)
    found, _ = check.compare(*pair)
    texts = check.sentences(found)
    row = "row first=follicles second=densenet201 metric=auc"
    assert texts == [f"comparisons.csv, {row}: absent on the {side} side", f"leakage.csv: absent on the {side} side"]


def test_a_missing_column_is_named(made):
    write_csv(made / "tables" / "audit.csv", pd.read_csv(made / "tables" / "audit.csv").drop(columns="count"))
    assert check.sentences(check.compare(DEMO, made)[0]) == ["audit.csv, column count: absent on the made side"]


def test_a_changed_plan_is_named(made):
    text = (made / "plan.json").read_text()
    (made / "plan.json").write_text(text.replace('"primary_metric": "auc"', '"primary_metric": "accuracy"'))
    found, _ = check.compare(DEMO, made)
    assert only(found).column == "rules.primary_metric"
    (made / "plan.json").unlink()
    assert "plan.json" in set(check.compare(DEMO, made)[0].table)


def test_nothing_is_written_and_an_empty_folder_is_refused(made, tmp_path_factory):
    before = {path: sha256(path) for path in made.rglob("*") if path.is_file()}
    change(made, "audit", {"fact": "readable images"}, "count", 1)
    after = {path: sha256(path) for path in made.rglob("*") if path.is_file()}
    check.compare(DEMO, made)
    assert after == {path: sha256(path) for path in made.rglob("*") if path.is_file()} != before
    with pytest.raises(config.StudyError, match="holds no tables"):
        check.compare(DEMO, tmp_path_factory.mktemp("empty"))


def test_every_band_is_a_number_or_a_word_with_an_origin():
    for row in check.bands().itertuples():
        assert row.band in ("exact", "free") or 0 < float(row.band) < np.inf
        assert row.origin and row.rows.split()[0] in ("*", "trained", "untrained")
