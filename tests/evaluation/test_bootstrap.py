"""Resamples keep the classes, and the corrected interval is scipy's."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from pcos_utils.evaluation import bootstrap, metrics


def sample(rng, positives: int = 12, negatives: int = 25) -> pd.DataFrame:
    """Sources with skewed scores."""
    label = np.repeat([1, 0], [positives, negatives])
    return pd.DataFrame(
        {"source": np.arange(len(label)), "label": label, "score": rng.exponential(size=len(label)) + label}
    )


def difference(table: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """The weighted mean score of the positives less that of the negatives."""
    score, positive = table.score.to_numpy(), (table.label == 1).to_numpy()
    parts = [weights[..., own] @ score[own] / weights[..., own].sum(-1) for own in (positive, ~positive)]
    return parts[0] - parts[1]


@pytest.mark.parametrize("seed", range(5))
def test_it_is_scipys_bca_of_two_samples(seed):
    table = sample(np.random.default_rng(seed))
    left_out, classes = bootstrap.jackknife_weights(table)
    value = float(difference(table, np.ones(len(table))))
    groups = [table.score[table.label == label].to_numpy() for label in (1, 0)]
    wanted = scipy_bootstrap(
        groups, lambda a, b, axis: a.mean(axis) - b.mean(axis), vectorized=True, n_resamples=40_000, rng=seed
    )
    # From the same draws the ends are the same numbers: bias, acceleration and quantiles, each as scipy has it.
    ends = wanted.confidence_interval
    given = bootstrap.bca_interval(value, wanted.bootstrap_distribution, difference(table, left_out), classes)
    assert given == (pytest.approx(ends.low, abs=1e-9), pytest.approx(ends.high, abs=1e-9), "")
    # Our own draws have the same law: an end moves by .02, of a width of about 1.5.
    draws = difference(table, bootstrap.source_weights(table, 40_000, seed))
    low, high, _ = bootstrap.bca_interval(value, draws, difference(table, left_out), classes)
    assert (low, high) == (pytest.approx(ends.low, abs=0.06), pytest.approx(ends.high, abs=0.06))


def test_on_200_problems_the_ends_are_scipys_from_the_same_draws():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        # Smaller classes repeat the value itself in a draw, and rounding decides what scipy makes of it.
        table = sample(rng, int(rng.integers(8, 20)), int(rng.integers(8, 40)))
        left_out, classes = bootstrap.jackknife_weights(table)
        groups = [table.score[table.label == label].to_numpy() for label in (1, 0)]
        wanted = scipy_bootstrap(
            groups, lambda a, b, axis: a.mean(axis) - b.mean(axis), vectorized=True, n_resamples=999, rng=seed
        )
        value, ends = float(difference(table, np.ones(len(table)))), wanted.confidence_interval
        given = bootstrap.bca_interval(value, wanted.bootstrap_distribution, difference(table, left_out), classes)
        assert given[:2] == (pytest.approx(ends.low, abs=1e-9), pytest.approx(ends.high, abs=1e-9))


def test_leaving_out_a_source_leaves_out_all_its_images_and_keeps_its_class_total():
    table = pd.DataFrame({"source": list("aabbcd"), "label": [1, 1, 1, 1, 0, 0]})
    weights, classes = bootstrap.jackknife_weights(table)
    assert classes.tolist() == [1, 1, 0, 0]
    assert weights[0].tolist() == [0, 0, 2, 2, 1, 1] and weights[2].tolist() == [1, 1, 1, 1, 0, 2]


def test_where_it_is_undefined_it_says_why():
    even, classes = np.linspace(0.4, 0.6, 100), np.array([0, 0, 1, 1])
    left_out = np.array([0.4, 0.5, 0.5, 0.6])
    assert bootstrap.bca_interval(0.5, even, left_out, classes)[2] == ""
    assert bootstrap.bca_interval(1.0, np.ones(100), left_out, classes)[2] == "all resamples agree"
    assert bootstrap.bca_interval(0.9, even, left_out, classes)[2].startswith("no resample on one side")
    holes = np.where(np.arange(100) < 20, np.nan, even)
    assert bootstrap.bca_interval(0.5, holes, left_out, classes)[2] == "undefined in 20% of the resamples"
    assert "left out" in bootstrap.bca_interval(0.5, even, np.array([np.nan, 1, 1, 1]), classes)[2]


def test_a_class_of_one_source_gives_no_auc_interval():
    table = pd.DataFrame({"source": range(5), "label": [1, 0, 0, 0, 0]})
    score = np.array([0.5, 0.1, 0.2, 0.6, 0.7])
    left_out, classes = bootstrap.jackknife_weights(table)
    draws = metrics.auc(table.label.to_numpy(), score, bootstrap.source_weights(table, 100, 0))
    influence = metrics.auc(table.label.to_numpy(), score, left_out)
    assert "left out" in bootstrap.bca_interval(0.5, draws, influence, classes)[2]


def test_infinite_draws_count_as_large():
    draws = np.r_[np.linspace(1, 5, 90), np.full(10, np.inf)]
    low, high, reason = bootstrap.percentile_interval(draws)
    assert low < 1.5 and high == np.inf and not reason
