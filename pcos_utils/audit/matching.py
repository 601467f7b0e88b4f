"""Recognise two copies of one picture by SIFT keypoints that fit one map and by fine detail that then agrees.

SIFT and its matching follow Lowe 2004 (doi:10.1023/B:VISI.0000029664.99615.94), and the square root of the
descriptors follows Arandjelovic and Zisserman 2012. Keypoints alone would join two frames that share anatomy, a
caption or a screen layout. Speckle is the fingerprint of one acquisition, so the speckle decides.

Frames of one clip, a fraction of a millimetre apart, are another relation. Their keypoints fit one map and the anatomy
agrees, but the speckle does not.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from pcos_utils.audit.sketches import AS_IT_IS, Sketch, View, dense, panel, root

RATIO = 0.9  # largest ratio of the distances to the best and the second-best match
REPROJECTION = 3.0  # px by which an inlier may miss the map
TRIALS = 500  # random maps at most
LEAST_INLIERS = 8  # three points fix an affine map; unrelated frames reached 6 inliers in trials
FINE = (1.0, 2.5)  # px, standard deviations of the band that holds speckle and not anatomy
WINDOW = 15  # px, side of the windows in which detail is correlated
SAME = 0.8  # least correlation of a window that agrees
# Share of the overlap's windows. Copies reached .6 and more, one screen layout .3, other speckle of one anatomy .2.
LEAST_AGREEMENT = 0.45
LEAST_OF_EITHER = 0.25  # the same, of the windows in which either picture has detail
LEAST_OVERLAP = 0.04  # share of the picture's area
LEAST_SHRUNK = 0.2  # share of the area; a picture that another shows smaller than that is a part of it
ANATOMY = (3.0, 9.0)  # px, the band that holds anatomy and no speckle
# Least correlation of the anatomy of one clip. Where keypoints agreed, frames of a sweep mostly had .8 and more; other
# ovaries, at best-fitting places, had at most .35 (studies/audit_clips.csv).
LEAST_ALIKE = 0.5
MARGIN = 19  # px
LEAST_SHARED = 0.55  # share of both pictures' areas; one panel of a collage covers no more than half of it
PANEL = 0.75  # largest share of a picture that is one of its panels
FLAT = 1.0  # grey levels squared; a window of less variance has nothing to compare
BLANK = 0.15  # largest share of a window without detail; above it, background beside words, rulers or an edge shows
STROKE = 70  # grey levels from the local median beyond which a pixel is a drawn line or letter, not an echo
STRETCH = (0.2, 5.0, 2.5)  # least and greatest scale of a plausible map, and greatest ratio of its two scales
TILT = 0.5  # greatest change of scale from one side of a picture to the other, in perspective


class Link(NamedTuple):
    """The evidence that two images show one picture, or frames of one clip."""

    inliers: int
    agreement: float  # share of the overlap's windows in which fine detail agrees
    coverage: float  # share of the second picture's detail that agrees with the first
    matrix: np.ndarray  # (3, 3), from the first picture's pixels to the second's
    view: View = AS_IT_IS  # of the first picture in the second
    sure: bool = True  # False: a picture is so smooth that another scan of the same ovary would agree as well
    copy: bool = True  # False: fine detail does not agree, so that they may be frames of one clip
    whole: int | None = None  # 0 or 1: the first or the second picture, which shows the other in one of its panels
    box: list[float] | None = None  # of that panel: left, top, right, bottom


def compare(first: Sketch, second: Sketch, view: View = AS_IT_IS) -> Link | None:
    """Return the link between two pictures, or None if nothing shows that the second is the first in this ``view``."""
    link = relate(first, second, view)
    return link if link and link.copy else None


def relate(first: Sketch, second: Sketch, view: View = AS_IT_IS) -> Link | None:
    """Return the link between copies or between frames of one clip, or None if the pictures share neither."""
    fitted = fit(first, second, view)
    if fitted is None:
        return None
    matrix, inlier, here, there = fitted
    flat = matrix
    agreement, coverage = agree(first, second, matrix, view.inverted)
    fits = inlier.ravel() > 0
    if agreement < LEAST_AGREEMENT and inlier.sum() > 1.5 * LEAST_INLIERS:
        # Screens are photographed at an angle: a part fits an affine map, and the whole fits a perspective.
        matrix, inlier = cv2.findHomography(here, there, cv2.RANSAC, REPROJECTION, maxIters=TRIALS)
        if matrix is not None and inlier.sum() > 2 * LEAST_INLIERS and _tilt(matrix, first.grey.shape) < TILT:
            agreement, coverage = agree(first, second, matrix, view.inverted)
    if agreement < LEAST_AGREEMENT:
        alike, fitting = anatomy(first, second, flat, there[fits], view.inverted)
        clip = alike >= LEAST_ALIKE and fitting >= LEAST_INLIERS
        return Link(fitting, agreement, coverage, flat, view, copy=False) if clip else None
    sure = first.speckled and second.speckled
    fits = inlier.ravel() > 0
    boxes = panel(first, here[fits]), panel(second, there[fits])
    wholes = [number for number, box in enumerate(boxes) if box is not None]
    if len(wholes) == 2:  # a picture may have a line that looks like a seam, and the larger one shows more
        size = abs(np.linalg.det(matrix[:2, :2])) * first.grey.size / second.grey.size
        wholes = [number for number, share in enumerate((1 / size, size)) if share < PANEL]
    whole, box = (wholes[0], boxes[wholes[0]]) if wholes else (None, None)
    return Link(int(fits.sum()), agreement, coverage, matrix, view, sure, whole=whole, box=box)


def fit(first: Sketch, second: Sketch, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the affine map (3, 3) on which most matched keypoints agree, or None: it, which agree, and where they lie.

    The last two, (m, 2), are matched keypoints in the first picture and in the second, of which (m,) agree.
    """
    pairs = _matches(_root(first)[:, view.order], _root(second))
    if len(pairs) < LEAST_INLIERS:
        return None
    here, there = first.points[pairs[:, 0]], second.points[pairs[:, 1]]
    affine, inlier = cv2.estimateAffine2D(
        here, there, ransacReprojThreshold=REPROJECTION, maxIters=TRIALS, confidence=0.999
    )
    if affine is None or inlier.sum() < LEAST_INLIERS or not _believable(affine, view.mirrored):
        return None
    return np.vstack([affine, [0, 0, 1]]), inlier, here, there


