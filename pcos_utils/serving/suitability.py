"""Whether a picture looks like the scans that the network was judged on, without torch.

What is measured: grey levels, speckle, edges and spectrum of the frame at 192 x 128 pixels, its colours, and what the
follicle network's ovary map makes of it. Phantoms say what is usual; no real frame and no label is asked. The distance
is Mahalanobis' (1936), of ranks turned normal, so that one long tail does not decide.
"""

import numpy as np
from scipy import ndimage
from scipy.special import ndtri

LEAST_SIDE = 64  # px; a smaller picture has no speckle left to read
COLOURED = 24  # grey levels between a pixel's largest and smallest channel, from which it counts as coloured
MOST_COLOURED = 0.08  # share of coloured pixels; scanners write a few coloured captions
FALSE_REFUSALS = 0.02  # of held-out phantoms, at most; what came of it is stated with the model
# Scanners differ more than phantoms do. Chosen with a look at the distances, not the labels, of real frames.
MARGIN = 1.2
QUANTILES = 33  # of each feature, kept with the model
BLUR_MARGIN = 0.6  # times the least sharpness of the phantoms
NAMES = (
    "mean", "spread", "dark", "bright", "entropy", "flat", "speckle", "speckle_spread", "edge_density", "kurtosis",
    "slope", "fine", "anisotropy", "row_profile", "column_profile", "smooth_share", "neighbours", "unlike_noise",
    "ovary_area", "ovary_certainty", "ovary_off_centre", "ovary_filled", "vague_share",
)  # fmt: skip


def coloured(pixels: np.ndarray) -> float:
    """The share of coloured pixels of an RGB image, uint8 (H, W, 3)."""
    small = pixels[:: max(1, pixels.shape[0] // 256), :: max(1, pixels.shape[1] // 256)]
    return float((small.max(axis=2).astype(int) - small.min(axis=2) > COLOURED).mean())


def sharpness(grey: np.ndarray) -> float:
    """The mean size of the frame's Laplacian over its spread; small where it is blurred. ``grey``: uint8 (128, 192)."""
    x = grey.astype(np.float32)
    return float(np.abs(ndimage.laplace(x)).mean() / (x.std() + 1))


def features(grey: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """One number for each of NAMES, float64 (23,), of a frame uint8 (128, 192) and its three maps (3, 128, 192)."""
    x = grey.astype(np.float32) / 255
    return np.array([*_levels(x, grey), *_texture(x), *_spectrum(x), *_structure(x), *_ovary(maps[2])], np.float64)


def _levels(x: np.ndarray, grey: np.ndarray) -> list[float]:
    share = np.bincount(grey.ravel() // 4, minlength=64) / grey.size
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    flat = (np.abs(np.diff(grey.astype(int), axis=1)) == 0).mean()
    return [x.mean(), x.std(), (x < 0.06).mean(), (x > 0.8).mean(), entropy, flat]


def _texture(x: np.ndarray) -> list[float]:
    # Speckle's standard deviation follows its mean before the logarithm and is constant after it.
    mean = ndimage.uniform_filter(x, 7)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(x * x, 7) - mean * mean, 0))
    inside = mean > 0.06
    ratio = (spread / (mean + 0.05))[inside] if inside.any() else np.zeros(1)
    rows, columns = ndimage.sobel(x, 0), ndimage.sobel(x, 1)
    gradient = np.hypot(rows, columns)
    scaled = gradient / (gradient.mean() + 1e-3)
    return [np.median(ratio), ratio.std(), (gradient > 1).mean(), np.log(np.mean(scaled**4) + 1e-6)]


def _spectrum(x: np.ndarray) -> list[float]:
    window = np.outer(np.hanning(x.shape[0]), np.hanning(x.shape[1]))
    power = np.abs(np.fft.rfft2((x - x.mean()) * window)) ** 2
    rows, columns = np.fft.fftfreq(x.shape[0])[:, None], np.fft.rfftfreq(x.shape[1])[None]
    ring = np.digitize(np.hypot(rows, columns), np.linspace(0.02, 0.5, 13))
    heights = np.log(np.array([power[ring == i].mean() for i in range(1, 13)]) + 1e-6)
    slope = np.polyfit(np.log(np.linspace(0.04, 0.48, 12)), heights, 1)[0]
    middle = (np.hypot(rows, columns) > 0.08) & (np.hypot(rows, columns) < 0.3)
    across = np.log((power * middle * (np.abs(rows) > np.abs(columns))).sum() + 1e-6)
    along = np.log((power * middle * (np.abs(rows) <= np.abs(columns))).sum() + 1e-6)
    return [slope, heights[-1] - heights[0], across - along]


def _structure(x: np.ndarray) -> list[float]:
    smooth = ndimage.gaussian_filter(x, 6)
    total = x.std() + 1e-3
    near = np.corrcoef(x[:, :-1].ravel(), x[:, 1:].ravel())[0, 1] if x.std() > 1e-4 else 1.0
    far = np.corrcoef(x[:, :-4].ravel(), x[:, 4:].ravel())[0, 1] if x.std() > 1e-4 else 1.0
    profiles = [x.mean(axis=1).std() / total, x.mean(axis=0).std() / total]
    return [*profiles, smooth.std() / total, near, near - far]


def _ovary(ovary: np.ndarray) -> list[float]:
    inside = ovary > 0.5
    vague = ((ovary > 0.2) & (ovary < 0.8)).mean()
    if not inside.any():
        return [0.0, float(ovary.max()), 1.0, 0.0, vague]
    parts, _ = ndimage.label(inside)
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    row, column = ndimage.center_of_mass(largest)
    off = np.hypot(row / ovary.shape[0] - 0.5, column / ovary.shape[1] - 0.5)
    spread = np.sqrt(np.linalg.det(np.cov(np.argwhere(largest).T) + 0.1 * np.eye(2)))
    return [inside.mean(), ovary[inside].mean(), off, largest.sum() / (4 * np.pi * spread), vague]


def fit(usual: np.ndarray, held: np.ndarray, tried: np.ndarray, sharp: np.ndarray) -> dict:
    """What ``judge`` needs, as plain lists: quantiles and precision of the features of phantoms, and the limits.

    ``usual`` (n, 23) gives what is usual; ``held`` (m, 23), other phantoms, the limit: MARGIN times what
    FALSE_REFUSALS of them pass; ``sharp`` (n + m + k,) the sharpness of all, of which those of ``tried`` (k, 23), the
    last, set nothing: they are asked how many of them are refused.
    """
    quantiles = np.quantile(usual, np.linspace(0, 1, QUANTILES), axis=0)
    made = {"quantiles": quantiles.tolist(), "precision": np.eye(len(NAMES)).tolist()}
    scores = np.array([_normal(row, quantiles) for row in usual])
    covariance = np.cov(scores.T)
    # Shrunk towards independence: 23 features of a few hundred phantoms.
    covariance = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance) + 0.05)
    made["precision"] = np.linalg.inv(covariance).tolist()
    distances = np.array([distance(row, made) for row in held])
    limit = MARGIN * float(np.quantile(distances, 1 - FALSE_REFUSALS))
    known, new = np.split(sharp, [len(usual) + len(held)])
    least = float(BLUR_MARGIN * np.quantile(known, 0.005))
    refused = (np.array([distance(row, made) for row in tried]) > limit) | (new < least)
    return made | {
        "names": list(NAMES),
        "limit": limit,
        "least_sharpness": least,
        "false_refusals": float(refused.mean()),
        "phantoms": [len(usual), len(held), len(tried)],
    }


