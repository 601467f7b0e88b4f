"""Decisions are means over networks with the source as the unit; calibration is told within folds or not at all."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit
from sklearn import metrics as sk

from pcos_utils.evaluation import intervals, metrics
from tests.evaluation.conftest import scored

FAST = 400  # resamples


def judged(rng, n: int = 80, folds: int = 2, skill: float = 1.0) -> pd.DataFrame:
    """Return judged sources, as of ``calibration.judge``, decided once each."""
    label = np.arange(n) % 2
    logit = rng.normal(size=n) + skill * (2 * label - 1)
    table = scored(label, logit).assign(repeat=0, inner=0, fold=np.arange(n) // 2 % folds)
    return table.assign(probability=expit(logit), called=logit >= 0.3)


def weights(table: pd.DataFrame) -> np.ndarray:
    return intervals.resample(table.groupby("source").label.max().to_numpy(), FAST)


def test_decisions_are_scikit_learns_with_exact_intervals():
    table = judged(np.random.default_rng(0))
    made = metrics.decisions(table, weights(table))
    y, called = table.label, table.called
    wanted = {name: getattr(sk, f"{name}_score")(y, called) for name in ("recall", "precision", "accuracy")}
    wanted["specificity"] = sk.recall_score(y, called, pos_label=0)
    assert {name: one.value for name, one in made.items()} == pytest.approx(wanted)
    assert made["recall"][1:3] == intervals.exact((called & (y == 1)).sum(), 40) and made["precision"].method == "exact"
    assert metrics.decisions(table.assign(called=False), weights(table))["precision"].reason == "none is called"
    normal = table[table.label == 0]
    assert metrics.decisions(normal, weights(normal))["recall"].reason == "no source"


def test_networks_that_disagree_are_averaged_by_source():
    table = pd.concat([judged(np.random.default_rng(seed), 20).assign(repeat=seed) for seed in range(10)])
    made = metrics.decisions(table, weights(table))
    normal, polycystic = (table[table.label == label].groupby("source").called.mean() for label in (0, 1))
    assert made["recall"].value == pytest.approx(polycystic.mean())
    assert made["specificity"].value == pytest.approx(1 - normal.mean())
    assert made["precision"].value == pytest.approx(polycystic.sum() / (polycystic.sum() + normal.sum()))
    assert made["recall"].method == "Korn-Graubard" and made["precision"].method == "BCa"


def test_brier_score_and_net_benefit_are_their_definitions_and_withheld_where_chance_is_not_beaten():
    table = judged(np.random.default_rng(1))
    withheld = metrics.calibration(table, weights(table), shown=False)
    assert all(one.reason == metrics.NOT_SHOWN and np.isnan(one.value) for one in withheld.values())
    made = metrics.calibration(table, weights(table), shown=True)
    assert made["brier"].value == pytest.approx(sk.brier_score_loss(table.label, table.probability))
    assert made["brier"].low < made["brier"].value < made["brier"].high and made["brier_of_share"].value == 0.25
    for at in metrics.BENEFIT_AT:
        tn, fp, fn, tp = sk.confusion_matrix(table.label, table.probability >= at).ravel()
        assert made[f"net_benefit_{at:.2f}"].value == pytest.approx((tp - fp * at / (1 - at)) / len(table))
        assert made[f"call_all_{at:.2f}"].value == pytest.approx(0.5 - 0.5 * at / (1 - at))


def fitted(label: np.ndarray, design: np.ndarray, **options) -> float:
    """Return the first coefficient of statsmodels' logistic regression."""
    model = sm.GLM(np.asarray(label), design, family=sm.families.Binomial(), **options)
    return model.fit(tol=1e-12).params[0]


def test_the_slope_is_statsmodels_with_an_intercept_for_each_fold():
    rng = np.random.default_rng(0)
    for _ in range(30):
        table = judged(rng, 90, folds=3, skill=0.5)
        table["logit"] += 2 * table.fold  # a base rate that each fold's calibration learned; the slope must not see it
        w = rng.integers(1, 4, len(table)).astype(float)
        given = table.logit.to_numpy(), table.label.to_numpy(), table.fold.to_numpy()
        wanted = fitted(table.label, np.column_stack([table.logit, np.eye(3)[table.fold]]), freq_weights=w)
        assert metrics.slope(*given, w) == pytest.approx(wanted, rel=1e-5)
        together = metrics.slope(*given, np.stack([w, np.ones(len(table))]))
        assert together[0] == pytest.approx(float(metrics.slope(*given, w)))
        each = [fitted(own.label, np.ones(len(own)), offset=own.logit) for _, own in table.groupby("fold")]
        assert metrics.in_the_large(*given, np.ones(len(table))) == pytest.approx(np.mean(each), abs=1e-6)


def test_every_resample_has_a_slope_where_one_fold_is_far_surer_than_the_others():
    rng, group, label = np.random.default_rng(1), np.repeat(np.arange(3), 100), np.arange(300) % 2
    logit = np.array([0.004, 1.0, 0.1])[group] * (rng.standard_t(2, 300) + label)
    resamples = rng.multinomial(300, np.full(300, 1 / 300), 500).astype(float)
    slopes = metrics.slope(logit, label, group, resamples)
    assert np.isfinite(slopes).all()
    wanted = [fitted(label, np.column_stack([logit, np.eye(3)[group]]), freq_weights=w) for w in resamples[:5]]
    assert slopes[:5] == pytest.approx(wanted, rel=1e-5)


def test_small_folds_and_separated_classes_have_no_slope():
    table = judged(np.random.default_rng(0), 40, folds=5)
    made = metrics.calibration(table, weights(table), shown=True)
    assert "fewer than 10 sources of a class" in made["slope"].reason and np.isnan(made["in_the_large"].value)
    assert np.isfinite(made["brier"].low)
    separated = np.array([-2.0, -1, 1, 2])
    assert np.isnan(metrics.slope(separated, separated > 0, np.zeros(4, int), np.ones(4)))


def test_copies_of_a_source_are_worth_what_their_correlation_leaves():
    rng, source = np.random.default_rng(0), np.repeat(np.arange(400), 3)
    values = rng.normal(size=400)[source] + rng.normal(size=1200)
    assert metrics.correlation(values, source) == pytest.approx(0.5, abs=0.08)
    assert metrics.correlation(source, source) == 1 and np.isnan(metrics.correlation(values, np.arange(1200)))
    table = pd.DataFrame({"source": source, "image": np.arange(1200), "label": source % 2, "logit": 1.0 * source})
    made = metrics.repetition({"iustnet": table.assign(role="test")}, {"iustnet": table[::3]})
    assert made.columns.tolist() == metrics.REPETITION and made.protocol.tolist() == ["grouped", "grouped"]
    assert (made.design_effect == 3).all() and (made.effective_images == 200).all()
