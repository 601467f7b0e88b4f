"""The published numbers read again: every value from the counts, and ours set beside them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from pcos_utils.evaluation import published
from pcos_utils.reporting import sentences_published


def predictions() -> pd.DataFrame:
    """40 images of 4 frames: the first 32 answered rightly, the last 8 wrongly."""
    table = pd.DataFrame({"image": [f"{n}" for n in range(40)], "source": np.repeat(list("abcd"), 10)})
    label = np.repeat([1, 0, 1, 0], 10)
    return table.assign(label=label, logit=np.where((np.arange(40) < 32) == label, 2.0, -2.0))


def test_intervals_that_count_pictures_hold_those_that_count_copies():
    made = published.intervals().set_index(["model", "metric", "way"])
    row = made.loc[("densenet121d", "recall", "naive")]
    assert row.value == pytest.approx(0.72, abs=0.005) and row.n == 120
    assert (row.low, row.high) == pytest.approx((0.630, 0.790), abs=0.001)
    row = made.loc[("densenet121d", "recall", "frames")]
    assert (row.low, row.high) == pytest.approx(binomtest(3, 4).proportion_ci(method="exact"))
    assert row.value == 0.75  # what the interval belongs to: three of four frames, not .72
    assert made.loc[("iustnet", "recall", "frames")].value == 0.25
    # Four frames have three degrees of freedom: worth 3.0 pictures at .5, by Korn and Graubard.
    row = made.loc[("densenet121d", "recall", "n_eff 0.5")]
    assert row.n == pytest.approx(3.0, abs=0.01) and (row.low, row.high) == pytest.approx((0.12, 1.00), abs=0.006)
    assert made.loc[("densenet121d", "recall", "n_eff 0.9")].n < row.n
    width = (made.high - made.low).unstack("way")
    assert (width["naive"] < width["n_eff 0.5"]).all() and (width["n_eff 0.5"] < width["n_eff 0.9"]).all()
    text = sentences_published.width(made.reset_index())
    assert "DenseNet121d, .72, seems to be known to within [.63, .79]" in text
    assert "Of the 4 original frames it gets 3 right: .75 [.19, .99]." in text


def test_the_ranking_by_recall_has_no_support_and_at_the_true_prevalence_two_networks_stay_below_always_normal():
    found, text = published.recall_ranking(), sentences_published.ranking()
    assert found == {"frames": 4, "densenet121d": 3, "iustnet": 1, "apart": 2, "p": 0.5}
    assert "finds 3 and IustNet 1" in text and "p = .500" in text
    made, text = published.at_true_prevalence().set_index("model"), sentences_published.prevalence()
    assert made.accuracy.round(3).to_dict() == {"densenet201": 0.672, "densenet121d": 0.708, "iustnet": 0.816}
    assert made.always_normal.round(3).eq(0.741).all()
    assert "DenseNet201 and DenseNet121d stay below" in text and ".741" in text and ".816" in text


@pytest.mark.slow
def test_the_best_of_many_runs_looks_better_than_any_is():
    made = published.best_of_runs().set_index("runs")
    assert made["mean"].to_dict() == pytest.approx({1: 0.70, 3: 0.78, 10: 0.83, 20: 0.86}, abs=0.015)
    assert made.reach.is_monotonic_increasing and made.reach[10] > 0.5
    alone = published.best_of_runs(shared=1.0).set_index("runs")
    assert alone["mean"][10] < made["mean"][10] - 0.04  # runs that agree give less to choose from
    assert "(best of 20)" in sentences_published.selection()


def test_counts_of_images_and_of_frames():
    made = published.rerun({"iustnet": predictions()}).set_index(["run", "level"])
    counted = {("again", "image"): [20, 0, 8, 12], ("again", "frame"): [2, 0, 1, 1]}
    for rows, counts in (counted | {("published", "image"): [79, 41, 17, 115]}).items():
        assert made.loc[rows, ["tp", "fn", "fp", "tn"]].tolist() == counts
    assert made.accuracy_by_count["again", "image"] == pytest.approx(32 / 40)
    assert made.accuracy_by_batch["again", "image"] == pytest.approx((1 + 0) / 2)  # the last batch weighs as much


def test_the_published_accuracies_are_those_of_the_paper():
    made = published.rerun({name: predictions() for name in ("densenet201", "densenet121d", "iustnet")})
    printed = made[made.run == "published"].set_index("model")
    accuracies = {"densenet201": 0.6825, "densenet121d": 0.7103, "iustnet": 0.7698}
    assert printed.accuracy_by_count.round(4).to_dict() == accuracies
    assert printed.accuracy_by_batch.tolist() == [0.6836, 0.7121, 0.7723] and (printed.n == 252).all()
    assert published.rerun({}).empty and published.rerun({}).columns.equals(made.columns)