def distance(row: np.ndarray, fitted: dict) -> float:
    """How far features (23,) are from the usual, in units of which a usual frame has about one."""
    score = _normal(row, np.asarray(fitted["quantiles"]))
    return float(np.sqrt(score @ np.asarray(fitted["precision"]) @ score / len(score)))


def _normal(row: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    # Inside what was seen: the normal score of the rank. Outside: on along the straight line of the outer quantiles.
    levels = np.linspace(0, 1, len(quantiles))
    span = quantiles[-2] - quantiles[1] + 1e-6
    made = np.empty(len(row))
    for i, value in enumerate(row):
        low, high = quantiles[0, i], quantiles[-1, i]
        made[i] = ndtri(np.clip(np.interp(value, quantiles[:, i], levels), 0.01, 0.99))
        made[i] += 6 * (min(value - low, 0) + max(value - high, 0)) / span[i]
    return np.clip(made, -12, 12)


def judge(pixels: np.ndarray, grey: np.ndarray, maps: np.ndarray, fitted: dict) -> tuple[str, str]:
    """Why a picture is refused, as a word and a sentence, or two empty texts. ``fitted`` as ``fit`` gives it."""
    share = coloured(pixels)
    if share > MOST_COLOURED:
        return "not an ovarian scan", f"{100 * share:.0f} % of the picture is coloured, and B-mode scans are grey."
    away = distance(features(grey, maps), fitted)
    if away > fitted["limit"]:
        return "not an ovarian scan", (
            f"Its texture and layout are unlike the ovarian scans that the network was judged on "
            f"(distance {away:.1f}, limit {fitted['limit']:.1f})."
        )
    if sharpness(grey) < fitted["least_sharpness"]:
        return "too blurred", "The picture is blurred: speckle and follicle walls cannot be told apart."
    return "", ""
