"""Evidence that was tampered with stops the run with a sentence that names what: a small study, really trained."""

import json
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from pcos_utils import config
from pcos_utils.data import offline, splits
from pcos_utils.evaluation import calibration, check, guards, page, plan, report, results
from pcos_utils.files import sha256, write_csv, write_json
from pcos_utils.models import counts, sweep


@pytest.fixture(scope="module")
def study(small, tmp_path_factory):
    """The small study in a folder of its own, IustNet trained and all evaluated; and its tables."""
    made, table, place = small
    home = tmp_path_factory.mktemp("sabotage")
    (home / "data").symlink_to(place / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(home))
        write_csv(made.report_dir / "sources.csv", table)
        plan.write(made)
        report.save_runs(sweep.run("iustnet", made), made, "iustnet")
        yield made, results.evaluate(made)


def fold_file(study, fold: int = 0):
    """The predictions of one grouped fold."""
    return study.runs_dir / "iustnet" / "ours" / "grouped" / f"s0r0f{fold}" / "predictions.csv"


@contextmanager
def spoiled(path, table, *, hidden: bool = False):
    """Nothing, while ``path`` holds another table; ``hidden``: run.json vouches for it, as a careful hand would do."""
    record = path.with_name("run.json")
    kept = {place: place.read_bytes() for place in (path, record) if place.exists()}
    try:
        write_csv(path, table)
        if hidden:
            write_json(record, json.loads(record.read_text()) | {"predictions_sha256": sha256(path)})
        yield
    finally:
        for place, content in kept.items():
            place.write_bytes(content)


def stops(study, words: str) -> None:
    """Nothing; the evaluation ends with one sentence that has the words."""
    with pytest.raises(config.StudyError, match=words) as told:
        results.evaluate(study)
    assert "\n" not in str(told.value)


def test_untouched_it_runs(study):
    made, tables = study
    again = results.evaluate(made)
    assert again["metrics"].equals(tables["metrics"]) and set(again["metrics"].model) >= {"iustnet", "local_contrast"}


def test_a_source_on_both_sides_is_not_trained_on(study, tmp_path, monkeypatch):
    made, _ = study
    table = report.read_table(made, "sources")
    apart = [table.index[table.r0 == fold][0] for fold in (0, 1)]
    table.loc[apart[1], "source"] = table.source[apart[0]]
    (tmp_path / "data").symlink_to(made.data_dir.parent)
    monkeypatch.setenv("PCOS_HOME", str(tmp_path))
    write_csv(made.report_dir / "sources.csv", table)
    write_json(made.plan_path, {"supersedes": []})
    with pytest.raises(config.StudyError, match=r"1 source\(s\) stand on both sides of a split"):
        sweep.run("iustnet", made)


def test_a_leak_planted_after_training_is_found_by_the_drawn_sources(study):
    made, _ = study
    table = report.read_table(made, "sources")
    table.loc[table.index[table.r0 == 1][0], "r0"] = 0
    with spoiled(made.report_dir / "sources.csv", table):
        stops(made, "made under another sources.csv")


def test_a_training_source_among_the_test_rows_is_named(study):
    made, _ = study
    path = fold_file(made)
    table, other = pd.read_csv(path), pd.read_csv(fold_file(made, 1))
    leak = other[other.role == "test"].iloc[:1].assign(fold=0)
    leak = leak[~leak.source.isin(table.source[table.role == "selection"])]
    with spoiled(path, pd.concat([table, leak]), hidden=True):
        stops(
            made, f"iustnet, repeat 0, fold 0: source {leak.source.iloc[0]} is tested and stands on the training side"
        )
    with spoiled(path, table[table.source != table.source[table.role == "test"].iloc[0]], hidden=True):
        stops(made, "iustnet, repeat 0, fold 0: source .* is not tested")


def test_an_image_under_another_source_is_named(study):
    made, _ = study
    table = pd.read_csv(fold_file(made))
    table.loc[0, "source"] = table.source[1]
    with spoiled(fold_file(made), table, hidden=True):
        stops(made, f"iustnet: image {table.image[0]} is of source {table.source[1]} in the predictions")


def test_a_test_source_among_the_selection_rows_is_named(study):
    made, _ = study
    table = pd.read_csv(fold_file(made))
    first = table[table.role == "test"].iloc[:1]
    with spoiled(fold_file(made), pd.concat([table, first.assign(role="selection")]), hidden=True):
        stops(made, f"test source {first.source.iloc[0]} stands among the selection sources.*chosen on test data")


