"""Load images as 8-bit RGB, so that training, command line and web page see the same pixels.

Deep grey, as in a 16-bit PNG, is scaled to 8 bits by the depth that the file states. A file that cannot be trusted is
refused, with a reason that names it.
"""

import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from pcos_utils.data import jpeg
from pcos_utils.data.levels import deep, rgb, untinted

# The formats that ultrasound scanners and their archives export. Pillow knows thirty more, and one of them (EPS)
# starts another program on the file, so foreign data must not reach those.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
MAX_PIXELS = 50_000_000  # an ultrasound frame has at most about 2 million; a far larger image is an attack on memory
# One command of a run-length coded bitmap can skip 255 rows, so a file of 70 bytes with rows of 50 million pixels
# can ask for 13 GB. Rows of at most this length cannot.
MAX_SIDE = 16_384
MAX_FRAMES = 200  # of one file; a cine loop of ten seconds has about as many
MAX_BYTES = 1_000_000_000  # a whole cine loop; the digest of a larger file takes minutes
# A progressive JPEG has about ten scans. Each costs a pass over the whole image and can be 30 bytes long, so a small
# file of many scans would decode for hours. libtiff stops at the same number.
MAX_SCANS = 100

# Pillow refuses images above twice this number before it allocates memory, also inside a format (a GIF's frame, a
# TIFF's tile).
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
# Set once, because warnings.catch_warnings is not safe in the threads that decode. What Pillow warns about is harmless
# or becomes an error later.
warnings.filterwarnings("ignore", module=r"PIL\.")
TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
TRANSPOSE = {number: Image.Transpose[turn] for number, turn in enumerate(TURNS, 2)}  # by EXIF's orientation
COLOURED = ("RGB", "RGBA", "LA")  # Pillow's modes; it reads them with 8 bits a channel
# Pixels of the grey frame, 3:2 as in the Telkom images, so that stretched frames regain their shape.
WIDTH, HEIGHT = 192, 128
CODE = tuple(f"data/{name}.py" for name in ("images", "levels", "jpeg", "clinic"))  # what decides a file's pixels


class ImageError(Exception):
    """The reason why a file cannot be used: a ``status`` of one to three words and a longer ``reason``.

    ``status`` is "empty", "not a file", "unreadable", "not an image", "damaged" or "too large".
    """

    def __init__(self, status: str, name: str, reason: str):
        super().__init__(f"{name}: {status} ({reason})")
        self.status, self.reason = status, reason


def load(file: str | Path | BinaryIO, name: str | None = None, *, tint: bool = False) -> np.ndarray:
    """Load an image as 8-bit RGB, shape (height, width, 3), turned upright by its EXIF tag. Raises ImageError.

    An animation gives its first frame, and ``file.tif#3`` the third of a file. Values above 8 bits are scaled by
    ``scaled``. White-is-zero is inverted, a tint is taken off unless ``tint`` is set, and a picture drawn in the alpha
    channel alone is seen as on white paper.
    """
    pixels = decode(file, name)[0]
    return pixels if tint else untinted(pixels)


def count(file: Path | BinaryIO) -> int:
    """Return how many frames a file holds, at least 1; of a clip or a volume, more than 1."""
    try:
        if isinstance(file, Path) and (clinic := _clinic(file)):
            return clinic.count(file)
        with opened(file, str(file)) if isinstance(file, Path) else nullcontext(file) as stream:
            return getattr(Image.open(stream, formats=FORMATS), "n_frames", 1)
    except Exception:  # a file that is damaged or gone says so when it is decoded
        return 1


