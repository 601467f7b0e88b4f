"""What is tabulated from out-of-fold predictions: calibration, interval, threshold and conformal limits."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pcos_utils.evaluation.metrics import by_source
from pcos_utils.serving import evidence
from tests.serving.made import out_of_fold


def test_platt_is_scikit_learns_where_the_ridge_is_weak(monkeypatch):
    monkeypatch.setattr(evidence, "RIDGE", 1e-6)
    rng = np.random.default_rng(0)
    for scale in (0.1, 1, 30):
        label = rng.integers(0, 2, 200)
        logit = scale * (rng.normal(size=200) + label)
        weights = rng.integers(0, 3, 200)
        slope, intercept = evidence.platt(logit, label, weights[None])
        oracle = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
        oracle.fit(logit[:, None] / scale, label, sample_weight=weights)
        assert slope[0] * scale == pytest.approx(oracle.coef_[0, 0], rel=1e-3)
        assert intercept[0] == pytest.approx(oracle.intercept_[0], rel=1e-3, abs=1e-3)


def test_platt_never_turns_the_ranking_and_stays_finite():
    logit, ones = np.array([-3.0, -2, -1, 1, 2, 3]), np.ones((1, 6))
    assert evidence.platt(logit, np.array([1, 1, 1, 0, 0, 0]), ones)[0][0] == 0
    slope, _ = evidence.platt(logit, np.array([0, 0, 0, 1, 1, 1]), ones)
    assert 1 < slope[0] < 10  # six separated sources cannot blow it up
    assert [part[0] for part in evidence.platt(logit, np.ones(6), ones)] == [1, 0]


def test_the_interval_holds_the_probability_and_narrows_with_sources():
    widths = []
    for n in (20, 400):
        made = evidence.tabulate(out_of_fold(n), resamples=200, seed=0)
        grid, low, high = (np.array(made["interval"][name]) for name in ("logit", "low", "high"))
        middle = evidence.calibrated(grid, **made["calibration"])
        assert (low <= middle + 1e-4).all() and (middle <= high + 1e-4).all() and (np.diff(middle) >= 0).all()
        widths.append((high - low)[len(grid) // 2])
    assert widths[1] < 0.6 * widths[0]


def test_copies_of_a_source_narrow_nothing():
    one = out_of_fold(30)
    copies = one.loc[one.index.repeat(9)].reset_index(drop=True)
    first, second = (evidence.tabulate(table, resamples=100, seed=0) for table in (one, copies))
    assert first["interval"] == second["interval"]


def test_the_threshold_calls_nine_of_ten_and_no_more_than_it_must():
    probability = np.linspace(0.05, 0.95, 10)
    assert evidence.threshold(probability, np.ones(10)) == pytest.approx(0.15)


def test_each_class_stays_in_its_set_as_often_as_promised():
    kept = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        kept.append(rng.random() <= evidence.limit(rng.random(39)))
    assert np.mean(kept) == pytest.approx(0.9, abs=0.05)
    assert evidence.limit(np.zeros(8)) == 1  # too few to leave anything out


def test_the_unit_is_the_source():
    table = out_of_fold(30)
    sources = evidence.tabulate(table, resamples=100, seed=0)["sources"]
    assert sources == {"normal": 15, "polycystic": 15} and len(by_source(table)) == 30
