"""A scan in a margin, on a tinted screen or under marks is answered as the bare scan; two scans are told apart."""

import cv2
import numpy as np
import pytest

from pcos_utils.serving import model as models
from pcos_utils.serving import screen
from tests.serving.made import frame, png

SEEDS = range(3_000_000_000, 3_000_000_006)


def scan(seed: int = SEEDS[0]) -> np.ndarray:
    """Return a phantom's frame, uint8 (200, 300, 3)."""
    return np.repeat(frame(seed)[..., None], 3, axis=2)


def margin(pixels: np.ndarray) -> np.ndarray:
    """Return a frame in a black margin of 20 pixels."""
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
    """Return a frame whose upper corners a fan leaves empty."""
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
        answer = model.answer(png(np.concatenate([scan(first), between, scan(second)], axis=axis)))
        assert answer.refusal == models.TWO and "Two scans" in answer.reasons[0]
        box = (0, 0, 300, 200)
        assert model.answer(png(np.concatenate([scan(first), scan(second)], axis=1)), box=box).refusal != models.TWO


def test_one_scan_is_neither_cut_nor_a_sector_nor_two():
    for seed in SEEDS:
        assert screen.scans(scan(seed)) == [] and not screen.sector(scan(seed)) and not screen.seam(scan(seed))
    assert screen.scans(np.zeros((90, 90, 3), np.uint8)) == []


def test_a_whole_sector_is_told(model):
    assert model.look(margin(sector(scan()))).refusal == models.SECTOR
    found = model.answer(png(margin(sector(scan()))))
    assert found.suggested == [found.box] and found.interval


def test_coloured_marks_are_painted_over_and_a_grey_scan_is_left_alone():
    marked, bare = scan(), scan()
    assert screen.unmarked(bare) is bare
    cv2.line(marked, (90, 100), (200, 120), (255, 220, 0), 1)
    painted = screen.unmarked(marked)
    assert screen.off_hue(painted).max() < 24 and np.abs(painted.astype(int) - bare).mean() < 0.5
