"""Families of known truth are found again; nothing is chained, and order and threads change nothing."""

import os
import signal

import cv2
import numpy as np
import pytest

from pcos_utils.audit import candidates, families, gathering, matching, parallel, sketches
from pcos_utils.phantom import simulator
from studies import audit_planted, planted
from tests.conftest import refused


def gather(*pictures):
    return families.gather(pictures.__getitem__, len(pictures))


def test_planted_families_are_found_exactly_and_neither_rounds_nor_processes_nor_threads_change_one(monkeypatch):
    pictures, truth = planted.make(8, seed=2)
    whole = gather(*pictures)
    score = audit_planted.judge(truth, whole.family)
    assert score["false_merges"] == 0 and score["adjusted_rand"] > 0.99 and not whole.plain.any()
    monkeypatch.setattr(families, "SMALL", 45)
    monkeypatch.setattr(gathering, "FEW_EXEMPLARS", 10**6)
    rounds = gather(*pictures)
    assert len(families._rounds(len(pictures))) > 2
    assert rounds.family.tolist() == whole.family.tolist() and rounds.refused == whole.refused == []
    for found in (whole, rounds):
        joined = found.family != np.arange(len(pictures))
        assert (found.inliers[joined] >= matching.LEAST_INLIERS).all() and not found.inliers[~joined].any()
    for place, name, value in ((gathering, "FEW_EXEMPLARS", 0), (families, "WORKERS", 1)):
        monkeypatch.setattr(place, name, value)
        assert all(np.array_equal(*pair) for pair in zip(gather(*pictures), rounds, strict=True))


def test_a_large_folder_finds_what_a_small_one_does(monkeypatch):
    """In rounds, a crop may join an inverted copy before either has met the original."""
    pictures, truth = planted.further(12, seed=2)
    monkeypatch.setattr(families, "SMALL", 2)
    found = audit_planted.recall(truth, gather(*pictures).family).set_index("kind").recall
    assert found["inverted"] == found["crop of a quarter"] == 1 and found["crop of a sixteenth"] > 0.9


def test_a_small_part_is_found_from_either_side():
    whole = simulator.simulate(50_000_137, 1).image
    for pair in ((whole[60:110, 90:165].copy(), whole), (whole, whole[60:110, 90:165].copy())):
        gathered = gather(*pair)
        assert gathered.family.tolist() == [0, 0] and gathered.inliers[1] > 15


def test_a_killed_process_is_told_and_an_error_in_reading_comes_out(monkeypatch):
    for place, name, value in ((families, "SMALL", 2), (families, "FIRST", 1), (parallel, "PART", 1)):
        monkeypatch.setattr(place, name, value)
    here = os.getpid()

    def read(number):
        return np.zeros((100, 150), np.uint8) if os.getpid() == here else os.kill(os.getpid(), signal.SIGKILL)

    refused("was killed", families.gather, read, 4)
    with pytest.raises(ZeroDivisionError):
        families.gather(lambda number: 1 / 0, 3)


def test_parts_are_joined_by_two_pictures_of_the_whole_and_not_by_one():
    whole = simulator.simulate(3, 1).image
    left, right = whole[:, :140].copy(), whole[:, 160:].copy()
    turned = planted.warp(whole, planted.about_centre(whole, 12, 0.9, 0.9), np.random.default_rng(0), "constant")
    assert gather(left, right, whole, turned).family.tolist() == [0, 0, 0, 0]
    once = gather(left, right, whole)
    assert once.family[0] != once.family[1] and [number for number, _, _ in once.refused] == [2]


@pytest.mark.parametrize("first", [True, False])
def test_a_collage_shows_its_pictures_and_joins_none_of_them(first):
    four = [simulator.simulate(seed, 1).image for seed in (5, 7, 9, 11)]
    gap = np.zeros((200, 12), np.uint8)
    for collage, shown in (
        (np.vstack([np.hstack(four[:2]), np.hstack(four[2:])]), [0, 1, 2, 3]),
        (np.hstack([four[0], gap, four[1]]), [0, 1]),
        (cv2.resize(np.vstack([four[2], np.fliplr(four[3])]), (240, 320), interpolation=cv2.INTER_AREA), [2, 3]),
    ):
        gathered = gather(collage, *four) if first else gather(*four, collage)
        place, singles = (0, np.arange(1, 5)) if first else (4, np.arange(4))
        assert gathered.family[singles].tolist() == gathered.clip[singles].tolist() == singles.tolist()
        assert gathered.collages == {place: [number + first for number in shown]} and gathered.refused == []
    # One of a single known picture is a copy of it.
    gathered = gather(four[2], four[0], np.hstack(four[:2]))
    assert gathered.family.tolist() == [0, 1, 1] and gathered.collages == {} and gathered.inliers[2] > 30


