"""Turn deep, tinted and transparent pixels into 8-bit ones."""

from collections.abc import Mapping
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

DARK = 40  # grey levels; a darker pixel has no colour to judge
TINT = 16  # grey levels between the channels of a tinted picture's middling pixel, at least
SHADE = 24  # grey levels within which pixels of one brightness have one colour
TIFF = {"bits": 258, "colours": 262, "white": 281, "format": 339}  # tags; colours 0: white is zero, format 2: signed
PAPERS = ((0, 0, 0, 255), (255, 255, 255, 255))  # black and white
SEEN = 8  # grey levels between the darkest and the brightest pixel of a picture that is seen


def scaled(values: np.ndarray, depth: int, *, white: float = 0, signed: bool = False) -> np.ndarray:
    """Return grey values of ``depth`` bits as uint8; 0 bits stand for fractions. Overwrites ``values``, float64.

    ``white`` is the value of white, if the file states it; ``signed`` values begin at -2^(depth - 1). A file whose
    pixels would nearly all be black uses a part of its depth, 8 or 12 bits. The limits between these lie far from
    where a bright frame ends, so that neither a single pixel nor a little more gain changes the scale. Fractions from
    -1 to 1 begin at -1. Raises ValueError for others below zero, such as decibels, whose black nothing states.
    """
    none = ~np.isfinite(values)  # is black in the end
    values[none] = 0
    low, high = np.quantile(values.ravel()[:: max(1, values.size // 1_000_000)], [0.001, 0.999])
    if signed and low < 0:
        values += 2.0 ** (depth - 1)
        white = 2.0**depth - 1
    elif signed:
        depth -= 1
    elif not depth and not white and low < -0.05 * max(high, 1):
        if low < -1.5 or high > 1.5:
            raise ValueError(
                f"fractions from {low:.3g} to {high:.3g}, of which nothing says what is black; save 8 bits"
            )
        values, high = (values + 1) / 2, (high + 1) / 2
    stated = white or 2.0**depth - 1 or high
    parts = () if white else (255.0, 4095.0) if depth else (1.0, 255.0, 4095.0, 65535.0)
    values *= 255 / next((part for part in parts if high < 2 * part), stated)
    values[none] = 0
    return np.round(np.clip(values, 0, 255, out=values), out=values).astype(np.uint8)


def rgb(image: Image.Image, tags: Mapping[int, object]) -> np.ndarray:
    """Return a decoded picture as 8-bit RGB, (H, W, 3). ``tags``: of a TIFF, which state depth, white and sign."""
    stated = {name: np.ravel(tags.get(number, 0))[0] for name, number in TIFF.items()}
    signed = stated["format"] == 2
    if image.mode.startswith(("I", "F")) or (signed and image.mode == "L"):
        values = np.array(image)
        values = (values.view(np.int8) if image.mode == "L" else values).astype(np.float64)
        depth = 0 if image.mode == "F" else int(stated["bits"]) or 16
        grey = scaled(values, depth, white=float(stated["white"]), signed=signed)
        # Pillow itself inverts white-is-zero in 8 bits, and only there.
        grey = 255 - grey if tags and stated["colours"] == 0 and image.mode != "L" else grey
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        # Scanners export on black, so a transparent margin read as white would be a bright border.
        black, white = (Image.alpha_composite(Image.new("RGBA", image.size, level), image) for level in PAPERS)
        image = white if np.ptp(black.convert("L")) < SEEN <= np.ptp(white.convert("L")) else black
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def deep(file: BinaryIO, frame: int) -> Image.Image:
    """Return a coloured picture of 16 bits a channel with 8, by ``scaled``; Pillow would cut off the lower 8."""
    file.seek(0)
    _, pages = cv2.imdecodemulti(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED, range=(frame, frame + 1))
    if not pages or pages[0].dtype != np.uint16:
        raise ValueError("a picture of 16 bits a channel that OpenCV does not decode")
    colours = scaled(pages[0][..., 2::-1].astype(np.float64), 16)
    alpha = (pages[0][..., 3:] >> 8).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.concatenate([colours, alpha], axis=2)))


def untinted(pixels: np.ndarray) -> np.ndarray:
    """Return an RGB image without its tint if all its colours are shades of one, as in sepia or blue; else itself."""
    few = pixels[:: max(1, pixels.shape[0] // 64), :: max(1, pixels.shape[1] // 64)].reshape(-1, 3)
    red, green, blue = few.T
    bright = np.maximum(np.maximum(red, green), blue)
    tint = (bright - np.minimum(np.minimum(red, green), blue))[bright > DARK]
    if not len(tint) or np.median(tint) <= TINT:
        return pixels
    # In a tinted picture the brightness of a pixel decides its colour.
    order = np.argsort(bright, kind="stable")[-len(tint) :]
    alike = np.array_split(few[order].astype(int), 16)
    off = np.concatenate([np.abs(part - np.median(part, axis=0)).max(axis=1) for part in alike if len(part)])
    if (off < SHADE).mean() <= 0.95:
        return pixels
    return np.repeat(brightest(pixels)[..., None], 3, axis=2)


def brightest(pixels: np.ndarray) -> np.ndarray:
    """Return the brightest channel of an image (H, W, 3), of its type, ten times faster than numpy."""
    red, green, blue = cv2.split(pixels)
    return cv2.max(cv2.max(red, green), blue)
