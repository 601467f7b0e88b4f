"""Every mode of image becomes the same 8-bit RGB, and what cannot be trusted is refused by name."""

import io
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pcos_utils.data import images
from pcos_utils.data.jpeg import hole
from pcos_utils.phantom import simulator
from tests.data.made import encoded, noise

VALUES = np.tile(np.arange(256, dtype=np.uint8), (20, 1))
RAMP = Image.fromarray(VALUES)


def load(content: bytes) -> np.ndarray:
    """Return the pixels of an upload."""
    return images.load(io.BytesIO(content), "scan 7.jpg")


def assert_refused(text: str, content: bytes) -> str:
    """Return the status with which a file is refused for a reason with the text."""
    with pytest.raises(images.ImageError, match=f"scan 7.jpg: {text}") as caught:
        load(content)
    return caught.value.status


def bitmap(width: int, height: int, bits: int, compression: int, colours: int, data: bytes) -> bytes:
    """Return a BMP file with a black palette."""
    facts = (width, height, 1, bits, compression, 0, 0, 0, colours, 0)
    head = struct.pack("<IiiHHIIiiII", 40, *facts) + bytes(4 * colours)
    return struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + len(head)) + head + data


def tiff(values: np.ndarray, *, white_is_zero=False, white: int = 0) -> bytes:
    """Return a TIFF file of integer values; ``white``: the value that the file states for white."""
    bits, form = values.dtype.itemsize * 8, 2 if values.dtype.kind == "i" else 1
    tags = [(256, 4, values.shape[1]), (257, 4, values.shape[0]), (258, 3, bits), (259, 3, 1)]
    tags += [(262, 3, 0 if white_is_zero else 1), (273, 4, 8), (277, 3, 1), (278, 4, values.shape[0])]
    tags += [(279, 4, values.nbytes), *([(281, 3, white)] if white else []), (339, 3, form)]
    entries = b"".join(struct.pack("<HHII", number, kind, 1, value) for number, kind, value in tags)
    data = values.astype(values.dtype.newbyteorder("<")).tobytes() + struct.pack("<H", len(tags)) + entries
    return b"II*\0" + struct.pack("<I", 8 + values.nbytes) + data + bytes(4)


def deep(bits: int) -> np.ndarray:
    """Return the ramp over the whole range of a depth."""
    return np.round(VALUES / 255 * (2**bits - 1)).astype(np.uint16)


def drawn_in_alpha(colour: int) -> bytes:
    """Return the ramp as the transparency of one colour."""
    ink = np.full((20, 256, 4), colour, np.uint8)
    ink[..., 3] = 255 - VALUES
    return encoded(ink, "PNG")


GREY = {mode: (encoded(RAMP.convert(mode), "PNG"), VALUES, 0) for mode in ("L", "LA", "RGB", "RGBA", "P")}
GREY |= {f"{bits} bits": (encoded(deep(bits), "PNG"), VALUES, 0) for bits in (8, 12, 16)}
GREY |= {
    "one bit": (encoded(VALUES > 127, "PNG"), 255 * (VALUES > 127), 0),
    "CMYK": (encoded(RAMP.convert("RGB").convert("CMYK"), "TIFF"), VALUES, 1),
    "TIFF": (tiff(deep(16)), VALUES, 0),
    "white is 0": (tiff(65_535 - deep(16), white_is_zero=True), VALUES, 0),
    "white is 0 of 8 bits": (tiff(255 - VALUES, white_is_zero=True), VALUES, 0),
    "signed": (tiff((deep(16) - 32_768.0).astype(np.int16)), VALUES, 0),
    "signed 8 bits": (tiff((VALUES - 128.0).astype(np.int8)), VALUES, 0),
    "a sign not used": (tiff((deep(16) / 2).astype(np.int16)), VALUES, 1),  # it costs one bit
    "white is 1023": (tiff(deep(10), white=1023), VALUES, 0),
    "black in alpha": (drawn_in_alpha(0), VALUES, 0),
    "white in alpha": (drawn_in_alpha(255), 255 - VALUES, 0),
}


@pytest.mark.parametrize("case", GREY)
def test_grey_survives_every_mode_depth_and_sign(case):
    content, wanted, off = GREY[case]
    pixels = load(content)
    assert pixels.shape == (20, 256, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels - wanted[..., None].astype(int)).max() <= off


