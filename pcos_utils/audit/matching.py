"""Recognise two copies of one picture by SIFT keypoints that fit one map and by fine detail that then agrees.

SIFT and its matching follow Lowe 2004 (doi:10.1023/B:VISI.0000029664.99615.94), and the square root of the
descriptors follows Arandjelovic and Zisserman 2012. Keypoints alone would join two frames that share anatomy, a
caption or a screen layout. Speckle is the fingerprint of one acquisition, so the speckle decides.
"""

from typing import NamedTuple

import cv2
import numpy as np

AREA = 40_000  # pixels of every picture after resizing, about 200 x 200: speckle is still resolved
KEYPOINTS = 300  # of a picture at most; the strongest are kept
DENSE_KEYPOINTS = 900  # where a picture may be a small part of another: the part has its share of them
GLANCE_AREA, GLANCE_KEYPOINTS = 7_000, 80  # the same for a first look, which most copies need no more than
SMALL_AREA, FEW_KEYPOINTS = 15_000, 120  # the same for a stretched picture
RATIO = 0.9  # largest ratio of the distances to the best and the second-best match
REPROJECTION = 3.0  # px by which an inlier may miss the map
TRIALS = 1000  # random maps at most
LEAST_INLIERS = 8  # three points fix an affine map; unrelated frames reached 6 inliers in trials
FINE = (1.0, 2.5)  # px, standard deviations of the band that holds speckle and not anatomy
ROUGH = (1.15, 3.0)  # px at half size, between the bands of speckle and of anatomy
# Least ratio of their spreads. Blurred copies reached .42 and more, twins that agreed after smoothing .37 and less.
SPECKLED = 0.37
WINDOW = 15  # px, side of the windows in which detail is correlated
SAME = 0.8  # least correlation of a window that agrees
# Share of the overlap's windows. Copies reached .6 and more, one screen layout .3, other speckle of one anatomy .2.
LEAST_AGREEMENT = 0.45
LEAST_OVERLAP = 0.04  # share of the picture's area
LEAST_SHRUNK = 0.2  # share of the area; a picture that another shows smaller than that is a part of it
FLAT = 1.0  # grey levels squared; a window of less variance has nothing to compare
BLANK = 0.15  # largest share of a window without detail; above it, background beside words, rulers or an edge shows
STROKE = 70  # grey levels from the local median beyond which a pixel is a drawn line or letter, not an echo
STRETCH = (0.2, 5.0, 2.5)  # least and greatest scale of a plausible map, and greatest ratio of its two scales
TILT = 0.5  # greatest change of scale from one side of a picture to the other, in perspective

# A mirrored patch has the descriptor of the patch itself in another order: rows reversed, directions negated. In an
# inverted patch each gradient, and so the keypoint's own direction, turns by 180 degrees: rows and columns reversed.
MIRROR = np.arange(128).reshape(4, 4, 8)[::-1][:, :, [0, 7, 6, 5, 4, 3, 2, 1]].ravel()
INVERT = np.arange(128).reshape(4, 4, 8)[::-1, ::-1].ravel()


class View(NamedTuple):
    """How a copy may look; its descriptors are those of its source in another ``order``."""

    mirrored: bool = False
    inverted: bool = False  # black for white

    @property
    def order(self) -> np.ndarray | slice:
        """Return the order of the 128 numbers of a descriptor in this view of it."""
        order = MIRROR if self.mirrored else np.arange(128)
        return order[INVERT] if self.inverted else order


AS_IT_IS = View()
UPRIGHT, INVERTED = (AS_IT_IS, View(True)), (View(False, True), View(True, True))


class Sketch(NamedTuple):
    """The parts of a picture that are compared."""

    grey: np.ndarray  # uint8, about AREA pixels
    points: np.ndarray  # float32 (n, 2), x and y in ``grey``
    descriptors: np.ndarray  # uint8 (n, 128)
    enlarged: float  # pixels of ``grey`` per pixel of the file, along a side


class Link(NamedTuple):
    """The evidence that two images show one picture."""

    inliers: int
    agreement: float  # share of the overlap's windows in which fine detail agrees
    coverage: float  # share of the second picture's detail that agrees with the first
    matrix: np.ndarray  # (3, 3), from the first picture's pixels to the second's
    view: View = AS_IT_IS  # of the first picture in the second
    sure: bool = True  # False: a picture is so smooth that another scan of the same ovary would agree as well


def sketch(pixels: np.ndarray) -> Sketch:
    """Sketch an 8-bit image, grey (h, w) or RGB (h, w, 3); a plain image has no keypoints, which is not an error."""
    return detailed(_blank(pixels))


def glance(pixels: np.ndarray) -> Sketch:
    """Sketch an image with a few keypoints of a smaller picture; ``detailed`` finds the others."""
    picture = _blank(pixels)
    shape = np.array(picture.grey.shape[::-1], np.float32)
    size = np.maximum(16, np.round(shape * (GLANCE_AREA / picture.grey.size) ** 0.5)).astype(int)
    points, descriptors = _detect(
        cv2.resize(picture.grey, size.tolist(), interpolation=cv2.INTER_AREA), GLANCE_KEYPOINTS
    )
    points = ((points + 0.5) * (shape / size) - 0.5).astype(np.float32)  # the middle of the first pixel lies at 0
    return picture._replace(points=points, descriptors=descriptors)


