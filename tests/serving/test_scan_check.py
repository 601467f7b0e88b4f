"""Strangers are refused, and phantoms that set no limit are not: with the committed network, as a reader has it."""

import cv2
import numpy as np
import pytest

from pcos_utils.phantom import simulator
from pcos_utils.serving import scan_check
from pcos_utils.serving.model import BOTH, FEW, Served
from studies import refusals
from tests.serving.made import export_served


@pytest.mark.slow
def test_nearly_all_strangers_are_refused_and_few_phantoms(tmp_path):
    served = Served(export_served(tmp_path, phantoms=90))
    table, fitted = refusals.measure(served, 20).set_index("kind"), served.card["suitability"]
    assert table.share["all strangers"] >= 0.95 and table.n["all strangers"] == 140
    assert table.share["new phantoms"] <= 0.15  # 3 of 20
    assert fitted["phantoms"] == [60, 60, 60] and fitted["false_refusals"] <= 0.1
    rng, whole = np.random.default_rng(1), (0, 0, refusals.WIDTH, refusals.HEIGHT)
    boxed = [served.look(make(rng), box=whole).refusal for make in refusals.STRANGERS.values() for _ in range(20)]
    assert sum(refusal not in ("", BOTH, FEW) for refusal in boxed) >= 0.95 * len(boxed)
    small = [cv2.resize(simulator.simulate(3_300_000_000 + n, n % 2).image, (90, 60)) for n in range(20)]
    refused = [served.look(np.repeat(each[..., None], 3, axis=2)).refusal not in ("", BOTH, FEW) for each in small]
    assert sum(refused) <= 3  # as above, because 180 phantoms tell less than the 600 of an export


def test_what_is_refused_by_mistake_is_counted_on_phantoms_that_set_nothing():
    held_out, part = np.random.default_rng(0).normal(size=(180, 23)), np.arange(180) // 2 % 3
    strange, sharp = np.where((part == 2) & (np.arange(180) % 2 == 0), 9, 0), np.ones(180)
    fitted = scan_check.fit(held_out + strange[:, None], np.where(strange, 0, sharp))
    assert 0.5 <= fitted["false_refusals"] < 0.6  # far away and blurred are the same half
    assert fitted["phantoms"] == [60, 60, 60] and scan_check.fit(held_out, sharp)["false_refusals"] < 0.1


@pytest.mark.parametrize("make", refusals.STRANGERS.values(), ids=refusals.STRANGERS)
def test_a_stranger_is_a_picture_of_its_own(make):
    first, again, other = (make(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.dtype == np.uint8 and first.shape == (200, 300, 3) and first.std() > 5
    assert np.array_equal(first, again) and not np.array_equal(first, other)
