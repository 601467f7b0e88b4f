"""Figures draw what the data say."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from pcos_utils.evaluation import figures

matplotlib.use("agg")


@pytest.fixture
def ax():
    """Empty axes, closed afterwards."""
    _, axes = plt.subplots()
    yield axes
    plt.close("all")


@pytest.fixture
def table() -> pd.DataFrame:
    """Forty scored sources."""
    rng = np.random.default_rng(0)
    label = np.arange(40) % 2
    return pd.DataFrame({"source": range(40), "label": label, "probability": (rng.random(40) + label) / 2})


def test_the_roc_curve_is_scikit_learns(table, ax):
    figures.roc_curve({"iustnet": table.assign(logit=table.probability)}, ax=ax, resamples=20)
    x, y = ax.lines[0].get_data()
    false_positive, true_positive, _ = sk.roc_curve(table.label, table.probability)
    assert np.trapezoid(y, x) == pytest.approx(np.trapezoid(true_positive, false_positive), abs=0.02)
    assert ax.lines[1].get_label() == "chance"


def test_the_precision_recall_chance_line_is_the_prevalence(table, ax):
    figures.precision_recall_curve({"iustnet": table[:30]}, ax=ax, resamples=20)
    assert set(ax.lines[1].get_ydata()) == {0.5}


def test_the_confusion_matrix_counts(table, ax):
    figures.confusion_matrix(table, unit="sources", ax=ax)
    shown = [int(text.get_text()) for text in ax.texts]
    assert shown == sk.confusion_matrix(table.label, table.probability >= 0.5).ravel().tolist()


def test_the_overview_counts_images_and_sources(ax):
    rows = pd.DataFrame({"path": list("abcd"), "source": list("aacd"), "label": [0, 0, 1, 1], "status": "ok"})
    figures.class_overview(rows, ax=ax)
    assert [[bar.get_height() for bar in bars] for bars in ax.containers] == [[2, 1], [2, 2]]


def test_the_confusion_matrix_takes_decisions_where_they_were_made(table, ax):
    figures.confusion_matrix(table.assign(called=table.label == 0), unit="sources", ax=ax)
    negatives, positives = (table.label == 0).sum(), (table.label == 1).sum()
    assert [int(text.get_text()) for text in ax.texts] == [0, negatives, positives, 0]
