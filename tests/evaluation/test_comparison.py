"""What is shown is shown with learning in the test: sizes under meaningless labels, pairs, Holm, stable verdicts."""

import os

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from statsmodels.stats.multitest import multipletests

from pcos_utils.config import StudyError
from pcos_utils.evaluation import auc, comparison, intervals
from tests.evaluation.conftest import scored

FAST = 1000  # resamples
STUDIES = 400 if os.environ.get("FUZZ") == "full" else 100


def two(rng, n: int = 54, gain: float = 0.0) -> tuple[auc.Pairs, auc.Pairs]:
    """Return two methods on the same sources; the first is better by ``gain`` standard deviations."""
    label, shared = (np.arange(n) % 4 == 0).astype(int), rng.normal(size=n)
    logits = [shared + 0.7 * rng.normal(size=n) + (1 + extra) * label for extra in (gain, 0)]
    return tuple(auc.pairs(scored(label, logit)) for logit in logits)


def learned(rng, n: int = 120, folds: int = 3, traits: int = 15) -> auc.Pairs:
    """Return what a logistic regression makes of noise: labels mean nothing, and those of one fold teach the others."""
    label, x, parts = np.arange(n) % 2, rng.normal(size=(n, traits)), []
    for fold, (fit, held) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=0).split(x, label)):
        score = LogisticRegression().fit(x[fit], label[fit]).decision_function(x[held])
        parts.append(scored(label, np.zeros(n)).iloc[held].assign(fold=fold, logit=score))
    return auc.pairs(pd.concat(parts))


@pytest.mark.slow
def test_of_what_was_trained_on_noise_two_and_a_half_per_cent_beat_chance():
    rng, verdicts, naive = np.random.default_rng(0), [], 0
    for seed in range(STUDIES):
        known = learned(rng)
        weights = intervals.resample(known.label, 300, seed)
        verdicts.append(comparison.against_chance(known, trained=True, resamples=300, seed=seed).verdict)
        naive += not auc.interval(known, weights).low <= 0.5 <= auc.interval(known, weights).high
    for word in (comparison.BETTER, comparison.WORSE):
        assert verdicts.count(word) / STUDIES <= 0.025 + 2.5 * np.sqrt(0.025 * 0.975 / STUDIES)  # simulation errors
    assert naive / STUDIES > 0.1  # where .05 is due: as if no method had learned from another's test labels


def test_a_fixed_score_is_tested_by_permutation_and_a_faultless_one_is_better_than_chance():
    label = np.repeat([0, 1], [12, 6])
    faultless, blind = (auc.pairs(scored(label, logit)) for logit in (label * 1.0, np.zeros(18)))
    made, trained = (comparison.against_chance(faultless, trained=trained) for trained in (False, True))
    assert made.verdict == comparison.BETTER and made.p < 0.001 and made.auc.method == "Newcombe"
    assert trained.verdict == comparison.BETTER and trained.auc.low > 0.5
    made = comparison.against_chance(blind, trained=False)
    assert made.verdict == comparison.NOT_SHOWN and made.p == 1


def test_dealt_labels_give_the_p_where_there_are_any():
    known = two(np.random.default_rng(0), 80, 1)[0]
    value = float(auc.auc(known))
    for dealt, p in ((np.full(99, 0.5), 0.01), (np.r_[np.full(97, 0.5), value, 1.0], 0.03)):
        made = comparison.against_chance(known, trained=True, dealt=dealt, resamples=FAST)
        assert made.p == pytest.approx(p) and "99 dealings" in made.test
        assert (made.verdict == comparison.BETTER) == (p <= 0.025)


@pytest.mark.slow
def test_no_resampling_seed_changes_a_verdict_near_the_border():
    label, score, sides = np.arange(60) % 2, np.random.default_rng(5).normal(size=60), set()
    for shift in (0.2, 0.42, 0.46, 0.5, 0.9):
        known = auc.pairs(scored(label, score + shift * label))
        made = [comparison.against_chance(known, trained=False, resamples=2000, seed=seed) for seed in range(9)]
        assert len({each.verdict for each in made}) == 1
        sides.add(made[0].verdict)
    assert sides == {comparison.BETTER, comparison.NOT_SHOWN}


