"""How the answers change when the picture changes a little: gain, gamma, blur, speckle, rotation, crop and JPEG.

Nothing is trained and no threshold is chosen here. What changes when the *truth* is another is in relabelled.py.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from pcos_utils.evaluation import bootstrap, metrics, within
from pcos_utils.evaluation.readings import interval, many
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


def rotation(image: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
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
    return np.ascontiguousarray(cv2.imdecode(done, cv2.IMREAD_COLOR)[..., ::-1])


class Stress(NamedTuple):
    """One way to change a picture: its severities in order, and the one that leaves the picture alone."""

    change: Callable
    severities: tuple[float, ...]
    untouched: float
    unit: str


STRESSES = {
    "gain": Stress(gain, (0.5, 0.71, 1, 1.41, 2), 1, "factor"),
    "gamma": Stress(gamma, (0.5, 0.71, 1, 1.41, 2), 1, "exponent"),
    "blur": Stress(blur, (0, 0.5, 1, 2), 0, "SD, % of the width"),
    "speckle": Stress(speckle, (0, 0.2, 0.4, 0.8), 0, "SD of the factor"),
    "rotation": Stress(rotation, (0, 10, 20, 40), 0, "degrees"),
    "crop": Stress(crop, (0, 10, 20, 40), 0, "% of each side cut off"),
    "JPEG": Stress(jpeg, (0, 50, 80, 95), 0, "100 less the quality"),
}


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def stressed(image: np.ndarray, name: str, severity: float, seed: int = 0) -> np.ndarray:
    """The picture under one stress, uint8 (H, W, 3), cropped ones smaller. The seed fixes the noise."""
    stress = STRESSES[name]
    return image if severity == stress.untouched else stress.change(image, severity, np.random.default_rng(seed))


def answers(
    predict: Callable[[list[np.ndarray]], np.ndarray], images: Sequence[np.ndarray], *, seed: int = 0
) -> pd.DataFrame:
    """The logit of each picture under each stress and severity: columns stress, severity, row, logit.

    ``predict``: from pictures, uint8 (H, W, 3), to logits (n,); ``images`` are changed at the size that they have.
    ``row`` counts them. Of a study in folds: once for each fold, with what it trained and its test images.
    """
    plain, parts = np.asarray(predict(list(images))), []
    for name, stress in STRESSES.items():
        for severity in stress.severities:
            logits = plain
            if severity != stress.untouched:
                changed = [stressed(image, name, severity, seed + row) for row, image in enumerate(images)]
                logits = np.asarray(predict(changed))
            rows = {"stress": name, "severity": float(severity), "row": np.arange(len(logits)), "logit": logits}
            parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True)


def curves(answered: pd.DataFrame, *, resamples: int, seed: int = 0) -> pd.DataFrame:
    """AUC, recall and specificity at each severity, and how they differ from the untouched picture's, each with its
    95 % interval (BCa bootstrap over sources, the same resamples for all).

    ``answered``: stress, severity, source, label, repeat, fold, logit, called, one row a source and severity. Columns:
    stress, severity, metric, value, low, high, change, change_low, change_high, sources, few_sources.
    """
    rows = []
    for name, part in answered.groupby("stress", sort=False):
        own = {severity: table.sort_values("source") for severity, table in part.groupby("severity", sort=True)}
        first = next(iter(own.values()))
        left_out, classes = bootstrap.jackknife_weights(first)
        drawn = np.vstack([np.ones(len(first)), bootstrap.source_weights(first, resamples, seed), left_out])
        few = bool(first.label.value_counts().reindex([0, 1], fill_value=0).min() < FEW)
        values = {severity: _judged(table, drawn) for severity, table in own.items()}
        plain = values[STRESSES[name].untouched]
        for severity, found in values.items():
            for metric in METRICS:
                row = {"stress": name, "severity": severity, "metric": metric}
                row |= _interval(found[metric], resamples, classes)
                change = _interval(found[metric] - plain[metric], resamples, classes)
                row |= {"change": change["value"], "change_low": change["low"], "change_high": change["high"]}
                rows.append(row | {"sources": len(first), "few_sources": few})
    return pd.DataFrame(rows)


def _judged(table: pd.DataFrame, weights: np.ndarray) -> dict[str, np.ndarray]:
    label = table.label.to_numpy()
    tp, fn, fp, tn = metrics.confusion(label, label, weights, table.called.to_numpy())
    with np.errstate(invalid="ignore"):
        shares = {"recall": tp / (tp + fn), "specificity": tn / (tn + fp)}
    return {"auc": within.auc(within.meetings(table), weights)} | shares


def _interval(values: np.ndarray, resamples: int, classes: np.ndarray) -> dict[str, float]:
    # As ``curves`` stacks them: of the sources as they are, of the resamples, and with each source left out.
    point, draws, left_out = values[0], values[1 : 1 + resamples], values[1 + resamples :]
    low, high, _ = bootstrap.bca_interval(float(point), draws, left_out, classes)
    return {"value": float(point), "low": low, "high": high}


def sentence(table: pd.DataFrame, name: str) -> str:
    """The reader's AUC untouched, and where it is shown to fall: of each such stress the worst severity.

    ``table``: of ``curves``, of one reader. "Shown": the interval of the change lies below zero.
    """
    aucs = table[table.metric == "auc"]
    untouched = aucs.severity == aucs.stress.map(lambda stress: STRESSES[stress].untouched)
    plain = aucs[untouched].iloc[0]
    text = f"{name}: AUC {interval(plain)} on {many(plain.sources, 'untouched source')}"
    if not plain.low > 0.5:
        return f"{text}, not shown to be better than a coin; there is nothing to break."
    falls = aucs[aucs.change_high < 0].sort_values("change").drop_duplicates("stress")
    told = [
        f"{interval(row)} under {row.stress} {row.severity:g} ({STRESSES[row.stress].unit})"
        for _, row in falls.iterrows()
    ]
    looks = f"{many((~untouched).sum(), 'change')} of the picture were looked at, uncorrected"
    if not told:
        return f"{text}; no change of the picture is shown to lower it ({looks})."
    return f"{text}; it is shown to fall to {'; to '.join(told)} ({looks})."