def frames(path: Path, name: str | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the frames of a file: the name of each ("" where there is one, else its number from 1) and its pixels.

    The frame ``3`` of ``file.tif`` is loaded again as ``file.tif#3``. Raises ImageError where one cannot be read, and
    after MAX_FRAMES. Of DICOM files, volumes and clips every fifth frame is read. ``name``: of a file in memory.
    """
    if clinic := _clinic(path, name):
        yield from clinic.frames(path, name)
        return
    total, name = count(path), name or str(path)
    with opened(path, name) as stream:
        for number, (pixels, _) in enumerate(_decoded(stream, name, range(min(total, MAX_FRAMES))), 1):
            yield str(number) if total > 1 else "", pixels
    if total > MAX_FRAMES:
        raise ImageError("too large", name, f"{total:,} frames; the first {MAX_FRAMES} are read")


def _clinic(path: Path, name: str | None = None) -> ModuleType | None:
    """Return the module that reads the file if it is a DICOM file, a volume or a clip."""
    from pcos_utils.data import clinic  # imported late, because it uses this module; a Space does without it

    return clinic if clinic.is_clinic(path, name) else None


def decode(file: str | Path | BinaryIO, name: str | None = None, frame: int = 0) -> tuple[np.ndarray, dict]:
    """Return the pixels as in ``load``, tinted, and the ``width``, ``height``, ``mode`` and ``format`` of the file."""
    name = name or getattr(file, "name", None) or str(file)
    if isinstance(file, (str, Path)):
        path = Path(file)
        if (named := re.fullmatch(r"(.+)#(\d+)", path.name)) and not path.exists():
            path, frame = path.with_name(named[1]), int(named[2]) - 1
        if clinic := _clinic(path):
            pixels = clinic.load(path, frame + 1, name)
            facts = {"width": pixels.shape[1], "height": pixels.shape[0], "mode": "RGB", "format": clinic.kind(path)}
            return pixels, facts
        with opened(path, name) as stream:
            return decode(stream, name, frame)
    (only,) = _decoded(file, name, [frame])
    return only


def _decoded(file: BinaryIO, name: str, wanted: Iterable[int]) -> Iterator[tuple[np.ndarray, dict]]:
    """Yield what ``decode`` returns for each wanted frame, numbered from 0 and in rising order, of one open file."""
    try:
        file.seek(0)
        start = file.read(16)
        if not start:
            raise ImageError("empty", name, "the file has no bytes; fetch it again")
        if start.startswith(b"\xff\xd8"):
            # Inside the coded data FF is followed by 00, so FF DA is always the marker that starts a scan.
            file.seek(0)
            if sum(block.count(b"\xff\xda") for block in iter(lambda: file.read(1 << 20), b"")) > MAX_SCANS:
                raise ImageError("too large", name, f"a JPEG of more than {MAX_SCANS} scans")
            file.seek(0)
            if (place := jpeg.hole(file.read(1 << 26))) is not None:
                raise ImageError("damaged", name, f"zero bytes in place of data from byte {place:,} on; copy it again")
        # Given a path, Pillow would map the file into memory, and a file that shrinks while mapped ends the process.
        with Image.open(file, formats=FORMATS) as image:
            facts = {"width": image.width, "height": image.height, "mode": image.mode, "format": image.format}
            if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            for frame in wanted:
                if frame:
                    image.seek(frame)
                stored = str(image.tile)  # which Pillow forgets when it decodes
                image.load()
                shown = deep(file, frame) if ";16" in stored and image.mode in COLOURED else image
                # ImageOps.exif_transpose also rewrites the tags, and fails on a sound picture with a damaged tag.
                turn = TRANSPOSE.get(image.getexif().get(ExifTags.Base.Orientation))
                tags = getattr(image, "tag_v2", {})  # of a TIFF
                yield rgb(shown if turn is None else shown.transpose(turn), tags), facts
    except (Image.DecompressionBombError, MemoryError) as error:
        limits = f"the limits are {MAX_PIXELS:,} pixels and {MAX_SIDE:,} to a side"
        raise ImageError("too large", name, f"{_brief(error).split(' exceeds')[0]}; {limits}") from None
    except UnidentifiedImageError:
        if start.startswith(MAGIC):
            raise ImageError("damaged", name, "its header cannot be read, or is of a kind that is not read") from None
        raise ImageError("not an image", name, f"formats that are read: {', '.join(FORMATS)}") from None
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise ImageError("damaged", name, f"cannot be decoded: {_brief(error)}") from None


def opened(path: Path, name: str) -> BinaryIO:
    """Open a file to read bytes. Raises ImageError if it is not an ordinary file, is too large or may not be read.

    A pipe would block for ever and a device may do anything, so neither is opened. FileNotFoundError is passed on.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("not a file", name, "a link to a folder, or a folder that may not be listed")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a file", name, "a pipe, a socket or a device")
        if status.st_size > MAX_BYTES:
            raise ImageError("too large", name, f"{status.st_size:,} bytes; the limit is {MAX_BYTES:,}")
        return open(path, "rb", opener=lambda place, flags: os.open(place, flags | os.O_NONBLOCK))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ImageError("unreadable", name, (error.strerror or "no reason given").lower()) from None


def _brief(error: Exception) -> str:
    """Return an error's message as one printable line, without addresses of objects, so that two scans agree."""
    text = " ".join(str(error).split("<_io.")[0].split()) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:120]


def resize(pixels: np.ndarray, side: int) -> np.ndarray:
    """Stretch an image to (side, side, 3), bilinear with antialiasing, as torchvision resizes Pillow images."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def stack(paths: list[Path], side: int) -> np.ndarray:
    """Load all images at one size, uint8, shape (n, side, side, 3)."""
    return np.stack([resize(load(path), side) for path in paths])


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return the grey frame, uint8 (128, 192), of an 8-bit RGB image (H, W, 3) of any size."""
    return shrink(pixels.mean(axis=2).astype(np.uint8))


def shrink(pixels: np.ndarray, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    """Resize an image to the network's size, (128, 192)."""
    return cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=interpolation)
