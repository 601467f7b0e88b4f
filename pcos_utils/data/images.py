"""The one image loader: training, command line and web page see the same pixels.

Every mode that ultrasound exports come in becomes 8-bit RGB without saturating; whatever cannot be trusted is
refused with a reason that names the file.
"""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# A frame of an ultrasound scanner has at most about 2 million pixels; far above that, decoding is an attack on memory.
MAX_PIXELS = 50_000_000


class ImageError(Exception):
    """Why one file cannot be used. ``status``: empty, not an image, truncated, or refused as too large."""

    def __init__(self, status: str, name: str, detail: str):
        super().__init__(f"{name}: {status} ({detail})")
        self.status = status


def load(file: str | Path | BinaryIO, name: str | None = None) -> np.ndarray:
    """An image as 8-bit RGB, shape (height, width, 3), upright as its EXIF tag says. Raises ImageError.

    Of an animation the first frame is read. Depths above 8 bits are scaled by the smallest depth of 8, 10, 12, 14
    or 16 bits that holds the brightest pixel, so that a 12-bit frame in a 16-bit file is neither white nor black.
    """
    return decode(file, name)[0]


def decode(file: str | Path | BinaryIO, name: str | None = None) -> tuple[np.ndarray, dict]:
    """The pixels as in ``load``, and the facts ``width``, ``height``, ``mode`` and ``format`` of the file."""
    name = name or getattr(file, "name", None) or str(file)
    if isinstance(file, (str, Path)) and Path(file).stat().st_size == 0:
        raise ImageError("empty", name, "the file has no bytes; fetch it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning; the limit below is stricter
            with Image.open(file) as image:
                facts = {"width": image.width, "height": image.height, "mode": image.mode, "format": image.format}
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
                image.load()
                pixels = _to_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise ImageError("too large", name, f"{error}; the limit is {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise ImageError("not an image", name, "no known image format") from None
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's decoders raise many types on damaged files; all mean the same here
        raise ImageError("truncated", name, f"cannot be decoded: {error}") from None
    return pixels, facts


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        grey = _to_8_bit(np.asarray(image, dtype=np.float64), fractions=image.mode == "F")
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
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
    brightest = values.max(initial=0)
    if fractions and brightest <= 1:
        ceiling = 1.0  # floating-point images in [0, 1]
    else:
        ceiling = next((2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if brightest < 2**bits), brightest)
    return np.round(values / ceiling * 255).astype(np.uint8)


def resize(pixels: np.ndarray, side: int) -> np.ndarray:
    """The image stretched to (side, side, 3), bilinear with antialiasing, as torchvision resizes Pillow images."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def stack(paths: list[Path], side: int) -> np.ndarray:
    """All images at one size, uint8, shape (n, side, side, 3): decoded once, kept for every epoch."""
    pixels = np.empty((len(paths), side, side, 3), dtype=np.uint8)
    for i, path in enumerate(paths):
        pixels[i] = resize(load(path), side)
    return pixels
