"""How the answers change when the picture changes a little: gain, gamma, blur, speckle, rotation, crop and JPEG.

Each at a few severities, the picture as it is among them. Nothing is trained and no threshold is chosen here. What
changes when the *truth* is another is in relabelled.py.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from pcos_utils.data.images import resize
from pcos_utils.evaluation import bootstrap, metrics
from pcos_utils.evaluation.uncertainty import FEW

GRAINS = 100  # of speckle across a picture, whatever its size
METRICS = ("auc", "recall", "specificity")


def gain(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """The picture with every grey level multiplied."""
    return _bytes(image.astype(np.float32) * factor)


def gamma(image: np.ndarray, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """The picture with its grey curve bent: below 1 dark places grow lighter."""
    return _bytes(255 * (image.astype(np.float32) / 255) ** exponent)


def blur(image: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """The picture under a Gaussian whose SD is a percentage of its width."""
    return cv2.GaussianBlur(image, (0, 0), percent / 100 * image.shape[1], borderType=cv2.BORDER_REPLICATE)


def speckle(image: np.ndarray, sd: float, rng: np.random.Generator) -> np.ndarray:
    """The picture times normal noise of mean 1, in grains of a hundredth of its width, the same in each channel."""
    height, width = image.shape[:2]
    grains = rng.standard_normal((max(round(GRAINS * height / width), 1), GRAINS)).astype(np.float32)
    noise = cv2.resize(grains, (width, height), interpolation=cv2.INTER_LINEAR)
    noise *= sd / noise.std()  # between grains the interpolation has made it smaller
    return _bytes(image.astype(np.float32) * (1 + noise)[..., None])


def rotate(image: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """The picture turned about its centre; uncovered corners are black, as in training."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR)


