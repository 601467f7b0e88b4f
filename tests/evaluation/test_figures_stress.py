"""Figures of stress draw what the tables say."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from pcos_utils.evaluation import figures_stress, robustness
from pcos_utils.evaluation.saliency_checks import COMPARED

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    """No figure stays open."""
    yield
    plt.close("all")


def intervals(rows: list[dict], seed: int = 0) -> pd.DataFrame:
    """The rows with a value and an interval around it."""
    value = np.random.default_rng(seed).uniform(0.3, 0.9, len(rows))
    return pd.DataFrame(rows).assign(value=value, low=value - 0.1, high=value + 0.1, sources=40)


def points(ax: plt.Axes, marker: str) -> np.ndarray:
    """What is drawn with a marker: (n, 2)."""
    return np.vstack([line.get_xydata() for line in ax.lines if line.get_marker() == marker])


@pytest.fixture
def curves() -> pd.DataFrame:
    """Two readers under every stress."""
    return intervals(
        [
            {"reader": reader, "stress": name, "severity": severity, "metric": metric}
            for reader in ("iustnet", "follicles")
            for name, stress in robustness.STRESSES.items()
            for severity in stress.severities
            for metric in robustness.METRICS
        ]
    )


def test_each_stress_has_its_panel_with_the_aucs_and_bands(curves):
    figure = figures_stress.stress_sheet(curves)
    assert [ax.get_title() for ax in figure.axes[:-1]] == list(robustness.STRESSES)
    for ax, (name, stress) in zip(figure.axes, robustness.STRESSES.items(), strict=False):
        own = curves[(curves.stress == name) & (curves.metric == "auc")]
        for reader, marker in (("iustnet", "D"), ("follicles", "o")):
            assert points(ax, marker)[:, 1].tolist() == own[own.reader == reader].value.tolist()
        assert [label.get_text() for label in ax.get_xticklabels()] == [f"{value:g}" for value in stress.severities]
        tops = [band.get_paths()[0].vertices[:, 1].max() for band in ax.collections]
        assert tops == pytest.approx([own[own.reader == reader].high.max() for reader in ("iustnet", "follicles")])
    words = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert words == ["IustNet", "Follicle count", "the picture as it is", "a coin"]


def test_shares_stand_beside_the_uniform_map_and_random_weights():
    rows = [{"reader": "iustnet", "method": "grad_cam"}, {"reader": "follicles", "method": "map of follicles"}]
    table = intervals(rows).assign(uniform=[0.1, 0.11], random=[0.2, np.nan])
    _, ax = plt.subplots()
    figures_stress.share_points(table, ax=ax)
    assert points(ax, "|")[:, 0].tolist() == [0.1, 0.11] and points(ax, "x")[0, 0] == 0.2
    assert points(ax, "D")[0].tolist() == [table.value[0], 0] and points(ax, "o")[0].tolist() == [table.value[1], 1]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "IustNet\nGrad-CAM", "Follicle count\nmap of follicles",
    ]  # fmt: skip


def test_an_empty_method_says_so():
    table = intervals([{"reader": "iustnet", "method": "grad_cam"}]).assign(value=np.nan, uniform=np.nan, random=np.nan)
    _, ax = plt.subplots()
    figures_stress.share_points(table, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["every map is empty"]


def test_agreements_are_drawn_by_network_and_method():
    rows = [
        {"reader": reader, "method": method, "against": against}
        for reader in ("iustnet", "densenet121d")
        for method in ("grad_cam", "occlusion")
        for against in COMPARED
    ]
    table = intervals(rows)
    _, ax = plt.subplots()
    figures_stress.check_points(table, ax=ax)
    for against, marker in zip(COMPARED, "o^D", strict=True):
        drawn = points(ax, marker)
        assert drawn[:, 0].tolist() == table[table.against == against].value.tolist()
        assert drawn[:, 1].round().tolist() == [0, 1, 2, 3]
    assert ax.get_yticklabels()[3].get_text() == "DenseNet121d\nocclusion"


def test_definitions_are_drawn_by_criterion():
    rows = [
        {"follicles": number, "criterion": criterion}
        for number in (12, 20, 25)
        for criterion in figures_stress.CRITERIA
    ]
    table = intervals(rows)
    _, ax = plt.subplots()
    figures_stress.definition_points(table, ax=ax)
    for criterion, marker in zip(figures_stress.CRITERIA, "os", strict=True):
        assert points(ax, marker)[:, 1].tolist() == table[table.criterion == criterion].value.tolist()


def test_every_failure_has_its_place_and_words():
    tiles = {"false negative": [np.full((4, 6), 7 + i, np.uint8) for i in range(18)], "false positive": []}
    words = {"false negative": [str(i) for i in range(18)], "false positive": []}
    figure = figures_stress.failure_sheet(tiles, words)
    first, second = figure.axes
    assert [first.get_title(loc="left"), second.get_title(loc="left")] == ["18 false negatives", "0 false positives"]
    board = first.images[0].get_array()
    for text, value in zip(first.texts, range(18), strict=True):
        x, y = (int(place) for place in text.get_position())
        assert text.get_text() == str(value) and board[y, x] == 7 + value
    assert (second.images[0].get_array() == 255).all()
