"""Families of known truth are found again; nothing is chained, and order and threads change nothing."""

import numpy as np
import pytest

from benchmarks import audit_planted, planted
from pcos_utils.data import families, index, keypoints, phantom


@pytest.fixture(scope="module")
def known():
    """Planted families of ten sources and ten singles, shuffled, and the truth about them."""
    return audit_planted.make(10, seed=1)


def test_planted_families_are_found_exactly(known):
    pictures, truth = known
    found = families.gather(pictures.__getitem__, len(pictures))
    score = audit_planted.judge(truth, found.family)
    assert score["false_merges"] == 0 and score["adjusted_rand"] > 0.99
    assert not found.plain.any() and found.refused == []
    joined = found.family != np.arange(len(pictures))
    assert (found.inliers[joined] >= keypoints.LEAST_INLIERS).all()


def test_two_runs_and_one_thread_give_the_same(known, monkeypatch):
    pictures, _ = known
    pictures = pictures[:60]
    first = families.gather(pictures.__getitem__, len(pictures))
    monkeypatch.setattr(families, "WORKERS", 1)
    again = families.gather(pictures.__getitem__, len(pictures))
    assert first.family.tolist() == again.family.tolist() and first.inliers.tolist() == again.inliers.tolist()


def test_parts_are_joined_by_two_pictures_of_the_whole_and_not_by_one():
    whole = phantom.simulate(3, 1).image
    left, right = whole[:, :140].copy(), whole[:, 160:].copy()
    turned = planted.warp(whole, planted.about_centre(whole, 12, 0.9, 0.9), np.random.default_rng(0), "constant")
    assert families.gather([left, right, whole, turned].__getitem__, 4).family.tolist() == [0, 0, 0, 0]
    once = families.gather([left, right, whole].__getitem__, 3)
    assert once.family[0] != once.family[1] and [number for number, _, _ in once.refused] == [2]


def test_a_collage_of_single_pictures_joins_none_of_them():
    four = [phantom.simulate(seed, 1).image for seed in (5, 7, 9, 11)]
    found = families.gather([*four, np.vstack([np.hstack(four[:2]), np.hstack(four[2:])])].__getitem__, 5)
    assert len(set(found.family[:4].tolist())) == 4 and {number for number, _, _ in found.refused} == {4}


def test_one_montage_does_not_join_two_established_families():
    one, two = (phantom.simulate(seed, 1).image for seed in (5, 7))
    montage = np.hstack([one, two])
    crops = [picture[20 * i : 180 + i, 10 * i : 260 + 10 * i].copy() for picture in (one, two) for i in range(4)]
    found = families.gather([*crops, montage].__getitem__, 9)
    assert found.family.tolist()[:8] == [0] * 4 + [4] * 4
    assert found.refused == [(8, 0, 4)]
    # A second witness is enough: then it is no accident of one picture.
    again = families.gather([*crops, montage, np.vstack([two, one])].__getitem__, 10)
    assert set(again.family.tolist()) == {0} and again.refused == []


def test_plain_pictures_stay_apart_and_are_marked():
    flat = [np.full((100, 150), level, np.uint8) for level in (0, 80)]
    found = families.gather(flat.__getitem__, 2)
    assert found.plain.all() and found.family.tolist() == [0, 1]


def test_a_picture_without_a_relative_is_looked_up_again_stretched(monkeypatch):
    whole = phantom.simulate(3, 1).image
    wide = planted.warp(whole, planted.about_centre(whole, 0, 1.35, 0.75), np.random.default_rng(0), "constant")
    plainly = index.Index.candidates
    # As if no keypoint of the copy had been found again: only the stretched looks, which have fewer, get an answer.
    monkeypatch.setattr(
        index.Index, "candidates", lambda self, found, most: plainly(self, found, most) if len(found) <= 150 else []
    )
    pictures = [whole, wide, phantom.simulate(4, 0).image]
    assert families.gather(pictures.__getitem__, 3).family.tolist() == [0, 0, 2]


def test_an_error_in_reading_comes_out():
    def read(number):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        families.gather(read, 3)


def test_the_index_names_the_right_picture_first():
    sketches = [keypoints.sketch(phantom.simulate(seed, seed % 2).image) for seed in range(12)]
    known = index.Index()
    for number, sketch in enumerate(sketches):
        known.add(number, sketch.descriptors)
    for number, sketch in enumerate(sketches):
        assert known.candidates(sketch.descriptors, 1)[0][:2] == (number, False)
        mirrored = keypoints.sketch(np.ascontiguousarray(sketch.grey[:, ::-1]))
        assert known.candidates(mirrored.descriptors, 1)[0][:2] == (number, True)
    assert known.candidates(np.zeros((0, 128), np.uint8), 5) == []


def test_a_crowded_key_says_nothing(monkeypatch):
    descriptors = keypoints.sketch(phantom.simulate(1, 1).image).descriptors
    known = index.Index()
    for number in range(5):
        known.add(number, descriptors)
    assert [number for number, _, _ in known.candidates(descriptors, 5)] == [0, 1, 2, 3, 4]
    monkeypatch.setattr(index, "CROWD", 4)
    assert known.candidates(descriptors, 9) == []
