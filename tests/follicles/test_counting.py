"""The follicle network is small and learns; its maps become follicles one by one, and numbers about them."""

import numpy as np
import pandas as pd
import pytest
import torch

from pcos_utils import config
from pcos_utils.follicles import counting, network

Y, X = np.mgrid[:128, :192]


def disc(row: float, column: float, radius: float) -> np.ndarray:
    return np.hypot(Y - row, X - column) < radius


def maps(inside: np.ndarray, cores: np.ndarray, ovary: np.ndarray) -> np.ndarray:
    return np.where(np.stack([inside, cores, ovary]), 0.9, 0.1).astype(np.float32)


OVARY = np.hypot((Y - 64) / 45, (X - 96) / 70) < 1
TOUCHING = maps(disc(64, 80, 10) | disc(64, 98, 9), disc(64, 80, 6) | disc(64, 98, 5), OVARY)


def test_touching_follicles_are_two():
    numbered = counting.instances(TOUCHING)
    areas = np.bincount(numbered.ravel())[1:]
    assert sorted(areas) == pytest.approx([disc(64, 98, 9).sum(), disc(64, 80, 10).sum()], rel=0.05)
    assert 0 != numbered[64, 80] != numbered[64, 98] != 0
    np.testing.assert_array_equal(numbered > 0, TOUCHING[0] > 0.5)  # all of the mask is given out


def test_what_has_no_core_or_a_tiny_or_a_faint_one_is_no_follicle():
    inside, cores = disc(64, 80, 10) | disc(40, 130, 8) | disc(90, 120, 5), disc(64, 80, 6)
    cores[90, 118 : 118 + counting.LEAST_CORE] = True
    assert counting.instances(maps(inside, cores, OVARY)).max() == 2
    cores[90, 118] = False  # one pixel too few
    numbered = counting.instances(maps(inside, cores, OVARY))
    assert numbered.max() == 1 and not numbered[40, 130] and not numbered[90, 120]
    for above, found in (0.01, 2), (-0.01, 1):
        faint = np.where(disc(64, 98, 5), counting.CORE_THRESHOLD + above, TOUCHING[1])
        assert counting.instances(np.stack([TOUCHING[0], faint, TOUCHING[2]]).astype(np.float32)).max() == found


def test_the_counts_settings_were_chosen_on_phantoms_of_their_own():
    table = pd.read_csv(config.ROOT / "reports" / "studies" / "count_choice.csv")
    chosen = table[table.on == "choice"]
    near = chosen[chosen.mae <= chosen.mae.min() + 0.01].sort_values("threshold").iloc[-1]
    assert (near.threshold, near.least_px) == (counting.CORE_THRESHOLD, counting.LEAST_CORE)
    assert set(table.networks) == {5}


def test_the_row_by_hand():
    row, share = counting.measure(TOUCHING), (TOUCHING[0] > 0.5).sum() / OVARY.sum()
    wanted = {"count": 2, "mean_diameter": 100 * 19 / 192, "largest_diameter": 100 * 20 / 192}
    assert tuple(row) == counting.COLUMNS and row["peripheral_share"] == 0  # both near the middle
    assert {name: row[name] for name in wanted} == pytest.approx(wanted, rel=0.03)
    assert row["area_share"] == pytest.approx(share)
    for column, outer in (96 + 0.5 * 70, 0), (96 + 0.6 * 70, 1):  # peripheral is beyond 55 % of the way
        assert counting.measure(maps(disc(64, column, 6), disc(64, column, 4), OVARY))["peripheral_share"] == outer
    nothing = np.zeros_like(OVARY)  # where no ovary is found it is the frame
    assert set(counting.measure(maps(nothing, nothing, OVARY)).values()) == {0}
    lone = counting.measure(maps(disc(64, 80, 10), disc(64, 80, 6), nothing))
    assert lone["area_share"] == pytest.approx(disc(64, 80, 10).sum() / OVARY.size)


def test_a_mirrored_image_has_mirrored_maps_and_the_same_row():
    torch.manual_seed(0)
    net = network.UNet((4, 4, 4, 4, 4))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 64), dtype=np.uint8)
    found = network.predict_maps(net, images)
    assert found.shape == (3, 3, 32, 64) and found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    mirrored = network.predict_maps(net, images[..., ::-1])
    np.testing.assert_allclose(mirrored[..., ::-1], found, rtol=0, atol=1e-5)
    table = network.measure_all(net, images)
    assert tuple(table.columns) == counting.COLUMNS and len(table) == 3


def test_it_is_small_and_keeps_the_size_and_neither_gain_nor_offset_matters():
    net = network.UNet().eval()
    assert sum(parameter.numel() for parameter in net.parameters()) == 509_196 < 1_000_000
    with torch.inference_mode():
        assert net(torch.zeros(2, 1, 128, 192)).shape == (2, 3, 128, 192)
        assert net(torch.zeros(1, 1, 64, 32)).shape == (1, 3, 64, 32)
    with pytest.raises(ValueError, match="multiples of 32"):
        net(torch.zeros(1, 1, 100, 150))
    x = torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    same = network.standardise(0.8 * x + 0.1)
    torch.testing.assert_close(same, network.standardise(x), rtol=0, atol=0.1)
    assert same.mean(dim=(1, 2, 3)).abs().max() < 1e-5
    assert network.standardise(torch.full((1, 1, 16, 16), 0.7)).abs().max() < 1e-4  # flat, and still finite


def test_targets_are_the_masks_and_the_loss_is_that_by_hand_and_knows_right_from_wrong():
    masks = {"follicles": [0, 1, 2], "cores": [0, 0, 2], "ovary": [1, 1, 1]}
    target = network.targets({name: np.array([[mask]], np.uint8) for name, mask in masks.items()})
    assert target.tolist() == [[[[0, 1, 1]], [[0, 0, 1]], [[1, 1, 1]]]]
    target = torch.tensor([1.0, 0.0]).repeat(1, 3, 1, 1)  # (1, 3, 1, 2)
    # At logits of 0: cross-entropy log 2, Dice (2 * .5 + 1) / (1 + 1 + 1) = 2 / 3, weights 1, 1 and .4.
    expected = 2.4 * (2 * np.log(2) + 1 / 3)
    assert network.segmentation_loss(torch.zeros(1, 3, 1, 2), target).item() == pytest.approx(expected, rel=1e-5)
    right, wrong = 8 * (2 * target - 1), -8 * (2 * target - 1)
    assert network.segmentation_loss(right, target) < 0.01 < 10 < network.segmentation_loss(wrong, target)
    empty = torch.zeros(1, 3, 4, 4)
    assert network.segmentation_loss(empty - 8, empty).item() < 0.1  # nothing there and nothing found
    only_ovary, only_follicle = right.clone(), right.clone()
    only_ovary[:, 2], only_follicle[:, 0] = wrong[:, 2], wrong[:, 0]
    ratio = network.segmentation_loss(only_ovary, target) / network.segmentation_loss(only_follicle, target)
    assert ratio.item() == pytest.approx(0.4, abs=0.02)
