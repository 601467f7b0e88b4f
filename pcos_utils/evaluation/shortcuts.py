"""Measure how well the classes can be told apart without a follicle, under the usual split and under an honest one.

Where file size or a thumbnail does as well as a network, the network has shown nothing. Under a random split of
images, copies of one picture stand on both sides; under a split of sources they do not.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from pcos_utils.audit.sources import places
from pcos_utils.data.images import load
from pcos_utils.data.splits import source_labels
from pcos_utils.evaluation.auc import by_score, with_newcombe
from pcos_utils.evaluation.baselines import Nearest
from pcos_utils.evaluation.comparison import WIDEN
from pcos_utils.evaluation.image_measures import outer_tenth, thumbnail
from pcos_utils.evaluation.intervals import FEW, RESAMPLES, Interval, bca, resample

FOLDS = 5
BLOCK = 500  # resamples computed together
SHORTCUTS = {
    "image size": ["width", "height"],
    "file size": ["bytes"],
    "file format": ["format", "mode"],
    "mean intensity": ["intensity"],
    "flat border": ["border"],
    "colour": ["colour"],
    "nearest thumbnail": ["thumbnail"],
}


def measure(sources: pd.DataFrame, folder: Path | dict[str, Path]) -> pd.DataFrame:
    """Return the readable images with ``intensity``, ``border``, ``colour`` and ``thumbnail`` (256 values) of each.

    ``intensity``: mean grey level; ``border``: share of the outer tenth whose pixels equal their neighbours;
    ``colour``: mean distance of the red, green and blue of a pixel, grey levels. ``folder``: as in find_sources.
    """
    readable = sources[sources.status == "ok"]
    distinct = readable.drop_duplicates("pixel_sha256")
    with ThreadPoolExecutor(2) as pool:
        measured = pd.DataFrame(list(pool.map(_measure, places(distinct, folder))), index=distinct.pixel_sha256)
    values = measured.loc[readable.pixel_sha256].set_index(readable.index)
    return readable.join(values)


def separation(measured: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Return one row per shortcut and split: shortcut, split, value, low, high, reason, sources, images, few_sources.

    ``split``: "random" (images drawn) or "source" (sources drawn). The AUC is of out-of-fold predictions of all images
    by a small tree, or by the nearest neighbour for thumbnails, over pairs in the same fold. Intervals are BCa over
    sources, or Newcombe's where the bootstrap has none, widened as those of every trained method. Where a class has a
    single source no source split exists.
    """
    y_true, names = measured.label.to_numpy(int), np.sort(measured.source.unique())
    at, label = np.searchsorted(names, measured.source), source_labels(measured).to_numpy()
    weights = resample(label, resamples, seed)
    few = bool(np.bincount(label, minlength=2).min() < FEW)
    counts = {"sources": len(names), "images": len(measured), "few_sources": few}
    met, rows = np.ones(np.bincount(label, minlength=2)[::-1]), []
    for name, columns in SHORTCUTS.items():
        for split, predicted in _out_of_fold(measured, columns, seed).items():
            interval = Interval(np.nan, reason="a class has a single source")
            if predicted is not None:
                statistic = partial(_auc, y_true, *predicted, at)
                interval = with_newcombe(bca(statistic, label, weights, WIDEN), met, WIDEN)
            row = {"shortcut": name, "split": split, "value": interval.value, "low": interval.low}
            rows.append(row | {"high": interval.high, "reason": interval.reason} | counts)
    return pd.DataFrame(rows)


def _auc(y_true: np.ndarray, score: np.ndarray, fold: np.ndarray, at: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUC over pairs of images in one fold, shape (...), for weights of sources (..., sources)."""
    values = np.empty(weights.shape[:-1])
    for block in np.array_split(np.arange(len(weights)), -(-len(weights) // BLOCK)) if weights.ndim == 2 else [...]:
        right = pairs = 0.0
        for number in np.unique(fold):
            rows = fold == number
            positive, negative = by_score(y_true[rows], score[rows], weights[block][..., at[rows]])
            right = right + (positive * (negative.cumsum(-1) - negative / 2)).sum(-1)
            pairs = pairs + positive.sum(-1) * negative.sum(-1)
        with np.errstate(invalid="ignore"):
            values[block] = right / pairs
    return values


def _measure(path: Path) -> dict:
    pixels = load(path)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    flat = np.zeros(grey.shape, bool)
    flat[:, 1:] = grey[:, 1:] == grey[:, :-1]
    flat[:, 0] = flat[:, 1 % grey.shape[1]]
    return {
        "intensity": float(grey.mean()),
        "border": float(flat[outer_tenth(grey.shape)].mean()),
        "colour": float(np.ptp(pixels.astype(np.int16), axis=2).mean()),
        "thumbnail": thumbnail(pixels),
    }


def _out_of_fold(measured: pd.DataFrame, columns: list[str], seed: int) -> dict[str, tuple | None]:
    """Return for each split the score and the fold of every image, or None where it cannot be drawn."""
    how = "predict_proba"
    if columns == ["thumbnail"]:
        values, model, how = np.stack(measured.thumbnail).astype(float), Nearest(), "decision_function"
    else:
        values, model = measured[columns], DecisionTreeClassifier(max_depth=4, min_samples_leaf=2, random_state=seed)
        if columns == ["format", "mode"]:
            values = OrdinalEncoder().fit_transform(values)
    y, source, predicted = measured.label.to_numpy(int), measured.source.to_numpy(), {"random": None, "source": None}
    for split, splitter, groups in (("random", StratifiedKFold, None), ("source", StratifiedGroupKFold, source)):
        units = measured.groupby("label").path.size() if groups is None else measured.groupby("label").source.nunique()
        fewest = int(units.reindex([0, 1], fill_value=0).min())
        if fewest > 1:
            folds = list(splitter(min(FOLDS, fewest), shuffle=True, random_state=seed).split(values, y, groups))
            fold = np.empty(len(y), int)
            for number, (_, held) in enumerate(folds):
                fold[held] = number
            score = cross_val_predict(model, values, y, cv=folds, method=how)
            predicted[split] = (score if score.ndim == 1 else score[:, 1]), fold
    return predicted
