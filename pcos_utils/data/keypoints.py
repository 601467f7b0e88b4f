"""What two copies of one picture share: SIFT keypoints that fit one affine map, and fine detail that agrees under it.

SIFT and its matching follow Lowe 2004 (doi:10.1023/B:VISI.0000029664.99615.94), the root of the descriptors
Arandjelovic and Zisserman 2012. Keypoints alone would join two frames that share anatomy, a caption or a screen
layout; speckle is the fingerprint of one acquisition, so the last word belongs to the speckle.
"""

from typing import NamedTuple

import cv2
import numpy as np

AREA = 40_000  # pixels to which every picture is brought, about 200 x 200: speckle is still resolved
KEYPOINTS = 300  # at most, the strongest
SMALL_AREA, FEW_KEYPOINTS = 25_000, 150  # the same for a look at a stretched picture
RATIO = 0.9  # of the distances to the best and the second-best match
REPROJECTION = 3.0  # px that an inlier may lie off the map
LEAST_INLIERS = 8  # an affine map has three points' worth of freedom; unrelated frames reached 6 in trials
FINE = (1.0, 2.5)  # px, the standard deviations between which detail counts as fine: speckle, not anatomy
WINDOW = 15  # px, side of the windows in which detail is correlated
SAME = 0.8  # correlation from which a window agrees
# Of the overlap's windows: copies reached .6 and more, one screen layout .3, other speckle of one anatomy .2.
LEAST_AGREEMENT = 0.45
LEAST_OVERLAP = 0.04  # of the picture's area
FLAT = 1.0  # grey levels squared; a window with less variance holds nothing to compare
BLANK = 0.15  # of a window without any detail: there it shows the screen's ground beside words, rulers or an edge
STROKE = 70  # grey levels from the median around a pixel: a drawn line or letter, sharper than an echo
STRETCH = (0.3, 3.3, 2.5)  # least and most scale of a believable map, and most ratio of its two scales

# The descriptor of a mirrored patch is a permutation of the patch's own: rows reversed, directions negated.
MIRROR = np.arange(128).reshape(4, 4, 8)[::-1][:, :, [0, 7, 6, 5, 4, 3, 2, 1]].ravel()


class Sketch(NamedTuple):
    """A picture reduced to what is compared."""

    grey: np.ndarray  # uint8, about AREA pixels
    points: np.ndarray  # float32 (n, 2), x and y in ``grey``
    descriptors: np.ndarray  # uint8 (n, 128)
    enlarged: float  # pixels of ``grey`` per pixel of the file


class Link(NamedTuple):
    """The evidence that two pictures are one."""

    inliers: int
    agreement: float  # share of the overlap's windows in which fine detail agrees
    coverage: float  # share of the second picture's detail that agrees with the first
    matrix: np.ndarray  # (2, 3), from the first picture's pixels to the second's
    mirrored: bool


def sketch(pixels: np.ndarray) -> Sketch:
    """The sketch of an 8-bit image, grey (h, w) or RGB (h, w, 3). A plain image has no keypoints; that is no error."""
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = (AREA / grey.size) ** 0.5
    size = [max(16, round(side * scale)) for side in grey.shape[::-1]]
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return Sketch(grey, *_detect(grey, KEYPOINTS), scale)


def stretched(picture: Sketch, factor: float) -> np.ndarray:
    """Descriptors, uint8 (n, 128), of the picture made ``factor`` times wider for its height.

    Keypoints forgive turning and zooming, not stretching: of a stretched copy few are found again, and these find
    it. They come from a smaller picture and are fewer, which is enough to look a picture up.
    """
    height, width = picture.grey.shape
    scale = (SMALL_AREA / picture.grey.size) ** 0.5
    size = [max(16, round(width * scale * factor**0.5)), max(16, round(height * scale / factor**0.5))]
    grey = cv2.resize(picture.grey, size, interpolation=cv2.INTER_AREA)
    return _detect(grey, FEW_KEYPOINTS)[1]


