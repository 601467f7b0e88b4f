"""Sources are compared where one network tested both; where all meet, it is the usual AUC with DeLong's variance."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from pcos_utils.config import StudyError
from pcos_utils.evaluation import auc, intervals
from tests.evaluation.conftest import scored

# DeLong, DeLong and Clarke-Pearson 1988: 43 of their patients with all three tests, as SAS/STAT prints them in its
# example "Comparing Receiver Operating Characteristic Curves" (albumin, total protein, K-G score, benefit).
PATIENTS = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0
4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1
4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1
2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""


def folded(rng, sources: int = 41, positives: int = 12, folds: int = 7, repeats: int = 10, skill: float = 1.0):
    """Return a judged table of stratified folds; each repeat answers anew."""
    label, parts = (np.arange(sources) < positives).astype(int), []
    own = rng.normal(size=sources) + skill * label
    for repeat in range(repeats):
        fold = [rng.permuted(np.arange(n) % folds) for n in (positives, sources - positives)]
        table = scored(label, own + 0.3 * rng.normal(size=sources))
        parts.append(table.assign(repeat=repeat, fold=np.concatenate(fold)))
    return pd.concat(parts, ignore_index=True)


def newcombe(known: auc.Pairs) -> tuple[float, float]:
    """Return Newcombe's ends of the AUC of these pairs."""
    return auc.newcombe(float(auc.auc(known)), known.opposite[1])


def plain(label: np.ndarray, score: np.ndarray) -> auc.Pairs:
    """Return the pairs of sources that all meet."""
    return auc.pairs(scored(label, score))


def test_where_all_meet_it_is_scikit_learns_whatever_the_weights_and_the_order():
    rng = np.random.default_rng(0)
    for i in range(30):
        table = folded(rng, int(rng.integers(6, 60)), 3, 1, 1)
        table["logit"] = table.logit.round(0 if i % 2 else 9)  # every other one has ties
        weights = rng.integers(1, 4, len(table))
        known = auc.pairs(table.sample(frac=1, random_state=i))
        wanted = roc_auc_score(table.label, table.logit, sample_weight=weights)
        assert auc.auc(known, weights) == pytest.approx(wanted)


def test_the_variance_is_the_published_worked_examples():
    albumin, protein, score, benefit = np.array(PATIENTS.split(), float).reshape(-1, 4).T
    values, spread = auc.covariance([plain(benefit.astype(int), one) for one in (albumin, protein, 10 - score)])
    assert values == pytest.approx([0.7366, 0.6478, 0.7258], abs=5e-5)
    assert np.sqrt(np.diag(spread)) == pytest.approx([0.0927, 0.1000, 0.1028], abs=5e-5)
    errors = [np.sqrt(spread[first, first] + spread[2, 2] - 2 * spread[first, 2]) for first in (0, 1)]
    assert [*(values[:2] - values[2]), *errors] == pytest.approx([0.0108, -0.0780, 0.0953, 0.1046], abs=5e-5)


