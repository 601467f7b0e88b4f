"""Resamples keep the classes, the corrected interval is scipy's, and shares have exact intervals."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t
from scipy.stats import bootstrap as scipy_bootstrap

from pcos_utils.evaluation import intervals


def sample(rng, positives: int = 12, negatives: int = 25) -> tuple[np.ndarray, np.ndarray]:
    label = np.repeat([1, 0], [positives, negatives])
    return label, rng.exponential(size=len(label)) + label


def difference(label: np.ndarray, score: np.ndarray):
    """Return the statistic: the weighted mean score of the positives minus that of the negatives."""

    def measure(weights: np.ndarray) -> np.ndarray:
        of, others = ((weights * (label == one)) @ score / weights[..., label == one].sum(-1) for one in (1, 0))
        return of - others

    return measure


def test_it_is_scipys_bca_of_two_samples():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        label, score = sample(rng, int(rng.integers(8, 20)), int(rng.integers(8, 40)))
        groups, apart = (score[label == 1], score[label == 0]), lambda a, b, axis: a.mean(axis) - b.mean(axis)
        wanted = scipy_bootstrap(groups, apart, vectorized=True, n_resamples=20_000, rng=seed).confidence_interval
        made = intervals.bca(difference(label, score), label, intervals.resample(label, seed=seed))
        assert made.method == "BCa" and made.reason == ""
        assert made[1:3] == pytest.approx((wanted.low, wanted.high), abs=0.03 * (wanted.high - wanted.low))


@pytest.mark.slow
def test_no_resampling_seed_moves_an_end_by_a_tenth_of_a_standard_error():
    label, score = sample(np.random.default_rng(0))
    made = [intervals.bca(difference(label, score), label, intervals.resample(label, seed=seed)) for seed in range(20)]
    ends = np.array([(each.low, each.high) for each in made])
    assert np.ptp(ends, axis=0).max() < 0.15 * np.diff(ends).mean() / 2 / norm.ppf(0.975)


def test_a_widened_interval_is_as_much_wider_as_it_was_asked_to_be():
    rng = np.random.default_rng(1)
    label, score = np.repeat([1, 0], 200), rng.normal(size=400)
    weights = intervals.resample(label)
    plain, wide = (intervals.bca(difference(label, score), label, weights, widen) for widen in (1, np.sqrt(2)))
    assert (wide.high - wide.low) / (plain.high - plain.low) == pytest.approx(np.sqrt(2), rel=0.03)
    assert wide.method == "BCa, widened"


def test_resamples_and_leaving_out_a_source_keep_the_class_totals():
    label = np.repeat([0, 1, 0], [3, 4, 6])
    drawn = intervals.resample(label, 50)
    assert (drawn @ label == 4).all() and (drawn @ (1 - label) == 9).all()
    weights = intervals.leave_one_out(np.array([1, 1, 0, 0, 0]))
    assert weights[0].tolist() == [0, 2, 1, 1, 1] and weights[2].tolist() == [1, 1, 0, 1.5, 1.5]


def test_where_it_is_undefined_it_says_why():
    for label, measure, reason in (
        ([0, 0, 1, 1], lambda w: np.full(w.shape[:-1], 0.5), "all resamples agree"),
        ([0, 0, 1, 1], lambda w: np.full(w.shape[:-1], np.nan), "the value is not finite"),
        ([0, 0, 1, 1], lambda w: np.where((w[..., 0] == 2) | (w[..., 2] == 2), np.nan, w[..., 1]), "undefined in 4"),
        ([1, 0, 0, 0], lambda w: w[..., 0] * w[..., 1] / w[..., 0], "undefined where one source is left out"),
    ):
        made = intervals.bca(measure, np.array(label), intervals.resample(np.array(label), 400))
        assert made.reason.startswith(reason) and np.isnan(made.low)


def test_the_exact_interval_is_scipys():
    rng = np.random.default_rng(0)
    for n in [1, 4, 16, 120, *map(int, rng.integers(1, 300, 20))]:
        for hits in {0, n, int(rng.integers(0, n + 1))}:
            wanted = binomtest(hits, n).proportion_ci(method="exact")
            assert intervals.exact(hits, n) == pytest.approx((wanted.low, wanted.high))
            made = intervals.share(np.repeat([1, 0], [hits, n - hits]))
            assert made[:3] == pytest.approx((hits / n, wanted.low, wanted.high)) and made.method == "exact"


def test_a_share_that_several_networks_decide_is_never_surer_than_if_one_had_and_covers_the_truth():
    assert intervals.korn_graubard(8, 4) == pytest.approx(8 * (norm.ppf(0.975) / t.ppf(0.975, 3)) ** 2)
    assert intervals.korn_graubard(8, 1) == 8
    assert intervals.share(np.full(8, 0.5))[:3] == pytest.approx((0.5, *intervals.exact(4, 8)))
    rng, held = np.random.default_rng(0), 0
    for n in rng.integers(3, 40, 400):
        chance = rng.beta(1.4, 0.6, size=n)  # sources that thirty networks mostly agree on; the mean is .7
        made = intervals.share(parts := rng.binomial(30, chance) / 30)
        low, high = intervals.exact(parts.sum(), int(n))
        assert made.method == ("exact" if np.isin(parts, (0, 1)).all() else "Korn-Graubard")
        assert made.low <= low + 1e-12 and made.high >= high - 1e-12
        held += made.low <= 0.7 <= made.high
    assert held / 400 > 0.94
