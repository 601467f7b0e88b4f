"""The one image loader: training, command line and web page see the same pixels.

Every mode that ultrasound exports come in becomes 8-bit RGB without saturating; whatever cannot be trusted is
refused with a reason that names the file.
"""

import os
import stat
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

# What ultrasound scanners and their archives export. Pillow knows thirty more formats, and one of them (EPS) starts
# another program on the file; none of those may see data that somebody else made.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
# A frame of an ultrasound scanner has at most about 2 million pixels; far above that, decoding is an attack on memory.
MAX_PIXELS = 50_000_000
# One command of a run-length coded bitmap may skip 255 rows: a file of 70 bytes and one row of 50 million pixels
# asks for 13 GB. Rows of this length cannot.
MAX_SIDE = 16_384
MAX_BYTES = 1_000_000_000  # a whole cine loop; beyond, even the digest takes minutes
# A progressive JPEG has about ten scans. Each costs a pass over the whole image and may be 30 bytes long, so a small
# file of many scans would decode for hours; libtiff stops at the same number.
MAX_SCANS = 100

# Pillow refuses twice this number, and does so inside its formats too (a GIF's frame, a TIFF's tile) before it
# allocates.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
# Set once and not by warnings.catch_warnings, which is not safe in the threads that decode: what Pillow warns of is
# harmless, or an error further on.
warnings.filterwarnings("ignore", module=r"PIL\.")
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(Exception):
    """Why one file cannot be used: a ``status`` of one or two words and the ``reason`` in a few more.

    ``status`` is empty, not a file, unreadable, not an image, damaged or too large.
    """

    def __init__(self, status: str, name: str, reason: str):
        super().__init__(f"{name}: {status} ({reason})")
        self.status, self.reason = status, reason


def load(file: str | Path | BinaryIO, name: str | None = None) -> np.ndarray:
    """An image as 8-bit RGB, shape (height, width, 3), upright as its EXIF tag says. Raises ImageError.

    Of an animation the first frame is read. Depths above 8 bits are scaled by the smallest depth of 8, 10, 12, 14
    or 16 bits that holds the brightest pixel, so that a 12-bit frame in a 16-bit file is neither white nor black.
    """
    return decode(file, name)[0]


def decode(file: str | Path | BinaryIO, name: str | None = None) -> tuple[np.ndarray, dict]:
    """The pixels as in ``load``, and the facts ``width``, ``height``, ``mode`` and ``format`` of the file."""
    name = name or getattr(file, "name", None) or str(file)
    if isinstance(file, (str, Path)):
        with opened(Path(file), name) as stream:
            return decode(stream, name)
    try:
        file.seek(0)
        start = file.read(16)
        if not start:
            raise ImageError("empty", name, "the file has no bytes; fetch it again")
        if start.startswith(b"\xff\xd8") and _scans(file) > MAX_SCANS:
            raise ImageError("too large", name, f"a JPEG of more than {MAX_SCANS} scans")
        # From the stream and not by path: Pillow would map a file named by path into memory, and a file that shrinks
        # while it is mapped ends the process.
        with Image.open(file, formats=FORMATS) as image:
            facts = {"width": image.width, "height": image.height, "mode": image.mode, "format": image.format}
            if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            image.load()
            pixels = _to_rgb(_upright(image))
    except (Image.DecompressionBombError, MemoryError) as error:
        limits = f"the limits are {MAX_PIXELS:,} pixels and {MAX_SIDE:,} to a side"
        raise ImageError("too large", name, f"{_brief(error).split(' exceeds')[0]}; {limits}") from None
    except UnidentifiedImageError:
        if start.startswith(MAGIC):
            raise ImageError("damaged", name, "its header cannot be read, or is of a kind that is not read") from None
        raise ImageError("not an image", name, f"formats that are read: {', '.join(FORMATS)}") from None
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many types on damaged files; all mean the same here
        raise ImageError("damaged", name, f"cannot be decoded: {_brief(error)}") from None
    return pixels, facts


def opened(path: Path, name: str) -> BinaryIO:
    """The open file. Raises ImageError where it is no ordinary file, too long or may not be read.

    A pipe would block for ever and a device may do anything, so neither is opened. FileNotFoundError is left as it is.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise ImageError("not a file", name, "a link to a folder, or a folder that may not be listed")
        if not stat.S_ISREG(found.st_mode):
            raise ImageError("not a file", name, "a pipe, a socket or a device")
        if found.st_size > MAX_BYTES:
            raise ImageError("too large", name, f"{found.st_size:,} bytes; the limit is {MAX_BYTES:,}")
        return open(path, "rb", opener=lambda place, flags: os.open(place, flags | os.O_NONBLOCK))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ImageError("unreadable", name, (error.strerror or "no reason given").lower()) from None


def _scans(stream: BinaryIO) -> int:
    # Inside the coded data FF is followed by 00, so these two bytes are the marker that starts a scan.
    stream.seek(0)
    return sum(block.count(b"\xff\xda") for block in iter(lambda: stream.read(1 << 20), b""))


def _brief(error: Exception) -> str:
    # One printable line without the addresses of objects, so that two scans of a folder write the same manifest.
    text = " ".join(str(error).split("<_io.")[0].split()) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:120]


def _upright(image: Image.Image) -> Image.Image:
    # ImageOps.exif_transpose also writes the tags again, and fails on a sound picture where one of them is damaged.
    turn = TRANSPOSE.get(image.getexif().get(ExifTags.Base.Orientation))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        grey = _to_8_bit(np.array(image, dtype=np.float64), fractions=image.mode == "F")
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        rgba = image.convert("RGBA")
        # Scanners export on black; a transparent margin read as white would be a bright border.
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, rgba)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _to_8_bit(values: np.ndarray, *, fractions: bool) -> np.ndarray:
    # In place: at 50 million pixels every copy would cost 400 MB.
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    np.maximum(values, 0, out=values)
    brightest = values.max(initial=0)
    if fractions and brightest <= 1:
        ceiling = 1.0  # floating-point images in [0, 1]
    else:
        ceiling = next((2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if brightest < 2**bits), brightest)
    values /= ceiling
    values *= 255
    return np.round(values, out=values).astype(np.uint8)


def resize(pixels: np.ndarray, side: int) -> np.ndarray:
    """The image stretched to (side, side, 3), bilinear with antialiasing, as torchvision resizes Pillow images."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def stack(paths: list[Path], side: int) -> np.ndarray:
    """All images at one size, uint8, shape (n, side, side, 3): decoded once, kept for every epoch."""
    pixels = np.empty((len(paths), side, side, 3), dtype=np.uint8)
    for i, path in enumerate(paths):
        pixels[i] = resize(load(path), side)
    return pixels