def test_in_folds_it_is_the_mean_over_the_pairs_that_met():
    rng = np.random.default_rng(1)
    for _ in range(6):
        judged = folded(rng, 20, 8, 3, 4).assign(inner=0)
        folds = [rows for _, rows in judged.groupby(["repeat", "fold"])]
        met = [rows.label.sum() * (1 - rows.label).sum() for rows in folds]
        wanted = np.average([roc_auc_score(rows.label, rows.logit) for rows in folds], weights=met)
        # The networks of one fold are not compared with each other.
        shifted = pd.concat([judged, judged.assign(inner=1, logit=judged.logit + 50)])
        assert auc.auc(auc.pairs(judged)) == pytest.approx(wanted)
        assert auc.auc(auc.pairs(shifted)) == pytest.approx(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("method", [DummyClassifier(), LogisticRegression()])
def test_noise_is_a_coin_within_folds_where_pooling_makes_a_blind_method_worse(method):
    label, rng, pooled, own = (np.arange(41) < 12).astype(int), np.random.default_rng(0), [], []
    table = pd.DataFrame({"source": [f"s{i:02}" for i in range(41)], "label": label})
    for seed in range(60):
        folds = list(StratifiedKFold(7, shuffle=True, random_state=seed).split(label, label))
        chance = cross_val_predict(method, rng.normal(size=(41, 3)), label, cv=folds, method="predict_proba")[:, 1]
        fold = pd.Series({at: i for i, (_, held) in enumerate(folds) for at in held}).sort_index()
        own.append(float(auc.auc(auc.pairs(table.assign(logit=chance, fold=fold)))))
        pooled.append(roc_auc_score(label, chance))
    assert np.mean(own) == pytest.approx(0.5, abs=0.06)  # three simulation errors
    if isinstance(method, DummyClassifier):
        assert np.mean(pooled) < 0.43 and set(own) == {0.5}


@pytest.mark.slow
def test_the_interval_covers_the_truth_at_the_size_of_a_real_study():
    truth, held, rng = norm.cdf(1 / np.sqrt(2 * (1 + 0.3**2))), 0, np.random.default_rng(0)
    for seed in range(200):
        made = auc.interval(known := auc.pairs(folded(rng, repeats=3)), intervals.resample(known.label, 400, seed))
        held += made.low <= truth <= made.high
    assert 0.89 <= held / 200 <= 0.99  # nominal .95, simulation error .015


def test_a_faultless_method_has_newcombes_interval():
    label = np.array([0] * 12 + [1] * 4)
    made = auc.interval(plain(label, label.astype(float)), intervals.resample(label, 500))
    assert made.value == made.high == 1 and 0.6 < made.low < 0.95 and made.method == "Newcombe"
    assert newcombe(plain(label, -label.astype(float))) == pytest.approx((0, 1 - made.low))
    alone = scored(np.arange(8) % 2, np.arange(8) % 2)
    # In folds fewer pairs met, so less is known.
    assert newcombe(auc.pairs(alone.assign(fold=[0, 0, 1, 1] * 2)))[0] < newcombe(auc.pairs(alone))[0]
    # It is the score interval of Hanley and McNeil's variance.
    rng = np.random.default_rng(0)
    for _ in range(50):
        label = np.r_[0, 0, 1, 1, rng.integers(0, 2, int(rng.integers(8, 60)))]
        known = plain(label, rng.normal(size=len(label)) + label)
        value, m, n = float(auc.auc(known)), label.sum(), (1 - label).sum()
        for end in newcombe(known):
            if 1e-6 < end < 1 - 1e-6:
                more = (m + n) / 2 - 1
                spread = end * (1 - end) * (1 + more * ((1 - end) / (2 - end) + end / (1 + end))) / (m * n)
                assert abs(value - end) == pytest.approx(1.959964 * np.sqrt(spread), rel=1e-4)


def test_the_area_under_the_roc_is_the_auc_though_folds_are_shifted_and_the_curve_is_scikit_learns():
    rng, grid = np.random.default_rng(5), np.linspace(0, 1, 2001)
    for sources, *design in ((300, 150, 3, 1), (41, 12, 7, 10)):
        judged, weights = folded(rng, sources, *design), rng.integers(0, 3, (4, sources)) + 1.0
        moved = judged.assign(logit=(judged.logit + 5 * judged.fold).round(1)).sample(frac=1, random_state=0)
        heights = auc.roc(moved, weights, grid)
        np.testing.assert_allclose(np.trapezoid(heights, grid, axis=1), auc.auc(auc.pairs(moved), weights), atol=0.003)
        assert heights[:, -1] == pytest.approx(1) and (np.diff(heights) >= -1e-12).all()
    judged = folded(rng, 30, 11, 1, 1)
    false_positive, true_positive, _ = roc_curve(judged.label, judged.logit, drop_intermediate=False)
    on = np.unique(false_positive)
    highest = [true_positive[false_positive == at].max() for at in on]
    np.testing.assert_allclose(auc.roc(judged, np.ones(30), on), highest)


def test_a_permutation_never_says_zero_and_finds_a_good_ranking():
    judged = folded(np.random.default_rng(0), 54, 14, 7, 3, skill=3)
    assert auc.permuted(auc.pairs(judged), permutations=99) == 0.01
    assert auc.permuted(auc.pairs(judged.assign(logit=-judged.logit)), permutations=99) == 1


@pytest.mark.slow
def test_a_permutation_finds_a_fixed_score_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    studies = (auc.pairs(folded(rng, 40, 12, 1, 1, skill=0)) for _ in range(300))
    p = np.array([auc.permuted(known, permutations=400, seed=seed) for seed, known in enumerate(studies)])
    assert 0.02 < (p <= 0.05).mean() < 0.085  # nominal .05, simulation error .013


def test_what_cannot_be_compared_stops():
    judged = folded(np.random.default_rng(0), 20, 8, 3, 1)
    for wrong in (pd.concat([judged, judged[:1]]), judged.assign(logit=np.nan)):
        with pytest.raises(StudyError, match="stands twice in a fold, or its logit is no number"):
            auc.pairs(wrong)
    apart = scored(np.array([1, 1, 0, 0]), np.arange(4)).assign(fold=[0, 0, 1, 1])
    assert np.isnan(auc.auc(auc.pairs(apart)))
    assert auc.interval(auc.pairs(apart[:2]), np.ones((9, 2))).reason == "a class is missing"


def test_flips_are_those_of_trying_every_way():
    label, score = np.arange(13) % 2, np.random.default_rng(0).integers(0, 6, 13) + np.arange(13) % 2 * 1.0
    for row in auc.flips(plain(label, score)).itertuples():
        wanted = {turned: roc_auc_score(np.where(np.isin(range(13), turned), 1 - label, label), score)
                  for turned in combinations(range(13), row.flips)}  # fmt: skip
        values = list(wanted.values())
        assert (row.ways, row.lowest) == (len(values), pytest.approx(min(values)))
        assert (row.median, row.highest) == pytest.approx((np.median(values), max(values)))
        turned = tuple(int(name[1:]) for name in row.to_lowest.split(" and ")) if row.flips else ()
        assert wanted[turned] == pytest.approx(row.lowest)
    emptied = auc.flips(plain(np.array([1, 0, 0, 0]), np.arange(4.0)))
    assert emptied.ways.tolist() == [1, 3, 6]  # ways that empty a class do not count
