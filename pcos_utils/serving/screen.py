"""Find the scan on a scanner's screen: margins and surround are cut off, marks painted over, two scans told apart.

A screen is flat where nothing was scanned, and speckle is nowhere flat. So the scan is the largest part that is not.
"""

import cv2
import numpy as np

from pcos_utils.data.levels import brightest
from pcos_utils.serving.boxes import Box
from pcos_utils.serving.scan_check import COLOURED, MOST_COLOURED, colourless, off_hue

FLAT = 5  # grey levels between the darkest and the brightest of 3 x 3 pixels that are flat
LEAST, BLURRED = 0.4, 6  # of the median column's steps between pixels; px at an edge that may have less
BARE, EVEN = 0.3, 0.93  # share of the lines beside a scan that are even, and of such a line's pixels
ALIKE = 0.6  # of the largest scan; a smaller one is a picture beside it
WHOLE = 0.97  # share of the frame; a scan that fills more is the frame
SMALL = 0.1  # share of the frame; what fills less is no scan
CORNER, BLACK = 0.2, 0.9  # of the sides, where a sector leaves its corners; share of such a corner that is flat
# Across the seam of two scans neighbouring pixels do not rise and fall together: their correlation there, over that of
# other columns, is at most .01 for 24 pairs of frames, and at least .29 in the 45 frames of dataset B.
SEAM, MIDDLE = 0.05, (0.3, 0.7)
HIGH, LIT = 600, 12  # px of a frame, as high as a scale needs to be read; grey levels over the surround that are a scan
# Of a depth scale's marks: grey levels over what is above and below, how many, share of them that is seen, by how much
# the larger ones are larger, and their height, of the distance between two; a menu's lines are higher.
MARK, MARKS, SEEN, LARGER, LOW = 40, (6, 41), 0.85, 1.3, 1 / 3
# Where one of so many marks is larger, so many mm lie between two. This is custom and no standard (some scanners draw
# marks 2.5 mm apart), so the probe must then have a radius that there is, in mm, from inside or on the abdomen, of
# which none is half or twice another; and the frame may be so many mm high.
CUSTOMS, PROBES, DEPTHS = ((5, 10), (2, 5)), ((8, 16), (36, 70)), (30, 250)
# Of a fan: least share that is found of its sides, its lower arc and its upper one, by how much the sides may differ in
# slope, and least width of the lower arc. So 32 of 200 sector phantoms are fitted, stretched and photographed as they
# are; the shape of their pixels is off by .7 % in the median and 4 % at most, the probe's radius by 2.4 % at most.
FITTED, CROOKED, WIDE = (0.3, 0.66, 0.6), 0.05, 0.2


def scans(pixels: np.ndarray) -> list[Box]:
    """Return where on the frame, uint8 (H, W, 3), a scan lies, or several of about one size; none where it fills it."""
    grey = brightest(pixels)
    height, width = grey.shape
    reach = max(3, min(height, width) // 30)
    dense = (cv2.blur(_rough(grey), (reach, reach)) > 0.5).astype(np.uint8)
    _, _, found, _ = cv2.connectedComponentsWithStats(dense)
    if found[1:, cv2.CC_STAT_AREA].max(initial=0) > WHOLE * height * width:
        return []
    found = found[1 + np.argsort(-found[1:, cv2.CC_STAT_AREA])][:4].astype(int)  # the largest first
    boxes = (trimmed(grey, (x, y, x + across, y + down)) for x, y, across, down, _ in found if min(across, down) > 1)
    boxes = [box for box in boxes if _bare(grey, box)]
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]
    if not boxes or not SMALL < areas[0] / (height * width) < WHOLE:
        return []
    x0, y0, x1, y1 = boxes[0]
    large = [box for box, area in zip(boxes, areas, strict=True) if area > ALIKE * areas[0]]
    apart = [box for box in large if box[0] >= x1 or box[2] <= x0 or box[1] >= y1 or box[3] <= y0]
    return [boxes[0], *apart]


def _bare(grey: np.ndarray, box: Box) -> bool:
    """Return whether beside each side of a box some lines have one level, as no line of a scan's dark part has."""
    (x0, y0, x1, y1), grey = box, grey.astype(np.int16)
    sides = (grey[y0:y1, :x0].T, grey[y0:y1, x1:].T, grey[:y0, x0:x1], grey[y1:, x0:x1])
    even = (np.abs(side - np.median(side, axis=1, keepdims=True)) <= 1 for side in sides if side.size)
    return all(np.quantile(each.mean(axis=1), 1 - BARE) >= EVEN for each in even)


def trimmed(grey: np.ndarray, box: Box) -> Box:
    """Return a box without the few rows and columns at its edges that hold no speckle, only what blurs over an edge."""
    x0, y0, x1, y1 = box
    grey, edges = grey[y0:y1, x0:x1].astype(np.float32), []
    for axis, start in ((0, x0), (1, y0)):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=axis)  # along each column, then each row
        full = np.flatnonzero(steps > LEAST * np.median(steps))
        first, last = (full[0], full[-1] + 1) if len(full) else (0, len(steps))
        edges.append((start + min(first, BLURRED), start + max(last, len(steps) - BLURRED)))
    return int(edges[0][0]), int(edges[1][0]), int(edges[0][1]), int(edges[1][1])


