"""Every mode of image becomes the same 8-bit RGB, and what cannot be trusted is refused by name."""

import io
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

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


def test_a_bitmap_of_one_long_row_cannot_ask_for_gigabytes():
    # Run-length code "go on 255 rows", three times; at a million pixels to a row that is 765 MB for 1,138 bytes.
    head = struct.pack("<IiiHHIIiiII", 40, 1_000_000, 1, 1, 8, 1, 0, 0, 0, 256, 0) + bytes(1024)
    data = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + len(head)) + head + b"\0\2\xff\xff" * 3
    with pytest.raises(images.ImageError, match="too large"):
        images.load(io.BytesIO(data), "rle.bmp")


def test_a_jpeg_of_many_scans_is_refused_and_an_ordinary_progressive_one_is_not():
    data = saved(Image.fromarray(RAMP), "JPEG", progressive=True).getvalue()
    last = data.rindex(b"\xff\xda")
    assert images.load(io.BytesIO(data), "good.jpg").shape == (20, 256, 3)
    bomb = data[:last] + data[last:-2] * 200 + data[-2:]
    with pytest.raises(images.ImageError, match="too large .*scans"):
        images.load(io.BytesIO(bomb), "bomb.jpg")


def test_a_frame_larger_than_its_gif_is_refused_by_the_format_itself():
    frame = b"!\xf9\4\x08\0\0\0\0," + struct.pack("<HHHHB", 0, 0, 9000, 9000, 0) + b"\2\2\x4c\1\0;"
    data = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + bytes(6) + frame
    with pytest.raises(images.ImageError, match="too large .*81000000"):
        images.load(io.BytesIO(data), "frame.gif")


def test_a_text_that_unpacks_to_megabytes_is_not_unpacked():
    text = b"Comment\0\0" + zlib.compress(bytes(300_000_000), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    data = saved(Image.fromarray(RAMP), "PNG").getvalue()
    tracemalloc.start()
    with pytest.raises(images.ImageError, match="damaged .*too large"):
        images.load(io.BytesIO(data[:33] + chunk + data[33:]), "text.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("kind", ["PCX", "TGA", "ICO", "EPS", "JPEG2000"])
def test_formats_that_no_scanner_writes_never_reach_their_decoders(kind, monkeypatch):
    stream = saved(Image.fromarray(RAMP), kind)
    assert Image.open(stream).format == kind  # Pillow itself would
    monkeypatch.setitem(Image.OPEN, kind, (lambda *given: pytest.fail(f"{kind} was opened"), None))
    with pytest.raises(images.ImageError, match="not an image .*JPEG, PNG, BMP, DIB, GIF, TIFF, WEBP, PPM"):
        images.load(stream, "scan.png")


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 40])
def test_a_damaged_exif_says_nothing_and_costs_nothing(exif):
    data = saved(Image.fromarray(RAMP), "JPEG").getvalue()
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    pixels = images.load(io.BytesIO(data[:2] + segment + data[2:]), "scan.jpg")
    assert np.array_equal(pixels, images.load(io.BytesIO(data), "scan.jpg"))


def test_one_damaged_tag_does_not_cost_the_picture_its_orientation():
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 2.5
    good = saved(Image.fromarray(RAMP), "JPEG", exif=exif).getvalue()
    bad = good.replace(b"\x01\x1a\0\5", b"\x01\x1a\0\7")  # the resolution is now said to be raw bytes
    assert bad != good and images.load(io.BytesIO(bad), "scan.jpg").shape == (256, 20, 3)


def test_brightness_below_nothing_is_black():
    values = np.array([[-0.5, 0.0, 0.5, 1.0, np.nan, np.inf]], np.float32)
    pixels = images.load(saved(Image.fromarray(values), "TIFF"), "float.tif")
    assert pixels[0, :, 0].tolist() == [0, 0, 128, 255, 0, 0]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_obeyed_once(kind, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    quarters = np.zeros((16, 32), np.uint8)
    quarters[:8, :16], quarters[8:, :16], quarters[8:, 16:] = 80, 160, 240
    turned = ImageOps.exif_transpose(Image.open(saved(Image.fromarray(quarters), "PNG", exif=exif)))
    pixels = images.load(saved(Image.fromarray(quarters), kind, exif=exif), "scan")
    assert pixels.shape[:2] == turned.size[::-1] and np.abs(pixels[..., 0].astype(int) - np.array(turned)).max() < 20


def test_a_damaged_file_is_told_from_one_of_another_kind():
    good = saved(Image.fromarray(RAMP), "PNG").getvalue()
    for data, status in (
        (good[:20], "damaged"),
        (b"\x89PNG\r\n" + bytes(50), "damaged"),
        (b"PK\3\4zip", "not an image"),
    ):
        with pytest.raises(images.ImageError) as caught:
            images.load(io.BytesIO(data), "x.png")
        assert caught.value.status == status


def test_a_file_beyond_the_limit_is_not_even_opened(tmp_path, monkeypatch):
    path = tmp_path / "loop.tif"
    with open(path, "wb") as stream:
        stream.truncate(images.MAX_BYTES + 1)  # sparse: it takes no room
    monkeypatch.setattr("builtins.open", lambda *given, **options: pytest.fail("it was opened"))
    with pytest.raises(images.ImageError, match=r"loop\.tif: too large \(1,000,000,001 bytes"):
        images.load(path, "loop.tif")


def test_a_picture_without_pixels_is_refused():
    head = struct.pack("<IiiHHIIiiII", 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0)
    data = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + len(head)) + head
    with pytest.raises(images.ImageError, match="damaged"):
        images.load(io.BytesIO(data), "none.bmp")


def test_an_upload_without_bytes_is_empty():
    with pytest.raises(images.ImageError, match="upload: empty"):
        images.load(io.BytesIO(), "upload")


def test_threads_leave_the_warnings_as_they_were():
    data = saved(Image.fromarray(RAMP).convert("P"), "PNG", transparency=bytes(20)).getvalue()
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(images.load, [io.BytesIO(data) for _ in range(200)], ["x"] * 200))
    assert warnings.filters == before