def agree(first: Sketch, second: Sketch, matrix: np.ndarray, inverted: bool = False) -> tuple[float, float]:
    """Return the shares of the overlap's windows and of the second picture's detail in which fine detail agrees.

    ``matrix`` (3, 3) maps the first picture's pixels to the second's. Both shares are 0 if the overlap is too small.
    """
    shrunk = abs(np.linalg.det(matrix[:2, :2]))
    if shrunk < LEAST_SHRUNK:  # the first is a small part of the second, so it is looked at in its own size
        agreement, part = agree(second, first, np.linalg.inv(matrix), inverted)
        return agreement, part * shrunk
    height, width = second.grey.shape
    # A picture that was enlarged to the common size has no detail finer than its original pixels.
    coarser = float(np.clip(max(first.enlarged, second.enlarged), 1, 3))
    window = round(WINDOW * coarser)
    moved = _warp(first.grey, matrix, (width, height))
    inside = _warp(np.ones_like(first.grey), matrix, (width, height))
    inside = cv2.erode(inside, np.ones((window, window), np.uint8), borderValue=0) > 0
    a, mean_a, spread_a, shown_a = _detail(moved, coarser)
    b, mean_b, spread_b, shown_b = _detail_of(second, coarser)
    together = cv2.blur(a * b, (window, window)) - mean_a * mean_b
    together = -together if inverted else together
    shared = inside & shown_a & shown_b
    same = shared & (together > SAME * np.sqrt(np.maximum(spread_a * spread_b, 1e-6)))
    # Two screens with one menu have their pictures in different places: tissue lies on empty background.
    either = inside & (shown_a | shown_b)
    if shared.sum() < LEAST_OVERLAP * shared.size or same.sum() < LEAST_OF_EITHER * either.sum():
        return 0.0, 0.0
    return float(same.sum() / shared.sum()), float(same.sum() / shown_b.sum())


