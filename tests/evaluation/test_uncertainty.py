"""Intervals belong to sources: copies do not narrow them, and they cover what they claim to."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from pcos_utils.evaluation import uncertainty


def sample(n: int, rng, shift: float = 1.0) -> pd.DataFrame:
    """So many sources a class with scores whose means differ by ``shift`` standard deviations."""
    label = np.repeat([0, 1], n)
    logit = rng.normal(size=2 * n) + shift * label
    return pd.DataFrame(
        {"source": [f"s{i}" for i in range(2 * n)], "label": label, "probability": 1 / (1 + np.exp(-logit))}
    )


def test_copies_change_no_interval():
    once = sample(20, np.random.default_rng(0))
    many = pd.concat([once] * 10, ignore_index=True)
    narrow, wide = (uncertainty.metric_table(table, resamples=300) for table in (many, once))
    narrow, wide = (table.set_index("metric")[["value", "low", "high"]] for table in (narrow, wide))
    drawn = ["auc", "average_precision", "brier", "balanced_accuracy", "f1", "mcc"]
    pd.testing.assert_frame_equal(narrow.loc[drawn], wide.loc[drawn])
    assert (narrow.high - narrow.low)["recall"] > 0.8 * (wide.high - wide.low)["recall"]


def test_a_perfect_share_has_an_exact_interval_and_a_constant_has_none():
    table = sample(8, np.random.default_rng(0)).assign(probability=0.9)  # everything is called polycystic
    made = uncertainty.metric_table(table, resamples=100).set_index("metric")
    assert made.method[["recall", "auc"]].tolist() == ["exact", "none"]
    assert made.low["recall"] == pytest.approx(binomtest(8, 8).proportion_ci(method="exact").low)
    assert made.value["auc"] == 0.5 and np.isnan(made.low["auc"])


def test_the_auc_interval_covers_the_truth():
    truth = 0.7602  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        row = uncertainty.metric_table(sample(40, rng), resamples=200, seed=seed).set_index("metric").loc["auc"]
        hits += row.low <= truth <= row.high
    assert 0.89 <= hits / 200 <= 0.99  # nominal .95, simulation error .015


def test_every_resample_has_both_classes_in_their_numbers():
    table = sample(7, np.random.default_rng(0))
    weights = uncertainty.source_weights(table, 50, 0)
    for label in (0, 1):
        assert (weights[:, table.label == label].sum(axis=1) == 7).all()


def test_few_sources_are_marked():
    for n, few in ((9, True), (10, False)):
        table = uncertainty.metric_table(sample(n, np.random.default_rng(0)), resamples=100)
        assert bool(table.few_sources.iloc[0]) == few


@pytest.mark.parametrize(("hits", "n"), [(0, 4), (3, 4), (4, 4), (86, 120)])
def test_the_exact_interval_is_scipys(hits, n):
    wanted = binomtest(hits, n).proportion_ci(method="exact")
    assert uncertainty.exact_interval(hits, n) == pytest.approx((wanted.low, wanted.high))
