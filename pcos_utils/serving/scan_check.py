"""Decide whether a picture is a usable scan, with limits fitted on phantoms. torch is not imported.

A picture must look like the scans that the network was judged on. Phantoms alone define what is usual, without their
labels: the distance is Mahalanobis' (1936) over ranks turned into normal scores, so that one long tail does not decide.
"""

from functools import cache

import cv2
import numpy as np
import scipy.fft
from scipy import ndimage
from scipy.special import ndtri

from pcos_utils.data.levels import DARK, brightest

UNLIKE = "not an ovarian scan"
NEGATIVE = "The picture is mostly bright and scans are mostly dark: send it as the scanner shows it, on black."
# Mean grey level of a scan, at most: the brightest of 102 real frames and of 100 phantoms has 117, and the darkest of
# their negatives 138.
MOST_BRIGHT = 135
COLOURED = 24  # grey levels; a pixel whose channels differ by more from the hue of most counts as coloured
MOST_COLOURED = 0.08  # share of coloured pixels; scanners write a few coloured captions
FALSE_REFUSALS = 0.02  # of held-out phantoms, at most; the share reached is stated with the model
MARGIN = 1.2  # scanners differ more than phantoms do; chosen by real frames' distances, not by their labels
# Of a box, which a person has drawn around an ovary: so many times the median distance of phantoms cut out alike, about
# 2. That is half the distance, 3.9, of the nearest of 84 made strangers that are grey; annotated ovaries of 48 whole
# sectors, looked at about fifteen times while this was made, reach up to 1.7.
BOX_TIMES = 2.2
QUANTILES = 33  # of each feature, kept with the model
BLUR_MARGIN = 0.6  # times the 0.5 % quantile of the phantoms' sharpness
NAMES = (
    "mean", "spread", "dark", "bright", "entropy", "flat", "speckle", "speckle_spread", "edge_density", "kurtosis",
    "slope", "fine", "anisotropy", "row_profile", "column_profile", "smooth_share", "neighbours", "unlike_noise",
    "ovary_area", "ovary_certainty", "ovary_off_centre", "ovary_filled", "vague_share",
)  # fmt: skip


def judge(pixels: np.ndarray, grey: np.ndarray, maps: np.ndarray, fitted: dict) -> tuple[str, str] | None:
    """Return why a picture is no usable scan, as a word and a sentence, or None. ``fitted``: from ``fit``."""
    share = coloured(pixels)
    if share > MOST_COLOURED:
        return UNLIKE, f"{100 * share:.0f} % of the picture is coloured, and B-mode scans are grey."
    away = distance(features(grey, maps), fitted)
    if away > fitted["limit"]:
        how = f"(distance {away:.1f}, limit {fitted['limit']:.1f})."
        return UNLIKE, f"Its texture and layout are unlike the ovarian scans that the network was judged on {how}"
    if sharpness(grey) < fitted["least_sharpness"]:
        return "too blurred", "The picture is blurred: speckle and follicle walls cannot be told apart."
    return None


def negative(pixels: np.ndarray) -> bool:
    """Return whether a grey image, uint8 (H, W, 3), is brighter than scans, as if black and white were exchanged."""
    return float(brightest(pixels).mean()) > MOST_BRIGHT and coloured(pixels) <= MOST_COLOURED


def coloured(pixels: np.ndarray) -> float:
    """Return the share of pixels of an image, uint8 (H, W, 3), whose hue is not that of most."""
    few = pixels[:: max(1, pixels.shape[0] // 96), :: max(1, pixels.shape[1] // 96)]
    return 0.0 if colourless(few) else float((off_hue(few) > COLOURED).mean())


def colourless(pixels: np.ndarray) -> bool:
    """Return whether every pixel of an image, uint8 (H, W, 3), is nearly grey."""
    red, green, blue = cv2.split(pixels)
    return int((brightest(pixels) - cv2.min(cv2.min(red, green), blue)).max()) <= COLOURED // 2


def off_hue(pixels: np.ndarray) -> np.ndarray:
    """Return by how many grey levels each pixel of an image, uint8 (H, W, 3), is off the hue of most, (H, W).

    A tinted screen, which a camera or a display gives one hue, is therefore not coloured.
    """
    values = pixels.astype(np.float32)
    bright = brightest(values)[..., None]
    seen = bright[..., 0] > DARK
    hue = np.median(values[seen] / bright[seen], axis=0) if seen.any() else np.ones(3, np.float32)
    return brightest(np.abs(values - hue / hue.max() * bright))


def fit(rows: np.ndarray, sharp: np.ndarray, *, boxed: bool = False) -> dict:
    """Return what ``judge`` needs of a frame or a box, as plain values, from features (n, 23) and sharpness (n,)."""
    # Of every three pairs of both classes one tells what is usual, one sets limits, one counts refusals by mistake.
    third = np.arange(len(rows)) // 2 % 3
    usual, limiting, counted = (rows[third == part] for part in range(3))
    quantiles = np.quantile(usual, np.linspace(0, 1, QUANTILES), axis=0)
    covariance = np.cov(np.array([_normal(row, quantiles) for row in usual]).T)
    covariance = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance) + 0.05)  # shrunk: few phantoms, 23 features
    fitted = {"quantiles": quantiles.tolist(), "precision": np.linalg.inv(covariance).tolist()}
    away = [distance(row, fitted) for row in limiting]
    limit = float(BOX_TIMES * np.median(away) if boxed else MARGIN * np.quantile(away, 1 - FALSE_REFUSALS))
    least = float(BLUR_MARGIN * np.quantile(sharp[third < 2], 0.005))
    refused = (np.array([distance(row, fitted) for row in counted]) > limit) | (sharp[third == 2] < least)
    fitted |= {"names": list(NAMES), "limit": limit, "least_sharpness": least, "false_refusals": float(refused.mean())}
    return fitted | {"phantoms": [len(usual), len(limiting), len(counted)]}