def detailed(picture: Sketch, most: int = KEYPOINTS) -> Sketch:
    """Return the sketch of a picture with its ``most`` strongest keypoints."""
    points, descriptors = _detect(picture.grey, most)
    return picture._replace(points=points, descriptors=descriptors)


def _blank(pixels: np.ndarray) -> Sketch:
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = (AREA / grey.size) ** 0.5
    size = [max(16, round(side * scale)) for side in grey.shape[::-1]]
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return Sketch(grey, np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), scale)


def stretched(picture: Sketch, factor: float) -> np.ndarray:
    """Return the descriptors, uint8 (n, 128), of the picture made ``factor`` times wider relative to its height.

    Keypoints survive rotation and zoom but not stretching, so a stretched copy is looked up with these descriptors.
    They are fewer and come from a smaller picture, which is enough to look a picture up.
    """
    height, width = picture.grey.shape
    scale = (SMALL_AREA / picture.grey.size) ** 0.5
    size = [max(16, round(width * scale * factor**0.5)), max(16, round(height * scale / factor**0.5))]
    grey = cv2.resize(picture.grey, size, interpolation=cv2.INTER_AREA)
    return _detect(grey, FEW_KEYPOINTS)[1]


def _detect(grey: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    # Threads cannot safely share a detector, and a new one costs little.
    detector = cv2.SIFT_create(most, contrastThreshold=0.015, enable_precise_upscale=True)
    keypoints, descriptors = detector.detectAndCompute(grey, None)
    points = np.array([keypoint.pt for keypoint in keypoints[:most]], np.float32).reshape(-1, 2)
    return points, np.zeros((0, 128), np.uint8) if descriptors is None else descriptors[:most].astype(np.uint8)


def root(descriptors: np.ndarray) -> np.ndarray:
    """Return RootSIFT descriptors, float32 (n, 128), of unit length."""
    values = descriptors.astype(np.float32)
    return np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1))


def compare(first: Sketch, second: Sketch, view: View = AS_IT_IS) -> Link | None:
    """Return the link between two pictures, or None if nothing shows that the second is the first in this ``view``."""
    pairs = _matches(first.descriptors[:, view.order], second.descriptors)
    if len(pairs) < LEAST_INLIERS:
        return None
    here, there = first.points[pairs[:, 0]], second.points[pairs[:, 1]]
    affine, inlier = cv2.estimateAffine2D(
        here, there, ransacReprojThreshold=REPROJECTION, maxIters=TRIALS, confidence=0.999
    )
    if affine is None or inlier.sum() < LEAST_INLIERS or not _believable(affine, view.mirrored):
        return None
    matrix = np.vstack([affine, [0, 0, 1]])
    agreement, coverage = agree(first, second, matrix, view.inverted)
    if agreement < LEAST_AGREEMENT and inlier.sum() > 1.5 * LEAST_INLIERS:
        # Screens are photographed at an angle: a part fits an affine map, and the whole fits a perspective.
        matrix, inlier = cv2.findHomography(here, there, cv2.RANSAC, REPROJECTION, maxIters=TRIALS)
        if matrix is not None and inlier.sum() > 2 * LEAST_INLIERS and _tilt(matrix, first.grey.shape) < TILT:
            agreement, coverage = agree(first, second, matrix, view.inverted)
    if agreement < LEAST_AGREEMENT:
        return None
    sure = speckled(first) and speckled(second)
    return Link(int(inlier.sum()), agreement, coverage, matrix, view, sure)


def speckled(picture: Sketch) -> bool:
    """Return whether a picture has speckle, which tells one scan from another of the same ovary."""
    coarser = float(np.clip(picture.enlarged, 1, 3))
    grey = cv2.resize(picture.grey, None, fx=1 / coarser, fy=1 / coarser, interpolation=cv2.INTER_AREA)
    half = cv2.pyrDown(grey).astype(np.float32)
    middle, large = (cv2.GaussianBlur(half, (0, 0), sigma) for sigma in ROUGH)
    return bool((half - middle).std() > SPECKLED * (middle - large).std())


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
    a, b = _fine(moved, coarser), _fine(second.grey, coarser)
    a = -a if inverted else a

    def mean(values):
        """Return the mean over the window around each pixel."""
        return cv2.boxFilter(values, -1, (window, window))

    spread_a, spread_b = mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2
    together = mean(a * b) - mean(a) * mean(b)
    # Marks that a scanner draws on every screen say nothing about the tissue.
    detailed = (spread_b > FLAT) & _tissue(second.grey, b, window)
    shared = inside & detailed & (spread_a > FLAT) & _tissue(moved, a, window)
    if shared.sum() < LEAST_OVERLAP * shared.size:
        return 0.0, 0.0
    same = shared & (together > SAME * np.sqrt(np.maximum(spread_a * spread_b, 1e-6)))
    return float(same.sum() / shared.sum()), float(same.sum() / detailed.sum())


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


def _matches(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the mutual nearest neighbours that pass the ratio test, (m, 2) indices."""
    if min(len(first), len(second)) < 3:
        return np.zeros((0, 2), int)
    alike = root(first) @ root(second).T
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


def _fine(grey: np.ndarray, coarser: float) -> np.ndarray:
    """Return the speckle of a picture, a band of fine detail."""
    grey = grey.astype(np.float32)
    small, large = (cv2.GaussianBlur(grey, (0, 0), sigma * coarser) for sigma in FINE)
    return small - large
