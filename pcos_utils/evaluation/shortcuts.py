"""How far the classes can be told apart without seeing a follicle, under the usual split and under an honest one.

Where file size or a thumbnail does as well as a network, the network has shown nothing. Under a random split of
images, copies of one picture stand on both sides; under a split of sources they do not.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from pcos_utils.data.audit import places
from pcos_utils.data.images import load
from pcos_utils.evaluation import metrics, uncertainty, within

FOLDS = 5
THUMBNAIL = 16  # pixels a side
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
    """The readable images with ``intensity``, ``border``, ``colour`` and ``thumbnail`` (256 values) of each.

    ``intensity``: mean grey level; ``border``: share of the outer tenth whose pixels equal their neighbours;
    ``colour``: mean distance of the red, green and blue of a pixel, grey levels. ``folder`` as in find_sources.
    """
    readable = sources[sources.status == "ok"]
    distinct = readable.drop_duplicates("pixel_sha256")
    with ThreadPoolExecutor(2) as pool:
        measured = pd.DataFrame(list(pool.map(_measure, places(distinct, folder))), index=distinct.pixel_sha256)
    values = measured.loc[readable.pixel_sha256].set_index(readable.index)
    return readable.join(values)


def separation(measured: pd.DataFrame, *, resamples: int, seed: int = 0) -> pd.DataFrame:
    """One row per shortcut, split and metric: shortcut, split, metric, value, low, high, low_of_all, sources, images,
    few_sources.

    ``split``: "random" (images drawn) or "source" (sources drawn). Values are of out-of-fold predictions of all
    images by a small tree, or by the nearest neighbour for thumbnails, the AUC over pairs in the same fold; intervals
    come from resampled sources and are too narrow where ``few_sources`` of a class lie behind them. ``low_of_all`` is
    the lower end for whoever picks the best shortcut: its error is shared among all of them (Bonferroni). Where a class
    has a single source no source split exists, and value and interval are empty.
    """
    y_true = measured.label.to_numpy(int)
    weights = uncertainty.source_weights(measured, resamples, seed)
    few = bool(measured.groupby("label").source.nunique().min() < uncertainty.FEW)
    counts = {"sources": measured.source.nunique(), "images": len(measured), "few_sources": few}
    rows = []
    for name, columns in SHORTCUTS.items():
        for split, found in _out_of_fold(measured, columns, seed).items():
            for metric in ("auc", "accuracy"):
                value = low = high = low_of_all = np.nan
                if found is not None:
                    of_all, drawn = (_score(metric, y_true, *found, one) for one in (np.ones(len(measured)), weights))
                    ends = [0.025, 0.975, 0.025 / len(SHORTCUTS)]
                    value, (low, high, low_of_all) = float(of_all), np.nanquantile(drawn, ends)
                row = {"shortcut": name, "split": split, "metric": metric, "value": value, "low": low, "high": high}
                rows.append(row | {"low_of_all": low_of_all} | counts)
    return pd.DataFrame(rows)


def _score(metric: str, y_true: np.ndarray, y_prob: np.ndarray, fold: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if metric == "auc":  # pooled over folds, a trait that knows nothing would rank backwards
        return within.auc_in_folds(y_true, y_prob, fold, weights)
    return metrics.accuracy(y_true, y_prob, weights)


def _measure(path: Path) -> dict:
    pixels = load(path)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    outer = np.ones(grey.shape, bool)
    outer[height // 10 : height - height // 10, width // 10 : width - width // 10] = False
    flat = np.zeros(grey.shape, bool)
    flat[:, 1:] = grey[:, 1:] == grey[:, :-1]
    flat[:, 0] = flat[:, 1 % width]
    return {
        "intensity": float(grey.mean()),
        "border": float(flat[outer].mean()),
        "colour": float(np.ptp(pixels.astype(np.int16), axis=2).mean()),
        "thumbnail": cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).ravel(),
    }


def _out_of_fold(measured: pd.DataFrame, columns: list[str], seed: int) -> dict[str, tuple | None]:
    # Of each split the probability and the fold of every image, or None where it cannot be drawn.
    if columns == ["thumbnail"]:
        values, model = np.stack(measured.thumbnail).astype(float), KNeighborsClassifier(1)
    else:
        values, model = measured[columns], DecisionTreeClassifier(max_depth=4, min_samples_leaf=2, random_state=seed)
        if columns == ["format", "mode"]:
            values = OrdinalEncoder().fit_transform(values)
    y, source = measured.label.to_numpy(int), measured.source.to_numpy()
    images = int(np.bincount(y, minlength=2).min())
    few = int(measured.groupby("label").source.nunique().reindex([0, 1], fill_value=0).min())
    made = {"random": None, "source": None}
    drawn = {}
    if images > 1:
        drawn["random"] = StratifiedKFold(min(FOLDS, images), shuffle=True, random_state=seed)
    if few > 1:
        drawn["source"] = StratifiedGroupKFold(min(FOLDS, few), shuffle=True, random_state=seed)
    for name, folds in drawn.items():
        groups = source if name == "source" else None
        folds, fold = list(folds.split(values, y, groups)), np.empty(len(y), int)
        for number, (_, held) in enumerate(folds):
            fold[held] = number
        made[name] = cross_val_predict(model, values, y, cv=folds, method="predict_proba")[:, 1], fold
    return made