def _detail(grey: np.ndarray, coarser: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return fine detail, its mean and variance in the window around each pixel, and which show tissue, (h, w) each."""
    window, band = round(WINDOW * coarser), _band(grey, FINE, coarser)
    mean = cv2.blur(band, (window, window))
    spread = cv2.blur(band * band, (window, window)) - mean**2
    # Marks that a scanner draws on every screen say nothing about the tissue.
    return band, mean, spread, (spread > FLAT) & _tissue(grey, band, window)


@lru_cache(4)  # a picture is compared with several others in turn
def _detail_of(picture: Sketch, coarser: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return _detail(picture.grey, coarser)


def anatomy(
    first: Sketch, second: Sketch, matrix: np.ndarray, points: np.ndarray, inverted: bool = False
) -> tuple[float, int]:
    """Return the correlation of anatomy in tissue that both pictures show, and how many ``points`` lie in that tissue.

    ``matrix`` (3, 3), affine, maps the first picture's pixels to the second's, and ``points`` (n, 2) are matched
    keypoints of the second. Both are 0 if the pictures share too little.
    """
    height, width = second.grey.shape
    inside = _warp(np.ones_like(first.grey), matrix, (width, height))
    if inside.sum() < LEAST_SHARED * max(inside.size, first.grey.size * abs(np.linalg.det(matrix))):
        return 0.0, 0
    moved, bands = _warp(first.grey, matrix, (width, height)), []
    for grey in (moved, second.grey):
        inside &= _tissue(grey, _band(grey, FINE), WINDOW)
        bands.append(_band(grey, ANATOMY))
    # The edge of a sector is one in every picture of a scanner, and this band blurs it into the tissue.
    inside = cv2.erode(inside, np.ones((MARGIN, MARGIN), np.uint8), borderValue=0) > 0
    if inside.sum() < LEAST_OVERLAP * inside.size:
        return 0.0, 0
    alike = float(np.corrcoef(*(band[inside] for band in bands))[0, 1])
    column, row = np.clip(np.rint(points).astype(int).T, 0, [[width - 1], [height - 1]])
    return -alike if inverted else alike, int(inside[row, column].sum())


def _warp(grey: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if np.array_equal(matrix[2], [0, 0, 1]):
        return cv2.warpAffine(grey, matrix[:2], size, flags=cv2.INTER_LINEAR)
    return cv2.warpPerspective(grey, matrix, size, flags=cv2.INTER_LINEAR)


def _tilt(matrix: np.ndarray, shape: tuple[int, int]) -> float:
    """Return by how much a perspective map's depth differs between the corners of a picture, relative to its mean."""
    height, width = shape
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
    depth = corners @ matrix[2]
    return float(np.ptp(depth) / depth.mean()) if depth.min() > 0 else np.inf


def _tissue(grey: np.ndarray, fine: np.ndarray, window: int) -> np.ndarray:
    """Return where the window around a pixel shows tissue alone, bool: no drawn stroke and little blank background."""
    stroke = (cv2.absdiff(grey, cv2.medianBlur(grey, 5)) > STROKE).astype(np.uint8)
    blank = cv2.blur((cv2.blur(np.abs(fine), (3, 3)) < 0.25).astype(np.float32), (window, window))
    return (cv2.dilate(stroke, np.ones((window, window), np.uint8)) == 0) & (blank < BLANK)


@lru_cache(64)
def _root(picture: Sketch) -> np.ndarray:
    return root(picture.descriptors)


def forget() -> None:
    """Forget what was computed of pictures, which keeps their file in memory."""
    for kept in (_root, _detail_of, dense):
        kept.cache_clear()


def _matches(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the mutual nearest neighbours of RootSIFT descriptors that pass the ratio test, (m, 2) indices."""
    if min(len(first), len(second)) < 3:
        return np.zeros((0, 2), int)
    alike = first @ second.T
    rows = np.arange(len(alike))
    best = alike.argmax(axis=1)
    mutual = alike.argmax(axis=0)[best] == rows
    top = alike[rows, best]
    alike[rows, best] = -1
    # The squared distance of unit vectors is 2 (1 - similarity), so the ratio is squared too.
    clear = (1 - top) < RATIO**2 * (1 - alike.max(axis=1))
    pairs = np.flatnonzero(mutual & clear)
    return np.column_stack([pairs, best[pairs]])


def _believable(matrix: np.ndarray, mirrored: bool) -> bool:
    """Return whether a map has plausible scales, and mirrors just if it should."""
    large, small = np.linalg.svd(matrix[:, :2], compute_uv=False)
    least, most, ratio = STRETCH
    return least < small and large < most and large < ratio * small and (np.linalg.det(matrix[:, :2]) < 0) == mirrored


def _band(grey: np.ndarray, sigmas: tuple[float, float], coarser: float = 1) -> np.ndarray:
    """Return the detail of a picture between two sizes, such as its speckle or its anatomy."""
    grey = grey.astype(np.float32)
    small, large = (cv2.GaussianBlur(grey, (0, 0), sigma * coarser) for sigma in sigmas)
    return small - large
