"""The published numbers re-read: every value from the counts, every sentence from the values."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from pcos_utils.evaluation import figures_leakage, republished, rerun

matplotlib.use("agg")


def test_every_metric_is_scikit_learns():
    made = republished.point_metrics().set_index("model")
    for row in rerun.published_results().itertuples():
        y = np.repeat([1, 1, 0, 0], [row.tp, row.fn, row.fp, row.tn])
        called = np.repeat([1, 0, 1, 0], [row.tp, row.fn, row.fp, row.tn])
        plus, minus = sk.class_likelihood_ratios(y, called)
        wanted = {
            "accuracy": sk.accuracy_score(y, called), "recall": sk.recall_score(y, called),
            "specificity": sk.recall_score(y, called, pos_label=0), "precision": sk.precision_score(y, called),
            "npv": sk.precision_score(y, called, pos_label=0), "f1": sk.f1_score(y, called),
            "balanced_accuracy": sk.balanced_accuracy_score(y, called), "mcc": sk.matthews_corrcoef(y, called),
            "lr_plus": plus, "lr_minus": minus,
        }  # fmt: skip
        assert set(wanted) == set(republished.METRICS)
        assert made.loc[row.model, list(wanted)].to_dict() == pytest.approx(wanted)


def test_intervals_that_count_pictures_hold_those_that_count_copies():
    made = republished.intervals().set_index(["model", "metric", "way"])
    row = made.loc[("densenet121d", "recall", "naive")]
    assert (row.low, row.high) == pytest.approx((0.630, 0.790), abs=0.001) and row.n == 120
    exact = binomtest(3, 4).proportion_ci(method="exact")
    row = made.loc[("densenet121d", "recall", "frames")]
    assert (row.low, row.high) == pytest.approx((exact.low, exact.high)) and row.value == 0.75
    assert made.loc[("iustnet", "recall", "frames")].value == 0.25  # as printed for the originals
    for way, n, low, high in (("n_eff .50", 7.7, 0.31, 0.96), ("n_eff .90", 4.4, 0.19, 0.99)):
        row = made.loc[("densenet121d", "recall", way)]
        assert row.n == pytest.approx(n, abs=0.05) and (row.low, row.high) == pytest.approx((low, high), abs=0.006)
    width = (made.high - made.low).unstack("way")
    assert (width["naive"] < width["n_eff .50"]).all() and (width["n_eff .50"] < width["n_eff .90"]).all()
    assert republished.effective_images([1] * 9, 0.7) == 9 and republished.effective_images([5] * 4, 1) == 4


def test_the_ranking_by_recall_has_no_support():
    found = republished.recall_ranking()
    assert found == {"frames": 4, "first": 3, "second": 1, "only_first": 2, "only_second": 0, "p": 0.5}
    assert "finds 3 and IustNet 1" in republished.ranking_sentence(found)
    assert "p = .50" in republished.ranking_sentence(found)


def test_at_the_true_prevalence_two_networks_stay_below_always_normal():
    made = republished.at_true_prevalence().set_index("model")
    assert made.accuracy.round(3).to_dict() == {"densenet201": 0.672, "densenet121d": 0.708, "iustnet": 0.816}
    assert made.always_normal.round(3).eq(0.741).all()
    text = republished.prevalence_sentence(republished.at_true_prevalence())
    assert "DenseNet201 and DenseNet121d stay below" in text and ".741" in text and ".816" in text


def test_the_best_of_many_runs_looks_better_than_any_is():
    made = republished.best_of_runs().set_index("runs")
    assert made["mean"].to_dict() == pytest.approx({1: 0.70, 3: 0.78, 10: 0.83, 20: 0.86}, abs=0.015)
    assert made.reach.is_monotonic_increasing and made.reach[10] > 0.5
    alone = republished.best_of_runs((1, 10), shared=1.0).set_index("runs")
    assert alone["mean"][10] < made["mean"][10] - 0.04  # runs that agree give less to choose from
    text = republished.selection_sentence(republished.best_of_runs())
    assert "of 20" in text and f"{made.reach[10]:.0%}" in text


def test_the_sentence_and_the_figure_show_the_table():
    table = republished.intervals()
    text = republished.width_sentence(table)
    assert "DenseNet121d, .72" in text and "[.63, .79]" in text and "[.19, .99]" in text
    _, ax = plt.subplots()
    figures_leakage.naive_and_honest(table, ax=ax)
    spans = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 2]
    wanted = table[(table.metric == "recall") & table.way.isin(["naive", "frames"])]
    assert sorted(spans) == sorted(zip(wanted.low, wanted.high, strict=True))
    assert sum(" frames: [" in words.get_text() for words in ax.texts) == 3
    plt.close("all")
