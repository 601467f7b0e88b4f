"""Augmentation does what its numbers say, and nothing when they are zero."""

import torch

from pcos_utils.models.augmentation import augment

IMAGES = torch.randint(0, 200, (16, 24, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def changed(**settings) -> torch.Tensor:
    """The images under one kind of change."""
    still = {"rotation": 0.0, "brightness": 0.0, "flip": 0.0}
    return augment(IMAGES, torch.Generator().manual_seed(1), **(still | settings))


def test_no_change_is_the_identity():
    torch.testing.assert_close(changed(), IMAGES.float(), rtol=0, atol=1e-2)


def test_a_certain_flip_mirrors_left_and_right():
    torch.testing.assert_close(changed(flip=1.0), IMAGES.flip(2).float(), rtol=0, atol=1e-2)


def test_brightness_stays_in_its_range_and_differs_between_images():
    ratio = changed(brightness=0.25).sum((1, 2, 3)) / IMAGES.float().sum((1, 2, 3))
    assert ratio.min() >= 0.75 and ratio.max() <= 1.25 and ratio.std() > 0.05


def test_rotation_moves_the_rim_more_than_the_centre():
    change = (changed(rotation=20.0) - IMAGES.float()).abs().mean((0, 3))
    assert change[0].mean() > change[11:13, 11:13].mean() > 0


def test_the_generator_decides():
    assert torch.equal(changed(rotation=20.0), changed(rotation=20.0))
