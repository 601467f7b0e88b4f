"""Differences are paired by source, and agree with scipy and statsmodels."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import ttest_rel
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from pcos_utils.config import StudyError
from pcos_utils.evaluation import comparison, within


def scored(label: np.ndarray, logit: np.ndarray) -> pd.DataFrame:
    """A table of judged sources, called at logit 0."""
    names = [f"s{i:03}" for i in range(len(label))]
    table = pd.DataFrame({"source": names, "label": label, "images": 1, "logit": logit, "probability": expit(logit)})
    return table.assign(margin=logit, called=logit >= 0, repeat=0, fold=0)


def two(rng, n: int = 54, gain: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two models on the same sources, a quarter polycystic; the first is better by ``gain`` standard deviations."""
    label = (np.arange(n) % 4 == 0).astype(int)
    shared = rng.normal(size=n)
    logits = [shared + 0.7 * rng.normal(size=n) + (1 + extra) * (2 * label - 1) for extra in (gain, 0)]
    return tuple(scored(label, logit) for logit in logits)


def test_mcnemar_is_statsmodels():
    rng = np.random.default_rng(0)
    for _ in range(200):
        first, second = two(rng, n=int(rng.integers(8, 60)))
        right = [(table.called == (table.label == 1)).to_numpy() for table in (first, second)]
        won, lost, p = comparison.mcnemar(comparison.pair(first, second))
        square = pd.crosstab(
            pd.Categorical(right[0], [True, False]), pd.Categorical(right[1], [True, False]), dropna=False
        )
        assert (won, lost) == (square.iloc[0, 1], square.iloc[1, 0])
        assert p == pytest.approx(mcnemar(square.to_numpy(), exact=True).pvalue)


def test_six_sources_one_way_are_needed_for_five_per_cent():
    label = np.ones(10, int)
    for better, shown in ((5, False), (6, True)):
        second = scored(label, np.where(np.arange(10) < better, -1.0, 1.0))
        assert (comparison.mcnemar(comparison.pair(scored(label, np.ones(10)), second))[2] < 0.05) == shown


def test_holm_is_statsmodels():
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = np.round(rng.random(int(rng.integers(1, 9))) ** 3, 2)
        np.testing.assert_allclose(comparison.holm(p), multipletests(p, method="holm")[1])
    assert comparison.holm([np.nan, 0.01]).tolist() == [1, 0.02]


def test_without_reuse_the_corrected_t_is_the_paired_t():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = rng.normal(size=(2, 10))
        assert comparison.corrected_t(a - b, 0.0).p == pytest.approx(ttest_rel(a, b).pvalue)


def test_ten_times_five_folds_widen_the_error_as_published():
    d = np.random.default_rng(0).normal(size=50)
    wide, narrow = (comparison.corrected_t(d, ratio) for ratio in (1 / 4, 0))
    # sqrt((1 / 50 + 1 / 4) * 50), of rigour's table: x 3.7
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(3.674, abs=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "p", "word"),
    [
        (0.01, 0.2, 0.01, "better"), (-0.2, -0.01, 0.01, "worse"), (-0.04, 0.05, 0.9, "equivalent"),
        (-0.04, 0.06, 0.9, "not shown"), (0.01, 0.2, 0.06, "not shown"), (0.01, 0.04, 0.01, "equivalent"),
        (np.nan, np.nan, 1.0, "not shown"),
    ],
)  # fmt: skip
def test_the_verdict(low, high, p, word):
    assert comparison.verdict(low, high, p) == word


def test_no_difference_is_found_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    p = [comparison.swapped(comparison.pair(*two(rng)), swaps=200, seed=seed) for seed in range(300)]
    assert (np.array(p) <= 0.05).mean() < 0.085  # nominal .05, simulation error .013; swaps are lumpy


def test_the_table_of_planned_comparisons():
    rng = np.random.default_rng(3)
    good, plain = two(rng, n=200, gain=1.5)
    tables = {"good": good, "plain": plain, "same": plain.copy()}
    made = comparison.comparison_table(tables, [("good", "plain"), ("plain", "good"), ("plain", "same")], resamples=400)
    assert made.verdict.tolist() == ["better"] * 2 + ["worse"] * 2 + ["not shown"] * 2
    forth, back = made.iloc[0], made.iloc[2]
    assert forth.difference == -back.difference and forth.low == pytest.approx(-back.high, abs=0.01)
    assert (made.p_holm >= made.p).all() and made.reason.iloc[4] == "all resamples agree"
    assert forth.value_first - forth.value_second == pytest.approx(forth.difference)
    assert (forth.won, forth.lost) == (back.lost, back.won)


def test_copies_of_the_order_of_sources_do_not_matter():
    first, second = two(np.random.default_rng(0))
    pairs = [("a", "b")]
    straight = comparison.comparison_table({"a": first, "b": second}, pairs, resamples=100)
    turned = comparison.comparison_table({"a": first, "b": second[::-1]}, pairs, resamples=100)
    pd.testing.assert_frame_equal(straight, turned)


def test_a_paired_interval_is_narrower_than_two_alone():
    first, second = two(np.random.default_rng(1))
    apart = second.assign(logit=np.random.default_rng(2).permutation(second.logit))
    ends = []
    for other in (second, apart):
        both, found = comparison.pair(first, other), [within.meetings(table) for table in (first, other)]
        ends.append(comparison.difference_interval(both, comparison.measures(both, found)["auc"], resamples=500))
    (value, low, high, _), (_, wide_low, wide_high, _) = ends
    assert low < value < high and high - low < wide_high - wide_low


def test_folds_are_compared_fold_by_fold():
    first, second = (table.assign(repeat=0, fold=np.arange(54) % 3) for table in two(np.random.default_rng(0)))
    found, ratio = comparison.fold_differences(first, second, "auc")
    assert len(found) == 3 and ratio == pytest.approx(0.5)
    wanted = []
    for fold in range(3):
        one, other = (roc_auc_score(*rows[rows.fold == fold][["label", "logit"]].T.values) for rows in (first, second))
        wanted.append(one - other)
    np.testing.assert_allclose(found, wanted)


def test_other_sources_or_labels_are_named():
    first, second = two(np.random.default_rng(0))
    with pytest.raises(StudyError, match="1 sources were judged by one"):
        comparison.pair(first, second[1:])
    with pytest.raises(StudyError, match="s000 has another label"):
        comparison.pair(first, second.assign(label=np.r_[0, second.label[1:]]))
    with pytest.raises(StudyError, match="The plan compares c"):
        comparison.comparison_table({"a": first, "b": second}, [("a", "c")], resamples=10)


def test_balanced_accuracies_are_scikit_learns():
    rng = np.random.default_rng(0)
    for _ in range(200):
        both = comparison.pair(*two(rng, n=int(rng.integers(8, 60))))
        made = comparison.balanced_accuracies(both, np.ones(len(both)))
        wanted = [balanced_accuracy_score(both.label, both[name]) for name in ("called", "called_second")]
        assert made == pytest.approx(wanted)
