"""Pixels are decoded once, and again when anything that decides them has changed."""

import cv2
import numpy as np
import pandas as pd
import pytest

from pcos_utils.config import StudyError
from pcos_utils.data import images, pixels
from pcos_utils.data.pixels import change, copies_of, expand, stack
from pcos_utils.files import sha256


@pytest.fixture
def folder(tmp_path):
    """Five images of noise with their table."""
    names, rng = [f"pco/{n}.png" for n in range(5)], np.random.default_rng(0)
    (tmp_path / "pco").mkdir()
    for name in names:
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 255, (40, 60, 3), np.uint8))
    return tmp_path, pd.DataFrame({"path": names, "label": 1, "sha256": [sha256(tmp_path / name) for name in names]})


def stacked(folder, table, copies=1, side=32, seed=0):
    return stack(expand(table, {1: copies}), folder, side, folder / "cache", seed=seed)


def test_it_holds_what_the_loader_gives_and_decodes_it_once(folder, monkeypatch):
    place, table = folder
    plain = images.stack([place / name for name in table.path], 32)
    assert plain.shape == (5, 32, 32, 3) and np.array_equal(stacked(place, table), plain)
    first = stacked(place, table, copies=3)
    monkeypatch.setattr(images, "load", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(stacked(place, table, copies=3), first)


def test_copies_follow_their_seed_and_file_and_another_table_takes_the_place_of_the_first(folder):
    place, table = folder
    first = stacked(place, table, copies=3)
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[1], first[2])
    assert not np.array_equal(stacked(place, table, copies=3, seed=1)[1], first[1])
    for size in (32, 16, 32):  # another size has a place of its own
        assert np.array_equal(stacked(place, table[::-1], copies=3)[-3:], first[:3])
        stacked(place, table, side=size)
    assert len(list((place / "cache").glob("*.npy"))) == 3


def test_a_changed_image_is_read_again_once_it_is_listed_again_and_named_before(folder):
    place, table = folder
    first = stacked(place, table)
    cv2.imwrite(str(place / table.path[0]), np.full((40, 60, 3), 7, np.uint8))
    with pytest.raises(StudyError, match="0.png changed since the images were listed"):
        stacked(place, table)
    table = table.assign(sha256=[sha256(place / table.path[0]), *table.sha256[1:]])
    changed = stacked(place, table)
    assert (changed[0] == 7).all() and np.array_equal(changed[1:], first[1:])
    (place / table.path[1]).unlink()
    with pytest.raises(StudyError, match="1.png is gone"):
        stacked(place, table)


def test_a_damaged_file_is_made_again_and_a_large_one_stays_on_the_disk_and_is_not_written_to(folder, monkeypatch):
    place, table = folder
    first = stacked(place, table).copy()
    path = next((place / "cache").glob("*.npy"))
    for damage in (path.read_bytes()[:-100], b"", b"half a file"):
        path.write_bytes(damage)
        assert np.array_equal(stacked(place, table), first)
    monkeypatch.setattr(pixels, "MAPPED", 100)
    mapped = stacked(place, table)
    assert isinstance(mapped, np.memmap)
    mapped[:] = 0
    assert np.array_equal(stacked(place, table), first)


def frames(polycystic: int, normal: int) -> pd.DataFrame:
    names = [f"pco/pco_{n}.jpg" for n in range(polycystic)] + [f"normal/normal_{n}.jpg" for n in range(normal)]
    return pd.DataFrame({"path": names, "label": [1] * polycystic + [0] * normal, "sha256": "ab" * 32})


def test_dataset_b_gets_the_published_numbers():
    copies = expand(frames(10, 28), copies_of(frames(10, 28), {0: 11, 1: 30}, synthetic=False))
    assert copies.label.value_counts().to_dict() == {1: 300, 0: 308}
    assert copies.path.is_unique and {"pco/29_pco_3.jpg", "pco/pco_3.jpg"} <= set(copies.path)
    assert copies[copies["copy"] == 0].path.equals(copies[copies["copy"] == 0].file)
    odd = expand(frames(1, 0).assign(path="pco/a{b}/x{0}.jpg"), {1: 2})
    assert odd.path.tolist() == ["pco/a{b}/x{0}.jpg", "pco/a{b}/1_x{0}.jpg"]


@pytest.mark.parametrize(
    ("have", "synthetic", "copies"),
    [((9, 26), False, (11, 30)), ((100, 100), False, (3, 3)), ((900, 900), False, (1, 1)), ((10, 28), True, (1, 1))],
)
def test_more_pictures_get_fewer_copies(have, synthetic, copies):
    assert copies_of(frames(*have), {0: 11, 1: 30}, synthetic=synthetic) == dict(enumerate(copies))


def test_a_copy_is_turned_mirrored_and_lighter_or_darker():
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[25:35, 60:80] = 100  # right of the middle
    rng = np.random.default_rng(0)
    copies = np.array([change(pixels, rng) for _ in range(300)])
    assert copies.shape[1:] == pixels.shape and copies.dtype == np.uint8
    assert copies[:, :, :40].any(axis=(1, 2, 3)).mean() == pytest.approx(0.5, abs=0.1)
    peaks = copies.max(axis=(1, 2, 3))
    assert 74 <= peaks.min() < 80 and 120 < peaks.max() <= 125
    heights = np.array([np.ptp(np.nonzero(copy.any(axis=(1, 2)))[0]) for copy in copies])
    assert heights.min() < 11 and heights.max() > 14  # lying, and turned
