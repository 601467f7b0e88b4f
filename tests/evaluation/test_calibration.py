"""Calibration and threshold come from selection sources alone, and few sources cannot blow them up."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from pcos_utils.config import StudyError
from pcos_utils.evaluation import calibration


def predictions(rng, sources: int = 28, repeats: int = 2, folds: int = 4, images: int = 2) -> pd.DataFrame:
    """Out-of-fold predictions: a quarter of the sources polycystic, logits twice too large and one too high."""
    label = (np.arange(sources) % 4 == 0).astype(int)
    parts = []
    for repeat in range(repeats):
        # Whole classes are dealt to the folds, so that each has both.
        fold_of = np.empty(sources, int)
        for value in (0, 1):
            where = np.flatnonzero(label == value)
            fold_of[where] = rng.permutation(np.arange(len(where)) % folds)
        for fold in range(folds):
            logit = 1 + 2 * (2 * label - 1 + rng.normal(size=(images, sources)))
            for image in range(images):
                parts.append(
                    pd.DataFrame(
                        {
                            "image": [f"{i}-{image}" for i in range(sources)],
                            "source": [f"s{i:02}" for i in range(sources)],
                        }
                        | {"label": label, "role": np.where(fold_of == fold, "test", "selection"), "seed": 0}
                        | {"repeat": repeat, "fold": fold, "logit": logit[image], "probability": expit(logit[image])}
                    )
                )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def table() -> pd.DataFrame:
    """Predictions of 28 sources in two repeats of four folds."""
    return predictions(np.random.default_rng(0))


def test_no_test_label_is_read(table):
    before = calibration.judged(table)
    test = table.role == "test"
    label_of = table[test].drop_duplicates("source").set_index("source").label
    dealt = pd.Series(np.random.default_rng(1).permutation(label_of.to_numpy()), label_of.index)
    shuffled = table.assign(label=table.label.where(~test, table.source.map(dealt)))
    after = calibration.judged(shuffled)
    assert (before.label != after.label).any()
    pd.testing.assert_frame_equal(before.drop(columns="label"), after.drop(columns="label"))


def test_no_test_score_moves_a_threshold(table):
    test = table.role == "test"
    moved = calibration.judged(table.assign(logit=table.logit.where(~test, -3 * table.logit)))
    kept = ["source", "repeat", "fold", "threshold", "slope", "intercept"]
    pd.testing.assert_frame_equal(calibration.judged(table)[kept], moved[kept])


def test_each_fold_reaches_its_recall_and_no_higher_threshold_does(table):
    made = calibration.judged(table)
    for (repeat, fold), rows in made.groupby(["repeat", "fold"]):
        rule = rows.iloc[0]
        own = table[(table.repeat == repeat) & (table.fold == fold) & (table.role == "selection") & (table.label == 1)]
        logit = rule.slope * own.groupby("source").logit.mean() + rule.intercept
        assert (logit >= rule.threshold - 1e-12).mean() >= 0.9
        assert (logit > rule.threshold + 1e-12).mean() < 0.9


def test_one_row_a_source_and_repeat_and_the_score_is_the_mean(table):
    made = calibration.judged(table)
    assert len(made) == 56 and not made.duplicated(["source", "repeat"]).any() and set(made.images) == {2}
    first = made.iloc[0]
    own = table[(table.source == first.source) & (table["repeat"] == first["repeat"]) & (table.fold == first.fold)]
    assert first.raw_logit == pytest.approx(own.logit.mean())
    sources = calibration.by_source(made)
    assert len(sources) == 28 and set(sources.called) <= {True, False}
    one = made[made.source == "s03"]
    got = sources.set_index("source").loc["s03"]
    assert got.margin == pytest.approx(one.margin.mean()) and got.probability == pytest.approx(expit(one.logit.mean()))
    assert got.called == (one.margin.mean() >= 0)


def test_with_many_sources_the_pull_is_weak():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 2000)
    logit = 3 * (label - 0.5 + rng.normal(size=2000)) + 2
    rule = calibration.fit(logit, label)
    free = LogisticRegression(C=np.inf).fit(logit[:, None], label)
    assert rule.slope == pytest.approx(free.coef_[0, 0], rel=0.02)
    assert rule.intercept == pytest.approx(free.intercept_[0], abs=0.03)


@pytest.mark.parametrize("scale", [0.01, 1, 100])
def test_six_separated_sources_do_not_blow_it_up(scale):
    rule = calibration.fit(scale * np.array([-2.0, -1, -1, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 1]))
    assert 0 < rule.slope < 12 and abs(rule.intercept) < 1


def test_a_score_that_ranks_backwards_keeps_a_positive_slope():
    rule = calibration.fit(np.array([2.0, 1, -1, -2]), np.array([0, 0, 1, 1]))
    assert 0 < rule.slope < 0.6


def test_a_missing_class_leaves_the_logit_as_it_is_and_says_so():
    rule = calibration.fit(np.array([1.0, 2]), np.array([0, 0]))
    assert rule[:3] == (1, 0, 0) and rule.fitted == "identity: no polycystic selection source"
    rule = calibration.fit(np.array([1.0, 2]), np.array([1, 1]))
    assert rule[:3] == (1, 0, 1) and "no normal" in rule.fitted


@pytest.mark.parametrize(("positives", "above"), [(10, 9), (20, 18), (7, 7), (1, 1), (30, 27)])
def test_the_threshold_calls_the_fewest_that_reach_the_recall(positives, above):
    logit = np.random.default_rng(0).permutation(np.arange(positives, dtype=float))
    assert (logit >= calibration.threshold(logit, np.ones(positives, int))).sum() == above


def test_a_source_that_chose_and_is_tested_is_named(table):
    leak = table.copy()
    leak.loc[(leak.source == "s05") & (leak.image == "5-0"), "role"] = "test"
    with pytest.raises(StudyError, match="Source s05 is a selection and a test source"):
        calibration.judged(leak)


def test_a_source_tested_in_two_folds_is_named(table):
    leak = table[~((table.source == "s05") & (table.role == "selection"))]
    extra = leak[(leak.source == "s05") & (leak.repeat == 0)]
    leak = pd.concat([leak, extra.assign(fold=(extra.fold + 1) % 4)])
    with pytest.raises(StudyError, match="s05 is tested twice in repeat 0"):
        calibration.judged(leak)


def test_a_missing_column_is_named(table):
    with pytest.raises(StudyError, match="lack role"):
        calibration.judged(table.drop(columns="role"))
