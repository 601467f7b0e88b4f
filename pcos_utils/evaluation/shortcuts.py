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
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from pcos_utils.audit.sources import places
from pcos_utils.data.images import load
from pcos_utils.data.splits import source_labels
from pcos_utils.evaluation.auc import with_newcombe, within
from pcos_utils.evaluation.baselines import Nearest, logits
from pcos_utils.evaluation.comparison import WIDEN
from pcos_utils.evaluation.image_measures import outer_tenth, thumbnail
from pcos_utils.evaluation.intervals import FEW, RESAMPLES, Interval, bca, resample

FOLDS = 5
BLOCK = 500  # resamples computed together
COLUMNS = ["shortcut", "split", "value", "low", "high", "reason", "sources", "images", "few_sources"]
SHORTCUTS = {
    "image size": ["width", "height"], "file size": ["bytes"], "file format": ["format", "mode"],
    "mean intensity": ["intensity"], "flat border": ["border"], "colour": ["colour"],
    "nearest thumbnail": ["thumbnail"],
}  # fmt: skip


def measure(sources: pd.DataFrame, folder: Path | dict[str, Path]) -> pd.DataFrame:
    """Return the readable images with ``intensity``, ``border``, ``colour`` and ``thumbnail`` (256 values) of each.

    ``intensity``: mean grey level; ``border``: share of the outer tenth whose pixels equal their neighbours;
    ``colour``: mean distance of the red, green and blue of a pixel, grey levels. ``folder``: as in find_sources.
    """
    readable = sources[sources.status == "ok"]
    distinct = readable.drop_duplicates("pixel_sha256")
    with ThreadPoolExecutor(2) as pool:
        measured = pd.DataFrame(list(pool.map(_measure, places(distinct, folder))), index=distinct.pixel_sha256)
    return readable.join(measured.loc[readable.pixel_sha256].set_index(readable.index))


def separation(measured: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Return one row per shortcut and split, with COLUMNS.

    ``split``: "random" (images drawn) or "source" (sources drawn). The AUC is of out-of-fold predictions of all images
    by a small tree, or by the nearest neighbour for thumbnails, over pairs in the same fold. Intervals are BCa over
    sources, or Newcombe's where the bootstrap has none, widened as those of every trained method. Where a class has a
    single source, or shares all with the other, no source split exists.
    """
    y, source, label = measured.label.to_numpy(int), measured.source.to_numpy(), source_labels(measured).to_numpy()
    at, weights = np.unique(source, return_inverse=True)[1], resample(label, resamples, seed)
    of_class = np.bincount(label, minlength=2)
    splits = {"random": folds(y, None, seed), "source": folds(y, source, seed)}
    tree, rows = DecisionTreeClassifier(max_depth=4, min_samples_leaf=2, random_state=seed), []
    for name, columns in SHORTCUTS.items():
        values, model = measured[columns], tree
        if columns == ["thumbnail"]:
            values, model = pd.DataFrame(np.stack(measured.thumbnail)), Nearest()
        elif columns == ["format", "mode"]:
            values = pd.DataFrame(OrdinalEncoder().fit_transform(values))
        for split, drawn in splits.items():
            interval = Interval(np.nan, reason="a class has too few sources")
            if drawn:
                score, fold = np.empty(len(y)), np.empty(len(y), int)
                for number, (fit, held) in enumerate(drawn):
                    score[held], fold[held] = logits(model, values, y, fit, held), number
                bootstrap = bca(partial(_auc, y, score, fold, at), label, weights, WIDEN)
                interval = with_newcombe(bootstrap, np.ones(of_class[::-1]), WIDEN)
            sizes = len(label), len(y), bool(of_class.min() < FEW)
            rows.append((name, split, *interval[:3], interval.reason, *sizes))
    return pd.DataFrame(rows, columns=COLUMNS)


def folds(label: np.ndarray, group: np.ndarray | None, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return stratified folds of images, (fitted, held out) each, with whole groups, or of single images without any.

    At most FOLDS, fewer where a class has fewer groups, and none where a fold would be fitted on one class.
    """
    units = np.arange(len(label)) if group is None else group
    number = min(FOLDS, *(len(np.unique(units[label == value])) for value in (0, 1)))
    splitter = StratifiedKFold if group is None else StratifiedGroupKFold
    drawn = list(splitter(number, shuffle=True, random_state=seed).split(label, label, group)) if number > 1 else []
    return drawn if all(len(np.unique(label[fit])) == 2 for fit, _ in drawn) else []


def _auc(y: np.ndarray, score: np.ndarray, fold: np.ndarray, at: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUC over pairs of images in one fold, shape (...), for weights of sources (..., sources)."""
    blocks = np.array_split(np.atleast_2d(weights), weights[..., 0].size // BLOCK + 1)
    return np.concatenate([within(y, score, fold, block[:, at]) for block in blocks]).reshape(weights.shape[:-1])


def _measure(path: Path) -> dict:
    pixels = load(path, tint=True)  # networks that are not ours see it
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
