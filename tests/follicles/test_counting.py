"""Maps become follicles one by one, and numbers about them."""

import numpy as np
import pandas as pd
import pytest
import torch

from pcos_utils import config
from pcos_utils.follicles import counting
from pcos_utils.follicles import network as follicle_network

Y, X = np.mgrid[:128, :192]


def disc(row: float, column: float, radius: float) -> np.ndarray:
    """A disc in a frame of the network's size."""
    return np.hypot(Y - row, X - column) < radius


def maps(inside: np.ndarray, cores: np.ndarray, ovary: np.ndarray) -> np.ndarray:
    """Probabilities near 0 and 1, float32 (3, 128, 192)."""
    return np.where(np.stack([inside, cores, ovary]), 0.9, 0.1).astype(np.float32)


OVARY = np.hypot((Y - 64) / 45, (X - 96) / 70) < 1
TOUCHING = maps(disc(64, 80, 10) | disc(64, 98, 9), disc(64, 80, 6) | disc(64, 98, 5), OVARY)


def test_touching_follicles_are_two():
    numbered = counting.instances(TOUCHING)
    assert sorted(np.unique(numbered)) == [0, 1, 2]
    assert numbered[64, 80] != numbered[64, 98] != 0
    np.testing.assert_array_equal(numbered > 0, TOUCHING[0] > 0.5)  # all of the mask is given out
    areas = np.bincount(numbered.ravel())[1:]
    assert sorted(areas) == pytest.approx([disc(64, 98, 9).sum(), disc(64, 80, 10).sum()], rel=0.05)


def test_what_has_no_core_or_a_tiny_one_is_no_follicle():
    inside = disc(64, 80, 10) | disc(40, 130, 8) | disc(90, 120, 5)
    cores = disc(64, 80, 6)
    cores[90, 118 : 118 + counting.LEAST_CORE] = True
    assert counting.instances(maps(inside, cores, OVARY)).max() == 2
    cores[90, 118] = False  # one pixel too few
    numbered = counting.instances(maps(inside, cores, OVARY))
    assert numbered.max() == 1
    assert not numbered[40, 130] and not numbered[90, 120]


def test_a_faint_core_counts_from_the_chosen_probability():
    made = TOUCHING.copy()
    made[1] = np.where(disc(64, 98, 5), counting.CORE_THRESHOLD + 0.01, made[1])
    assert counting.instances(made).max() == 2
    made[1] = np.where(disc(64, 98, 5), counting.CORE_THRESHOLD - 0.01, made[1])
    assert counting.instances(made).max() == 1


def test_the_counts_settings_were_chosen_on_phantoms_of_their_own():
    table = pd.read_csv(config.ROOT / "reports" / "studies" / "count_choice.csv")
    chosen = table[table.on == "choice"]
    near = chosen[chosen.mae <= chosen.mae.min() + 0.01].sort_values("threshold").iloc[-1]
    assert (near.threshold, near.least_px) == (counting.CORE_THRESHOLD, counting.LEAST_CORE)
    assert set(table.networks) == {5}


def test_the_row_by_hand():
    row = counting.measure(TOUCHING)
    assert tuple(row) == counting.COLUMNS
    assert row["count"] == 2
    assert row["mean_diameter"] == pytest.approx(100 * 19 / 192, rel=0.03)
    assert row["largest_diameter"] == pytest.approx(100 * 20 / 192, rel=0.03)
    assert row["area_share"] == pytest.approx((TOUCHING[0] > 0.5).sum() / OVARY.sum())
    assert row["peripheral_share"] == 0  # both near the middle


@pytest.mark.parametrize(("column", "outer"), [(96 + 0.5 * 70, 0), (96 + 0.6 * 70, 1)])
def test_peripheral_is_beyond_55_percent_of_the_way(column, outer):
    one = maps(disc(64, column, 6), disc(64, column, 4), OVARY)
    assert counting.measure(one)["peripheral_share"] == outer


def test_nothing_found_is_a_row_of_zeros_and_no_ovary_is_the_frame():
    nothing = np.zeros_like(OVARY)
    assert set(counting.measure(maps(nothing, nothing, OVARY)).values()) == {0}
    lone = maps(disc(64, 80, 10), disc(64, 80, 6), nothing)
    assert counting.measure(lone)["area_share"] == pytest.approx(disc(64, 80, 10).sum() / OVARY.size)


def test_a_mirrored_image_has_mirrored_maps_and_the_same_row():
    torch.manual_seed(0)
    network = follicle_network.UNet((4, 4, 4, 4, 4))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 64), dtype=np.uint8)
    found = follicle_network.predict_maps(network, images)
    assert found.shape == (3, 3, 32, 64) and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    mirrored = follicle_network.predict_maps(network, images[..., ::-1])
    np.testing.assert_allclose(mirrored[..., ::-1], found, rtol=0, atol=1e-5)
    table = follicle_network.measure_all(network, images)
    assert tuple(table.columns) == counting.COLUMNS and len(table) == 3