def crop(image: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """The middle of the picture, each side shorter by a percentage."""
    y, x = (round(size * percent / 200) for size in image.shape[:2])
    return image[y : image.shape[0] - y, x : image.shape[1] - x]


def jpeg(image: np.ndarray, loss: float, rng: np.random.Generator) -> np.ndarray:
    """The picture after JPEG compression of quality 100 less the loss."""
    flipped = np.ascontiguousarray(image[..., ::-1])  # OpenCV wants blue first
    done = cv2.imencode(".jpg", flipped, [cv2.IMWRITE_JPEG_QUALITY, round(100 - loss)])[1]
    return cv2.imdecode(done, cv2.IMREAD_COLOR)[..., ::-1]


class Stress(NamedTuple):
    """One way to change a picture: severities from one end to the other, and the one that leaves it alone."""

    change: Callable
    severities: tuple[float, ...]
    untouched: float
    unit: str
    ratio: bool = False  # whether severities are factors, so that a half lies as far from 1 as a double

    def distance(self, severity: float) -> float:
        """How far a severity lies from the untouched picture, 1 for the farthest."""
        scale = np.log if self.ratio else float
        far = [abs(scale(value) - scale(self.untouched)) for value in (*self.severities, severity)]
        return float(far[-1] / max(far))


STRESSES = {
    "gain": Stress(gain, (0.5, 0.75, 1, 1.25, 1.5), 1, "factor", ratio=True),
    "gamma": Stress(gamma, (0.5, 0.75, 1, 1.33, 2), 1, "exponent", ratio=True),
    "blur": Stress(blur, (0, 0.5, 1, 2, 4), 0, "SD, % of the width"),
    "speckle": Stress(speckle, (0, 0.1, 0.2, 0.4, 0.8), 0, "SD of the factor"),
    "rotation": Stress(rotate, (-40, -20, 0, 20, 40), 0, "degrees"),
    "crop": Stress(crop, (0, 5, 10, 20, 40), 0, "% of each side cut off"),
    "JPEG": Stress(jpeg, (0, 10, 50, 80, 95), 0, "100 - quality; 0: not compressed"),
}


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def stressed(image: np.ndarray, name: str, severity: float, seed: int = 0) -> np.ndarray:
    """The picture under one stress, uint8 (H, W, 3), cropped ones smaller. The seed fixes the noise."""
    stress = STRESSES[name]
    return image if severity == stress.untouched else stress.change(image, severity, np.random.default_rng(seed))


def answers(
    predict: Callable[[np.ndarray], np.ndarray], images: Sequence[np.ndarray], side: int, *, seed: int = 0
) -> pd.DataFrame:
    """The network's logit of each picture under each stress: columns stress, severity, row, logit.

    ``predict``: from pixels, uint8 (n, side, side, 3), to logits (n,); ``images``: uint8 (H, W, 3) of any size,
    changed as they are and only then resized; ``row`` counts them. Of a study in folds: once for each fold, with its
    network and its test images. 29 answers an image.
    """
    plain = np.asarray(predict(np.stack([resize(image, side) for image in images])))
    parts = []
    for name, stress in STRESSES.items():
        for severity in stress.severities:
            logits = plain
            if severity != stress.untouched:
                changed = (stressed(image, name, severity, seed + row) for row, image in enumerate(images))
                logits = np.asarray(predict(np.stack([resize(image, side) for image in changed])))
            parts.append(pd.DataFrame({"stress": name, "severity": float(severity), "logit": logits}))
    return pd.concat(parts).rename_axis("row").reset_index()


def curves(
    logits: pd.DataFrame, sources: pd.DataFrame, *, threshold: float = metrics.THRESHOLD, resamples: int, seed: int = 0
) -> pd.DataFrame:
    """AUC, recall and specificity at each severity, with the change from the untouched picture, and 95 % intervals.

    ``logits``: columns of ``answers``, whose ``row`` counts the rows of ``sources`` (source, label). A source has the
    mean logit of its images and is called polycystic at ``threshold``, a probability; where each fold has its own,
    take it from the logits beforehand and leave .5. All severities are drawn over the same resampled sources.
    Columns: stress, severity, metric, value, low, high, change, change_low, change_high, sources, few_sources.
    """
    rows = []
    for name, severities, wide, facts in _by_stress(logits, sources, threshold, resamples, seed):
        for metric, (points, draws) in wide.items():
            plain = severities.index(STRESSES[name].untouched)
            for i, severity in enumerate(severities):
                value = {"stress": name, "severity": severity, "metric": metric, "value": points[i]}
                value |= _interval(draws[:, i], ("low", "high")) | {"change": points[i] - points[plain]}
                value |= _interval(draws[:, i] - draws[:, plain], ("change_low", "change_high"))
                rows.append(value | facts)
    return pd.DataFrame(rows)


def slopes(
    logits: pd.DataFrame, sources: pd.DataFrame, *, threshold: float = metrics.THRESHOLD, resamples: int, seed: int = 0
) -> pd.DataFrame:
    """The slope of each curve: the change that a straight line gives from the untouched picture to the farthest.

    Least squares over the distances of the severities (Stress.distance), both directions taken together. Columns:
    stress, metric, value, low, high, sources, few_sources; arguments as in ``curves``.
    """
    rows = []
    for name, severities, wide, facts in _by_stress(logits, sources, threshold, resamples, seed):
        far = np.array([STRESSES[name].distance(severity) for severity in severities])
        pull = (far - far.mean()) / ((far - far.mean()) ** 2).sum()
        for metric, (points, draws) in wide.items():
            rows.append(
                {"stress": name, "metric": metric, "value": pull @ points}
                | _interval(draws @ pull, ("low", "high"))
                | facts
            )
    return pd.DataFrame(rows)


def _by_stress(logits, sources, threshold, resamples, seed) -> Iterator[tuple]:
    """Of each stress: its name, severities, {metric: (points (s,), draws (resamples, s))} and facts of the sources."""
    sources = sources.reset_index(drop=True)
    label = sources.groupby("source", sort=True).label.mean().ge(0.5).astype(int)
    table = label.reset_index()
    drawn, one, y_true = bootstrap.source_weights(table, resamples, seed), np.ones((1, len(table))), label.to_numpy()
    few = bool(label.value_counts().reindex([0, 1], fill_value=0).min() < FEW)
    cut = np.log(threshold / (1 - threshold))
    named = logits.assign(source=sources.source.to_numpy()[logits.row])
    for name, part in named.groupby("stress", sort=False):
        scores = part.pivot_table(index="source", columns="severity", values="logit").reindex(label.index)
        wide = {metric: ([], []) for metric in METRICS}
        for severity in scores:
            for weights, place in ((one, 0), (drawn, 1)):
                for metric, value in _judged(y_true, scores[severity].to_numpy(), cut, weights).items():
                    wide[metric][place].append(value)
        made = {metric: (np.concatenate(points), np.stack(draws, 1)) for metric, (points, draws) in wide.items()}
        yield name, list(scores.columns), made, {"sources": len(table), "few_sources": few}


def _judged(y_true: np.ndarray, score: np.ndarray, cut: float, weights: np.ndarray) -> dict[str, np.ndarray]:
    right = ((score >= cut) == (y_true == 1)).astype(float)
    shares = {}
    for metric, of in (("recall", y_true == 1), ("specificity", y_true == 0)):
        with np.errstate(invalid="ignore"):
            shares[metric] = weights @ (right * of) / (weights @ of.astype(float))
    return {"auc": metrics.auc(y_true, score, weights)} | shares


def _interval(draws: np.ndarray, names: tuple[str, str]) -> dict[str, float]:
    return dict(zip(names, bootstrap.percentile_interval(draws)[:2], strict=True))
