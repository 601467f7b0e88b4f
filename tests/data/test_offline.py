"""Copies made before training: as many as published, named as published, and of the same picture."""

import numpy as np
import pandas as pd
import pytest

from pcos_utils.data import offline


def frames(polycystic: int, normal: int) -> pd.DataFrame:
    """Training frames as dataset B has them."""
    names = [f"pco/pco_{n}.jpg" for n in range(polycystic)] + [f"normal/normal_{n}.jpg" for n in range(normal)]
    return pd.DataFrame({"path": names, "label": [1] * polycystic + [0] * normal, "sha256": "ab" * 32})


def test_dataset_b_gets_the_published_numbers():
    copies = offline.copies_of(frames(10, 28), {0: 11, 1: 30}, synthetic=False)
    made = offline.expand(frames(10, 28), copies)
    assert made.label.value_counts().to_dict() == {1: 300, 0: 308}
    assert made.path.is_unique and "pco/29_pco_3.jpg" in set(made.path) and "pco/pco_3.jpg" in set(made.path)
    assert made[made["copy"] == 0].path.equals(made[made["copy"] == 0].file)


@pytest.mark.parametrize(
    ("have", "synthetic", "copies"),
    [((9, 26), False, {0: 11, 1: 30}), ((100, 100), False, {0: 3, 1: 3}), ((900, 900), False, {0: 1, 1: 1}),
     ((10, 28), True, {0: 1, 1: 1})],
)  # fmt: skip
def test_more_pictures_get_fewer_copies(have, synthetic, copies):
    assert offline.copies_of(frames(*have), {0: 11, 1: 30}, synthetic=synthetic) == copies


def test_a_copy_is_turned_mirrored_and_lighter_or_darker():
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[25:35, 60:80] = 100  # right of the middle
    rng = np.random.default_rng(0)
    made = [offline.change(pixels, rng) for _ in range(300)]
    assert all(copy.shape == pixels.shape and copy.dtype == np.uint8 for copy in made)
    assert np.mean([copy[:, :40].any() for copy in made]) == pytest.approx(0.5, abs=0.1)
    peaks = np.array([copy.max() for copy in made])
    assert peaks.min() < 80 and peaks.max() > 120 and peaks.min() >= 74 and peaks.max() <= 125
    heights = np.array([np.ptp(np.nonzero(copy.any(axis=(1, 2)))[0]) for copy in made])
    assert heights.min() < 11 and heights.max() > 14  # lying, and turned


def test_names_with_braces_and_folders_survive():
    table = frames(1, 0).assign(path="pco/a{b}/x{0}.jpg")
    assert offline.expand(table, {1: 2}).path.tolist() == ["pco/a{b}/x{0}.jpg", "pco/a{b}/1_x{0}.jpg"]