@pytest.mark.parametrize("trained", [(False, False), (False, True), (True, True)])
def test_the_p_of_a_difference_is_delongs_with_the_variance_doubled_of_what_was_trained(trained):
    first, second = two(np.random.default_rng(1), 200, 0.4)
    made = comparison.paired(first, second, trained, resamples=FAST)
    values, spread = auc.covariance([first, second])
    doubled = 1 + np.array(trained)
    error = np.sqrt(doubled @ np.diag(spread) - 2 * doubled.min() * spread[0, 1])
    assert made.difference.value == pytest.approx(values[0] - values[1])
    assert made.p == pytest.approx(2 * norm.sf(abs(made.difference.value) / error))
    assert (made.difference.high - made.difference.low) / 2 == pytest.approx(norm.ppf(0.975) * error, rel=0.1)


def test_the_table_of_planned_comparisons_is_one_family_whether_they_can_be_made_or_not():
    def compared(*pairs: tuple[str, str]) -> pd.DataFrame:
        return comparison.table(known, list(pairs), dict.fromkeys(known, False), resamples=FAST)

    rng = np.random.default_rng(3)
    good, plain = two(rng, n=200, gain=1.5)
    known = {"good": good, "plain": plain, "same": plain}
    made = compared(("good", "plain"), ("plain", "good"), ("plain", "same"))
    assert made.verdict.tolist() == ["better", "worse", "not shown"]
    assert made.difference[0] == -made.difference[1] and made.low[0] == pytest.approx(-made.high[1], abs=0.01)
    assert set(made.planned) == {3} and made.p_holm.equals(pd.Series(comparison.holm(made.p, 3)))
    assert made.reason[2] == "the two methods rank alike" and set(made.sources) == {200}
    alone, made = compared(("good", "plain")), compared(("good", "plain"), ("absent", "plain"))
    assert len(made) == 1 and made.planned[0] == 2
    assert made.p_holm[0] == pytest.approx(2 * alone.p[0]) and alone.p_holm[0] == alone.p[0]


def test_holms_correction_is_statsmodels_where_all_planned_were_made_and_where_not():
    drawn = np.round(np.random.default_rng(3).random(8) ** 3, 2)
    for p, planned in ((drawn, 8), ([0.01, 0.01, 0.2, 0.9], 4), ([0.0001, 0.0072, 0.0148], 5)):
        padded = multipletests([*p, *[1] * (planned - len(p))], method="holm")[1]
        np.testing.assert_allclose(comparison.holm(p, planned), padded[: len(p)])
    assert comparison.holm([np.nan, 0.01], 2).tolist() == [1, 0.02]


def test_other_sources_labels_or_folds_are_named():
    label = np.arange(12) % 2
    first = scored(label, np.arange(12.0))
    for other in (first[1:], first.assign(label=1 - label), first.assign(fold=np.arange(12) // 6)):
        with pytest.raises(StudyError, match="judged on other sources, labels or folds"):
            comparison.paired(auc.pairs(first), auc.pairs(other), (False, False), resamples=50)


@pytest.mark.slow
def test_power_is_that_of_simulated_studies():
    rng, shown, apart = np.random.default_rng(0), 0, 0
    label = (np.arange(41) < 12).astype(int)
    for _ in range(400):
        scores = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 41)
        shifted = scores + label[:, None] * np.sqrt(2) * norm.ppf([0.9, 0.7])
        known = [auc.pairs(scored(label, column)) for column in shifted.T]
        values, spread = auc.covariance(known)
        shown += values[1] - 1.96 * np.sqrt(spread[1, 1]) > 0.5
        apart += values[0] - values[1] > 1.96 * np.sqrt(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1])
    assert comparison.power(0.7, 12, 29, trained=False) == pytest.approx(shown / 400, abs=0.07)
    assert comparison.power_of_difference(0.9, 0.7, 12, 29) == pytest.approx(apart / 400, abs=0.07)
    assert comparison.power(0.7, 12, 29) < comparison.power(0.7, 12, 29, trained=False)
