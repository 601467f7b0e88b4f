"""Small pictures in every format that is read, and seeded ways to damage them. No test of its own."""

import io
import random
import re
import struct

import numpy as np
from PIL import Image

# Numbers that break sizes, counts and offsets.
ODD = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
# Where each format keeps its width and height, as (offset, struct letter) pairs.
SIZES = {
    "png": ((16, ">I"), (20, ">I")),
    "bmp": ((18, "<i"), (22, "<i")),
    "dib": ((4, "<i"), (8, "<i")),
    "gif": ((6, "<H"), (8, "<H")),
    "webp": ((24, "<H"), (27, "<H")),
}


def pictures() -> dict[str, bytes]:
    """Encoded pictures by name, the suffix naming the format: each mode, depth and compression once."""
    rng = np.random.default_rng(7)
    ramp = np.linspace(0, 200, 48 * 36).reshape(36, 48) + rng.integers(0, 50, (36, 48))
    grey = Image.fromarray(ramp.astype(np.uint8))
    colour = Image.merge("RGB", (grey, grey.rotate(90), grey.rotate(180)))
    deep = Image.fromarray((ramp * 16).astype(np.uint16))
    frames = [grey.rotate(90 * i) for i in range(1, 4)]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a scanner"
    made = {
        "grey.jpg": (grey, "JPEG", dict(quality=80)),
        "colour.jpg": (colour, "JPEG", dict(progressive=True, exif=exif, icc_profile=bytes(600), comment=b"probe")),
        "restart.jpg": (colour, "JPEG", dict(restart_marker_blocks=2, subsampling=2)),
        "cmyk.jpg": (colour.convert("CMYK"), "JPEG", {}),
        "grey.png": (grey, "PNG", {}),
        "colour.png": (colour, "PNG", dict(icc_profile=bytes(600), exif=exif)),
        "alpha.png": (colour.convert("RGBA"), "PNG", {}),
        "palette.png": (colour.convert("P"), "PNG", dict(transparency=3)),
        "deep.png": (deep, "PNG", {}),
        "animated.png": (grey, "PNG", dict(save_all=True, append_images=frames)),
        "grey.bmp": (grey, "BMP", {}),
        "colour.bmp": (colour, "BMP", {}),
        "grey.dib": (grey, "DIB", {}),
        "grey.gif": (grey, "GIF", {}),
        "animated.gif": (grey, "GIF", dict(save_all=True, append_images=frames, disposal=2, duration=40)),
        "grey.webp": (grey, "WEBP", {}),
        "lossless.webp": (colour.convert("RGBA"), "WEBP", dict(lossless=True, exif=exif)),
        "animated.webp": (grey, "WEBP", dict(save_all=True, append_images=frames)),
        "grey.ppm": (grey, "PPM", {}),
        "deep.ppm": (deep, "PPM", {}),
        "deep.tif": (deep, "TIFF", {}),
        "float.tif": (Image.fromarray((ramp / 255).astype(np.float32)), "TIFF", {}),
        "pages.tif": (grey, "TIFF", dict(save_all=True, append_images=frames, compression="tiff_lzw")),
        "turned.tif": (colour, "TIFF", dict(exif=exif, compression="tiff_lzw")),
        "bits.tif": (grey.convert("1"), "TIFF", dict(compression="group4")),
    }
    for kind in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "lzma", "zstd"):
        made[f"{kind}.tif"] = (colour, "TIFF", dict(compression=kind))
    found = {}
    for name, (image, kind, options) in made.items():
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        found[name] = stream.getvalue()
    found["plain.ppm"] = b"P2\n# by hand\n6 4\n255\n" + b" ".join(b"%d" % (9 * i) for i in range(24))
    runs = b"".join(bytes((40, i, 8, 255 - i, 0, 0)) for i in range(36)) + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 48, 36, 1, 8, 1, len(runs), 0, 0, 256, 0) + bytes(range(256)) * 4
    found["runs.bmp"] = struct.pack("<2sIHHI", b"BM", 14 + len(head) + len(runs), 0, 0, 14 + len(head)) + head + runs
    return found


