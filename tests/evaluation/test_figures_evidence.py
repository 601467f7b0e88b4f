"""Figures of the evidence draw what the tables say."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from pcos_utils.evaluation import clinical, comparison, figures_evidence

matplotlib.use("agg")


@pytest.fixture
def ax():
    """Empty axes, closed afterwards."""
    _, axes = plt.subplots()
    yield axes
    plt.close("all")


@pytest.fixture
def table() -> pd.DataFrame:
    """Sixty judged sources, a third polycystic."""
    rng = np.random.default_rng(0)
    label = (np.arange(60) % 3 == 0).astype(int)
    logit = rng.normal(size=60) + 2 * label - 1.2
    return pd.DataFrame(
        {"source": range(60), "label": label, "logit": logit, "probability": expit(logit), "called": logit >= 0}
    )


def test_the_reliability_points_are_shares_and_the_curve_is_the_recalibration(table, ax):
    figures_evidence.reliability_band(table, ax=ax, bins=3, resamples=50)
    points = [bars.lines[0].get_data() for bars in ax.containers]
    parts = np.array_split(table.sort_values("probability").label, 3)
    assert [float(y[0]) for _, y in points] == [pytest.approx(part.mean()) for part in parts]
    curve = next(line for line in ax.lines if str(line.get_label()).startswith("recalibration"))
    x, y = curve.get_data()
    intercept, slope = clinical.recalibration(table.label.to_numpy(), table.probability.to_numpy(), np.ones(60))
    np.testing.assert_allclose(y, expit(intercept + slope * np.log(x / (1 - x))))
    assert len(ax.collections) > len(ax.containers)  # the band


def test_separated_classes_have_points_and_no_curve(table, ax):
    figures_evidence.reliability_band(table.assign(probability=0.1 + 0.8 * table.label), ax=ax, resamples=20)
    assert not [line for line in ax.lines if str(line.get_label()).startswith("recalibration")] and ax.containers


def test_calling_all_meets_calling_none_at_the_prevalence(table, ax):
    grid = np.array([0.1, 1 / 3, 0.5])
    figures_evidence.decision_curve({"iustnet": table}, ax=ax, resamples=20, grid=grid)
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert lines["call all polycystic"][1] == pytest.approx(0, abs=1e-12)
    called = table.probability >= 0.5
    wanted = ((called & (table.label == 1)).sum() - (called & (table.label == 0)).sum()) / 60
    assert lines["IustNet"][2] == pytest.approx(wanted)


def test_a_row_of_the_forest_without_interval_says_so(ax):
    rows = pd.DataFrame(
        {"name": ["iustnet", "always normal"], "value": [0.7, 0.5], "low": [0.6, np.nan], "high": [0.8, np.nan]}
    ).assign(sources=54, group=["networks", "baselines"])
    figures_evidence.forest(rows, ax=ax)
    words = [text.get_text() for text in ax.texts]
    assert words == ["0.70 [0.60, 0.80]", "0.50 [no interval]"] and ax.get_xlabel() == "AUC over sources, n = 54"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["IustNet", "always normal"]
    assert [line.get_mfc() for line in ax.lines if line.get_marker() == "o"][1] == "white"


def test_a_forest_of_unlike_sources_says_each_and_its_legend_shows_the_usual_mark(ax):
    rows = pd.DataFrame({"name": ["none", "some", "b"], "value": 0.6, "low": [np.nan, 0.5, 0.5], "high": 0.7})
    figures_evidence.forest(rows.assign(sources=[54, 53, 54], group=["simple", "simple", "networks"]), ax=ax)
    assert [text.get_text().split("n = ")[1] for text in ax.texts] == ["54", "53", "54"]
    assert ax.get_xlabel() == "AUC over sources"
    handles, labels = ax.get_legend_handles_labels()
    assert labels == ["simple", "networks"] and "white" not in [handle.get_mfc() for handle in handles]


def test_differences_show_their_verdicts(table, ax):
    table = table.assign(images=1, margin=table.logit, repeat=0, fold=0)
    worse = table.assign(logit=np.random.default_rng(1).permutation(table.logit))
    made = comparison.comparison_table({"a": table, "b": worse}, [("a", "b"), ("b", "a")], resamples=200)
    rows = made[made.metric == "auc"]
    figures_evidence.differences(rows, ax=ax)
    assert [text.get_text().split(",")[0] for text in ax.texts] == rows.verdict.tolist() == ["better", "worse"]
    drawn = [float(line.get_xdata()[0]) for line in ax.lines if line.get_marker() == "o"]
    assert drawn == rows.difference.tolist()


def test_the_failure_map_is_dark_where_a_reader_is_wrong(ax):
    rows = pd.DataFrame({
        "model": ["iustnet"] * 5 + ["follicles"] * 5, "source": list("abcde") * 2, "label": [1, 1, 0, 0, 0] * 2,
        "called": [False, True, True, True, False, False, True, False, True, False],
    })  # fmt: skip
    figure, axes = plt.subplots(1, 2)
    figures_evidence.failure_map(rows, axes=axes)
    dark = [ax.collections[0].get_array().reshape(2, -1).tolist() for ax in axes]
    # The first reader is drawn on top, which is the last row; the source that most miss comes first.
    assert dark == [[[1, 0], [1, 0]], [[1, 0, 0], [1, 1, 0]]]
    assert [label.get_text() for label in axes[1].get_yticklabels()] == ["Follicle count (1)", "IustNet (2)"]
