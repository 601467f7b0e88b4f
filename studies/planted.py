"""Families of images with a known source: every distortion that the audit must see through, each with its name.

Ranges are those of augmentation tools and screen captures. A family holds one copy of each kind alone, and further
copies that combine three.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from pcos_utils.phantom import simulator

COPIES = 20
FILLS = {"constant": cv2.BORDER_CONSTANT, "nearest": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT,
         "wrap": cv2.BORDER_WRAP}  # fmt: skip
Pixels = np.ndarray  # grey, uint8, (height, width)
Rng = np.random.Generator


def warp(pixels: Pixels, matrix: np.ndarray, rng: Rng, fill: str | None = None) -> Pixels:
    """Return the picture under a 2 x 3 map, on a canvas of its size filled as FILLS says (at random if None)."""
    mode, level = FILLS[fill or rng.choice(list(FILLS))], int(rng.choice([0, 255, 128]))
    return cv2.warpAffine(pixels, matrix, pixels.shape[::-1], borderMode=mode, borderValue=level)


def about_centre(pixels: Pixels, angle: float, across: float, down: float) -> np.ndarray:
    """Return the 2 x 3 map that rotates by an angle in degrees and scales, about the centre."""
    centre, scale = np.array(pixels.shape[::-1]) / 2, np.diag([across, down])
    matrix = cv2.getRotationMatrix2D(centre.tolist(), angle, 1)
    return np.hstack([scale @ matrix[:, :2], (scale @ (matrix[:, 2] - centre) + centre)[:, None]])


def shift(pixels: Pixels, rng: Rng, fill: str | None = None) -> Pixels:
    """Shift by up to a fifth of each side."""
    move = rng.uniform(-0.2, 0.2, 2) * pixels.shape[::-1]
    return warp(pixels, np.column_stack([np.eye(2), move]), rng, fill)


def border(pixels: Pixels, rng: Rng) -> Pixels:
    """Add a border of one grey level, 3 to 15 % wide on each side."""
    edges = (rng.uniform(0.03, 0.15, 4) * np.repeat(pixels.shape, 2)).astype(int).tolist()
    return cv2.copyMakeBorder(pixels, *edges, cv2.BORDER_CONSTANT, value=int(rng.choice([0, 40, 128, 255])))


def caption(pixels: Pixels, rng: Rng) -> Pixels:
    """Burn in words, a scale bar and calipers."""
    marked, (height, width) = pixels.copy(), pixels.shape
    for words, x, y, level in (("OVARY RT 4.2cm", 0.04, 0.1, 255), ("MI 0.9 TIs 0.4", 0.5, 0.95, 230)):
        corner = (int(x * width), int(y * height))
        cv2.putText(marked, words, corner, cv2.FONT_HERSHEY_SIMPLEX, width / 400, level, 1)
    for y in np.linspace(0.15, 0.85, 8):
        cv2.line(marked, (width - 8, int(y * height)), (width - 2, int(y * height)), 255, 1)
    for x, y in rng.uniform(0.25, 0.75, (2, 2)) * [width, height]:
        cv2.drawMarker(marked, (int(x), int(y)), 255, cv2.MARKER_CROSS, 9, 1)
    return marked


def resize(pixels: Pixels, rng: Rng) -> Pixels:
    """Resize to .6 to 1.6 of the size."""
    factor = rng.uniform(0.6, 1.6)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=how)


def _bytes(values: np.ndarray) -> Pixels:
    return np.clip(values, 0, 255).astype(np.uint8)


def between(low: float, high: float, rng: Rng) -> float:
    """Draw a factor, uniform in its logarithm."""
    return np.exp(rng.uniform(np.log(low), np.log(high)))


KINDS: dict[str, Callable[[Pixels, Rng], Pixels]] = {
    **{f"shift, {name} fill": partial(shift, fill=name) for name in FILLS},
    # Across and down separately, as Keras does it.
    "zoom .7 to 1.4": lambda pixels, rng: warp(pixels, about_centre(pixels, 0, *rng.uniform(0.7, 1.4, 2)), rng),
    "rotation to 45 degrees": lambda pixels, rng: warp(pixels, about_centre(pixels, rng.uniform(-45, 45), 1, 1), rng),
    "quarter turn": lambda pixels, rng: np.ascontiguousarray(np.rot90(pixels, rng.integers(1, 4))),
    "mirror": lambda pixels, rng: cv2.flip(pixels, int(rng.integers(0, 2))),
    "brightness": lambda pixels, rng: cv2.convertScaleAbs(pixels, alpha=rng.uniform(0.6, 1.4)),
    "contrast": lambda pixels, rng: _bytes((pixels.astype(np.float32) - 127) * rng.uniform(0.6, 1.4) + 127),
    "gamma": lambda pixels, rng: cv2.LUT(pixels, _bytes(255 * np.linspace(0, 1, 256) ** between(0.6, 1.7, rng))),
    "JPEG quality 30": lambda pixels, rng: cv2.imdecode(
        cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_GRAYSCALE
    ),
    "resize": resize,
    "aspect": lambda pixels, rng: cv2.resize(pixels, None, fx=between(0.7, 1.4, rng), fy=1),
    "blur": lambda pixels, rng: cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 1.2)),
    "noise": lambda pixels, rng: _bytes(pixels + rng.normal(0, rng.uniform(3, 10), pixels.shape)),
    "border": border,
    "caption": caption,
}


def perspective(pixels: Pixels, rng: Rng) -> Pixels:
    """Move each corner inwards by up to 15 % of the sides, as where a screen is photographed at an angle."""
    sides, unit = np.array(pixels.shape[::-1]), np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    inwards = (1 - 2 * unit) * rng.uniform(0, 0.15, (4, 2)) * sides
    matrix = cv2.getPerspectiveTransform(np.float32(unit * sides), np.float32(unit * sides + inwards))
    return cv2.warpPerspective(pixels, matrix, sides.tolist(), flags=cv2.INTER_LINEAR)


def crop(pixels: Pixels, rng: Rng, share: float) -> Pixels:
    """Cut out a ``share`` of the picture's area, which shows tissue, at its own proportions."""
    sides = np.round(np.array(pixels.shape) * share**0.5).astype(int)
    for _ in range(100):
        top, left = (rng.integers(0, room + 1) for room in np.array(pixels.shape) - sides)
        part = pixels[top : top + sides[0], left : left + sides[1]]
        if part.std() > 15:
            break
    return np.ascontiguousarray(part)