def test_the_stated_depth_scales_deep_grey_and_neither_one_pixel_nor_a_little_gain():
    def mean(values: np.ndarray) -> float:
        return load(encoded(np.minimum(values, 65_535).astype(np.uint16), "PNG")).mean()

    spot = VALUES * 64.0
    spot[0, 0] = 16_384
    assert mean(VALUES * 64.0) == pytest.approx(VALUES.mean() * 64 * 255 / 65_535, rel=0.02)
    assert mean(spot) == pytest.approx(mean(VALUES * 64.0), rel=0.02)
    for factor in (16.0, 64.0, 256.0):
        assert mean(VALUES * factor * 1.01) == pytest.approx(mean(VALUES * factor), rel=0.02)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("white", ["#ffdcb4", "#b4c8ff", "#99ccff"])
def test_one_tint_is_taken_off(kind, white):
    scan = simulator.simulate(3, 1).image
    pixels = load(encoded(ImageOps.colorize(Image.fromarray(scan), "black", white), kind))
    assert (np.ptp(pixels, axis=2) == 0).all()
    assert np.abs(pixels[..., 0].astype(int) - scan).mean() < 4


def test_grey_and_several_colours_stay_as_they_are():
    scan = np.repeat(simulator.simulate(3, 1).image[..., None], 3, axis=2)
    marked, flow = scan.copy(), scan.copy()
    marked[20:40, 10:90] = (250, 220, 40)  # a yellow caption
    flow[60:120, 60:140, 0] |= 200
    flow[60:120, 140:220, 2] |= 200
    for picture in (scan, marked, flow, np.random.default_rng(0).integers(0, 256, scan.shape, np.uint8)):
        assert np.array_equal(load(encoded(picture, "PNG")), picture)


def test_fractions_are_scaled_and_what_is_no_brightness_is_black():
    def seen(*values: float) -> list[int]:
        return load(encoded(np.array([values], np.float32), "TIFF"))[0, :, 0].tolist()

    assert seen(-0.02, 0.0, 0.5, 1.0, np.nan, np.inf) == [0, 0, 128, 255, 0, 0]  # a little below zero by resampling
    assert seen(-1.0, -0.5, 0.0, 1.0, np.nan, np.inf) == [0, 64, 128, 255, 0, 0]
    for values in ((-60.0, -20.0, 0.0), (-2.1, 0.3, 2.6)):  # decibels, and standardised by somebody's mean
        with pytest.raises(images.ImageError, match="fractions from -.* nothing says what is black; save 8 bits"):
            seen(*values)


@pytest.mark.parametrize("kind", [".png", ".tif"])
@pytest.mark.parametrize("bits", [12, 16])
def test_deep_colours_keep_all_their_bits(kind, bits):
    pixels = np.stack([VALUES, VALUES[::-1], 255 - VALUES], axis=2)
    given = np.round(pixels / 255 * (2**bits - 1)).astype(np.uint16)[..., ::-1]
    clear = np.dstack([given, np.full(VALUES.shape, 65_535, np.uint16)])
    for values in (given, clear) if kind == ".png" else (given,):
        assert np.array_equal(load(cv2.imencode(kind, values)[1].tobytes()), pixels)


def test_a_transparent_margin_is_black():
    rgba = np.full((8, 8, 4), 255, np.uint8)
    rgba[[0, 1, 6, 7], :, 3] = rgba[:, [0, 1, 6, 7], 3] = 0
    pixels = load(encoded(rgba, "PNG"))
    assert pixels[0, 0].tolist() == [0, 0, 0] and pixels[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("content", "status"), [
    (b"", "empty"),
    (b"<html>quota exceeded</html>", "not an image"),
    (b"PK\3\4zip", "not an image"),
    (encoded(noise(), "JPEG")[:2000], "damaged"),
    (encoded(noise(), "PNG")[:20], "damaged"),
    (b"\x89PNG\r\n" + bytes(50), "damaged"),
    (bitmap(0, 0, 24, 0, 0, b""), "damaged"),
    # Run-length code "go on 255 rows", three times; at a million pixels to a row that is 765 MB for 1,138 bytes.
    (bitmap(1_000_000, 1, 8, 1, 256, b"\0\2\xff\xff" * 3), "too large"),
])  # fmt: skip
def test_bad_files_are_named_with_their_reason(tmp_path, content, status):
    assert assert_refused("", content) == status
    (tmp_path / "scan 8.jpg").write_bytes(content)
    with pytest.raises(images.ImageError, match=f"scan 8.jpg: {status}"):
        images.load(tmp_path / "scan 8.jpg")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
    bomb = encoded(Image.new("1", (12_000, 12_000)), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("the bomb was decoded"))
    assert len(bomb) < 100_000 and assert_refused("too large", bomb)


