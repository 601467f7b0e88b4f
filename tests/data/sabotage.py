"""Small pictures in every format that is read, and seeded ways to damage them. No test of its own."""

import random
import re
import struct

import numpy as np
from PIL import Image

from tests.data.made import encoded

# Numbers that break sizes, counts and offsets.
ODD = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
SIDES = (0, 1, 47, 49, 5000, 20_000, 65_535, 40_000_000, 2**31 - 1)
# Where each format keeps its width and height, as (offset, struct letter) pairs.
SIZES = {
    "png": ((16, ">I"), (20, ">I")), "bmp": ((18, "<i"), (22, "<i")), "dib": ((4, "<i"), (8, "<i")),
    "gif": ((6, "<H"), (8, "<H")), "webp": ((24, "<H"), (27, "<H")),
}  # fmt: skip


def pictures() -> dict[str, bytes]:
    """Return encoded pictures by name, the suffix naming the format: each mode, depth and compression once."""
    rng = np.random.default_rng(7)
    ramp = np.linspace(0, 200, 48 * 36).reshape(36, 48) + rng.integers(0, 50, (36, 48))
    grey = Image.fromarray(ramp.astype(np.uint8))
    colour = Image.merge("RGB", (grey, grey.rotate(90), grey.rotate(180)))
    deep = Image.fromarray((ramp * 16).astype(np.uint16))
    pages = dict(save_all=True, append_images=[grey.rotate(90 * i) for i in range(1, 4)])
    settings = {
        "grey.jpg": (grey, dict(quality=80)),
        "colour.jpg": (colour, dict(progressive=True, icc_profile=bytes(600), comment=b"probe")),
        "restart.jpg": (colour, dict(restart_marker_blocks=2, subsampling=2)), "grey.png": (grey, {}),
        "palette.png": (colour.convert("P"), dict(transparency=3)), "deep.png": (deep, {}),
        "animated.png": (grey, pages), "colour.bmp": (colour, {}), "grey.dib": (grey, {}),
        "animated.gif": (grey, dict(**pages, disposal=2, duration=40)), "grey.webp": (grey, {}),
        "animated.webp": (grey, pages), "deep.ppm": (deep, {}),
        "float.tif": (Image.fromarray((ramp / 255).astype(np.float32)), {}),
        "bits.tif": (grey.convert("1"), dict(compression="group4")),
    }  # fmt: skip
    for kind in ("raw", "packbits", "tiff_lzw", "jpeg", "zstd"):
        settings[f"{kind}.tif"] = (colour, dict(compression=kind))
    format_of = Image.registered_extensions()
    files = {
        name: encoded(of, format_of[name[name.index(".") :]], **options) for name, (of, options) in settings.items()
    }
    runs = b"".join(bytes((40, i, 8, 255 - i, 0, 0)) for i in range(36)) + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 48, 36, 1, 8, 1, len(runs), 0, 0, 256, 0) + bytes(range(256)) * 4
    bitmap = struct.pack("<2sIHHI", b"BM", 14 + len(head) + len(runs), 0, 0, 14 + len(head))
    return files | {"runs.bmp": bitmap + head + runs}


def damaged(data: bytes, kind: str, rng: random.Random) -> bytes:
    """Return the file after one to three seeded accidents; ``kind`` is its suffix without the dot."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice((_flip, _cut, _number, _noise, _lie))(data, kind, rng)
    return data


def _flip(data, kind, rng):
    body = bytearray(data)
    for _ in range(rng.choice((1, 4, 30)) if data else 0):
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return bytes(body)


def _cut(data, kind, rng):
    length = rng.randrange(rng.choice((1, 16, 256, len(data) + 1)))
    return data[: max(0, len(data) - length - 1)] if rng.random() < 0.5 else data[:length]


def _number(data, kind, rng):
    letter = rng.choice("<>") + rng.choice("HI")
    value = struct.pack(letter, rng.choice(ODD) & (0xFFFF if letter[1] == "H" else 0xFFFFFFFF))
    start = rng.randrange(max(1, min(len(data), rng.choice((64, 400, len(data) + 1)))))
    return data[:start] + value + data[start + len(value) :]


def _noise(data, kind, rng):
    start = rng.randrange(len(data) + 1) if rng.random() < 0.8 else 0
    return data[:start] + rng.randbytes(rng.choice((1, 8, 200))) + (b"" if rng.random() < 0.3 else data[start:])


def _lie(data, kind, rng):
    """Let the header promise another size, often a huge one."""
    side = rng.choice(SIDES)
    body = bytearray(data)
    for place, letter in SIZES.get(kind, ()):
        if rng.random() < 0.7 and place + struct.calcsize(letter) <= len(body):
            struct.pack_into(letter, body, place, min(side, 0xFFFF) if letter[1] == "H" else side)
    for frame in re.finditer(rb"\xff[\xc0\xc2].{3}....", data, re.DOTALL) if kind == "jpg" else ():
        struct.pack_into(">HH", body, frame.start() + 5, min(side, 0xFFFF), rng.choice((1, 48, 5000, 65_535)))
    compression = rng.choice((1, 5, 7, 8, 32773, 34925, 50000))
    tags = [(256, side), (257, side), (278, side), (322, side), (259, compression)]
    for tag, value in rng.sample(tags, 3) if kind == "tif" else ():
        pattern = re.escape(struct.pack("<H", tag)) + rb"[\x03\x04]\x00\x01\x00\x00\x00...."
        for entry in re.finditer(pattern, data, re.DOTALL):
            struct.pack_into("<HII", body, entry.start() + 2, 4, 1, value)
    if kind == "ppm":
        return re.sub(rb"\d+ \d+", b"%d %d" % (side, rng.choice((36, side))), data, count=1)
    return bytes(body)
