"""Calibration and threshold come from selection sources alone, and a network decides before anything is averaged."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from pcos_utils.config import StudyError
from pcos_utils.evaluation import calibration


def predictions(rng, sources: int = 28, repeats: int = 2, folds: int = 4, images: int = 2) -> pd.DataFrame:
    """Return predictions: a quarter of the sources polycystic, logits twice too large and one too high."""
    number, parts = np.repeat(np.arange(sources), images), []
    table = pd.DataFrame({"source": [f"s{n:02}" for n in number], "label": (number % 4 == 0).astype(int)})
    table["image"] = [f"{n}-{place % images}" for place, n in enumerate(number)]
    for repeat in range(repeats):
        fold_of = np.empty(sources, int)  # whole classes are dealt to the folds, so that each has both
        for where in (np.arange(sources) % 4 == 0, np.arange(sources) % 4 > 0):
            fold_of[where] = rng.permutation(where.sum()) % folds
        for fold in range(folds):
            role = np.where(fold_of[number] == fold, "test", "selection")
            logit = 1 + 2 * (2 * table.label - 1 + rng.normal(size=len(number)))
            parts.append(table.assign(role=role, repeat=repeat, fold=fold, logit=logit))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def table() -> pd.DataFrame:
    """Predictions of 28 sources in two repeats of four folds."""
    return predictions(np.random.default_rng(0))


def test_no_test_label_and_no_test_score_is_read(table):
    before, test = calibration.judge(table), table.role == "test"
    names = table[test].drop_duplicates("source").set_index("source").label
    dealt = pd.Series(np.random.default_rng(1).permutation(names.to_numpy()), names.index)
    after = calibration.judge(table.assign(label=table.label.where(~test, table.source.map(dealt))))
    assert (before.label != after.label).any()
    pd.testing.assert_frame_equal(before.drop(columns="label"), after.drop(columns="label"))
    moved = calibration.judge(table.assign(logit=table.logit.where(~test, -3 * table.logit)))
    kept = ["source", "repeat", "fold", "threshold", "slope", "intercept"]
    pd.testing.assert_frame_equal(before[kept], moved[kept])


def test_each_fold_reaches_its_recall_and_a_row_is_one_network_on_one_source(table):
    made = calibration.judge(table)
    assert len(made) == 56 and not made.duplicated(["source", "repeat"]).any() and set(made.images) == {2}
    for (repeat, fold), rows in made.groupby(["repeat", "fold"]):
        rule, own = rows.iloc[0], table[(table.repeat == repeat) & (table.fold == fold)]
        chose = own[(own.role == "selection") & (own.label == 1)].groupby("source").logit.mean()
        logit = rule.slope * chose + rule.intercept
        # No higher threshold reaches it.
        assert (logit >= rule.threshold - 1e-12).mean() >= 0.9 > (logit > rule.threshold + 1e-12).mean()
        assert rule.raw_logit == pytest.approx(own.logit[own.source == rule.source].mean())  # of its images
        assert rule.probability == pytest.approx(expit(rule.logit))


def test_networks_decide_one_by_one_and_only_then_are_averaged():
    # Two networks of a fold disagree by far more than the threshold's distance; their mean logit would call all.
    rows = [("a", 1, "selection", 0, 2.0), ("b", 1, "selection", 0, 3.0), ("c", 0, "selection", 0, -2.0)]
    rows += [("t", 1, "test", 0, 9.0), ("t", 1, "test", 1, -1.0)]
    made = pd.DataFrame(rows, columns=["source", "label", "role", "inner", "logit"]).assign(repeat=0, fold=0)
    judged = calibration.judge(made.assign(image=made.source))
    assert judged.called.tolist() == [True, False] and judged.margin.mean() > 0
    assert calibration.by_source(judged).called.tolist() == [0.5]


def test_inner_networks_share_the_rule_of_their_fold_and_each_selection_source_counts_once(table):
    selection = table[table.role == "selection"].assign(inner=table.source.rank(method="dense").astype(int) % 3)
    tests = [table[table.role == "test"].assign(inner=inner) for inner in range(3)]
    made = calibration.judge(pd.concat([selection, *tests]))
    assert len(made) == 3 * 56 and made.groupby(["repeat", "fold"]).threshold.nunique().eq(1).all()
    assert made[made.inner == 0].threshold.to_numpy() == pytest.approx(calibration.judge(table).threshold.to_numpy())


def test_platt_is_the_minimum_of_its_penalised_loss():
    rng = np.random.default_rng(0)
    for _ in range(40):
        n = int(rng.integers(4, 60))
        label = np.r_[0, 1, rng.integers(0, 2, n)]
        logit = rng.normal(size=n + 2) * 10 ** rng.uniform(-2, 1.5) + label
        weights = rng.integers(0, 3, (3, n + 2)) + 0.5

        def loss(at, w, logit=logit, label=label):
            margin = (2 * label - 1) * (np.exp(at[0]) * logit + at[1])
            return (w * np.logaddexp(0, -margin)).sum() + (calibration.RIDGE * at**2).sum() / 2

        slopes, intercepts = calibration.platt(logit, label, weights)
        for w, slope, intercept in zip(weights, slopes, intercepts, strict=True):
            best = minimize(loss, np.zeros(2), args=(w,), method="L-BFGS-B", bounds=[(-5, 5), (None, None)])
            assert loss(np.array([np.log(slope), intercept]), w) <= best.fun + 1e-6


def test_with_many_sources_the_pull_is_weak():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 2000)
    logit = 3 * (label - 0.5 + rng.normal(size=2000)) + 2
    rule = calibration.fit(logit, label)
    free = LogisticRegression(C=np.inf).fit(logit[:, None], label)
    assert rule.slope == pytest.approx(free.coef_[0, 0], rel=0.02)
    assert rule.intercept == pytest.approx(free.intercept_[0], abs=0.03)


def test_few_sources_backward_scores_and_a_missing_class_do_not_blow_it_up():
    for scale in (0.01, 1, 100):
        rule = calibration.fit(scale * np.array([-2.0, -1, -1, 1, 1, 2]), np.repeat([0, 1], 3))
        assert 0 < rule.slope < 12 and abs(rule.intercept) < 1
    assert 0 < calibration.fit(np.array([2.0, 1, -1, -2]), np.array([0, 0, 1, 1])).slope < 0.6
    for label, missing in enumerate(("polycystic", "normal")):
        rule = calibration.fit(np.array([1.0, 2]), np.full(2, label))
        assert rule == (1, 0, label, f"identity: no {missing} selection source")


@pytest.mark.parametrize(("positives", "above"), [(10, 9), (20, 18), (7, 7), (1, 1), (30, 27)])
def test_the_threshold_calls_the_fewest_that_reach_the_recall(positives, above):
    logit, ones = np.random.default_rng(0).permutation(np.arange(positives, dtype=float)), np.ones(3 * positives, int)
    found = calibration.threshold(logit, ones[:positives])
    assert (logit >= found).sum() == above
    # Three networks on each source count a third each.
    assert calibration.threshold(np.repeat(logit, 3), ones, ones / 3) == found


def test_a_source_that_chose_or_is_tested_in_two_folds_is_named(table):
    chose = table.assign(role=table.role.where((table.source != "s05") | (table.image != "5-0"), "test"))
    with pytest.raises(StudyError, match="Source s05 is a selection and a test source"):
        calibration.judge(chose)
    tested = table[(table.source != "s05") | (table.role == "test")]
    again = tested[(tested.source == "s05") & (tested.repeat == 0)]
    with pytest.raises(StudyError, match="s05 is tested twice in repeat 0"):
        calibration.judge(pd.concat([tested, again.assign(fold=(again.fold + 1) % 4)]))