def test_a_jpeg_of_many_scans_and_a_frame_larger_than_its_gif_are_refused():
    data = encoded(RAMP, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    assert load(data).shape == (20, 256, 3)
    assert_refused("too large .*scans", data[:last] + data[last:-2] * 200 + data[-2:])
    frame = b"!\xf9\4\x08\0\0\0\0," + struct.pack("<HHHHB", 0, 0, 9000, 9000, 0) + b"\2\2\x4c\1\0;"
    assert_refused("too large .*81000000", b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + bytes(6) + frame)


@pytest.mark.slow
def test_a_text_that_unpacks_to_megabytes_is_not_unpacked():
    text = b"Comment\0\0" + zlib.compress(bytes(300_000_000), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    data = encoded(RAMP, "PNG")
    tracemalloc.start()
    assert_refused("damaged .*too large", data[:33] + chunk + data[33:])
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["PCX", "TGA", "ICO", "EPS", "JPEG2000"])
def test_formats_that_no_scanner_writes_never_reach_their_decoders(kind, monkeypatch):
    content = encoded(RAMP, kind)
    assert Image.open(io.BytesIO(content)).format == kind  # Pillow itself would
    monkeypatch.setitem(Image.OPEN, kind, (lambda *_: pytest.fail(f"{kind} was opened"), None))
    assert_refused("not an image .*JPEG, PNG, BMP, DIB, GIF, TIFF, WEBP, PPM", content)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 40])
def test_a_damaged_exif_changes_nothing(exif):
    data = encoded(RAMP, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    assert np.array_equal(load(data[:2] + segment + data[2:]), load(data))


def test_one_damaged_tag_does_not_cost_the_picture_its_orientation():
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 2.5
    good = encoded(RAMP, "JPEG", exif=exif)
    bad = good.replace(b"\x01\x1a\0\5", b"\x01\x1a\0\7")  # the resolution is now said to be raw bytes
    assert bad != good and load(bad).shape == (256, 20, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_obeyed_once(kind, turn):
    quarters = np.kron([[80, 0], [160, 240]], np.ones((8, 16))).astype(np.uint8)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(quarters, "PNG", turn=turn))))
    pixels = load(encoded(quarters, kind, turn=turn))
    assert pixels.shape[:2] == turned.size[::-1] and np.abs(pixels[..., 0].astype(int) - np.array(turned)).max() < 20


def test_a_file_beyond_the_limit_is_not_even_opened(tmp_path, monkeypatch):
    path = tmp_path / "loop.tif"
    with open(path, "wb") as stream:
        stream.truncate(images.MAX_BYTES + 1)  # sparse: it takes no room
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(images.ImageError, match=r"loop\.tif: too large \(1,000,000,001 bytes"):
        images.load(path, "loop.tif")


def test_threads_leave_the_warnings_as_they_were():
    data = encoded(RAMP.convert("P"), "PNG", transparency=bytes(20))
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load, [data] * 200))
    assert warnings.filters == before


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("settings", [{}, {"quality": 95}, {"quality": 20}, {"subsampling": 0}])
def test_a_hole_of_zero_bytes_in_a_jpeg_is_named(mode, settings):
    content = bytearray(encoded(Image.fromarray(simulator.simulate(3, 1).image).convert(mode), "JPEG", **settings))
    assert hole(bytes(content)) is None and load(content).shape == (200, 300, 3)
    content[len(content) // 2 : len(content) // 2 + 512] = bytes(512)
    assert_refused("damaged .zero bytes in place of data from byte", content)


@pytest.mark.parametrize("settings", [{}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_an_even_jpeg_dark_or_grey_has_no_hole(settings):
    for value, mode in product((0, 128), ("L", "RGB")):
        content = encoded(Image.fromarray(np.full((900, 900), value, np.uint8)).convert(mode), "JPEG", **settings)
        assert hole(content) is None and hole(content + bytes(4096)) is None
