"""DeLong's variance is that of an independent count over all pairs of sources."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from pcos_utils.evaluation import delong


def by_all_pairs(y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and covariance from the m x n table of wins, as DeLong et al. wrote them: no ranks."""
    wins = [np.sign(s[y == 1][:, None] - s[y == 0]) / 2 + 0.5 for s in scores]
    aucs = np.array([table.mean() for table in wins])
    m, n = wins[0].shape
    rows, columns = np.array([w.mean(axis=1) for w in wins]), np.array([w.mean(axis=0) for w in wins])
    spread = np.zeros((len(scores), len(scores)))
    for i in range(len(scores)):
        for j in range(len(scores)):
            s10 = ((rows[i] - aucs[i]) * (rows[j] - aucs[j])).sum() / (m - 1)
            s01 = ((columns[i] - aucs[i]) * (columns[j] - aucs[j])).sum() / (n - 1)
            spread[i, j] = s10 / m + s01 / n
    return aucs, spread


def problems():
    """200 problems of two correlated scores; every other one has ties."""
    rng = np.random.default_rng(0)
    for i in range(200):
        y = np.r_[0, 0, 1, 1, rng.integers(0, 2, int(rng.integers(4, 60)))]
        shared = rng.normal(size=len(y)) + y
        scores = shared + rng.normal(size=(2, len(y)))
        yield y, np.round(scores) if i % 2 else scores


def test_covariance_is_that_of_all_pairs():
    for y, scores in problems():
        for made, wanted in zip(delong.covariance(y, scores), by_all_pairs(y, scores), strict=True):
            np.testing.assert_allclose(made, wanted, atol=1e-12)


def test_the_auc_is_mann_and_whitneys():
    for y, scores in problems():
        u = mannwhitneyu(scores[0][y == 1], scores[0][y == 0]).statistic / (y.sum() * (1 - y).sum())
        assert delong.covariance(y, scores)[0][0] == pytest.approx(u)


def test_the_paired_test_is_the_difference_over_its_error():
    for y, scores in problems():
        aucs, spread = by_all_pairs(y, scores)
        error = np.sqrt(max(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1], 0))
        difference, low, high, p = delong.paired(*delong.covariance(y, scores))
        if error < 1e-7:
            continue
        assert difference == pytest.approx(aucs[0] - aucs[1])
        assert p == pytest.approx(2 * norm.sf(abs(difference) / error))
        assert (high - low) / 2 == pytest.approx(1.959964 * error, rel=1e-5)


def test_one_model_against_itself_differs_by_nothing():
    y, scores = next(problems())
    assert delong.paired(*delong.covariance(y, scores[[0, 0]]))[3] == 1


def test_intervals_hold_the_value_and_stay_inside():
    for y, scores in problems():
        (value, _), variance = delong.covariance(y, scores)
        low, high, reason = delong.interval(value, variance[0, 0])
        assert reason or 0 < low < value < high < 1
        low, high = delong.score_interval(y, scores[0])
        assert 0 <= low <= value <= high <= 1 and high - low > 0.05


def test_separated_classes_have_only_the_score_interval():
    y, score = np.array([0] * 12 + [1] * 4), np.arange(16.0)
    assert delong.interval(1, 0)[2] == "the classes are separated"
    low, high = delong.score_interval(y, score)
    assert high == 1 and 0.6 < low < 0.95
    assert delong.score_interval(y, -score) == pytest.approx((0, 1 - low))


def test_the_score_interval_turns_with_the_score():
    y, scores = next(problems())
    low, high = delong.score_interval(y, scores[0])
    assert delong.score_interval(y, -scores[0]) == pytest.approx((1 - high, 1 - low), abs=1e-6)