def _detect(grey: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    # A detector is not safe to share between threads, and costs little to make.
    detector = cv2.SIFT_create(most, contrastThreshold=0.015, enable_precise_upscale=True)
    found, descriptors = detector.detectAndCompute(grey, None)
    points = np.array([keypoint.pt for keypoint in found[:most]], np.float32).reshape(-1, 2)
    return points, np.zeros((0, 128), np.uint8) if descriptors is None else descriptors[:most].astype(np.uint8)


def root(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT descriptors, float32 (n, 128), of unit length."""
    values = descriptors.astype(np.float32)
    return np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1))


def compare(first: Sketch, second: Sketch, mirrored: bool = False) -> Link | None:
    """The link between two pictures, or None where they are not shown to be one."""
    pairs = _matches(first.descriptors[:, MIRROR] if mirrored else first.descriptors, second.descriptors)
    if len(pairs) < LEAST_INLIERS:
        return None
    matrix, inlier = cv2.estimateAffine2D(
        first.points[pairs[:, 0]], second.points[pairs[:, 1]], ransacReprojThreshold=REPROJECTION, confidence=0.999
    )
    if matrix is None or inlier.sum() < LEAST_INLIERS or not _believable(matrix, mirrored):
        return None
    agreement, coverage = agree(first, second, matrix)
    if agreement < LEAST_AGREEMENT:
        return None
    return Link(int(inlier.sum()), agreement, coverage, matrix, mirrored)


def agree(first: Sketch, second: Sketch, matrix: np.ndarray) -> tuple[float, float]:
    """The share of the overlap's windows whose fine detail agrees, and the share of the second picture's detail.

    ``matrix`` (2, 3) maps the first picture's pixels to the second's. Both are 0 where the overlap is too small.
    """
    height, width = second.grey.shape
    # A picture that was enlarged to the common size has no finer detail than its own pixels.
    coarser = float(np.clip(max(first.enlarged, second.enlarged), 1, 3))
    window = round(WINDOW * coarser)
    moved = cv2.warpAffine(first.grey, matrix, (width, height), flags=cv2.INTER_LINEAR)
    inside = cv2.warpAffine(np.ones_like(first.grey), matrix, (width, height))
    inside = cv2.erode(inside, np.ones((window, window), np.uint8), borderValue=0) > 0
    a, b = _fine(moved, coarser), _fine(second.grey, coarser)

    def mean(values):
        """The mean over the window around each pixel."""
        return cv2.boxFilter(values, -1, (window, window))

    spread_a, spread_b = mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2
    together = mean(a * b) - mean(a) * mean(b)
    # What a scanner draws on every screen says nothing about the tissue.
    detailed = (spread_b > FLAT) & _tissue(second.grey, b, window)
    shared = inside & detailed & (spread_a > FLAT) & _tissue(moved, a, window)
    if shared.sum() < LEAST_OVERLAP * shared.size:
        return 0.0, 0.0
    same = shared & (together > SAME * np.sqrt(np.maximum(spread_a * spread_b, 1e-6)))
    return float(same.sum() / shared.sum()), float(same.sum() / detailed.sum())


def _tissue(grey: np.ndarray, fine: np.ndarray, window: int) -> np.ndarray:
    """Where the window around a pixel shows tissue alone, bool: no drawn stroke, and hardly any blank ground."""
    stroke = (cv2.absdiff(grey, cv2.medianBlur(grey, 5)) > STROKE).astype(np.uint8)
    blank = cv2.blur((cv2.blur(np.abs(fine), (3, 3)) < 0.25).astype(np.float32), (window, window))
    return (cv2.dilate(stroke, np.ones((window, window), np.uint8)) == 0) & (blank < BLANK)


def _matches(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mutual nearest neighbours that pass the ratio test, (m, 2) indices."""
    if min(len(first), len(second)) < 3:
        return np.zeros((0, 2), int)
    alike = root(first) @ root(second).T
    rows = np.arange(len(alike))
    best = alike.argmax(axis=1)
    mutual = alike.argmax(axis=0)[best] == rows
    top = alike[rows, best]
    alike[rows, best] = -1
    # Distances of unit vectors: the ratio of roots of 1 - similarity.
    clear = (1 - top) < RATIO**2 * (1 - alike.max(axis=1))
    kept = np.flatnonzero(mutual & clear)
    return np.column_stack([kept, best[kept]])


def _believable(matrix: np.ndarray, mirrored: bool) -> bool:
    large, small = np.linalg.svd(matrix[:, :2], compute_uv=False)
    least, most, ratio = STRETCH
    return least < small and large < most and large < ratio * small and (np.linalg.det(matrix[:, :2]) < 0) == mirrored


def _fine(grey: np.ndarray, coarser: float) -> np.ndarray:
    grey = grey.astype(np.float32)
    small, large = (cv2.GaussianBlur(grey, (0, 0), sigma * coarser) for sigma in FINE)
    return small - large
