"""Strangers are refused, and phantoms that set no limit are not: with the committed network, as a reader has it."""

import numpy as np
import pytest

from benchmarks import refusals
from pcos_utils.serving import suitability
from pcos_utils.serving.predict import Served
from tests.serving.made import export_served


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The table of refusals, 20 of each kind, of a served model that the committed network outlines for."""
    made = Served(export_served(tmp_path_factory.mktemp("refusals"), phantoms=90, outline=None))
    return refusals.measure(made, 20).set_index("kind"), made.card["suitability"]


def test_nearly_all_strangers_are_refused_and_few_phantoms(rows):
    table, _ = rows
    assert table.share["all strangers"] >= 0.95 and table.n["all strangers"] == 140
    assert table.share["new phantoms"] <= 0.15  # 3 of 20


def test_what_is_refused_by_mistake_is_counted_on_phantoms_that_set_nothing(rows):
    assert rows[1]["phantoms"] == [60, 60, 60] and rows[1]["false_refusals"] <= 0.1
    rng = np.random.default_rng(0)
    usual, held = rng.normal(size=(2, 60, 23))
    fitted = suitability.fit(usual, held, np.r_[held[:5], held[:5] + 9], np.r_[np.ones(125), np.zeros(5)])
    assert fitted["false_refusals"] == 0.5  # far away and blurred are the same five
    nearby = suitability.fit(usual, held, held[:10], np.r_[np.ones(125), np.zeros(5)])
    assert 0.5 <= nearby["false_refusals"] < 0.7


@pytest.mark.parametrize("make", refusals.STRANGERS)
def test_a_stranger_is_a_picture_of_its_own(make):
    first, again, other = (make(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.dtype == np.uint8 and first.shape == (200, 300, 3) and first.std() > 5
    assert np.array_equal(first, again) and not np.array_equal(first, other)
