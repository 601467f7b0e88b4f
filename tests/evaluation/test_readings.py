"""A sentence that reads a table changes when the table does."""

import re

import numpy as np
import pandas as pd
import pytest

from pcos_utils.evaluation import readings


def row(low: float, high: float) -> pd.Series:
    """An AUC with its interval."""
    return pd.Series({"value": (low + high) / 2, "low": low, "high": high})


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.51, 0.7, "better than chance"), (0.45, 0.7, "not shown"), (0.2, 0.49, "worse than chance")],
)
def test_the_verdict_follows_the_interval(low, high, words):
    assert readings.verdict(row(low, high)).startswith(words)


@pytest.mark.parametrize(("value", "doubted"), [(0.97, True), (0.85, False)])
def test_what_is_too_good_is_doubted(value, doubted):
    columns = {"model": "iustnet", "protocol": "grouped", "level": "source", "metric": "auc", "few_sources": False}
    columns["beside"] = False
    table = pd.DataFrame([columns | {"value": value, "low": value - 0.02, "high": 0.99, "sources": 40}])
    assert ("Do not believe" in readings.model_sentence("iustnet", table)) == doubted


def test_numbers_read_well():
    assert [readings.number(value) for value in (0.724, 1.0, 0.0, -0.31, -0.001, np.nan)] == [
        ".72", "1.00", ".00", "-.31", ".00", "undefined",
    ]  # fmt: skip
    assert readings.many(1, "source") == "1 source" and readings.many(2000, "image") == "2,000 images"


@pytest.mark.parametrize("reason", ["all resamples agree", "undefined in 20% of the resamples"])
def test_a_missing_interval_gives_its_own_reason(reason):
    table = pd.DataFrame([{"value": 0.5, "low": np.nan, "high": np.nan, "reason": reason}])
    assert readings.interval(table.iloc[0]) == f".50 [no interval: {reason}]"
    assert readings.interval(next(table.itertuples())) == f".50 [no interval: {reason}]"
    assert readings.interval(table.assign(reason=np.nan).iloc[0]) == ".50 [no interval]"
    assert readings.interval(row(0.4, 0.6).replace(0.4, np.nan)) == ".50 [no interval]"


def test_crossings_are_said():
    assert "No source" in readings.split_sentence(0)
    assert "7 sources stand on both sides" in readings.split_sentence(7)


def test_the_ceiling_is_the_counts_auc():
    truth = pd.DataFrame({"label": [0, 0, 1, 1] * 5, "FNPS": [1, 3, 3, 9] * 5})
    assert re.search(r"AUC of \.88 \[\.\d\d, .*\] on these 20 sources", readings.ceiling_sentence(truth))
