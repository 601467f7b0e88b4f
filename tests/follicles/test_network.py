"""The follicle network is small, learns, and its loss knows a good answer from a bad one."""

import numpy as np
import pytest
import torch

from pcos_utils.follicles import network


def test_it_is_small_and_keeps_the_size():
    net = network.UNet().eval()
    assert sum(parameter.numel() for parameter in net.parameters()) == 509_196 < 1_000_000
    with torch.inference_mode():
        assert net(torch.zeros(2, 1, 128, 192)).shape == (2, 3, 128, 192)
        assert net(torch.zeros(1, 1, 64, 32)).shape == (1, 3, 64, 32)
    with pytest.raises(ValueError, match="multiples of 32"):
        net(torch.zeros(1, 1, 100, 150))


def test_gain_and_offset_do_not_matter():
    x = torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    same = network.standardise(0.8 * x + 0.1)
    torch.testing.assert_close(same, network.standardise(x), rtol=0, atol=0.1)
    assert same.mean(dim=(1, 2, 3)).abs().max() < 1e-5
    assert network.standardise(torch.full((1, 1, 16, 16), 0.7)).abs().max() < 1e-4  # flat, and still finite


def test_targets_are_the_masks():
    masks = {"follicles": [0, 1, 2], "cores": [0, 0, 2], "ovary": [1, 1, 1]}
    target = network.targets({name: np.array([[mask]], np.uint8) for name, mask in masks.items()})
    assert target.tolist() == [[[[0, 1, 1]], [[0, 0, 1]], [[1, 1, 1]]]]


def test_the_loss_by_hand_and_its_order():
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
