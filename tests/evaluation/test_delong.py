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


# DeLong, DeLong and Clarke-Pearson 1988: 43 of their patients with all three tests, as SAS/STAT prints them in its
# example "Comparing Receiver Operating Characteristic Curves" (albumin, total protein, K-G score, benefit).
PATIENTS = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0
4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1
4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1
2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""


def test_it_is_the_published_worked_example():
    albumin, protein, score, benefit = np.array(PATIENTS.split(), float).reshape(-1, 4).T
    aucs, spread = delong.covariance(benefit.astype(int), np.stack([albumin, protein, 10 - score]))
    assert aucs == pytest.approx([0.7366, 0.6478, 0.7258], abs=5e-5)
    assert np.sqrt(np.diag(spread)) == pytest.approx([0.0927, 0.1000, 0.1028], abs=5e-5)
    for first, difference, error in ((0, 0.0108, 0.0953), (1, -0.0780, 0.1046)):
        both = [first, 2]
        made, low, high, _ = delong.paired(aucs[both], spread[np.ix_(both, both)])
        assert made == pytest.approx(difference, abs=5e-5)
        assert (high - low) / 2 / norm.ppf(0.975) == pytest.approx(error, abs=5e-5)
