"""Predictive values, calibration and net benefit agree with other people's code on 200 random problems."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import logit
from sklearn import metrics as sk

from pcos_utils.evaluation import clinical, metrics


def problems(count: int = 200):
    """Random labels, probabilities and weights; every other one has ties."""
    rng = np.random.default_rng(0)
    for i in range(count):
        n = int(rng.integers(20, 80))
        y = np.r_[0, 1, rng.integers(0, 2, n)]
        p = np.clip((rng.random(n + 2) + 0.6 * rng.random() * y) / 1.6, 0.01, 0.99)  # classes overlap
        w = rng.integers(1, 4, n + 2).astype(float) if i % 3 else np.ones(n + 2)
        yield y, np.round(p, 1).clip(0.05, 0.95) if i % 2 else p, w


def test_logistic_recalibration_is_statsmodels():
    compared = 0
    for y, p, w in problems():
        x, binomial = logit(p), sm.families.Binomial()
        intercept, slope = clinical.recalibration(y, p, w)
        large, one = clinical.recalibration(y, p, w, slope=False)
        wanted = sm.GLM(y, sm.add_constant(x), family=binomial, freq_weights=w).fit()
        alone = sm.GLM(y, np.ones(len(y)), family=binomial, freq_weights=w, offset=x).fit()
        if np.abs(wanted.params[1]) < 20:
            assert (intercept, slope) == pytest.approx(tuple(wanted.params), rel=1e-4, abs=1e-5)
            compared += 1
        assert (large, one) == (pytest.approx(alone.params[0], abs=1e-6), 1)
    assert compared > 190


def test_separated_classes_have_no_slope_but_a_calibration_in_the_large():
    y, p = np.array([0, 0, 1, 1]), np.array([0.2, 0.3, 0.7, 0.8])
    assert np.isnan(clinical.recalibration(y, p, np.ones(4))).all()
    assert clinical.recalibration(y, p, np.ones(4), slope=False)[0] == pytest.approx(0, abs=1e-9)


def test_likelihood_ratios_are_scikit_learns():
    for y, p, w in problems():
        made = clinical.clinical_metrics(y, p, w)
        called = (p >= 0.5).astype(int)
        if len(set(called)) < 2:
            continue
        positive, negative = sk.class_likelihood_ratios(y, called, sample_weight=w, replace_undefined_by=np.nan)
        if np.isfinite(made["lr_plus"]):
            assert made["lr_plus"] == pytest.approx(positive)
        if np.isfinite(made["lr_minus"]):
            assert made["lr_minus"] == pytest.approx(negative)


def test_predictive_values_at_the_sample_prevalence_are_precision():
    for y, p, w in problems():
        called = p >= 0.5
        recall, specificity = (sk.recall_score(y, called, sample_weight=w, pos_label=label) for label in (1, 0))
        ppv, npv = clinical.predictive_values(recall, specificity, w[y == 1].sum() / w.sum())
        wanted = sk.precision_score(y, called, sample_weight=w, zero_division=np.nan)
        assert ppv == pytest.approx(wanted, nan_ok=True)
        wanted = sk.precision_score(y, called, sample_weight=w, zero_division=np.nan, pos_label=0)
        assert npv == pytest.approx(wanted, nan_ok=True)


def test_a_worked_predictive_value():
    ppv, npv = clinical.predictive_values(0.9, 0.8, 0.1)
    assert (ppv, npv) == (pytest.approx(0.09 / 0.27), pytest.approx(0.72 / 0.73))


def test_brier_skill_is_nothing_for_the_prevalence_and_all_for_the_truth():
    y = np.array([0, 0, 0, 1])
    for p, skill in ((np.full(4, 0.25), 0), (y.astype(float), 1)):
        made = clinical.clinical_metrics(y, p, np.ones(4))
        assert made["brier_skill"] == pytest.approx(skill) and made["brier_baseline"] == pytest.approx(0.1875)


def test_calibration_error_is_the_plain_loop_over_equal_bins():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n, bins = 10 * int(rng.integers(2, 8)), 5
        p, y = rng.random(n), rng.integers(0, 2, n)
        parts = np.array_split(np.argsort(p), bins)
        wanted = sum(abs(y[part].mean() - p[part].mean()) * len(part) / n for part in parts)
        assert clinical.calibration_error(y, p, np.ones(n), bins) == pytest.approx(wanted)


def test_equal_scores_stay_in_one_bin():
    y, p = np.array([0, 1] * 20), np.full(40, 0.5)
    assert clinical.calibration_error(y, p, np.ones(40)) == pytest.approx(0)


def test_net_benefit_is_its_definition_and_calling_all_is_a_threshold_of_nothing():
    for y, p, w in problems():
        for t, made in zip((0.1, 0.4), clinical.net_benefit(y, p, w, (0.1, 0.4)), strict=True):
            tn, fp, fn, tp = sk.confusion_matrix(y, p >= t, sample_weight=w).ravel()
            assert made == pytest.approx((tp - fp * t / (1 - t)) / w.sum())
        prevalence = w[y == 1].sum() / w.sum()
        assert clinical.treat_all(y, w, (0.2,))[0] == pytest.approx(prevalence - (1 - prevalence) * 0.25)


def test_rows_of_weights_are_separate_problems():
    rng = np.random.default_rng(1)
    y, p, w = (
        rng.integers(0, 2, 60),
        rng.random(60).round(1).clip(0.05, 0.95),
        rng.integers(0, 3, (5, 60)).astype(float),
    )
    together = clinical.clinical_metrics(y, p, w)
    assert set(together) == set(clinical.CLINICAL)
    for i in range(5):
        alone = clinical.clinical_metrics(y, p, w[i])
        assert all(together[name][i] == pytest.approx(alone[name], nan_ok=True, abs=1e-8) for name in alone)


def test_a_given_decision_replaces_the_half():
    y, p, called = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, True, True, True])
    half, given = (metrics.all_metrics(y, p, np.ones(4), each) for each in (None, called))
    assert (half["recall"], given["recall"], given["specificity"]) == (0, 1, 0.5)
    assert half["auc"] == given["auc"] and half["brier"] == given["brier"]
    assert clinical.clinical_metrics(y, p, np.ones(4), called)["lr_plus"] == 2