def damaged(data: bytes, kind: str, rng: random.Random) -> bytes:
    """The file after one to three seeded accidents; ``kind`` is its suffix without the dot."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice((_flip, _flip_head, _cut, _block, _number, _noise, _lie, _repeat_marker))(data, kind, rng)
    return data


def _flip(data, kind, rng):
    body = bytearray(data)
    for _ in range(rng.choice((1, 4, 30))):
        if body:
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return bytes(body)


def _flip_head(data, kind, rng):
    return _flip(data[:64], kind, rng) + data[64:]


def _cut(data, kind, rng):
    scale = rng.choice((1, 16, 256, len(data) + 1))
    return data[: max(0, len(data) - rng.randrange(scale) - 1)] if rng.random() < 0.5 else data[: rng.randrange(scale)]


def _block(data, kind, rng):
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((1, 2, 4, 12, 100))]
    how = rng.randrange(3)
    return data[:start] + (b"", piece * 2, piece * 50)[how] + data[start + len(piece) :]


def _number(data, kind, rng):
    letter = rng.choice("<>") + rng.choice("HI")
    value = struct.pack(letter, rng.choice(ODD) & (0xFFFF if letter[1] == "H" else 0xFFFFFFFF))
    start = rng.randrange(max(1, min(len(data), rng.choice((64, 400, len(data) + 1)))))
    return data[:start] + value + data[start + len(value) :]


def _noise(data, kind, rng):
    if rng.random() < 0.2:
        return rng.randbytes(rng.choice((1, 20, 500)))
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.choice((1, 8, 200))) + (b"" if rng.random() < 0.3 else data[start:])


def _lie(data, kind, rng):
    # A header that promises another size, often a huge one.
    side = rng.choice((0, 1, 47, 49, 5000, 20_000, 65_535, 40_000_000, 2**31 - 1))
    body = bytearray(data)
    for place, letter in SIZES.get(kind, ()):
        if rng.random() < 0.7 and place + struct.calcsize(letter) <= len(body):
            struct.pack_into(letter, body, place, min(side, 0xFFFF) if letter[1] == "H" else side)
    if kind == "jpg":
        for found in re.finditer(rb"\xff[\xc0\xc2]", data):
            if found.end() + 7 <= len(body):
                struct.pack_into(">HH", body, found.end() + 3, min(side, 0xFFFF), rng.choice((1, 48, 5000, 65_535)))
    if kind == "tif":
        tags = [
            (256, side),
            (257, side),
            (278, side),
            (322, side),
            (259, rng.choice((1, 5, 7, 8, 32773, 34925, 50000))),
        ]
        for tag, value in rng.sample(tags, 3):
            for found in re.finditer(re.escape(struct.pack("<H", tag)) + rb"[\x03\x04]\x00\x01\x00\x00\x00", data):
                if found.end() + 4 <= len(body):
                    struct.pack_into("<HII", body, found.start() + 2, 4, 1, value)
    if kind == "ppm":
        return re.sub(rb"\d+ \d+", b"%d %d" % (side, rng.choice((36, side))), data, count=1)
    return bytes(body)


def _repeat_marker(data, kind, rng):
    # A whole chunk again: PNG's by name, JPEG's by marker, GIF's extension blocks, others by a stretch of bytes.
    pattern = {"png": rb"[A-Za-z]{4}", "jpg": rb"\xff[\xc0-\xfe]", "gif": rb"[\x21\x2c]"}.get(kind, rb"\0\0")
    found = [match.start() for match in re.finditer(pattern, data)]
    if len(found) < 2:
        return data
    i = rng.randrange(len(found) - 1)
    return data[: found[i]] + data[found[i] : found[i + 1]] * rng.choice((2, 3, 40)) + data[found[i + 1] :]
