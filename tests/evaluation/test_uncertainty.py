"""Intervals belong to sources: copies do not narrow them, and they cover what they claim to."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from pcos_utils.evaluation import delong, metrics, uncertainty


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


def test_the_exact_interval_is_scipys():
    rng = np.random.default_rng(0)
    for n in [1, 4, 16, 120, *rng.integers(1, 300, 196)]:
        for hits in {0, int(n), int(rng.integers(0, n + 1))}:
            wanted = binomtest(hits, int(n)).proportion_ci(method="exact")
            assert uncertainty.exact_interval(hits, int(n)) == pytest.approx((wanted.low, wanted.high))


@pytest.fixture(scope="module")
def evidence() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Thirty judged sources whose decisions are not those at .5, and their evidence table."""
    table = sample(15, np.random.default_rng(3))
    logit = np.log(table.probability / (1 - table.probability))
    judged = table.assign(logit=logit, margin=logit - np.log(3), called=table.probability >= 0.75, images=1)
    return judged, uncertainty.evidence_table(judged, resamples=200, seed=1)


def test_evidence_has_each_decision_twice_and_all_else_once(evidence):
    judged, made = evidence
    plain = made[~made.beside]
    places = plain.groupby("metric")["at"].agg(list)
    assert set(places.index) >= {"auc", "brier", "recall", "lr_plus"}
    for metric, at in places.items():
        assert at == (["0.5", "beforehand"] if metric in uncertainty.DECIDED else [""])
    assert not made.duplicated(["metric", "at", "method"]).any()


def test_evidence_decides_at_half_and_as_it_was_called(evidence):
    judged, made = evidence
    rows = made[~made.beside].set_index(["metric", "at"])
    positive = judged.label == 1
    for at, called in (("0.5", judged.probability >= 0.5), ("beforehand", judged.called)):
        assert rows.value["recall", at] == pytest.approx(called[positive].mean())
        assert rows.value["specificity", at] == pytest.approx((~called[~positive]).mean())
        hits = int((called & positive).sum())
        assert (rows.low["recall", at], rows.high["recall", at]) == uncertainty.exact_interval(hits, 15)
    assert rows.value["recall", "0.5"] != rows.value["recall", "beforehand"]
    wanted = metrics.auc(judged.label.to_numpy(), judged.probability.to_numpy(), np.ones(len(judged)))
    assert rows.value["auc", ""] == pytest.approx(wanted)


def test_evidence_sets_delong_and_newcombe_beside_the_auc(evidence):
    judged, made = evidence
    beside = made[made.beside].set_index("method")
    assert beside.metric.to_dict() == {"DeLong": "auc", "Newcombe": "auc_pooled"}
    y, score = judged.label.to_numpy(), judged.probability.to_numpy()
    (value,), variance = delong.covariance(y, score)
    assert tuple(beside.loc["DeLong", ["low", "high"]]) == pytest.approx(delong.interval(value, variance[0, 0])[:2])
    assert tuple(beside.loc["Newcombe", ["low", "high"]]) == delong.score_interval(y, score)
    parted = judged.assign(logit=np.where(judged.label == 1, 2.0, -2.0))
    rows = uncertainty.evidence_table(parted, resamples=100).query("beside").set_index("method")
    # Rows that have no interval say so in the method, and why.
    assert list(rows.index) == ["none", "Newcombe"] and rows.reason["none"] == "the classes are separated"
    assert 0.5 < rows.low["Newcombe"] < rows.high["Newcombe"] <= 1
