"""Sources are compared within folds only, and where all meet all it is the usual AUC with DeLong's variance."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from pcos_utils.config import StudyError
from pcos_utils.evaluation import delong, metrics, within


def folded(rng, sources: int = 41, positives: int = 12, folds: int = 7, repeats: int = 10, skill: float = 1.0):
    """A judged table of stratified folds; each repeat answers anew."""
    label = (np.arange(sources) < positives).astype(int)
    names, own = [f"s{i:03}" for i in range(sources)], rng.normal(size=sources) + skill * label
    parts = []
    for repeat in range(repeats):
        split = StratifiedKFold(folds, shuffle=True, random_state=int(rng.integers(2**31))) if folds > 1 else None
        fold = np.zeros(sources, int)
        for place, (_, held) in enumerate(split.split(label, label) if split else []):
            fold[held] = place
        logit = own + 0.3 * rng.normal(size=sources)
        parts.append(pd.DataFrame({"source": names, "label": label, "logit": logit, "repeat": repeat, "fold": fold}))
    return pd.concat(parts, ignore_index=True)


def test_where_all_meet_it_is_the_auc_and_delongs_variance():
    rng = np.random.default_rng(0)
    for i in range(200):
        sources = int(rng.integers(6, 60))
        tables = [folded(rng, sources, int(rng.integers(2, sources - 1)), 1, 1) for _ in range(2)]
        tables[1]["label"] = tables[0].label
        scores = np.stack([np.round(table.logit) if i % 2 else table.logit for table in tables])
        label, found = tables[0].label.to_numpy(), []
        for table, score in zip(tables, scores, strict=True):
            found.append(within.meetings(table.assign(logit=score).sample(frac=1, random_state=i)))
        weights = rng.integers(0, 3, (5, sources)) + (np.arange(sources) < 1) + (np.arange(sources) == sources - 1)
        np.testing.assert_allclose(within.auc(found[0], weights), metrics.auc(label, scores[0], weights))
        for made, wanted in zip(within.covariance(found), delong.covariance(label, scores), strict=True):
            np.testing.assert_allclose(made, wanted, atol=1e-12)


def test_in_folds_it_is_the_mean_over_the_pairs_that_met():
    rng = np.random.default_rng(1)
    for _ in range(20):
        judged, right, pairs = folded(rng, 20, 8, 3, 4), 0.0, 0
        for _, rows in judged.groupby(["repeat", "fold"]):
            m, n = (rows.label == 1).sum(), (rows.label == 0).sum()
            right, pairs = right + roc_auc_score(rows.label, rows.logit) * m * n, pairs + m * n
        found = within.meetings(judged)
        assert within.auc(found, np.ones(20)) == pytest.approx(right / pairs)


def test_a_shift_of_a_whole_fold_changes_nothing():
    judged = folded(np.random.default_rng(2))
    moved = judged.assign(logit=judged.logit + 5 * judged.fold)
    assert within.auc_row(within.meetings(judged), resamples=200) == within.auc_row(
        within.meetings(moved), resamples=200
    )


@pytest.mark.parametrize("reader", [DummyClassifier(), LogisticRegression()])
def test_noise_is_a_coin_within_folds_where_pooling_makes_a_blind_reader_worse(reader):
    label, rng, pooled, own = (np.arange(41) < 12).astype(int), np.random.default_rng(0), [], []
    table = pd.DataFrame({"source": [f"s{i:02}" for i in range(41)], "label": label})
    for seed in range(60):
        folds = list(StratifiedKFold(7, shuffle=True, random_state=seed).split(label, label))
        noise = rng.normal(size=(41, 3))
        chance = cross_val_predict(reader, noise, label, cv=folds, method="predict_proba")[:, 1]
        fold = pd.Series({at: i for i, (_, held) in enumerate(folds) for at in held}).sort_index()
        found = within.meetings(table.assign(logit=chance, fold=fold))
        own.append(float(within.auc(found, np.ones(41))))
        pooled.append(roc_auc_score(label, chance))
    assert np.mean(own) == pytest.approx(0.5, abs=0.06)  # three simulation errors
    if isinstance(reader, DummyClassifier):
        assert np.mean(pooled) < 0.43 and set(own) == {0.5}


@pytest.mark.parametrize(("repeats", "most"), [(1, 1.0), (3, 0.99)])  # where few pairs met, it is too wide
def test_the_interval_covers_the_truth_at_the_size_of_a_real_study(repeats, most):
    truth, hits, by_variance = norm.cdf(1 / np.sqrt(2 * (1 + 0.3**2))), 0, 0
    rng = np.random.default_rng(0)
    for seed in range(200):
        found = within.meetings(folded(rng, repeats=repeats))
        row = within.auc_row(found, resamples=300, seed=seed)
        hits += row["low"] <= truth <= row["high"]
        (value,), variance = within.covariance([found])
        low, high, _ = delong.interval(value, variance[0, 0])
        by_variance += low <= truth <= high
    assert 0.89 <= hits / 200 <= most and 0.89 <= by_variance / 200 <= most  # nominal .95, simulation error .015


def test_rows_without_a_table_of_pairs_give_the_same():
    rng = np.random.default_rng(3)
    for _ in range(20):
        judged = folded(rng, 30, 9, 4, 1).assign(logit=lambda table: table.logit.round(1))
        weights = rng.integers(0, 3, (6, 30)) + 1.0
        given = (judged[name].to_numpy() for name in ("label", "logit", "fold"))
        np.testing.assert_allclose(within.auc_in_folds(*given, weights), within.auc(within.meetings(judged), weights))


@pytest.mark.parametrize(("sources", "positives", "folds", "repeats"), [(300, 150, 3, 1), (41, 12, 7, 10)])
def test_the_area_under_the_roc_is_the_auc_though_folds_are_shifted(sources, positives, folds, repeats):
    rng, grid = np.random.default_rng(5), np.linspace(0, 1, 2001)
    judged = folded(rng, sources, positives, folds, repeats)
    moved = judged.assign(logit=(judged.logit + 5 * judged.fold).round(1))
    weights = rng.integers(0, 3, sources) + 1.0
    of_rows = weights[moved.source.str[1:].astype(int)]
    area = np.trapezoid(within.roc(moved, of_rows, grid), grid)
    assert area == pytest.approx(float(within.auc(within.meetings(moved), weights)), abs=0.003)
    height = within.roc(moved, of_rows, grid)
    assert height[-1] == pytest.approx(1) and (np.diff(height) >= -1e-12).all()


def test_where_all_meet_the_roc_is_scikit_learns():
    judged = folded(np.random.default_rng(6), 30, 11, 1, 1)
    false_positive, true_positive, _ = roc_curve(judged.label, judged.logit, drop_intermediate=False)
    on = np.unique(false_positive)
    highest = [true_positive[false_positive == at].max() for at in on]
    np.testing.assert_allclose(within.roc(judged, np.ones(30), on), highest)


def test_a_fold_without_both_classes_has_no_curve():
    apart = pd.DataFrame({"source": list("abcd"), "label": [1, 1, 0, 0], "logit": range(4), "fold": [0, 0, 1, 1]})
    assert np.isnan(within.roc(apart, np.ones(4), np.linspace(0, 1, 5))).all()


def test_a_permutation_never_says_zero_and_finds_a_good_ranking():
    judged = folded(np.random.default_rng(0), 54, 14, 7, 3, skill=3)
    assert within.permuted(within.meetings(judged), permutations=99) == 0.01
    assert within.permuted(within.meetings(judged.assign(logit=-judged.logit)), permutations=99) == 1


def test_dealt_labels_are_found_as_often_as_the_level_says():
    rng, p = np.random.default_rng(0), []
    for seed in range(300):
        found = within.meetings(folded(rng, 40, 12, 4, 1, skill=0))
        p.append(within.permuted(found, permutations=200, seed=seed))
    assert 0.02 < (np.array(p) <= 0.05).mean() < 0.085  # nominal .05, simulation error .013


def test_what_cannot_be_compared_stops():
    judged = folded(np.random.default_rng(0), 20, 8, 3, 1)
    for wrong in (pd.concat([judged, judged[:1]]), judged.assign(logit=np.nan)):
        with pytest.raises(StudyError, match="stands twice in a fold, or its logit is no number"):
            within.meetings(wrong)


def test_without_a_pair_that_met_there_is_no_auc():
    apart = pd.DataFrame({"source": list("abcd"), "label": [1, 1, 0, 0], "logit": range(4), "fold": [0, 0, 1, 1]})
    assert np.isnan(within.auc(within.meetings(apart), np.ones(4)))
    assert within.auc_row(within.meetings(apart[:2]), resamples=100)["reason"] == "a class is missing"
    assert "%" in within.auc_row(within.meetings(apart), resamples=100)["reason"]
