"""A scan in a margin, on a tinted screen or under marks is answered as the bare scan; two, and strangers, are told."""

import cv2
import numpy as np
import pytest

from pcos_utils.phantom import simulator
from pcos_utils.serving import model as models
from pcos_utils.serving import scan_check, screen
from studies import refusals
from tests.serving.made import export_served, frame, png

SEEDS = range(3_000_000_000, 3_000_000_006)


def scan(seed: int = SEEDS[0]) -> np.ndarray:
    return np.repeat(frame(seed)[..., None], 3, axis=2)


def margin(pixels: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(pixels, 20, 20, 20, 20, cv2.BORDER_CONSTANT)


def screenshot(pixels: np.ndarray) -> np.ndarray:
    """Return a scanner's screen around a frame: a bar, captions, a depth scale."""
    shown = np.full((420, 640, 3), (28, 32, 40), np.uint8)
    shown[100:300, 200:500] = pixels
    cv2.rectangle(shown, (0, 0), (640, 30), (60, 64, 80), -1)
    for row, words in enumerate(("OV RT", "FR 22 Hz", "MI 0.8", "Gain 54", "D 8.2 cm")):
        cv2.putText(shown, words, (12, 90 + 36 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (230, 230, 230), 1, cv2.LINE_AA)
    cv2.putText(shown, "1 D 23.1 mm", (220, 380), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (90, 220, 90), 1, cv2.LINE_AA)
    for tick in range(100, 300, 25):
        cv2.line(shown, (600, tick), (610, tick), (255, 255, 255), 1)
    return shown


def sector(pixels: np.ndarray) -> np.ndarray:
    mask = np.zeros(pixels.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.array([[110, 0], [190, 0], [299, 199], [0, 199]])], 1)
    return pixels * mask[..., None]


@pytest.mark.parametrize(("around", "box"), [(margin, (20, 20, 320, 220)), (screenshot, (200, 100, 500, 300))])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_surrounds_a_scan_is_cut_off_to_the_pixel(model, around, box, seed):
    bare, answer = model.answer(png(scan(seed))), model.answer(png(around(scan(seed))))
    assert answer.box == box and bare.box is None
    assert answer.record() | {"box": "", "seconds": 0} == bare.record() | {"seconds": 0}
    assert answer.numbered.shape == around(scan(seed)).shape[:2]


def test_a_stored_and_tinted_screenshot_is_cut_within_a_few_pixels():
    tinted = (screenshot(scan()) * [1.0, 0.85, 0.7]).astype(np.uint8)
    stored = cv2.imdecode(cv2.imencode(".jpg", tinted, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_COLOR)
    assert screen.scans(stored)[0] == pytest.approx((200, 100, 500, 300), abs=4)


@pytest.mark.parametrize(("gap", "axis"), [(0, 1), (12, 1), (12, 0)])
def test_two_scans_are_refused_with_that_reason(model, gap, axis):
    for first, second in zip(SEEDS[::2], SEEDS[1::2], strict=True):
        between = np.zeros((200, gap, 3) if axis else (gap, 300, 3), np.uint8)
        two = png(np.concatenate([scan(first), between, scan(second)], axis=axis))
        answer = model.answer(two)
        assert answer.refusal == models.TWO and "Two scans" in answer.reasons[0]
        assert model.answer(two, box=(0, 0, 300, 200)).refusal != models.TWO


def test_one_scan_is_neither_cut_nor_a_sector_nor_two_and_a_whole_sector_is_told(model):
    for seed in SEEDS:
        assert screen.scans(scan(seed)) == [] and not screen.sector(scan(seed)) and not screen.seam(scan(seed))
    assert screen.scans(np.zeros((90, 90, 3), np.uint8)) == []
    assert model.look(margin(sector(scan()))).refusal == models.SECTOR
    found = model.answer(png(margin(sector(scan()))))
    assert found.suggested == [found.box] and found.interval


def test_coloured_marks_are_painted_over_and_a_grey_scan_is_left_alone():
    marked, bare = scan(), scan()
    assert screen.unmarked(bare) is bare
    cv2.line(marked, (90, 100), (200, 120), (255, 220, 0), 1)
    painted = screen.unmarked(marked)
    assert screen.off_hue(painted).max() < 24 and np.abs(painted.astype(int) - bare).mean() < 0.5


@pytest.mark.slow
def test_nearly_all_strangers_are_refused_and_few_phantoms(tmp_path):
    served = models.Served(export_served(tmp_path, phantoms=90))
    table, fitted = refusals.measure(served, 20).set_index("kind"), served.card["suitability"]
    assert table.share["all strangers"] >= 0.95 and table.n["all strangers"] == 140
    assert table.share["new phantoms"] <= 0.15  # 3 of 20
    assert fitted["phantoms"] == [60, 60, 60] and fitted["false_refusals"] <= 0.1
    rng, whole = np.random.default_rng(1), (0, 0, refusals.WIDTH, refusals.HEIGHT)
    boxed = [served.look(make(rng), box=whole).refusal for make in refusals.STRANGERS.values() for _ in range(20)]
    assert sum(refusal not in ("", models.BOTH, models.FEW) for refusal in boxed) >= 0.95 * len(boxed)
    small = [cv2.resize(simulator.simulate(3_300_000_000 + n, n % 2).image, (90, 60)) for n in range(20)]
    refused = [
        served.look(np.repeat(each[..., None], 3, axis=2)).refusal not in ("", models.BOTH, models.FEW)
        for each in small
    ]
    assert sum(refused) <= 3  # as above, because 180 phantoms tell less than the 600 of an export


def test_what_is_refused_by_mistake_is_counted_on_phantoms_that_set_nothing():
    held_out, part = np.random.default_rng(0).normal(size=(180, 23)), np.arange(180) // 2 % 3
    strange, sharp = np.where((part == 2) & (np.arange(180) % 2 == 0), 9, 0), np.ones(180)
    fitted = scan_check.fit(held_out + strange[:, None], np.where(strange, 0, sharp))
    assert 0.5 <= fitted["false_refusals"] < 0.6  # far away and blurred are the same half
    assert fitted["phantoms"] == [60, 60, 60] and scan_check.fit(held_out, sharp)["false_refusals"] < 0.1


@pytest.mark.parametrize("make", refusals.STRANGERS.values(), ids=refusals.STRANGERS)
def test_a_stranger_is_a_picture_of_its_own(make):
    first, again, other = (make(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.dtype == np.uint8 and first.shape == (200, 300, 3) and first.std() > 5
    assert np.array_equal(first, again) and not np.array_equal(first, other)
