"""A box of a frame: what it may be, that its answer lies in it, and that few pixels are told and widen the interval."""

import io
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcos_utils.follicles import counting, crops
from pcos_utils.serving import boxes, scan_check
from pcos_utils.serving.model import BOTH, FEW
from tests.conftest import refused
from tests.serving.made import frame, png

AT = (140, 60, 440, 260)  # where a phantom lies in the made sector


@pytest.fixture(scope="module")
def wide() -> np.ndarray:
    """A frame in which a phantom lies in the dark, uint8 (340, 520)."""
    return np.pad(frame(), ((AT[1], 340 - AT[3]), (AT[0], 520 - AT[2])))


def test_the_answer_of_a_box_is_that_of_the_crop_drawn_on_the_whole_frame_as_it_is_turned(model, wide):
    whole, crop = model.answer(png(wide), box=AT), model.answer(png(frame()))
    assert whole.record() | {"box": "", "seconds": 0} == crop.record() | {"seconds": 0} and whole.follicles
    assert whole.record()["box"] == "140,60,440,260" and whole.numbered.shape == wide.shape
    numbered = cv2.resize(crop.numbered.astype(np.float32), (300, 200), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(boxes.of(whole.numbered, AT), numbered)
    assert (whole.numbered > 0).sum() == (numbered > 0).sum()
    turned, stream = Image.Exif(), io.BytesIO()
    turned[0x0112] = 6  # shown a quarter clockwise
    Image.fromarray(np.rot90(wide)).save(stream, "PNG", exif=turned)
    assert model.answer(stream.getvalue(), box=AT).follicles == whole.follicles


def test_a_tall_box_is_not_stretched_and_counts_what_lies_in_it():
    box, shape = (200, 50, 240, 150), (300, 300, 3)
    part = boxes.window(box, shape)
    assert part == (145, 50, 295, 150) and boxes.window((0, 0, 40, 100), shape) == (0, 0, 150, 100)
    assert boxes.window((0, 0, 300, 300), shape) == (0, 0, 300, 300)  # no more is there
    numbered = np.zeros((128, 192), np.int32)
    for number, column in enumerate((10, 90, 180), start=1):
        numbered[60:70, column : column + 8] = number
    kept = boxes.inside(numbered, box, part)
    assert kept.max() == 1 and kept[65, 92] == 1 and kept[65, 12] == kept[65, 182] == 0


@pytest.mark.parametrize("side", [60, 100])
def test_crops_of_60_pixels_are_answered_and_few_pixels_widen_the_interval(model, monkeypatch, side):
    small = cv2.resize(frame(), (side * 3 // 2, side), interpolation=cv2.INTER_AREA)
    answer = model.answer(png(small))
    assert answer.refusal in ("", BOTH, FEW), answer.reasons
    numbered = counting.instances(model.maps(boxes.enlarged(np.repeat(small[..., None], 3, 2))[..., 0]))
    assert answer.follicle_pixels == pytest.approx((numbered > 0).mean() / numbered.max() * small.size, abs=0.5)
    monkeypatch.setattr(model, "counts", True)
    rule = model.card | {"calibration": {"slope": 1.0, "intercept": -6.0}}
    sure, unsure = (model.calibrated(None, 6, rule, doubt) for doubt in ((0, 0), boxes.doubt(25, side)))
    assert sure[0] == unsure[0] == 0.5 and sure[2] == pytest.approx([0.5, 0.5])
    assert unsure[1][0] <= sure[1][0] and unsure[1][1] >= sure[1][1] and unsure[2][0] < 0.1 < 0.9 < unsure[2][1]
    # It falls with pixels and is one-sided in small boxes.
    assert boxes.doubt(300, 200) == (0, 0) and boxes.doubt(30, 200)[0] > boxes.doubt(90, 200)[0] > 1
    assert -np.subtract(*boxes.doubt(90, 40)) == boxes.LOST


@pytest.mark.parametrize(("text", "named"), [
    ("1,2,3", "give x0,y0"), ("a,0,9,9", "give x0,y0"), ("90,0,10,50", "upper left"), ("nan,0,90,90", "give x0,y0"),
    ("-5,0,90,90", "give x0,y0"), ("0,0,1e999,9", "give x0,y0"), ("", "give x0,y0"),
])  # fmt: skip
def test_what_is_no_box_is_told(text, named):
    refused(named, boxes.parse, text.split(","))


def test_boxes_outside_or_too_small_are_refused_and_one_dark_region_is_no_ovary(model, wide):
    assert "does not lie inside" in boxes.misfit((0, 0, 521, 90), wide.shape)
    assert "24 a side" in boxes.misfit((0, 0, 100, 20), wide.shape) and not boxes.misfit(AT, wide.shape)
    assert model.answer(png(wide), box=(0, 0, 600, 600)).refusal == boxes.UNUSABLE
    bladder = frame().copy()
    cv2.ellipse(bladder, (150, 100), (140, 92), 0, 0, 360, 4, -1)
    assert boxes.cyst(np.repeat(bladder[..., None], 3, 2), (0, 0, 300, 200))
    phantoms = [np.repeat(frame(seed)[..., None], 3, 2) for seed in range(3_000_000_000, 3_000_000_008)]
    assert not any(boxes.cyst(each, (0, 0, 300, 200)) for each in phantoms)


@pytest.mark.parametrize(("found", "refusal", "told"), [
    (0, scan_check.UNLIKE, "No ovary was found; draw a box around one."), (1, None, None),
    (2, "several ovaries", "Two ovaries were found; choose one."),
])  # fmt: skip
def test_a_refused_frame_is_searched_for_ovaries(model, wide, monkeypatch, found, refusal, told):
    monkeypatch.setitem(model.usual, False, model.usual[False] | {"limit": 0.0})
    monkeypatch.setattr(model, "ovaries", lambda pixels: [AT] * found)
    answer = model.answer(png(wide))
    assert answer.suggested == [AT] * found
    if found == 1:
        assert answer.box == AT and answer.follicles == model.answer(png(wide), box=AT).follicles
    else:
        assert answer.reasons[-1] == told and answer.refusal == refusal


def test_a_hue_is_no_colour_but_two_are():
    grey = np.repeat(frame()[..., None], 3, 2)
    tinted = (grey * [0.7, 0.8, 1.0]).astype(np.uint8)
    assert scan_check.coloured(grey) == 0 and scan_check.coloured(tinted) < 0.01
    tinted[:80, :200] = (200, 90, 40)
    assert scan_check.coloured(tinted) > 0.15


def test_a_phantom_as_boxed_is_a_frame_of_its_own():
    small = cv2.resize(frame(), (192, 128), interpolation=cv2.INTER_AREA)
    first, again, other = (crops.as_boxed(small, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (first.shape, first.dtype) == ((128, 192), np.uint8)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_boxes_come_in_any_usual_table(tmp_path):
    rows = pd.DataFrame({"XMin": [1, 2], "ymin": [3, 4], "xmax": [50, 60], "Ymax": [70, 80], "filename": ["a.png"] * 2})
    rows.to_csv(tmp_path / "boxes.csv", sep=";", index=False, encoding="utf-8-sig")
    rows.to_excel(tmp_path / "boxes.xlsx", index=False)
    for name in ("boxes.csv", "boxes.xlsx"):
        assert boxes.read(tmp_path / name, [Path("a.png")]) == {Path("a.png"): [(1, 3, 50, 70), (2, 4, 60, 80)]}
    rows.drop(columns="xmax").to_csv(tmp_path / "less.csv", index=False)
    wanted = "lacks the column x1; give it a row of image, x0, y0, x1, y1"
    refused(wanted, boxes.read, tmp_path / "less.csv", [Path("a.png")])
