"""Each compared cell can fail; what another seed would move is let pass; a changed verdict is named."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pcos_utils import config
from pcos_utils.evaluation import compare_reports
from pcos_utils.files import sha256, write_csv

DEMO = config.ROOT / "reports" / "phantom-demo"
TABLES = sorted(path.stem for path in (DEMO / "tables").glob("*.csv"))


@pytest.fixture(autouse=True)
def spread(tmp_path_factory, monkeypatch) -> pd.Series:
    """Standard deviations over seeds of .05 for every trained AUC and difference, put in the place of the real ones."""
    ranks = read(DEMO, "metrics").query("metric == 'auc' and model in @config.MODELS")[["model", "protocol"]]
    parts = {"metrics": ranks, "comparisons": read(DEMO, "comparisons")[["first", "second"]]}
    parts = [part.set_axis(["first", "second"], axis=1).assign(table=name, sd=0.05) for name, part in parts.items()]
    write_csv(path := tmp_path_factory.mktemp("spread") / "spread.csv", table := pd.concat(parts))
    monkeypatch.setattr(compare_reports, "SPREAD", path)
    return table.set_index(["table", "first", "second"]).sd


@pytest.fixture
def made(tmp_path) -> Path:
    """A copy of the committed demo's tables, sources and plan."""
    shutil.copytree(DEMO / "tables", tmp_path / "tables")
    for name in ("sources.csv", "plan.json"):
        shutil.copyfile(DEMO / name, tmp_path / name)
    return tmp_path


def place(folder: Path, name: str) -> Path:
    return folder / "sources.csv" if name == "sources" else folder / "tables" / f"{name}.csv"


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(place(folder, name), low_memory=False)


def spoil(values: pd.Series, by: float = 1.0) -> pd.Series:
    """Return a column with every cell changed: numbers moved, by more the larger they are, words and gaps replaced."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.fillna(0) + by * values.fillna(0).abs().clip(lower=1)
    return values.astype(object).map(lambda value: f"not {value}")


@pytest.mark.parametrize("name", [*TABLES, "sources"])
def test_every_compared_cell_can_fail_and_what_was_not_trained_is_compared_to_the_last_cell(name):
    table = compare_reports.keyed(name, read(DEMO, name))
    untrained = ~compare_reports.trained(name, table)
    for column in table.columns.difference(compare_reports.KEYS.get(name, [])):
        may = compare_reports.allowed(name, table, column)
        compared = np.isfinite(may)
        moved = spoil(table[column], by=2 * np.nanmax(may) + 1e-3 if compared.any() else 0)
        caught = ~compare_reports.alike(table[column], moved, may)
        assert caught[compared].all() and (compared[untrained].all() or column == "p_holm"), (name, column)


def edit(folder: Path, name: str, where: dict, column: str, value) -> None:
    """Put a value into the cell of the first row that fits."""
    table = read(folder, name)
    fits = np.logical_and.reduce([table[key] == wanted for key, wanted in where.items()])
    table.loc[table.index[fits][0], column] = value
    write_csv(place(folder, name), table)


@pytest.mark.slow
def test_what_a_seed_moves_passes_and_four_standard_deviations_do_not(made, spread):
    sd = spread["metrics", "iustnet", "grouped"]
    where = {"model": "iustnet", "protocol": "grouped", "metric": "auc"}
    value = read(DEMO, "metrics").query("model == 'iustnet' and metric == 'auc'").value.iloc[0]
    edit(made, "metrics", where, "value", value + 3.9 * sd)
    assert compare_reports.compare(DEMO, made)[0].empty
    edit(made, "metrics", where, "value", value + 4.1 * sd)
    (text,) = compare_reports.sentences(compare_reports.compare(DEMO, made)[0])
    assert text.startswith("metrics.csv, row model=iustnet protocol=grouped metric=auc, column value")
    assert f"within {4 * sd:.3g}, 4 SD over seeds" in text


@pytest.mark.parametrize(("name", "where", "column", "value"), [
    ("metrics", {"model": "iustnet", "metric": "auc"}, "verdict", "better than chance"),
    ("comparisons", {"first": "iustnet"}, "verdict", "better"),
    ("comparisons", {"first": "iustnet"}, "difference", 0.9),
    ("metrics", {"model": "follicles", "metric": "auc"}, "value", 0.70001),
    ("sources", {"label": 1}, "r0", 5),
    ("published_rerun", {"run": "published"}, "tp", 86),
    ("runs_iustnet", {"fold": 1}, "start", "imagenet"),
])  # fmt: skip
def test_an_edited_cell_is_named(made, name, where, column, value):
    edit(made, name, where, column, value)
    found, cells = compare_reports.compare(DEMO, made)
    assert len(found) == 1 and found.column[0] == column and str(value) in compare_reports.sentences(found)[0]
    assert "1 differs, named above" in compare_reports.verdict(found, cells)


@pytest.mark.parametrize("side", ["made", "committed"])
def test_a_missing_row_column_and_table_are_named(made, side):
    write_csv(place(made, "comparisons"), read(made, "comparisons").iloc[1:])
    write_csv(place(made, "audit"), read(made, "audit").drop(columns="count"))
    place(made, "leakage").unlink()
    found, _ = compare_reports.compare(*((DEMO, made) if side == "made" else (made, DEMO)))
    assert found.table.tolist() == ["audit.csv", "comparisons.csv", "leakage.csv"]
    assert (found[side] == "absent").all() and found.column[0] == "count" and found.row[1].startswith("first=")


def test_the_same_report_has_no_difference_a_changed_plan_is_named_and_nothing_is_written(made, tmp_path_factory):
    found, cells = compare_reports.compare(DEMO, made)
    assert found.empty and cells > 5_000 and compare_reports.verdict(found, cells).endswith("none differs.")
    text = (made / "plan.json").read_text()
    (made / "plan.json").write_text(text.replace('"primary_metric": "auc"', '"primary_metric": "accuracy"'))
    before = {path: sha256(path) for path in made.rglob("*") if path.is_file()}
    assert compare_reports.compare(DEMO, made)[0].column.tolist() == ["rules.primary_metric"]
    assert before == {path: sha256(path) for path in made.rglob("*") if path.is_file()}
    with pytest.raises(config.StudyError, match="holds no tables"):
        compare_reports.compare(DEMO, tmp_path_factory.mktemp("empty"))


@pytest.mark.slow
def test_the_rounding_of_a_random_network_on_another_processor_is_let_pass(made):
    def differing(rows) -> pd.DataFrame:
        table.loc[rows, "slope"] *= 1 + 2e-5
        write_csv(place(made, "thresholds"), table)
        return compare_reports.compare(DEMO, made)[0]

    table = read(made, "thresholds")
    assert differing(table.model.isin(compare_reports.THROUGH)).empty
    found, learned = differing(table.index), (*compare_reports.THROUGH, *compare_reports.TRAINED)
    assert len(found) and not found.row.str.contains("|".join(learned)).any()
