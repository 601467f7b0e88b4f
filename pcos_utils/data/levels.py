"""Turn deep and tinted pixels into 8-bit grey levels."""

import cv2
import numpy as np

DARK = 40  # grey levels; a darker pixel has no colour to judge
TINT = 16  # grey levels between the channels of a tinted picture's middling pixel, at least
SHADE = 24  # grey levels within which pixels of one brightness have one colour


def scaled(values: np.ndarray, depth: int, *, white: float = 0, signed: bool = False) -> np.ndarray:
    """Return grey values of ``depth`` bits as uint8; 0 bits stand for fractions. Overwrites ``values``, float64.

    ``white`` is the value of white, if the file states it; ``signed`` values begin at -2^(depth - 1). A file whose
    pixels would nearly all be black uses a part of its depth, 8 or 12 bits. The limits between these lie far from
    where a bright frame ends, so that neither a single pixel nor a little more gain changes the scale.
    """
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.quantile(values.ravel()[:: max(1, values.size // 1_000_000)], [0.001, 0.999])
    if signed and low < 0:
        values += 2.0 ** (depth - 1)
        white = 2.0**depth - 1
    elif signed:
        depth -= 1
    stated = white or 2.0**depth - 1 or high
    parts = () if white else (255.0, 4095.0) if depth else (1.0, 255.0, 4095.0, 65535.0)
    values *= 255 / next((part for part in parts if high < 2 * part), stated)
    return np.round(np.clip(values, 0, 255, out=values), out=values).astype(np.uint8)


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
