"""Families of images with a known source: every distortion that the audit must see through, each with its name.

Ranges are those that augmenting tools and screen captures give; a family holds one copy of each kind alone and
further copies that combine up to three.
"""

from collections.abc import Callable

import cv2
import numpy as np

FILLS = {
    "constant": cv2.BORDER_CONSTANT,
    "nearest": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
}
Pixels = np.ndarray  # grey, uint8, (height, width)
Rng = np.random.Generator


def warp(pixels: Pixels, matrix: np.ndarray, rng: Rng, fill: str | None = None) -> Pixels:
    """The picture under a 2 x 3 map, on its own canvas, what lies outside filled as named (at random if None)."""
    height, width = pixels.shape
    mode = FILLS[fill or rng.choice(list(FILLS))]
    level = int(rng.choice([0, 255, 128]))
    return cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=mode, borderValue=level)


def about_centre(pixels: Pixels, angle: float, across: float, down: float) -> np.ndarray:
    """The 2 x 3 map that turns by degrees and scales about the centre."""
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    scale = np.diag([across, down])
    centre = np.array([width / 2, height / 2])
    return np.hstack([scale @ matrix[:, :2], (scale @ (matrix[:, 2] - centre) + centre)[:, None]])


def shift(pixels: Pixels, rng: Rng, fill: str | None = None) -> Pixels:
    """Moved by up to a fifth of each side."""
    height, width = pixels.shape
    move = rng.uniform(-0.2, 0.2, 2) * [width, height]
    return warp(pixels, np.array([[1, 0, move[0]], [0, 1, move[1]]]), rng, fill)


def zoom(pixels: Pixels, rng: Rng) -> Pixels:
    """Zoomed by .7 to 1.4, across and down apart, as Keras does it."""
    return warp(pixels, about_centre(pixels, 0, *rng.uniform(0.7, 1.4, 2)), rng)


def rotate(pixels: Pixels, rng: Rng) -> Pixels:
    """Turned by up to 45 degrees."""
    return warp(pixels, about_centre(pixels, rng.uniform(-45, 45), 1, 1), rng)


def quarter_turn(pixels: Pixels, rng: Rng) -> Pixels:
    """Turned by 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(pixels, rng.integers(1, 4)))


def mirror(pixels: Pixels, rng: Rng) -> Pixels:
    """Left for right, or top for bottom."""
    return cv2.flip(pixels, int(rng.integers(0, 2)))


def brightness(pixels: Pixels, rng: Rng) -> Pixels:
    """All grey levels times .6 to 1.4."""
    return cv2.convertScaleAbs(pixels, alpha=rng.uniform(0.6, 1.4))


def contrast(pixels: Pixels, rng: Rng) -> Pixels:
    """Distances from mid-grey times .6 to 1.4."""
    factor = rng.uniform(0.6, 1.4)
    return np.clip((pixels.astype(np.float32) - 127) * factor + 127, 0, 255).astype(np.uint8)


def gamma(pixels: Pixels, rng: Rng) -> Pixels:
    """A gamma curve of exponent .6 to 1.7."""
    table = 255 * np.linspace(0, 1, 256) ** np.exp(rng.uniform(np.log(0.6), np.log(1.7)))
    return cv2.LUT(pixels, table.astype(np.uint8))


def jpeg(pixels: Pixels, rng: Rng) -> Pixels:
    """Stored as JPEG of quality 30."""
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_GRAYSCALE)


def resize(pixels: Pixels, rng: Rng) -> Pixels:
    """Stored at .6 to 1.6 of its size."""
    factor = rng.uniform(0.6, 1.6)
    return cv2.resize(
        pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    )


def aspect(pixels: Pixels, rng: Rng) -> Pixels:
    """Stretched one way by .7 to 1.4."""
    return cv2.resize(
        pixels, None, fx=np.exp(rng.uniform(np.log(0.7), np.log(1.4))), fy=1, interpolation=cv2.INTER_LINEAR
    )


def blur(pixels: Pixels, rng: Rng) -> Pixels:
    """A Gaussian blur of .5 to 1.2 pixels."""
    return cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 1.2))


def noise(pixels: Pixels, rng: Rng) -> Pixels:
    """Camera noise with a standard deviation of 3 to 10 grey levels."""
    return np.clip(pixels + rng.normal(0, rng.uniform(3, 10), pixels.shape), 0, 255).astype(np.uint8)


def border(pixels: Pixels, rng: Rng) -> Pixels:
    """A frame of one grey level, up to 15 % wide on each side."""
    height, width = pixels.shape
    top, bottom, left, right = (int(v) for v in rng.uniform(0.03, 0.15, 4) * [height, height, width, width])
    level = int(rng.choice([0, 40, 128, 255]))
    return cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_CONSTANT, value=level)


def caption(pixels: Pixels, rng: Rng, text: str = "OVARY RT 4.2cm") -> Pixels:
    """Burnt-in words, a scale bar and calipers."""
    marked, (height, width) = pixels.copy(), pixels.shape
    size = width / 400
    cv2.putText(marked, text, (int(0.04 * width), int(0.1 * height)), cv2.FONT_HERSHEY_SIMPLEX, size, 255, 1)
    cv2.putText(
        marked, "MI 0.9 TIs 0.4", (int(0.5 * width), int(0.95 * height)), cv2.FONT_HERSHEY_SIMPLEX, size, 230, 1
    )
    for y in np.linspace(0.15, 0.85, 8):
        cv2.line(marked, (width - 8, int(y * height)), (width - 2, int(y * height)), 255, 1)
    for x, y in rng.uniform(0.25, 0.75, (2, 2)) * [width, height]:
        cv2.drawMarker(marked, (int(x), int(y)), 255, cv2.MARKER_CROSS, 9, 1)
    return marked


def _filled(name: str) -> Callable[[Pixels, Rng], Pixels]:
    return lambda pixels, rng: shift(pixels, rng, name)


KINDS: dict[str, Callable[[Pixels, Rng], Pixels]] = {
    **{f"shift, {name} fill": _filled(name) for name in FILLS},
    "zoom .7 to 1.4": zoom,
    "rotation to 45 degrees": rotate,
    "quarter turn": quarter_turn,
    "mirror": mirror,
    "brightness": brightness,
    "contrast": contrast,
    "gamma": gamma,
    "JPEG quality 30": jpeg,
    "resize": resize,
    "aspect": aspect,
    "blur": blur,
    "noise": noise,
    "border": border,
    "caption": caption,
}
GEOMETRIC = (shift, zoom, rotate, quarter_turn, mirror, aspect)
TONAL = (brightness, contrast, gamma)
STORED = (jpeg, resize, blur, noise, border, caption)


def combined(pixels: Pixels, rng: Rng) -> Pixels:
    """One geometric change, then one of grey levels, then one of storage."""
    for group in (GEOMETRIC, TONAL, STORED):
        pixels = group[rng.integers(len(group))](pixels, rng)
    return pixels


def family(pixels: Pixels, rng: Rng, copies: int = 20) -> list[tuple[str, Pixels]]:
    """(kind, copy) for each of ``copies``: every kind once, in random order when there is no room for all, then
    combinations."""
    kinds = list(KINDS)
    alone = [kinds[i] for i in rng.permutation(len(kinds))[:copies]]
    made = [(kind, KINDS[kind](pixels, rng)) for kind in alone]
    return made + [("three combined", combined(pixels, rng)) for _ in range(copies - len(made))]
