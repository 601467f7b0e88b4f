"""Check that measures are what their names say: the drawn blobs are counted, textures are Haralick's."""

import cv2
import numpy as np
import pandas as pd
import pytest
from skimage.feature import graycomatrix, graycoprops

from pcos_utils import config
from pcos_utils.evaluation import image_measures

PLACES = [(60, 60), (150, 50), (240, 70), (90, 140), (200, 140), (20, 180)]


def frame(shade: bool = False) -> np.ndarray:
    """Return a grey frame of image_measures.SIZE with five dark discs of a follicle's size, and a tiny one."""
    pixels = np.full((200, 300), 150, np.uint8)
    for place in PLACES:
        cv2.circle(pixels, place, 2 if place == (20, 180) else 9, 25, -1)
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape)
    light = np.linspace(0.15, 1.4, 300) if shade else 1
    return np.clip(pixels * light + noise, 0, 255).astype(np.uint8)


def test_dark_blobs_of_a_follicles_size_are_counted_and_in_the_shade_by_local_contrast_alone():
    count, area = image_measures.otsu_blobs(frame())
    assert count == 5 and area == pytest.approx(5 * np.pi * 81 / 60_000, rel=0.25)
    assert image_measures.otsu_blobs(np.full((200, 300), 90, np.uint8))[0] == 0
    made = image_measures.measures(np.dstack([frame(shade=True)] * 3))
    assert made["contrast_count"] == 5 and made["otsu_count"] < 5


def test_grey_levels_and_border():
    pixels = np.full((100, 100, 3), 200, np.uint8)
    pixels[:, :10] = 0
    made = image_measures.measures(pixels)
    assert made["width"] == made["height"] == 100 and made["mean"] == 180
    assert made["sd"] == pytest.approx(60) and made["black"] == pytest.approx(1000 / 3600)
    assert made["border"] == pytest.approx(200 * 2600 / 3600)


def test_a_texture_is_mean_and_range_over_four_angles():
    small = np.random.default_rng(0).integers(0, 256, (12, 15), dtype=np.uint8)
    made = image_measures.texture(small)
    flat = {distance: [] for distance in image_measures.DISTANCES}
    for angle in np.arange(4) * np.pi / 4:
        counts = graycomatrix(small // 8, list(flat), [angle], 32, symmetric=True, normed=True)
        for distance, (value,) in zip(flat, graycoprops(counts, "contrast"), strict=True):
            flat[distance].append(value)
    for distance, values in flat.items():
        assert made[f"glcm_contrast_{distance}_mean"] == pytest.approx(np.mean(values))
        assert made[f"glcm_contrast_{distance}_range"] == pytest.approx(np.ptp(values))
    assert flat[1][0] == pytest.approx((np.diff(small.astype(int) // 8, axis=1) ** 2).mean())  # of neighbours
    assert len(made) == 2 * len(image_measures.PROPERTIES) * len(image_measures.DISTANCES)


def test_the_counters_settings_are_the_best_on_phantoms():
    table = pd.read_csv(config.ROOT / "reports" / "studies" / "contrast_choice.csv")
    best = table.sort_values("auc", ascending=False, kind="stable").iloc[0]
    assert best[list(image_measures.CONTRAST)].to_dict() == image_measures.CONTRAST and set(table.phantoms) == {400}
