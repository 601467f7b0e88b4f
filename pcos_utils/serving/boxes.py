"""Answer a box of a frame: read it, check it, cut it out with what lies around it, and draw its answer on the frame.

The network learned from crops of 3 : 2 in which an ovary lies in its surroundings. A box of another shape is therefore
not stretched: more of the frame is cut out with it, and what lies outside the box is not counted.
"""

from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from scipy import ndimage

from pcos_utils.config import StudyError
from pcos_utils.data.images import HEIGHT, WIDTH
from pcos_utils.follicles.locator import Box

COLUMNS = {"x0": ("x0", "xmin", "left"), "y0": ("y0", "ymin", "top"), "x1": ("x1", "xmax", "right"),
           "y1": ("y1", "ymax", "bottom")}  # fmt: skip
NEEDED = ("image", *COLUMNS)  # columns of a table
LEAST_SIDE = 24  # px of a box
UNUSABLE = "unusable box"
TYPICAL = 0.014  # share of a crop that one follicle covers: a phantom's median
# The SD of a count that a crop's few pixels add, in follicles, times the square root of a follicle's pixels. Measured
# by shrinking 40 phantoms and the 45 frames of dataset B to short sides of 96 to 24 pixels; the root mean square
# difference of the count, by pixels of a follicle: 195: 0.3, 97: 0.7, 67: 0.9, 49: 0.8, 38: 0.9, 24: 1.2, 17: 1.6,
# 10: 1.9, 5: 2.1. Above ENOUGH it is below half a follicle and is left out.
BLUR, ENOUGH = 6.0, 200
# In boxes with a shorter side below SMALL pixels follicles are lost on top of that: 5 of 10 in the 41 boxes, 29 to 61
# pixels wide, of one clip of whole sectors. These are development data and one source.
SMALL, LOST = 60, 5.0
CYST, DARK = 0.6, 0.4  # share of the box that one dark region may cover; dark: times the box's 90 % quantile of grey


def parse(words: list[str]) -> Box:
    """Return the box that four numbers name. Raises StudyError where they name none."""
    given = ",".join(words)
    try:
        box = tuple(round(float(word)) for word in words)
    except (ValueError, OverflowError):  # words, nan, inf
        box = ()
    if len(box) != 4 or min(box) < 0 or box[0] >= box[2] or box[1] >= box[3]:
        raise StudyError(f"The box {given!r} is none; give x0,y0,x1,y1 in pixels, the upper left corner first.")
    return box


def read(table: Path, files: list[Path]) -> dict[Path, list[Box | None]]:
    """Return the boxes of each image file that a table names; None, from a row without numbers, is all of it.

    ``image`` in the table is the end of a file's path. Raises StudyError for a table or a row that cannot be used.
    """
    from pcos_utils.data import tables
    from pcos_utils.data.labels import as_path  # both imported late: a Space, which reads no table, is without it

    found, (names, cells), remedy = {}, tables.read(table), f"give one of {', '.join(NEEDED)} each"
    columns = [tables.place(table, names, aliases, remedy) for aliases in (tables.IMAGE, *COLUMNS.values())]
    if None in columns or not len(cells):
        fault = "names no box" if None not in columns else f"lacks the column {NEEDED[columns.index(None)]}"
        raise StudyError(f"{table} {fault}; give it a row of {', '.join(NEEDED)} for each box.")
    ends = [(path, PurePosixPath(as_path(str(path)))) for path in files]
    for number, *words in cells[columns].itertuples(name=None):
        named, line = PurePosixPath(as_path(words[0])).parts, f"{table}, line {number}:"
        last = slice(-len(named), None)
        of = [path for path, end in ends if named in (end.parts[last], end.with_suffix("").parts[last])]
        if len(of) != 1 or not words[0]:
            fault = f"'{words[0]}' names {len(of)} of the images"
            raise StudyError(f"{line} {fault}; each row needs {', '.join(NEEDED)}, of one image.")
        try:
            found.setdefault(of[0], []).append(parse(words[1:]) if any(words[1:]) else None)
        except StudyError as error:
            raise StudyError(f"{line} {error}") from None
    return found


