"""The source pictures behind the images: images whose perceptual hashes nearly agree are copies of one source.

A first audit. A hash sees re-encoded, resized and brightened copies; it misses shifted, zoomed and rotated ones, so
the number of sources found here is an upper bound, and the report says so.
"""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Bits of 64 in which two hashes may differ and still show one picture; re-encoding alone flips up to four.
DISTANCE = 4
BLOCK = 512  # rows compared at a time, so that memory stays at BLOCK x n bytes


def find_sources(manifest: pd.DataFrame, distance: int = DISTANCE) -> pd.DataFrame:
    """The manifest with a ``source`` for every readable image: the path of the first image of its family.

    Two images are joined when their bytes agree or their 64-bit hashes differ in at most ``distance`` bits; families
    are the connected components. Unreadable files get an empty source.
    """
    readable = manifest[manifest.status == "ok"]
    hashes = np.array([int(value, 16) for value in readable.phash], dtype=np.uint64)
    first, second = _near_pairs(hashes, distance)
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(hashes), len(hashes)))
    _, family = connected_components(links, directed=False)
    source = readable.path.groupby(family).transform("first")
    return manifest.assign(source=source.reindex(manifest.index).fillna(""))


def _near_pairs(hashes: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = [], []
    for start in range(0, len(hashes), BLOCK):
        different = np.bitwise_count(hashes[start : start + BLOCK, None] ^ hashes[None, start:])
        row, column = np.nonzero(different <= distance)
        first.append(row + start)
        second.append(column + start)
    return np.concatenate(first), np.concatenate(second)


def summary(sources: pd.DataFrame) -> pd.DataFrame:
    """Counts that describe a data set, one row per fact, columns ``fact`` and ``count``."""
    readable = sources[sources.status == "ok"]
    labels = readable.groupby("source").label.nunique()
    facts = {
        "files in class folders": len(sources),
        "readable images": len(readable),
        "unreadable files": len(sources) - len(readable),
        "distinct files (SHA-256)": readable.sha256.nunique(),
        "source pictures (upper bound, by perceptual hash)": readable.source.nunique(),
        "polycystic sources": readable[readable.label == 1].source.nunique(),
        "normal sources": readable[readable.label == 0].source.nunique(),
        "sources that carry both labels": int((labels > 1).sum()),
        "sources in both the train and the test folder": crossing_sources(
            readable, readable.folder_split == "train", readable.folder_split == "test"
        ),
    }
    return pd.DataFrame({"fact": list(facts), "count": list(facts.values())})


def crossing_sources(images: pd.DataFrame, train: pd.Series, test: pd.Series) -> int:
    """The number of sources with an image on both sides; ``train`` and ``test`` are boolean, one per image."""
    return len(set(images.source[train]) & set(images.source[test]))
