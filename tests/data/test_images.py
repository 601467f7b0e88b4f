"""Every mode of image becomes the same 8-bit RGB, and what cannot be trusted is refused by name."""

import io

import numpy as np
import pytest
from PIL import Image

from pcos_utils.data import images

RAMP = np.tile(np.arange(256, dtype=np.uint8), (20, 1))


def saved(image: Image.Image, kind: str, **options) -> io.BytesIO:
    """The image as a file in memory."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    stream.seek(0)
    return stream


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_grey_survives_every_mode(mode):
    grey = Image.fromarray(RAMP)
    image = grey.convert(mode) if mode != "P" else grey.convert("P")
    pixels = images.load(saved(image, "PNG"))
    assert pixels.shape == (20, 256, 3) and pixels.dtype == np.uint8
    assert np.array_equal(pixels[..., 0], RAMP) and np.array_equal(pixels[..., 2], RAMP)


def test_one_bit_and_cmyk():
    assert set(np.unique(images.load(saved(Image.fromarray(RAMP > 127), "PNG")))) == {0, 255}
    cmyk = Image.fromarray(RAMP).convert("RGB").convert("CMYK")
    assert np.abs(images.load(saved(cmyk, "TIFF"))[..., 0].astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_deep_grey_neither_saturates_nor_vanishes(bits):
    deep = np.round(RAMP / 255 * (2**bits - 1)).astype(np.uint16)
    pixels = images.load(saved(Image.fromarray(deep), "PNG"))
    assert np.array_equal(pixels[..., 0], RAMP)


def test_a_transparent_margin_is_black():
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., :3] = 255
    rgba[2:6, 2:6, 3] = 255
    pixels = images.load(saved(Image.fromarray(rgba), "PNG"))
    assert pixels[0, 0].tolist() == [0, 0, 0] and pixels[3, 3].tolist() == [255, 255, 255]


def test_exif_orientation_is_obeyed():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    pixels = images.load(saved(Image.fromarray(RAMP), "PNG", exif=exif))
    assert pixels.shape == (256, 20, 3) and pixels[0, 0, 0] == 0 and pixels[-1, 0, 0] == 255


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", "empty"), (b"<html>quota exceeded</html>", "not an image"), (None, "damaged")],
)
def test_bad_files_are_named_with_their_reason(tmp_path, content, status):
    if content is None:
        noise = np.random.default_rng(0).integers(0, 255, (99, 99), dtype=np.uint8)
        content = saved(Image.fromarray(noise), "JPEG").getvalue()[:2000]
    path = tmp_path / "scan 7.jpg"
    path.write_bytes(content)
    with pytest.raises(images.ImageError, match="scan 7.jpg") as caught:
        images.load(path)
    assert caught.value.status == status


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    Image.new("1", (12_000, 12_000)).save(path)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("the bomb was decoded"))
    with pytest.raises(images.ImageError, match=r"bomb\.png.*too large"):
        images.load(path)


def test_stack_has_one_size(tmp_path):
    for name, size in (("a.png", (30, 20)), ("b.png", (64, 64))):
        Image.new("L", size, 77).save(tmp_path / name)
    pixels = images.stack([tmp_path / "a.png", tmp_path / "b.png"], 16)
    assert pixels.shape == (2, 16, 16, 3) and (pixels == 77).all()