def distance(row: np.ndarray, fitted: dict) -> float:
    """Return how far features (23,) are from the usual, in units of which a usual frame has about one."""
    score = _normal(row, np.asarray(fitted["quantiles"]))
    return float(np.sqrt(score @ np.asarray(fitted["precision"]) @ score / len(score)))


def _normal(row: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    # Inside the range seen: the normal score of the rank. Outside: a straight line, scaled by the outer quantiles.
    levels = np.linspace(0, 1, len(quantiles))
    ranks = np.array([np.interp(value, quantiles[:, i], levels) for i, value in enumerate(row)])
    outside = np.minimum(row - quantiles[0], 0) + np.maximum(row - quantiles[-1], 0)
    scores = ndtri(np.clip(ranks, 0.01, 0.99)) + 6 * outside / (quantiles[-2] - quantiles[1] + 1e-6)
    return np.clip(scores, -12, 12)


def sharpness(grey: np.ndarray) -> float:
    """Return the mean absolute Laplacian of a frame, uint8 (128, 192), over its spread; small where it is blurred."""
    x = grey.astype(np.float32)
    return float(np.abs(ndimage.laplace(x)).mean() / (x.std() + 1))


@cache
def _spectrum(height: int, width: int) -> tuple[np.ndarray, ...]:
    """Return window, ring, how many places a ring has, and two masks of middling frequencies, across and down."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    radius, across = np.hypot(rows, columns), np.abs(rows) > np.abs(columns)
    ring = np.digitize(radius, np.linspace(0.02, 0.5, 13))
    middle = (radius > 0.08) & (radius < 0.3)
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    return window, ring.ravel(), np.bincount(ring.ravel(), minlength=14), middle & across, middle & ~across


def features(grey: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return one number for each of NAMES, float64 (23,), of a frame uint8 (128, 192) and its maps (3, 128, 192)."""
    x = grey.astype(np.float32) / 255
    height, width = x.shape
    share = np.bincount(grey.ravel() // 4, minlength=64) / grey.size
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    flat = (grey[:, 1:] == grey[:, :-1]).mean()
    values = [x.mean(), x.std(), (x < 0.06).mean(), (x > 0.8).mean(), entropy, flat]
    # Speckle's standard deviation is proportional to its mean before the logarithm, and constant after it.
    mean = cv2.blur(x, (7, 7), borderType=cv2.BORDER_REFLECT)
    square = cv2.blur(x * x, (7, 7), borderType=cv2.BORDER_REFLECT)
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    inside = mean > 0.06
    ratio = (spread / (mean + 0.05))[inside] if inside.any() else np.zeros(1)
    slopes = (cv2.Sobel(x, cv2.CV_32F, *axis, borderType=cv2.BORDER_REFLECT) for axis in ((0, 1), (1, 0)))
    gradient = cv2.magnitude(*slopes)
    steep = gradient / (gradient.mean() + 1e-3)
    heavy = np.log(np.mean(np.square(steep * steep)) + 1e-6)
    values += [np.median(ratio), ratio.std(), (gradient > 1).mean(), heavy]
    window, ring, places, *middle = _spectrum(height, width)
    power = np.square(np.abs(scipy.fft.rfft2((x - x.mean()) * window)))
    heights = np.log(np.bincount(ring, power.ravel(), minlength=14)[1:13] / places[1:13] + 1e-6)
    slope = np.polyfit(np.log(np.linspace(0.04, 0.48, 12)), heights, 1)[0]
    sides = [np.log(power[side].sum() + 1e-6) for side in middle]
    values += [slope, heights[-1] - heights[0], sides[0] - sides[1]]
    total = x.std() + 1e-3
    near, far = (_alike(x[:, :-step], x[:, step:]) if x.std() > 1e-4 else 1.0 for step in (1, 4))
    smooth = cv2.GaussianBlur(x, (49, 49), 6, borderType=cv2.BORDER_REFLECT).std() / total
    values += [x.mean(axis=1).std() / total, x.mean(axis=0).std() / total, smooth, near, near - far]
    ovary = maps[2]
    inside, vague = ovary > 0.5, ((ovary > 0.2) & (ovary < 0.8)).mean()
    if not inside.any():
        return np.array([*values, 0.0, ovary.max(), 1.0, 0.0, vague], np.float64)
    parts, _ = ndimage.label(inside)
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    places = np.argwhere(largest)
    row, column = places.mean(axis=0)
    off = np.hypot(row / height - 0.5, column / width - 0.5)
    circle = 4 * np.pi * np.sqrt(np.linalg.det(np.cov(places.T) + 0.1 * np.eye(2)))
    return np.array([*values, inside.mean(), ovary[inside].mean(), off, largest.sum() / circle, vague], np.float64)


def _alike(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / np.sqrt((first * first).sum() * (second * second).sum()))
