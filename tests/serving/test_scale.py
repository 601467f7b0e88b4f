"""A depth scale is read where it is sure, in stretched frames too, and where it is not no size in mm is told."""

import cv2
import numpy as np
import pytest

from pcos_utils.phantom.sector import SIDE, View
from pcos_utils.serving import page, screen
from tests.serving.made import frame

FRAMES = 60
MARGIN = 16  # px beside the sector


def sector(seed: int) -> tuple[np.ndarray, View, np.random.Generator]:
    """Return a stretched sector of speckle in a margin, uint8 (H, W), its view with a probe that there is, and rng."""
    rng = np.random.default_rng(seed)
    inside = bool(rng.random() < 0.5)
    depth, radius, half = rng.uniform(*(([50, 9, 0.8], [80, 14, 1.2]) if inside else ([80, 45, 0.4], [160, 62, 0.6])))
    unit = 60e-3 / depth
    high = (radius + depth - radius * np.cos(half)) * unit * 1.06
    wide = 2 * (radius + depth) * np.sin(half) * unit * rng.uniform(1.02, 1.2)
    view = View(inside, depth, radius * unit, half, -wide / 2, radius * unit * (np.cos(half) - 1) * 1.02, wide, high)
    speckle = cv2.GaussianBlur(rng.rayleigh(60, (SIDE, SIDE)).astype(np.float32), (0, 0), 0.8)
    image = np.where(view.samples()[2], np.clip(speckle, 12, 255), 0).astype(np.uint8)
    return cv2.copyMakeBorder(image, 0, 0, MARGIN, MARGIN, cv2.BORDER_CONSTANT), view, rng


def ruled(image: np.ndarray, view: View, rng: np.random.Generator, step: float, every: int) -> np.ndarray:
    """Return a screen, uint8 (H, W, 3), with marks ``step`` mm apart of which each ``every``-th is longer."""
    shown, column, level = image.copy(), int(rng.choice([3, SIDE + 2 * MARGIN - 9])), int(rng.integers(140, 256))
    for number, row in enumerate(np.arange(-view.top, view.height, step * view.unit) * SIDE / view.height):
        long = 3 * (number % every == 0) if every else 0
        cv2.line(shown, (column, int(row)), (column + 3 + long, int(row)), level)
    cv2.putText(shown, "RT OV", (40, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.4, level)
    stored = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 96))])[1]
    return cv2.imdecode(stored, cv2.IMREAD_COLOR)


@pytest.mark.parametrize(("step", "every"), [(10, 5), (5, 2)])
def test_most_scales_are_read_and_none_is_read_wrongly(step, every):
    errors = []
    for seed in range(FRAMES):
        image, view, rng = sector(seed)
        if found := screen.scale(ruled(image, view, rng, step, every)):
            width, height = (side / SIDE / view.unit for side in (view.width, view.height))
            # Of the height, and of the diameter of a disc.
            errors.append((found[1] / height - 1, (found[0] * found[1] / width / height) ** 0.5 - 1))
            assert f"{step} mm apart" in found[2]
    assert len(errors) > 0.8 * FRAMES and np.abs(errors).max() < 0.03


# None, marks of one length, and marks of which a twice as large probe would follow.
@pytest.mark.parametrize(("step", "every"), [(500, 1), (10, 0), (5, 0), (5, 5), (2.5, 2)])
def test_no_size_is_told_where_the_marks_do_not_tell_it(step, every):
    assert not any(screen.scale(ruled(*sector(seed), step, every)) for seed in range(FRAMES))


def test_lines_of_a_menu_are_no_scale():
    words = ("FR", "MI", "Gn 54", "DR", "2D", "C", "P Low", "RS", "Frq", "I", "Map M")
    for seed in range(FRAMES):
        image, _, rng = sector(seed)
        shown = cv2.copyMakeBorder(image, 0, 0, 60, 0, cv2.BORDER_CONSTANT)
        for number, word in enumerate(rng.permutation(words)):
            cv2.putText(shown, str(word), (4, 20 + 18 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 200)
        assert screen.scale(np.repeat(shown[..., None], 3, axis=2)) is None


@pytest.mark.parametrize("shape", [(24, 24), (30, 900), (200, 300)])
def test_frames_without_a_sector_have_no_scale_and_a_large_frame_that_of_a_small_one(shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert screen.scale(noise) is None and screen.scale(np.zeros_like(noise)) is None
    image, view, rng = sector(0)
    column = np.zeros((SIDE, SIDE + 2 * MARGIN), np.uint8)
    column[:, 60:200] = cv2.resize(noise[..., 0], (140, SIDE))  # of a straight probe
    for shown in (column, np.zeros_like(column)):
        assert screen.scale(ruled(shown, view, rng, 10, 5)) is None
    image = ruled(*sector(0), 10, 5)
    small, large = screen.scale(image), screen.scale(cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC))
    assert (large[0] * 4, large[1] * 4) == pytest.approx(small[:2], rel=0.01)


def test_sizes_are_told_in_mm_where_a_scale_is_known_and_nowhere_else(model, monkeypatch):
    pixels, box = np.repeat(frame()[..., None], 3, axis=2), (10, 20, 250, 190)
    bare, known = model.reply(pixels, "a", box=box), model.reply(pixels, "a", box=box, scale=(0.1, 0.2))
    assert bare.follicles and bare.follicle_mm is None and bare.box_mm == bare.size_from == bare.sizes() == ""
    assert known.follicle_mm == pytest.approx(2 * (bare.follicle_pixels * 0.02 / np.pi) ** 0.5, abs=0.05)
    assert known.box_mm == "24,34" and known.row()["size_from"] == "the file's header"
    assert known.sizes() in known.sentence() and known.sizes() in page.verdict(known, model.card).replace("&#x27;", "'")
    assert "24 x 34 mm" in known.sizes() and f"{known.follicle_mm} mm (" in known.sizes()
    # A scale that the screen shows is looked for in the whole frame, not in the box.
    monkeypatch.setattr(screen, "scale", lambda frame: frame.shape == pixels.shape and (0.1, 0.2, "it"))
    assert model.reply(pixels, "a", box=box).box_mm == "24,34" and model.reply(pixels, "a").box_mm == ""
