"""Evidence that was tampered with stops the evaluation with a sentence that names it: a small study, really trained."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from pcos_utils import config
from pcos_utils.config import COUNT
from pcos_utils.data import splits
from pcos_utils.data.pixels import expand
from pcos_utils.evaluation import baselines, predictions, tables
from pcos_utils.files import write_csv
from pcos_utils.follicles import counts
from tests.conftest import evaluate, spoiled


def fold_file(study, fold: int = 0):
    return study.runs_dir / "iustnet" / "ours" / "grouped" / f"s0r0f{fold}" / "predictions.csv"


def stops(study, words: str) -> None:
    """Check that loading ends with one sentence that has the words."""
    with pytest.raises(config.StudyError, match=words) as told:
        predictions.load(study)
    assert "\n" not in str(told.value)


@contextmanager
def without(folder):
    away = folder.rename(folder.parent.parent / "away")
    try:
        yield
    finally:
        away.rename(folder)


def test_every_method_is_there_and_says_what_taught_it(study):
    loaded = predictions.load(study)
    assert set(loaded.grouped) == {"iustnet", COUNT, *baselines.BASELINES} == set(loaded.taught)
    assert set(loaded.published) == {"iustnet"} and set(loaded.bare) == {COUNT, "local_contrast"}
    assert "3,000 phantoms with outlines" in loaded.taught[COUNT]
    assert loaded.taught["iustnet"].endswith("started from random weights") and loaded.dealt == {}


def test_sources_that_were_drawn_anew_since_are_named(study):
    table = predictions.read_table(study, "sources")
    other = table.assign(r0=table.r0.where(table.index != table.index[table.r0 == 1][0], 0))
    with spoiled(study.report_dir / "sources.csv", other):
        stops(study, "made under another sources.csv")
        with pytest.raises(config.StudyError, match="made under another sources.csv; run notebook 02_explore"):
            predictions.count(study)


FAULTS = {  # what is said, and the spoiled predictions of fold 0, given those of fold 1
    "fold 0: source .* is tested and stands on the training side": lambda rows, others: pd.concat(
        [rows, others[~others.source.isin(rows.source)].iloc[:1].assign(role="test", fold=0)]
    ),
    "fold 0: source .* is not tested": lambda rows, _: rows[rows.source != rows.source[rows.role == "test"].iloc[0]],
    "image .* is of source .* in the predictions": lambda rows, _: rows.assign(source=np.roll(rows.source, 1)),
    "source .* is a test source among the selection sources.*chosen on test data": lambda rows, _: pd.concat(
        [rows, rows[rows.role == "test"].iloc[:1].assign(role="selection")]
    ),
}


@pytest.mark.parametrize("words", FAULTS)
def test_predictions_that_break_the_folds_are_named(study, words):
    first, second = (pd.read_csv(fold_file(study, fold)) for fold in (0, 1))
    with spoiled(fold_file(study), FAULTS[words](first, second), hidden=True):
        stops(study, f"iustnet.*{words}")


def test_a_shuffled_file_is_named(study):
    table = pd.read_csv(fold_file(study))
    with spoiled(fold_file(study), table.assign(logit=np.random.default_rng(0).permutation(table.logit))):
        stops(study, r"s0r0f0.predictions.csv is not what its run wrote")


def test_a_missing_fold_is_named_and_another_seeds_runs_do_not_count(study):
    with without(fold_file(study, 1).parent):
        stops(study, "iustnet has 1 of 2 runs under the grouped protocol with seed 0")
    assert predictions.of_runs(study, "iustnet", "grouped").fold.nunique() == 2
    other = study.model_copy(update={"seed": 1})
    assert predictions.trained_models(other) == [] and predictions.trained_models(study) == ["iustnet"]


def test_a_network_without_the_published_run_is_judged_under_grouped_folds_alone(study):
    (run,) = study.runs("published", "published")
    with without(study.run_dir("iustnet", run)):
        loaded = predictions.load(study)
    assert "iustnet" in loaded.grouped and loaded.published == {}
    assert [*predictions.load(study).published] == ["iustnet"]


def test_edited_counts_are_counted_again(study):
    path = study.runs_dir / COUNT / "counts.csv"
    before = pd.read_csv(path)
    with spoiled(path, before.assign(count=7)):
        stops(study, "counts.csv is not what its run wrote.*run notebook 02_explore again")
        counts.run(study)
        assert pd.read_csv(path).equals(before)


def test_copies_made_before_training_are_the_files_that_they_show(study):
    drawn = predictions.read_table(study, "sources")
    tested = splits.roles(drawn, "published", 0, 0, 0).query("role == 'test'")
    copies = expand(tested, {0: 2, 1: 3}).rename(columns={"path": "image"})
    used = drawn[drawn.used == "yes"]
    assert copies.image.str.contains("/2_").any()
    predictions.as_split(used, "iustnet", copies)
    with pytest.raises(config.StudyError, match="iustnet: image .* is of source"):
        predictions.as_split(used, "iustnet", copies.assign(source=copies.source.to_numpy()[::-1]))


def test_the_published_split_is_held_too(study):
    path = next((study.runs_dir / "iustnet" / "published").rglob("predictions.csv"))
    table, drawn = pd.read_csv(path), predictions.read_table(study, "sources")
    trained = drawn[(drawn.split == "train") & (drawn.used == "yes")].iloc[0]
    leak = table.iloc[:1].assign(image=trained.path, source=trained.source)
    with spoiled(path, pd.concat([table, leak]), hidden=True):
        stops(study, f"iustnet, published split: image {trained.path} is tested and stands in train")


def test_dealings_of_these_sources_give_the_p_and_others_do_not(study):
    place = study.report_dir / predictions.DEALINGS
    own = predictions.sha256(study.report_dir / "sources.csv")
    try:
        write_csv(place, pd.DataFrame({"model": "iustnet", "dealing": range(99), "auc": 0.0, "sources_sha256": own}))
        row = tables.main_rows(evaluate(study)["metrics"]).query("model == 'iustnet'").iloc[0]
        assert row.p == pytest.approx(0.01) and row.test == "trained again on 99 dealings of the labels"
        write_csv(place, pd.read_csv(place).assign(sources_sha256="other"))
        assert predictions.dealings(study) == {}
    finally:
        place.unlink()
