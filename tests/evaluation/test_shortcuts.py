"""A planted shortcut is found, memory is told from skill, and clean images have none."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcos_utils.evaluation import shortcuts
from pcos_utils.reporting import sentences_data


def images(folder, *, copies, grey=(100, 100), seed=0, each=10):
    """A table of ``each`` noise pictures a class and slightly changed copies; the classes differ in mean grey level."""
    rng, rows = np.random.default_rng(seed), []
    for label in (0, 1):
        for number in range(each):
            base = rng.normal(0, 25, (48, 48)).cumsum(axis=0)
            base = 20 * (base - base.mean()) / base.std() + grey[label]
            for copy in range(copies):
                path = f"{label}_{number}_{copy}.png"
                pixels = np.clip(base + rng.normal(0, 3, base.shape), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / path)
                rows.append((path, label, f"{label}_{number}", (folder / path).stat().st_size))
    table = pd.DataFrame(rows, columns=["path", "label", "source", "bytes"])
    return table.assign(width=48, height=48, status="ok", format="PNG", mode="L", pixel_sha256=table.path)


def auc(table, shortcut, split):
    return table[(table.shortcut == shortcut) & (table.split == split)].iloc[0]


def test_copies_make_a_thumbnail_look_clever_until_sources_are_kept_whole(tmp_path):
    table = shortcuts.separation(
        shortcuts.measure(images(tmp_path, copies=4, each=30, seed=1), tmp_path), resamples=200
    )
    assert auc(table, "nearest thumbnail", "random").value > 0.99
    honest = auc(table, "nearest thumbnail", "source")
    assert honest.value < 0.85 and honest.low < 0.5 < honest.high
    assert auc(table, "image size", "random").value == 0.5
    assert "memory" in sentences_data.shortcuts(table)


def test_brightness_is_found_as_a_shortcut_under_both_splits(tmp_path):
    measured = shortcuts.measure(images(tmp_path, copies=2, grey=(90, 130)), tmp_path)
    assert measured.groupby("label").intensity.mean().round().tolist() == [90, 130]
    table = shortcuts.separation(measured, resamples=200)
    rows = table[table.shortcut == "mean intensity"]
    assert set(rows.split) == {"random", "source"} and rows.value.gt(0.99).all() and rows.low.gt(0.6).all()
    assert "flatters" in sentences_data.shortcuts(table)


@pytest.mark.slow
def test_noise_in_unequal_classes_is_a_coin_and_not_worse(tmp_path):
    values = []
    for seed in range(12):
        table = images(tmp_path, copies=1, seed=seed)
        table = table[(table.label == 0) | (table.groupby("label").cumcount() < 4)].reset_index(drop=True)
        made = shortcuts.separation(shortcuts.measure(table, tmp_path), resamples=100, seed=seed)
        assert auc(made, "image size", "source").value == auc(made, "image size", "random").value == 0.5
        values.append(auc(made, "mean intensity", "source").value)
    assert np.mean(values) > 0.4


def test_borders_and_tints_are_measured(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 60), dtype=np.uint8)
    framed, tinted = np.pad(noise[6:-6, 6:-6], 6), np.stack([noise, noise, noise // 2], axis=2)
    table = pd.DataFrame({"path": ["plain.png", "framed.png", "tinted.png"], "status": "ok"})
    for name, pixels in zip(table.path, (noise, framed, tinted), strict=True):
        Image.fromarray(pixels).save(tmp_path / name)
    measured = shortcuts.measure(table.assign(pixel_sha256=table.path), tmp_path)
    assert measured.border[1] > 0.95 and measured.border[0] < 0.05 and measured.thumbnail[0].shape == (256,)
    assert measured.colour[:2].eq(0).all() and measured.colour[2] > 40


def test_a_class_with_one_source_has_no_source_split(tmp_path):
    table = images(tmp_path, copies=2)
    table.loc[table.label == 1, "source"] = "only"
    made = shortcuts.separation(shortcuts.measure(table, tmp_path), resamples=100)
    assert made[made.split == "source"].value.isna().all() and made[made.split == "random"].value.notna().all()
    assert made.few_sources.all() and "too few pictures of its own" in sentences_data.shortcuts(made)


def test_the_interval_is_of_sources_not_of_copies(tmp_path):
    measured = shortcuts.measure(images(tmp_path, copies=8, grey=(95, 110)), tmp_path)
    honest = auc(shortcuts.separation(measured, resamples=400), "file size", "random")
    as_if = auc(shortcuts.separation(measured.assign(source=measured.path), resamples=400), "file size", "random")
    assert honest.value == pytest.approx(as_if.value) and honest.high - honest.low > 1.3 * (as_if.high - as_if.low)


@pytest.mark.parametrize(("sources", "labels"), [("aabc", "0101"), ("aaabbb", "010101"), ("aabbc", "01010")])
def test_pictures_in_both_classes_leave_no_fold_of_one_class(tmp_path, sources, labels):
    table = images(tmp_path, copies=1, each=3).head(len(sources)).assign(source=[*sources], label=[*map(int, labels)])
    tested = shortcuts.separation(shortcuts.measure(table, tmp_path), resamples=50)
    assert set(tested.split) == {"random", "source"}
