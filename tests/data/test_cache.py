"""Pixels are decoded once, and again when anything that decides them has changed."""

import cv2
import numpy as np
import pandas as pd
import pytest

from pcos_utils.data import cache, images, offline


@pytest.fixture
def folder(tmp_path):
    """Five images of noise with their table."""
    rng = np.random.default_rng(0)
    (tmp_path / "pco").mkdir()
    names = [f"pco/{n}.png" for n in range(5)]
    for name in names:
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 255, (40, 60, 3), np.uint8))
    digests = [f"{n:064x}" for n in range(5)]
    return tmp_path, pd.DataFrame({"path": names, "label": 1, "sha256": digests})


def stack(folder, table, copies=1, side=32, seed=0):
    """The stack of so many copies of every image."""
    return cache.stack(offline.expand(table, {1: copies}), folder, side, folder / "cache", seed=seed)


def test_it_holds_what_the_loader_gives(folder):
    place, table = folder
    plain = images.stack([place / name for name in table.path], 32)
    for _ in range(2):
        assert np.array_equal(stack(place, table), plain)


def test_the_second_time_nothing_is_decoded(folder, monkeypatch):
    place, table = folder
    first = stack(place, table, copies=3)
    monkeypatch.setattr(cache.images, "load", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(stack(place, table, copies=3), first)


def test_copies_follow_their_seed_and_file_not_their_place(folder):
    place, table = folder
    first = stack(place, table, copies=3)
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[1], first[2])
    assert not np.array_equal(stack(place, table, copies=3, seed=1)[1], first[1])
    turned = stack(place, table[::-1], copies=3)
    assert np.array_equal(turned[-3:], first[:3])


def test_another_table_takes_the_place_of_the_first_and_another_size_does_not(folder):
    place, table = folder
    stack(place, table), stack(place, table, side=16), stack(place, table, copies=2)
    assert len(list((place / "cache").iterdir())) == 3
    stack(place, table.assign(sha256="f" * 64))
    assert len(list((place / "cache").iterdir())) == 3


def test_a_changed_image_is_read_again(folder):
    place, table = folder
    first = stack(place, table)
    cv2.imwrite(str(place / table.path[0]), np.full((40, 60, 3), 7, np.uint8))
    changed = stack(place, table.assign(sha256=["e" * 64, *table.sha256[1:]]))
    assert (changed[0] == 7).all() and np.array_equal(changed[1:], first[1:])


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_file_is_made_again(folder, damage):
    place, table = folder
    first = stack(place, table)
    path = next((place / "cache").iterdir())
    path.write_bytes({"cut": path.read_bytes()[:-100], "empty": b"", "text": b"half a file"}[damage])
    assert np.array_equal(stack(place, table), first)


def test_a_large_one_stays_on_the_disk_and_is_not_written_to(folder, monkeypatch):
    place, table = folder
    first = stack(place, table).copy()
    monkeypatch.setattr(cache, "MAPPED", 100)
    mapped = stack(place, table)
    assert isinstance(mapped, np.memmap)
    mapped[:] = 0
    assert np.array_equal(stack(place, table), first)