def _rough(grey: np.ndarray) -> np.ndarray:
    """Return 1 where a frame is not flat and 0 elsewhere, float32 (H, W)."""
    around = np.ones((3, 3), np.uint8)
    return ((cv2.dilate(grey, around) - cv2.erode(grey, around)) > FLAT).astype(np.float32)


def sector(pixels: np.ndarray) -> bool:
    """Return whether a scan, uint8 (H, W, 3), is a whole sector, a fan that leaves both upper corners empty."""
    rough = cv2.resize(_rough(brightest(pixels)), (100, 100), interpolation=cv2.INTER_AREA)
    size = int(100 * CORNER)
    triangle = np.tri(size)[::-1] > 0  # of an upper left corner
    empty = ((corner[:size, :size][triangle] < 0.5).mean() > BLACK for corner in (rough, rough[:, ::-1]))
    return all(empty) and rough.mean() > 0.3  # what is flat all over is no scan


def seam(pixels: np.ndarray) -> bool:
    """Return whether two scans, side by side or one above the other, meet near the middle of a frame (H, W, 3).

    One above the other is found where they are strangers to each other, which is not always so.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey = cv2.resize(grey, (256, 256), interpolation=cv2.INTER_AREA)
    low, high = (round(256 * edge) for edge in MIDDLE)
    for x in (grey, np.ascontiguousarray(grey.T)):
        fine = x - cv2.blur(x, (1, 31), borderType=cv2.BORDER_REFLECT)
        left, right = fine[:, :-2], fine[:, 2:]
        alike = (left * right).mean(axis=0) / np.sqrt((left**2).mean(axis=0) * (right**2).mean(axis=0) + 25)
        # Noise has seams everywhere, a scan's speckle has a size.
        if alike[low:high].min() < SEAM * np.median(alike) and np.median(alike) > 0.1:
            return True
    return False


def unmarked(pixels: np.ndarray) -> np.ndarray:
    """Return a scan, uint8 (H, W, 3), in which coloured marks, where there are few, are painted over from around."""
    if colourless(pixels):
        return pixels
    off = off_hue(pixels) > COLOURED
    if not 0 < off.mean() <= MOST_COLOURED:
        return pixels
    return cv2.inpaint(pixels, cv2.dilate(off.astype(np.uint8), np.ones((3, 3), np.uint8)), 3, cv2.INPAINT_TELEA)


def scale(pixels: np.ndarray) -> tuple[float, float, str] | None:
    """Return width and height of a pixel in mm, and what they are known from: the depth scale of a frame (H, W, 3).

    None where that cannot be read for sure. A depth scale tells how high a pixel is. Frames are often stretched, so its
    width is that which makes the fan round.
    """
    shrunk = max(1.0, len(pixels) / HIGH)
    grey = cv2.resize(brightest(pixels), None, fx=1 / shrunk, fy=1 / shrunk, interpolation=cv2.INTER_AREA)
    reach = np.ones((max(3, min(grey.shape) // 30),) * 2, np.uint8)
    flat = cv2.blur(_rough(grey), reach.shape) < 0.5
    if flat.mean() < 1 - WHOLE:
        return None
    # Not roughness, because JPEG roughens the blocks that a sector's edge crosses.
    lit = (grey > np.median(grey[::4, ::4][flat[::4, ::4]]) + LIT).astype(np.uint8)
    lit = cv2.morphologyEx(cv2.morphologyEx(lit, cv2.MORPH_CLOSE, reach), cv2.MORPH_OPEN, reach)
    _, parts, found, _ = cv2.connectedComponentsWithStats(lit)
    if len(found) < 2:
        return None
    scan = parts == 1 + found[1:, cv2.CC_STAT_AREA].argmax()
    if not (marks := _marks(grey, scan)) or not (fan := _fan(scan)):
        return None
    (step, distance), (shape, radius) = marks, fan
    each = distance / step  # mm
    probe = any(least <= radius * each <= most for least, most in PROBES)
    if not probe or not DEPTHS[0] <= each * len(grey) <= DEPTHS[1]:
        return None
    return each * shape / shrunk, each / shrunk, f"the depth scale, with marks taken as {distance} mm apart"


def _marks(grey: np.ndarray, scan: np.ndarray) -> tuple[float, int] | None:
    """Return how many pixels, and by custom how many mm, lie between two marks of a depth scale beside the scan."""
    high = max(9, len(grey) // 20)
    bright = (cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, np.ones((high, 1), np.uint8)) > MARK) & ~scan
    found = cv2.connectedComponentsWithStats(bright.astype(np.uint8))[2]
    found = found[found[:, 3] < high]
    left, top, across, down, size = found[np.argsort(found[:, 1] + found[:, 3] / 2)].T
    best, number, step = np.zeros(0, int), None, 0.0
    for edge in (left, left + across / 2, left + across):  # marks stand in line at their left, middle or right
        for place in np.unique(np.rint(edge)):
            line = np.flatnonzero(np.abs(edge - place) <= 1)
            if len(line) > len(best) and (even := _even((top + down / 2)[line])):
                number, step, best = even[0], even[1], line[even[2]]
    for period, distance in CUSTOMS if len(best) and np.median(down[best]) < LOW * step else ():
        large = number % period == number[size[best].argmax()] % period
        more, less = size[best][large], size[best][~large]
        if min(len(more), len(less)) > 1 and more.min() > LARGER * less.max():
            return step, distance
    return None


def _even(y: np.ndarray) -> tuple[np.ndarray, float, np.ndarray] | None:
    """Return the numbers of evenly spaced marks, their distance, and which of the rising ``y`` (n,) they are."""
    if len(y) < MARKS[0]:
        return None
    first, last, steps = (each.ravel() for each in np.meshgrid(y[:3], y[-3:], np.arange(MARKS[0] - 1, MARKS[1])))
    step = np.maximum((last - first) / steps, 5)[:, None]  # closer ones cannot be told apart
    away = (y - first[:, None]) / step  # (tried, n)
    on = np.abs(away - np.rint(away)) * step < np.maximum(1.2, 0.03 * step)
    marks = np.where(on, np.rint(away), np.nan)
    full = on.sum(axis=1) / (np.nanmax(marks, axis=1) - np.nanmin(marks, axis=1) + 1)
    hits = on.sum(axis=1) * (full >= SEEN) * (on.mean(axis=1) > 0.7)
    if hits.max() < MARKS[0]:
        return None
    on = on[hits.argmax()]
    number, place = np.unique(np.rint(away[hits.argmax()][on]), return_index=True)
    place = np.flatnonzero(on)[place]
    return number, float(np.polyfit(number, y[place], 1)[0]), place


def _fan(scan: np.ndarray) -> tuple[float, float] | None:
    """Return a pixel's width over its height, and the probe's radius in pixels of height, of a fan (H, W); or None."""
    (height, width), near = scan.shape, max(1.5, len(scan) / 200)
    rows, columns = np.flatnonzero(scan.any(axis=1)), np.flatnonzero(scan.any(axis=0))
    left, right = scan.argmax(axis=1)[rows], width - 1 - scan[:, ::-1].argmax(axis=1)[rows]
    above = np.arange(len(rows)) <= (right - left).argmax()  # below, a side is an arc
    free = above & (left > 2), above & (right < width - 3)  # of the frame's edge
    sides = [_line(rows[on], edge[on], near) for edge, on in zip((left, right), free, strict=True)]
    slope = (sides[1][0] - sides[0][0]) / 2
    if min(side[2] for side in sides) < FITTED[0] or abs(sides[0][0] + sides[1][0]) >= CROOKED * slope:
        return None
    apex = (sides[0][1] - sides[1][1]) / (2 * slope)
    off = columns - sides[0][0] * apex - sides[0][1]
    top, bottom = scan.argmax(axis=0)[columns] - apex, height - 1 - scan[::-1].argmax(axis=0)[columns] - apex
    upper = (top + apex > 2) & (np.abs(off) < 0.9 * slope * top)  # without the corners
    lower = (bottom + apex < height - 3) & (np.abs(off) < 0.97 * slope * bottom)
    if lower.sum() < WIDE * len(columns) or not upper.any():
        return None
    # The square of the height falls with the square of the width along a line, also on a circle that was stretched.
    fall, _, share = _line(off[lower] ** 2, bottom[lower] ** 2, 2 * near * bottom[lower].mean())
    squares = top[upper] ** 2 - fall * off[upper] ** 2
    radius = max(np.median(squares), 1) ** 0.5
    if fall >= 0 or share < FITTED[1]:
        return None
    # Both arcs must be of one middle: most of the columns between the sides at the probe's face are near its circle.
    face = 2 * slope * radius / (1 - fall * slope**2) ** 0.5
    alike = np.abs(squares - radius**2) < 2 * near * radius
    return (float((-fall) ** 0.5), float(radius)) if alike.sum() > FITTED[2] * face else None


def _line(x: np.ndarray, y: np.ndarray, near: float) -> tuple[float, float, float]:
    """Return slope and intercept of the line that most points (n,) are ``near``, and the share of these."""
    if len(x) < 12:
        return 0.0, 0.0, 0.0
    few = np.linspace(0, len(x) - 1, 40).astype(int)
    i, j = (few[index] for index in np.triu_indices(40, 10))
    i, j = i[x[i] != x[j]], j[x[i] != x[j]]
    slopes = (y[j] - y[i]) / (x[j] - x[i])
    on = np.abs(slopes[:, None] * (x - x[i][:, None]) + y[i][:, None] - y) < near
    on = on[on.sum(axis=1).argmax()]
    slope, intercept = np.polyfit(x[on], y[on], 1)
    return slope, intercept, float((np.abs(slope * x + intercept - y) < near).mean())