def screen(pixels: Pixels, rng: Rng) -> Pixels:
    """Paste the picture into a scanner's screen of four times its area, beside a menu, words and a bar."""
    height, width = pixels.shape
    page = np.full((2 * height, 2 * width), 24, np.uint8)
    page[:, : width // 4] = 60
    for row in range(12, 2 * height, 24):
        cv2.putText(page, f"PRESET {row}", (6, row), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 220, 1)
    page[-20:] = np.linspace(0, 255, 2 * width, dtype=np.uint8)
    top, left = int(rng.integers(10, height - 30)), int(rng.integers(width // 4 + 10, width - 10))
    page[top : top + height, left : left + width] = pixels
    return page


FURTHER: dict[str, Callable[[Pixels, Rng], Pixels]] = {
    "inverted": lambda pixels, rng: 255 - pixels,
    "perspective to 15 %": perspective,
    "crop of a quarter": partial(crop, share=1 / 4),
    "crop of a sixteenth": partial(crop, share=1 / 16),
    "pasted into a screen": screen,
}
# Of geometry, of grey levels, of storage; a shift may have any fill.
GROUPS = (
    ["shift", "zoom .7 to 1.4", "rotation to 45 degrees", "quarter turn", "mirror", "aspect"],
    ["brightness", "contrast", "gamma"],
    ["JPEG quality 30", "resize", "blur", "noise", "border", "caption"],
)


def family(pixels: Pixels, rng: Rng) -> list[tuple[str, Pixels]]:
    """Return (kind, copy) for each of COPIES: every kind once, then combinations of one change of each group."""
    family = [(kind, KINDS[kind](pixels, rng)) for kind in rng.permutation(list(KINDS)).tolist()]
    changes = KINDS | {"shift": shift}
    for _ in range(COPIES - len(family)):
        copy = pixels
        for group in GROUPS:
            copy = changes[group[rng.integers(len(group))]](copy, rng)
        family.append(("three combined", copy))
    return family


def layout(pixels: np.ndarray) -> np.ndarray:
    """Return the frame inside one and the same screen: a sector's edges, a grey bar, a ruler and words."""
    screen = np.zeros((300, 420), np.uint8)
    fan = np.zeros_like(screen)
    cv2.ellipse(fan, (210, -20), (300, 300), 90, -38, 38, 255, -1)
    inside = cv2.resize(pixels, (420, 300), interpolation=cv2.INTER_LINEAR)
    screen[fan > 0] = inside[fan > 0]
    cv2.ellipse(screen, (210, -20), (300, 300), 90, -38, 38, 200, 1)
    screen[60:240, 8:20] = np.linspace(255, 0, 180, dtype=np.uint8)[:, None]
    for y in range(20, 290, 15):
        cv2.line(screen, (405, y), (412 if y % 2 else 416, y), 255, 1)
    for text, place in (("OVARY RT", (20, 20)), ("14 Hz  GN 62  DR 110", (250, 290)), ("TV 5-9 MHz", (20, 285))):
        cv2.putText(screen, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1)
    return screen


def make(sources: int, seed: int = 0) -> tuple[list[np.ndarray], pd.DataFrame]:
    """Return shuffled pictures, grey uint8, originals among the copies, and a row for each: ``source``, ``kind``."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(sources):
        original = simulator.simulate(50_000_000 + number, number % 2).image
        rows += [(f"source {number}", *copy) for copy in [("original", original), *family(original, rng)]]
    for number in range(sources):
        if number % 3 == 0:
            twin = simulator.simulate(50_000_000 + number, number % 2, speckle=1).image
            rows.append((f"twin {number}", "twin", twin))
        else:
            other = simulator.simulate(60_000_000 + number, number % 2).image
            kind, pixels = ("layout", layout(other)) if number % 3 == 1 else ("caption", caption(other, rng))
            rows.append((f"single {number}", f"shared {kind}", pixels))
    return _shuffled(rows, rng)


def further(sources: int, seed: int = 0) -> tuple[list[np.ndarray], pd.DataFrame]:
    """Return originals with a copy by each further change, and pairs of smoothed twins, as ``make`` does."""
    rng, rows = np.random.default_rng([seed, 1]), []
    for number in range(sources):
        original = simulator.simulate(50_000_000 + number, number % 2).image
        rows.append((f"source {number}", "original", original))
        rows += [(f"source {number}", kind, change(original, rng)) for kind, change in FURTHER.items()]
        if number % 3 == 0:
            sigma = rng.uniform(5, 8)
            for speckle in (1, 2):
                twin = simulator.simulate(70_000_000 + number, number % 2, speckle=speckle).image
                rows.append((f"twin {number}.{speckle}", "smoothed twin", cv2.GaussianBlur(twin, (0, 0), sigma)))
    return _shuffled(rows, rng)


def _shuffled(rows: list[tuple[str, str, Pixels]], rng: Rng) -> tuple[list[np.ndarray], pd.DataFrame]:
    source, kind, pictures = zip(*(rows[i] for i in rng.permutation(len(rows))), strict=True)
    return list(pictures), pd.DataFrame({"source": source, "kind": kind})


def archive(place: Path, count: int) -> list[Path]:
    """Write ``count`` JPEG files, ten of each phantom: itself, and crops of it in other light."""
    rng, paths = np.random.default_rng(0), []
    place.mkdir()
    for number in range(count):
        if number % 10 == 0:
            scan = simulator.simulate(3_100_000_000 + number, number % 2).image
        left, top = rng.integers(0, 12, 2)
        copy = cv2.convertScaleAbs(scan[top : top + 188, left : left + 288], alpha=rng.uniform(0.9, 1.1))
        paths.append(place / f"{number:06}.jpg")
        Image.fromarray(copy if number % 10 else scan).convert("RGB").save(paths[-1], quality=90)
    return paths