def text(box: Box | None) -> str:
    """Return a box as ``--box`` takes it; "" is the whole frame."""
    return ",".join(map(str, box or ()))


def misfit(box: Box, shape: tuple) -> str:
    """Return why a box cannot be used in a frame of a ``shape`` (H, W, ...), as one sentence, or ""."""
    (x0, y0, x1, y1), (height, width) = box, shape[:2]
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        return f"The box {text(box)} does not lie inside the frame of {width} x {height} pixels."
    if min(x1 - x0, y1 - y0) < LEAST_SIDE:
        return f"The box {text(box)} is {x1 - x0} x {y1 - y0} pixels large; {LEAST_SIDE} a side are needed."
    return ""


def window(box: Box, shape: tuple) -> Box:
    """Return the smallest part of a frame (H, W, ...) of 3 : 2 around the box, at most as far as the frame's edges."""
    x0, y0, x1, y1 = box
    across, edges = max(x1 - x0, (y1 - y0) * WIDTH / HEIGHT), []
    for low, high, side, whole in ((x0, x1, across, shape[1]), (y0, y1, across * HEIGHT / WIDTH, shape[0])):
        side = min(round(side), whole)
        start = min(max(round((low + high - side) / 2), 0), whole - side)
        edges.append((start, start + side))
    return edges[0][0], edges[1][0], edges[0][1], edges[1][1]


def of(pixels: np.ndarray, box: Box | None) -> np.ndarray:
    """Return a part of an image (H, W, 3), or all of it."""
    return pixels[box[1] : box[3], box[0] : box[2]] if box else pixels


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3), smoothly enlarged where it has fewer pixels than the network reads."""
    height, width = pixels.shape[:2]
    if width >= WIDTH and height >= HEIGHT:
        return pixels
    return cv2.resize(pixels, (max(width, WIDTH), max(height, HEIGHT)), interpolation=cv2.INTER_CUBIC)


def inside(numbered: np.ndarray, box: Box, part: Box) -> np.ndarray:
    """Return numbered follicles (128, 192) of a part of the frame without those whose centre is outside the box."""
    count = int(numbered.max())
    if not count:
        return numbered
    rows, columns = np.array(ndimage.center_of_mass(numbered > 0, numbered, range(1, count + 1))).T
    x = part[0] + (columns + 0.5) / numbered.shape[1] * (part[2] - part[0])
    y = part[1] + (rows + 0.5) / numbered.shape[0] * (part[3] - part[1])
    kept = np.concatenate([[False], (box[0] <= x) & (x < box[2]) & (box[1] <= y) & (y < box[3])])
    return (np.cumsum(kept) * kept)[numbered].astype(np.int32)


def onto(values: np.ndarray, part: Box, shape: tuple) -> np.ndarray:
    """Return an array (h, w) of a part of the frame (H, W, ...) as one of all of it, (H, W), 0 outside the part."""
    whole = np.zeros(shape[:2], values.dtype)
    x0, y0, x1, y1 = part
    whole[y0:y1, x0:x1] = cv2.resize(values.astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
    return whole


def doubt(each: float, side: int) -> tuple[float, float]:
    """Return by how much few pixels may make a count too high and too low, at 95 %; 0 where they are enough.

    ``each``: pixels of an average follicle; ``side``: the shorter one of the box, in pixels.
    """
    blur = 1.96 * BLUR / np.sqrt(each) if each < ENOUGH else 0.0
    return blur, blur + LOST * (side < SMALL)


def cyst(pixels: np.ndarray, box: Box) -> bool:
    """Return whether one dark region fills most of a box of an image, uint8 (H, W, 3): a bladder or a large cyst."""
    part = of(pixels, box).mean(axis=2).astype(np.float32)
    smooth = cv2.GaussianBlur(cv2.resize(part, (96, 96), interpolation=cv2.INTER_AREA), (0, 0), 2)
    regions, _ = ndimage.label(smooth < DARK * np.quantile(smooth, 0.9))
    return bool(np.bincount(regions.ravel())[1:].max(initial=0) > CYST * regions.size)