def test_code_that_chooses_thresholds_on_test_rows_is_named(study, monkeypatch):
    made, _ = study
    right = calibration.judged

    def on_test_rows(predictions):
        made = right(predictions)
        for _, rows in made.groupby(["repeat", "fold"]):
            made.loc[rows.index, "threshold"] = calibration.threshold(rows.logit.to_numpy(), rows.label.to_numpy())
        return made.assign(margin=made.logit - made.threshold)

    monkeypatch.setattr(calibration, "judged", on_test_rows)
    stops(made, "thresholds.csv, .*, repeat 0, fold .: the threshold is .* not chosen on them")
    monkeypatch.undo()
    assert results.evaluate(made)["thresholds"].threshold.notna().all()


def test_an_edited_threshold_and_an_edited_metric_are_named_by_the_report(study):
    made, tables = study
    path = report.table_path(made, "thresholds")
    table = pd.read_csv(path)
    with spoiled(path, table.assign(threshold=table.threshold + 0.1)):
        with pytest.raises(config.StudyError, match="thresholds.csv was changed after it was written"):
            page.build(made, tables)
        edited = tables | {"thresholds": pd.read_csv(path)}
        with pytest.raises(config.StudyError, match="thresholds.csv, iustnet, repeat 0, fold 0: the threshold is"):
            page.build(made, edited)
    path = report.table_path(made, "metrics")
    edited, wanted = pd.read_csv(path).replace({"high": {1.0: 0.9}}), "metrics.csv was changed"
    with spoiled(path, edited), pytest.raises(config.StudyError, match=wanted):
        page.build(made, tables)


def test_a_shuffled_file_is_named(study):
    made, _ = study
    table = pd.read_csv(fold_file(made))
    rng = np.random.default_rng(0)
    with spoiled(fold_file(made), table.assign(logit=rng.permutation(table.logit))):
        stops(made, r"s0r0f0.predictions.csv is not what its run wrote")


def test_a_shuffled_file_that_its_run_vouches_for_is_named_by_make_check(study, tmp_path):
    made, tables = study
    for name, table in tables.items():
        write_csv(tmp_path / "tables" / f"{name}.csv", table)
    table = pd.read_csv(fold_file(made))
    turned = table.assign(logit=-20 * table.logit)
    try:
        with spoiled(fold_file(made), turned, hidden=True):
            results.evaluate(made)
            found, _ = check.compare(tmp_path, made.report_dir)
        assert any(text.startswith("metrics.csv, row model=iustnet") for text in check.sentences(found))
    finally:
        results.evaluate(made)


def test_a_missing_fold_is_named(study):
    made, _ = study
    folder = fold_file(made, 1).parent
    away = folder.rename(folder.parent.parent / "away")
    try:
        stops(made, "iustnet has 1 of 2 runs under the grouped protocol")
    finally:
        away.rename(folder)
    assert report.predictions(made, "iustnet", "grouped").fold.nunique() == 2


def test_edited_counts_are_named(study):
    made, _ = study
    path = made.runs_dir / counts.NAME / "counts.csv"
    with spoiled(path, pd.read_csv(path).assign(count=7)):
        stops(made, "counts.csv is not what was counted")


def test_copies_made_before_training_are_the_files_that_they_show(study):
    made, _ = study
    drawn = report.read_table(made, "sources")
    tested = splits.roles(drawn, "published", 0, 0, 0).query("role == 'test'")
    copies = offline.expand(tested, {0: 2, 1: 3}).rename(columns={"path": "image"})
    assert copies.image.str.contains("/2_").any()
    guards.as_split(made, "iustnet", copies)
    with pytest.raises(config.StudyError, match="iustnet: image .* is of source"):
        guards.as_split(made, "iustnet", copies.assign(source=copies.source.to_numpy()[::-1]))


def test_the_published_split_is_held_too(study):
    made, _ = study
    path = next((made.runs_dir / "iustnet" / "published").rglob("predictions.csv"))
    table, drawn = pd.read_csv(path), report.read_table(made, "sources")
    trained = drawn[(drawn.split == "train") & (drawn.used == "yes")].iloc[0]
    leak = table.iloc[:1].assign(image=trained.path, source=trained.source)
    with spoiled(path, pd.concat([table, leak]), hidden=True):
        stops(made, f"iustnet, published split: image {trained.path} is tested and stands in train")
    assert splits.crossings(splits.roles(drawn, "published", 0, 0, 0)) == 0
