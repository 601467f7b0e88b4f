"""Show how leakage raises a score: one model, the same images, three splits.

The model only looks up: it names the class of the most similar picture that it has seen. Under a random split of
images that picture is a copy of the test image; with whole sources kept together, what is left is skill.
"""

from collections.abc import Iterable

import cv2
import numpy as np
import pandas as pd
from scipy.fft import dctn
from sklearn.cluster import DBSCAN

from pcos_utils.audit.sources import places
from pcos_utils.config import Study
from pcos_utils.data.images import load
from pcos_utils.data.pixels import change
from pcos_utils.data.splits import FEWEST_SOURCES
from pcos_utils.evaluation.baselines import Nearest
from pcos_utils.evaluation.image_measures import thumbnail
from pcos_utils.evaluation.intervals import RESAMPLES, Interval, bca, resample, share
from pcos_utils.evaluation.shortcuts import folds

PLANTED, COPIES = 24, 12  # pictures of each class and copies of each, where the data have no copies of their own
HASH_SIDE, HASH_KEPT = 32, 8  # a perceptual hash: 8 x 8 lowest frequencies of a 32 x 32 thumbnail
HASH_DISTANCE = 5  # of 64 bits; pairs up to here count as look-alikes
COLUMNS = ["split", *Interval._fields[:4], "shared", "images", "groups", "sources", "polycystic", "normal", "words"]
SPLITS = ("random", "hash", "source")  # drawn: images; look-alikes by perceptual hash, together; whole sources
WORTH = "random minus source"


def of_study(study: Study, sources: pd.DataFrame) -> pd.DataFrame:
    """Return the table of ``compare`` for a study's images; ``sources`` is its audited sources.csv.

    Images with two or more a source are taken as they are; else copies of the first PLANTED pictures a class are made.
    """
    table = sources[sources.status == "ok"].reset_index(drop=True)
    images = map(load, places(table, study.image_dir))
    if len(table) < 2 * table.source.nunique():
        first = table[table.used == "yes"].drop_duplicates("source").groupby("label").head(PLANTED)
        images, table = plant(map(load, places(first, study.image_dir)), first.label, seed=study.seed)
    return compare(*look(images), table, seed=study.seed)


def plant(pictures: Iterable, labels: Iterable, *, copies: int = COPIES, seed: int = 0) -> tuple[list, pd.DataFrame]:
    """Return pictures, uint8 (H, W, 3), with copies changed as the published ones were, ``source`` and ``label``."""
    images, rows = [], []
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        for copy in range(copies):
            images.append(change(picture, np.random.default_rng([seed, place, copy])) if copy else picture)
            rows.append((f"source {place}", int(label)))
    return images, pd.DataFrame(rows, columns=["source", "label"])


def look(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return what the model and the hash see of each image: thumbnails, float32 (n, 256), and hashes, bool (n, 64)."""
    seen = [(thumbnail(image), perceptual_hash(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))) for image in images]
    thumbnails, hashes = zip(*seen, strict=True)
    return np.stack(thumbnails), np.stack(hashes)


def perceptual_hash(grey: np.ndarray) -> np.ndarray:
    """Return 64 bits of a grey image: which of its lowest frequencies exceed their median (as imagehash's phash)."""
    small = cv2.resize(grey, (HASH_SIDE, HASH_SIDE), interpolation=cv2.INTER_AREA).astype(float)
    low = dctn(small)[:HASH_KEPT, :HASH_KEPT].ravel()
    return low > np.median(low)


def look_alikes(hashes: np.ndarray, distance: int = HASH_DISTANCE) -> np.ndarray:
    """Return the group of each hash, bool (n, 64), as int (n,): chains of hashes up to so many bits apart."""
    return DBSCAN(distance / hashes.shape[1], min_samples=1, metric="hamming").fit_predict(hashes)


def compare(
    thumbnails: np.ndarray, hashes: np.ndarray, table: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Return one row per split, with COLUMNS. ``table``: source and label of each image.

    ``value``: balanced accuracy of the out-of-fold predictions, each source counting once; its interval is a bootstrap
    over sources, or exact where every source is predicted alike. ``shared``: share of test images whose source stands
    on the training side too. Under the source split a class with fewer than FEWEST_SOURCES has no value, and ``words``
    say so; otherwise a last row, WORTH, has the difference of the same sources' scores under the two splits.
    """
    label, source = table.label.to_numpy(int), table.source.to_numpy()
    normal, polycystic = (len(np.unique(source[label == value])) for value in (0, 1))
    rows, rights = [], {}
    for split, group in zip(SPLITS, (None, look_alikes(hashes), source), strict=True):
        groups = len(table) if group is None else len(np.unique(group))
        sizes = len(table), groups, table.source.nunique(), polycystic, normal
        few = split == "source" and min(normal, polycystic) < FEWEST_SOURCES
        drawn = [] if few else folds(label, group, seed)
        if not drawn:
            words = f"cannot be estimated: {groups:,} {'source' if split == 'source' else 'group'}{'s' * (groups > 1)}"
            rows.append((split, *Interval(np.nan)[:4], np.nan, *sizes, words))
            continue
        right, shared = np.empty((2, len(table)))
        rights[split] = right
        for fit, held in drawn:
            score = Nearest().fit(thumbnails[fit], label[fit]).decision_function(thumbnails[held])
            right[held] = (score > 0) == label[held]
            shared[held] = np.isin(source[held], source[fit])
        accuracy = balanced_accuracy(table.assign(right=right), resamples, seed)
        rows.append((split, *accuracy[:4], shared.mean(), *sizes, ""))
    if {"random", "source"} <= rights.keys():
        apart = table.assign(right=rights["random"] - rights["source"])
        worth = balanced_accuracy(apart, resamples, seed, share_of_right=False)
        rows.append((WORTH, *worth[:4], np.nan, *sizes, worth.reason))
    return pd.DataFrame(rows, columns=COLUMNS)


def balanced_accuracy(table: pd.DataFrame, resamples: int, seed: int, *, share_of_right: bool = True) -> Interval:
    """Return the balanced accuracy over sources with its interval. Columns: source, label, right.

    ``share_of_right``: whether ``right`` is a share, which has an exact interval where the bootstrap has none.
    """
    each = table.groupby(["label", "source"]).right.mean().reset_index()
    label, right = each.label.to_numpy(int), each.right.to_numpy()

    def balanced(weights: np.ndarray) -> np.ndarray:
        """Return the balanced accuracy of each resample, where ``weights`` (..., n) counts the sources drawn."""
        parts = [weights[..., label == value] for value in (0, 1)]
        shares = [part @ right[label == value] / part.sum(-1) for value, part in enumerate(parts)]
        return (shares[0] + shares[1]) / 2

    accuracy = bca(balanced, label, resample(label, resamples, seed))
    if not (accuracy.reason and share_of_right):
        return accuracy
    # A bootstrap of equal values knows no uncertainty; the classes' own intervals, averaged, are on the safe side.
    low, high = np.mean([share(right[label == value])[1:3] for value in (0, 1)], axis=0)
    return Interval(accuracy.value, low, high, "exact, averaged")
