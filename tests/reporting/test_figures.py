"""Figures draw the numbers of their tables."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.metrics import roc_curve

from pcos_utils.evaluation import published
from pcos_utils.reporting import figures_data, figures_results, sheets

matplotlib.use("agg")


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


@pytest.fixture
def judged() -> pd.DataFrame:
    label = np.repeat([0, 1], 30)
    logit = np.random.default_rng(0).normal(size=60) + 1.2 * label
    table = pd.DataFrame({"source": [f"s{n:02d}" for n in range(60)], "label": label, "logit": logit})
    return table.assign(repeat=0, fold=0, inner=0, probability=expit(logit), called=logit > 0.3)


def line_of(ax, label: str):
    return next(line for line in ax.lines if line.get_label() == label)


def test_the_roc_curve_is_scikit_learns(judged, ax):
    figures_results.roc_curves({"iustnet": judged}, ax=ax)
    false, recall, _ = roc_curve(judged.label, judged.logit)
    x, y = line_of(ax, "IustNet").get_data()
    np.testing.assert_allclose(np.interp(x, false, recall), y, atol=0.05)


def test_one_leap_of_a_loss_hides_no_other_run_and_is_counted(ax):
    run = pd.DataFrame({"run": "a", "epoch": [1, 2, 3], "train_loss": 0.7, "chosen": [False, False, True]})
    histories = pd.concat([run.assign(selection_loss=[0.7, leap, 0.6], run=leap) for leap in (0.8, 3000.0)])
    figures_results.learning_curves(histories[histories.run < 1], ax=ax)
    assert ax.get_ylim()[1] < 1 and ax.get_xlabel() == "epoch"
    figures_results.learning_curves(histories, ax=ax)
    assert ax.get_ylim() == (0, 5) and ax.get_xlabel() == "epoch (1 of 6 have a loss above 5)"


def test_the_confusion_matrix_counts_decisions_where_they_were_made(judged, ax):
    wanted = pd.crosstab(judged.label, judged.called).to_numpy().ravel()
    figures_results.confusion_matrix(judged, title="IustNet", ax=ax)
    assert [text.get_text() for text in ax.texts] == [str(count) for count in wanted]
    assert "n = 60 sources" in ax.get_title()
    ax.clear()
    figures_results.confusion_matrix(judged.assign(called=judged.called * 0.5), title="", ax=ax)
    assert float(ax.texts[1].get_text()) == pytest.approx(wanted[1] / 2, abs=0.06)


def test_the_reliability_points_are_shares_with_exact_intervals(judged, ax):
    figures_results.reliability(judged, ax=ax, title="")
    points = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"]
    parts = np.array_split(judged.sort_values("probability").label.to_numpy(), figures_results.BINS)
    assert [point[1] for point in points] == pytest.approx([part.mean() for part in parts])
    bars = [bar for container in ax.containers for bar in container[2][0].get_segments()]
    ends = binomtest(int(parts[0].sum()), len(parts[0])).proportion_ci(method="exact")
    assert bars[0][:, 1].tolist() == pytest.approx([ends.low, ends.high])


def test_calling_all_meets_calling_none_at_the_prevalence(judged, ax):
    figures_results.decision_curve({"iustnet": judged}, ax=ax)
    x, y = line_of(ax, "call all polycystic").get_data()
    assert np.interp(0, -y, x) == pytest.approx(0.5, abs=0.01)
    x, y = (values[20] for values in line_of(ax, "IustNet").get_data())
    called = judged.probability >= x
    gain = (called & (judged.label == 1)).mean() - (called & (judged.label == 0)).mean() * x / (1 - x)
    assert y == pytest.approx(gain)


def test_a_forest_says_its_values_and_shows_what_has_no_interval(ax):
    rows = pd.DataFrame([("iustnet", 0.7, 0.6, 0.8), ("follicles", 1.0, np.nan, np.nan)])
    rows = rows.set_axis(["model", "value", "low", "high"], axis=1)
    figures_results.methods(rows.assign(protocol="grouped", metric="auc", sources=41), ax=ax)
    assert [text.get_text() for text in ax.texts] == [".70 [.60, .80]", "1.00 [no interval]"]
    assert ax.get_xlabel() == "AUC over sources, n = 41"


def test_differences_show_their_verdicts(ax):
    rows = [("follicles", "iustnet", 0.001, 0.2, 0.1, 0.3, "better")]
    rows += [("iustnet", "local_contrast", 0.8, -0.05, -0.2, 0.1, "not shown")]
    rows = pd.DataFrame(rows, columns=["first", "second", "p_holm", "difference", "low", "high", "verdict"])
    figures_results.differences(rows, ax=ax)
    marks = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert marks == [figures_results.VERDICTS[name] for name in rows.verdict]
    assert "minus" in " ".join(label.get_text() for label in ax.get_yticklabels())


def test_the_error_map_is_dark_where_a_method_is_wrong():
    rows = [(model, f"s{n}", n % 2, float(n % 3 == 0)) for model in ("iustnet", "follicles") for n in range(12)]
    answers = pd.DataFrame(rows, columns=["model", "source", "label", "called"])
    axes = figures_results.error_map(answers, axes=plt.subplots(2, 1)[1])
    for ax, label in zip(axes, (1, 0), strict=True):
        own = answers[answers.label == label]
        assert ax.collections[0].get_array().sum() == (own.called - label).abs().sum()
    plt.close("all")


def test_the_published_recall_has_a_thick_and_a_thin_interval(ax):
    table = published.intervals()
    figures_results.published(table, metric="recall", ax=ax)
    spans = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 2]
    worth = (table.model == "densenet201") & (table.way == "n_eff 0.9")
    wanted = table[(table.metric == "recall") & (table.way.isin(["naive", "frames"]) | worth)]
    np.testing.assert_allclose(sorted(spans), sorted(zip(wanted.low, wanted.high, strict=True)))


def test_the_overview_counts_images_and_sources(ax):
    table = pd.DataFrame({"path": list("12345"), "source": list("aabcc"), "label": [0, 0, 0, 1, 1]})
    figures_data.class_overview(table.assign(used="yes", status="ok"), ax=ax)
    assert sorted(bar.get_height() for bar in ax.patches)[-4:] == [1, 2, 2, 3]


def test_the_sheet_of_sectors_counts_what_the_locator_finds_and_a_tile_keeps_the_shape_of_a_picture(monkeypatch):
    there = {made.truth["seed"]: sheets.locator.outlined(made.ovary) for made in map(sheets.sector.simulate, (0, 16))}
    wanted, right = sum(map(len, there.values())), [sheets.locator.Found(box, 0.9) for box in there[16]]
    monkeypatch.setattr(sheets.locator, "locate", lambda grey: right)
    figure, reading = sheets.sectors([0, 16])
    wrong = len(right) * 2 - wanted
    assert f"finds {wanted} of {wanted} ovaries and draws {wrong} other box" in reading and wrong > 0
    assert sum(bool(ax.images) for ax in figure.axes) == 2
    wide = sheets._tile(np.full((50, 100, 3), 200, np.uint8))
    assert wide.shape == sheets._tile(np.zeros((90, 60, 3), np.uint8)).shape and (wide[wide.shape[0] // 2] == 200).any()
