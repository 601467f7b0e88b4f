"""Find the scan on a scanner's screen: margins and surround are cut off, marks painted over, two scans told apart.

A screen is flat where nothing was scanned, and speckle is nowhere flat. So the scan is the largest part that is not.
"""

import cv2
import numpy as np

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
    boxes = [trimmed(grey, (x, y, x + across, y + down)) for x, y, across, down, _ in found if min(across, down) > 1]
    boxes = [box for box in boxes if _bare(grey, box)]
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]
    if not boxes or not SMALL < areas[0] / (height * width) < WHOLE:
        return []
    (x0, y0, x1, y1), kept = boxes[0], boxes[:1]
    for box, area in zip(boxes[1:], areas[1:], strict=True):
        apart = box[0] >= x1 or box[2] <= x0 or box[1] >= y1 or box[3] <= y0
        kept += [box] * (apart and area > ALIKE * areas[0])
    return kept


def _bare(grey: np.ndarray, box: Box) -> bool:
    """Return whether beside each side of a box some lines have one level, as no line of a scan's dark part has."""
    (x0, y0, x1, y1), grey = box, grey.astype(np.int16)
    for side in (grey[y0:y1, :x0].T, grey[y0:y1, x1:].T, grey[:y0, x0:x1], grey[y1:, x0:x1]):
        even = np.abs(side - np.median(side, axis=1, keepdims=True)) <= 1 if side.size else np.ones((1, 1))
        if np.quantile(even.mean(axis=1), 1 - BARE) < EVEN:
            return False
    return True


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


def brightest(pixels: np.ndarray) -> np.ndarray:
    """Return the brightest channel of an image, uint8 (H, W, 3)."""
    red, green, blue = cv2.split(pixels)
    return cv2.max(cv2.max(red, green), blue)


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