def test_a_picture_in_a_panel_meets_what_the_panel_showed_before():
    known, *others = (simulator.simulate(seed, 1).image for seed in (11, 12, 13))
    collages = [np.hstack([known, other]) for other in others]
    found = gathering.Gathering(4)
    found.exemplars = dict(enumerate(map(sketches.sketch, [*collages, known])))
    candidates = [(number, sketches.AS_IT_IS, 9.0) for number in (0, 1)]
    copy = sketches.glance(known[6:, 9:].copy())
    # Two that show each other, as copies of one picture with seams may, do not keep a third for ever.
    found.shown = {0: {1: sketches.AS_IT_IS}, 1: {0: sketches.AS_IT_IS}}
    assert found.links(3, copy, candidates, gathering.GLANCES) == [] and len(found.panels) == 2
    found.shown = {0: {2: sketches.AS_IT_IS}}
    ((other, link),) = found.links(3, copy, candidates[:1], gathering.GLANCES)
    assert other == 2 and link.coverage > gathering.KNOWN


def test_montages_join_no_established_families():
    left, right = (simulator.simulate(seed, seed % 2).image for seed in (5, 7))
    crops = [picture[20 * i : 180 + i, 10 * i : 260 + 10 * i].copy() for picture in (left, right) for i in range(4)]
    gathered = gather(*crops, np.hstack([left, right]), np.vstack([right, left]))
    assert gathered.family.tolist()[:8] == [0] * 4 + [4] * 4 and set(gathered.collages) == {8, 9}


def test_frames_of_a_sweep_are_one_clip_copies_only_where_they_share_speckle_and_one_layout_makes_no_clip():
    frames = [simulator.simulate(80_000_001, 1, elevation=step * 1e-3).image for step in (0, 0.1, 1)]
    twin, other = simulator.simulate(80_000_001, 1, speckle=1).image, simulator.simulate(80_000_003, 1).image
    gathered = gather(other, *frames, np.fliplr(frames[2]).copy(), twin)
    assert gathered.family.tolist() == [0, 1, 1, 3, 3, 5] and gathered.clip.tolist() == [0, 1, 1, 1, 1, 1]
    screens = [planted.layout(simulator.simulate(60_000_000 + seed, seed % 2).image) for seed in range(12)]
    assert gather(*screens).clip.tolist() == list(range(12))


@pytest.mark.parametrize("few", [300, 0])
def test_hard_copies_join_whichever_way_pictures_are_looked_at(monkeypatch, few):
    monkeypatch.setattr(families, "FEW", few)
    rng = np.random.default_rng(1)
    sources = [simulator.simulate(seed, seed % 2).image for seed in range(3)]
    # A sixteenth may show too little; the study tells how often it is found.
    kinds = [make for kind, make in planted.FURTHER.items() if "sixteenth" not in kind]
    kinds += [planted.KINDS["mirror"], planted.KINDS["zoom .7 to 1.4"]]
    copies = [make(picture, rng) for picture in sources for make in kinds]
    gathered = gather(*sources, *copies)
    assert gathered.family.tolist() == [0, 1, 2, *np.repeat([0, 1, 2], len(kinds)).tolist()]
    assert not gathered.unsure.any() and len({*gather(*copies[::-1], *sources).family.tolist()}) == 3


def test_smooth_twins_and_plain_pictures_stay_apart_and_are_marked():
    twins = [simulator.simulate(50_000_005, 1, speckle).image for speckle in (None, 1)]
    smooth = [cv2.GaussianBlur(picture, (0, 0), 5) for picture in twins]
    gathered = gather(*smooth, simulator.simulate(2, 0).image)
    assert gathered.family.tolist() == [0, 1, 2] and gathered.unsure.tolist() == [True, True, False]
    gathered = gather(*(np.full((100, 150), level, np.uint8) for level in (0, 80)))
    assert gathered.plain.all() and gathered.family.tolist() == [0, 1]


def test_a_picture_without_a_relative_is_looked_up_again_stretched(monkeypatch):
    whole = simulator.simulate(3, 1).image
    wide = planted.warp(whole, planted.about_centre(whole, 0, 1.35, 0.75), np.random.default_rng(0), "constant")
    search = candidates.Index.candidates

    def only_stretched(self, descriptors, most, views=sketches.UPRIGHT):
        """As if no keypoint of the copy itself had been recognised; stretched looks have at most 120."""
        return search(self, descriptors, most, views) if len(descriptors) <= 120 else []

    monkeypatch.setattr(candidates.Index, "candidates", only_stretched)
    assert gather(whole, wide, simulator.simulate(4, 0).image).family.tolist() == [0, 0, 2]


def test_the_index_names_the_right_picture_first_and_a_crowded_key_says_nothing(monkeypatch):
    pictures = [sketches.sketch(simulator.simulate(seed, seed % 2).image) for seed in range(8)]
    known, crowd = candidates.Index(), candidates.Index()
    for number, sketch in enumerate(pictures):
        known.add(number, sketch.descriptors)
        crowd.add(number, pictures[1].descriptors)
    for number, sketch in enumerate(pictures):
        assert known.candidates(sketch.descriptors, 1)[0][:2] == (number, sketches.View())
        mirrored = sketches.sketch(np.ascontiguousarray(sketch.grey[:, ::-1]))
        assert known.candidates(mirrored.descriptors, 1)[0][:2] == (number, sketches.View(mirrored=True))
    assert known.candidates(np.zeros((0, 128), np.uint8), 5) == []
    assert [number for number, _, _ in crowd.candidates(pictures[1].descriptors, 8)] == [*range(8)]
    monkeypatch.setattr(candidates, "CROWD", 7)
    assert crowd.candidates(pictures[1].descriptors, 9) == []
