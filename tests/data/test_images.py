"""Every mode of image becomes the same 8-bit RGB, and what cannot be trusted is refused by name."""

import io
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pcos_utils.data import images
from pcos_utils.phantom import simulator

VALUES = np.tile(np.arange(256, dtype=np.uint8), (20, 1))
RAMP = Image.fromarray(VALUES)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """Return the bytes of the image's file; ``turn`` is its EXIF orientation."""
    if "turn" in options:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = options.pop("turn")
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


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


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_grey_survives_every_mode(mode):
    pixels = load(encoded(RAMP.convert(mode), "PNG"))
    assert pixels.shape == (20, 256, 3) and pixels.dtype == np.uint8
    assert np.array_equal(pixels[..., 0], VALUES) and np.array_equal(pixels[..., 2], VALUES)


def test_one_bit_and_cmyk():
    assert set(np.unique(load(encoded(Image.fromarray(VALUES > 127), "PNG")))) == {0, 255}
    cmyk = load(encoded(RAMP.convert("RGB").convert("CMYK"), "TIFF"))
    assert np.abs(cmyk[..., 0].astype(int) - VALUES).max() <= 1


def tiff(values: np.ndarray, *, white_is_zero=False, white: int = 0) -> bytes:
    """Return a TIFF file of integer values; ``white``: the value that the file states for white."""
    bits, form = values.dtype.itemsize * 8, 2 if values.dtype.kind == "i" else 1
    tags = [(256, 4, values.shape[1]), (257, 4, values.shape[0]), (258, 3, bits), (259, 3, 1)]
    tags += [(262, 3, 0 if white_is_zero else 1), (273, 4, 8), (277, 3, 1), (278, 4, values.shape[0])]
    tags += [(279, 4, values.nbytes), *([(281, 3, white)] if white else []), (339, 3, form)]
    entries = b"".join(struct.pack("<HHII", number, kind, 1, value) for number, kind, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + values.nbytes)
    return (
        head
        + values.astype(values.dtype.newbyteorder("<")).tobytes()
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_deep_grey_neither_saturates_nor_vanishes(bits):
    deep = np.round(VALUES / 255 * (2**bits - 1)).astype(np.uint16)
    assert np.array_equal(load(encoded(Image.fromarray(deep), "PNG"))[..., 0], VALUES)


def test_the_stated_depth_scales_deep_grey_and_neither_one_pixel_nor_a_little_gain():
    deep = VALUES.astype(np.uint16) * 64
    spot = deep.copy()
    spot[0, 0] = 16_384
    means = [load(encoded(Image.fromarray(picture), "PNG")).mean() for picture in (deep, spot)]
    assert means[0] == pytest.approx(VALUES.mean() * 64 * 255 / 65_535, rel=0.02)
    assert means[1] == pytest.approx(means[0], rel=0.02)
    for factor in (16.0, 64.0, 256.0):
        plain, more = (np.minimum(VALUES * factor * gain, 65_535).astype(np.uint16) for gain in (1, 1.01))
        plain, more = (load(encoded(Image.fromarray(picture), "PNG")).mean() for picture in (plain, more))
        assert more == pytest.approx(plain, rel=0.02)


def test_a_tiff_states_white_as_zero_its_sign_and_its_white():
    deep = np.round(VALUES / 255 * 65_535)
    assert np.array_equal(load(tiff(deep.astype(np.uint16)))[..., 0], VALUES)
    assert np.array_equal(load(tiff((65_535 - deep).astype(np.uint16), white_is_zero=True))[..., 0], VALUES)
    assert np.array_equal(load(tiff(255 - VALUES, white_is_zero=True))[..., 0], VALUES)
    assert np.array_equal(load(tiff((deep - 32_768).astype(np.int16)))[..., 0], VALUES)
    assert np.array_equal(load(tiff((VALUES.astype(int) - 128).astype(np.int8)))[..., 0], VALUES)
    # A sign that is not used costs one bit.
    assert np.abs(load(tiff((deep / 2).astype(np.int16)))[..., 0].astype(int) - VALUES).max() <= 1
    ten = np.round(VALUES / 255 * 1023).astype(np.uint16)
    assert np.array_equal(load(tiff(ten, white=1023))[..., 0], VALUES)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("white", ["#ffdcb4", "#b4c8ff", "#99ccff"])
def test_one_tint_is_taken_off(kind, white):
    scan = simulator.simulate(3, 1).image
    tinted = ImageOps.colorize(Image.fromarray(scan), "black", white)
    pixels = load(encoded(tinted, kind))
    assert (np.ptp(pixels, axis=2) == 0).all()
    assert np.abs(pixels[..., 0].astype(int) - scan).mean() < 4


def test_grey_and_several_colours_stay_as_they_are():
    scan = np.repeat(simulator.simulate(3, 1).image[..., None], 3, axis=2)
    marked = scan.copy()
    marked[20:40, 10:90] = (250, 220, 40)  # a yellow caption
    flow = scan.copy()
    flow[60:120, 60:140, 0] |= 200
    flow[60:120, 140:220, 2] |= 200
    for picture in (scan, marked, flow, np.random.default_rng(0).integers(0, 256, scan.shape, np.uint8)):
        assert np.array_equal(load(encoded(Image.fromarray(picture), "PNG")), picture)


def test_a_picture_drawn_in_the_alpha_channel_is_seen():
    ink = np.zeros((20, 256, 4), np.uint8)
    ink[..., 3] = 255 - VALUES
    assert np.array_equal(load(encoded(Image.fromarray(ink), "PNG"))[..., 0], VALUES)
    ink[..., :3] = 255
    assert np.array_equal(load(encoded(Image.fromarray(ink), "PNG"))[..., 0], 255 - VALUES)


def test_fractions_are_scaled_and_what_is_no_brightness_is_black():
    def seen(*values: float) -> list[int]:
        return load(encoded(Image.fromarray(np.array([values], np.float32)), "TIFF"))[0, :, 0].tolist()

    assert seen(-0.02, 0.0, 0.5, 1.0, np.nan, np.inf) == [0, 0, 128, 255, 0, 0]  # a little below zero by resampling
    assert seen(-1.0, -0.5, 0.0, 1.0, np.nan, np.inf) == [0, 64, 128, 255, 0, 0]
    for values in ((-60.0, -20.0, 0.0), (-2.1, 0.3, 2.6)):  # decibels, and standardised by somebody's mean
        with pytest.raises(images.ImageError, match="fractions from -.* nothing says what is black; save 8 bits"):
            seen(*values)


@pytest.mark.parametrize("kind", [".png", ".tif"])
@pytest.mark.parametrize("bits", [12, 16])
def test_deep_colours_keep_all_their_bits(kind, bits):
    pixels = np.stack([VALUES, VALUES[::-1], 255 - VALUES], axis=2)
    deep = np.round(pixels / 255 * (2**bits - 1)).astype(np.uint16)
    shown = load(cv2.imencode(kind, deep[..., ::-1])[1].tobytes())
    assert np.array_equal(shown, pixels)
    if kind == ".png":
        clear = np.dstack([deep[..., ::-1], np.full(deep.shape[:2], 65_535, np.uint16)])
        assert np.array_equal(load(cv2.imencode(kind, clear)[1].tobytes()), pixels)


def test_a_transparent_margin_is_black():
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., :3] = 255
    rgba[2:6, 2:6, 3] = 255
    pixels = load(encoded(Image.fromarray(rgba), "PNG"))
    assert pixels[0, 0].tolist() == [0, 0, 0] and pixels[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", "empty"),
        (b"<html>quota exceeded</html>", "not an image"),
        (b"PK\3\4zip", "not an image"),
        (encoded(NOISE, "JPEG")[:2000], "damaged"),
        (encoded(NOISE, "PNG")[:20], "damaged"),
        (b"\x89PNG\r\n" + bytes(50), "damaged"),
        (bitmap(0, 0, 24, 0, 0, b""), "damaged"),
        # Run-length code "go on 255 rows", three times; at a million pixels to a row that is 765 MB for 1,138 bytes.
        (bitmap(1_000_000, 1, 8, 1, 256, b"\0\2\xff\xff" * 3), "too large"),
    ],
)
def test_bad_files_are_named_with_their_reason(tmp_path, content, status):
    assert assert_refused("", content) == status
    (tmp_path / "scan 8.jpg").write_bytes(content)
    with pytest.raises(images.ImageError, match=f"scan 8.jpg: {status}"):
        images.load(tmp_path / "scan 8.jpg")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
    bomb = encoded(Image.new("1", (12_000, 12_000)), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("the bomb was decoded"))
    assert len(bomb) < 100_000 and assert_refused("too large", bomb)


def test_a_jpeg_of_many_scans_is_refused_and_an_ordinary_progressive_one_is_not():
    data = encoded(RAMP, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    assert load(data).shape == (20, 256, 3)
    assert_refused("too large .*scans", data[:last] + data[last:-2] * 200 + data[-2:])


def test_a_frame_larger_than_its_gif_is_refused_by_the_format_itself():
    frame = b"!\xf9\4\x08\0\0\0\0," + struct.pack("<HHHHB", 0, 0, 9000, 9000, 0) + b"\2\2\x4c\1\0;"
    screen = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + bytes(6)
    assert_refused("too large .*81000000", screen + frame)


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
    quarters = Image.fromarray(np.kron([[80, 0], [160, 240]], np.ones((8, 16))).astype(np.uint8))
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
