"""Count what an audit found: copies, leaks between train and test, double labels, and what copies are worth."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from pcos_utils.data.manifest import named_frame
from pcos_utils.data.splits import crossing_sources

SOURCES = "source pictures"
BOTH_LABELS = "sources that carry both labels"
CROSSING = "sources in both the train and the test folder"
COPIED_BYTES = "test images whose bytes are in the train folder"
COPIED_SOURCES = "test images whose source is in the train folder"
NEW_SOURCES = "test sources that the train folder lacks"


def totals(sources: pd.DataFrame) -> pd.DataFrame:
    """Return counts that describe a data set, one row per fact, with columns ``fact`` and ``count``."""
    readable = sources[sources.status == "ok"]
    train, test = readable.folder_split == "train", readable.folder_split == "test"
    facts = {
        "files in class folders": len(sources),
        "readable images": len(readable),
        "unreadable files": int((~sources.status.isin(["ok", "collage"])).sum()),
        **distinct(readable),
        "polycystic sources": readable[readable.label == 1].source.nunique(),
        "normal sources": readable[readable.label == 0].source.nunique(),
        BOTH_LABELS: len(conflicts(sources)),
        **compared(readable),
        "images in the train folder": int(train.sum()),
        "images in the test folder": int(test.sum()),
        COPIED_BYTES: int(readable.sha256[test].isin(readable.sha256[train]).sum()),
        COPIED_SOURCES: int(readable.source[test].isin(readable.source[train]).sum()),
        CROSSING: crossing_sources(readable, train, test),
        NEW_SOURCES: len(set(readable.source[test]) - set(readable.source[train])),
    }
    return pd.DataFrame(facts.items(), columns=["fact", "count"])


def distinct(readable: pd.DataFrame) -> dict[str, int]:
    """Return the numbers of distinct files, of distinct pictures and of sources among readable images, by fact."""
    return {
        "distinct files (SHA-256)": readable.sha256.nunique(),
        "distinct pictures by pixels": readable.pixel_sha256.nunique(),
        SOURCES: readable.source.nunique(),
    }


def compared(readable: pd.DataFrame) -> dict[str, int]:
    """Return how often the most copied source is there, and how many readable images were hard to place, by fact."""
    return {
        "images of the most copied source": int(readable.source.value_counts().max()),
        "images too plain to compare": int((readable.evidence == "too plain").sum()),
        "images that match two sources kept apart": int((readable.evidence == "bridge").sum()),
    }


def copies(sources: pd.DataFrame) -> pd.DataFrame:
    """Return a row per ``source``, the most copied first: its number of ``images``, in all, by label and by folder."""
    readable = sources[sources.status == "ok"]
    marks = {"images": True, "polycystic": readable.label == 1, "normal": readable.label == 0}
    marks |= {split: readable.folder_split == split for split in ("train", "test")}
    counted = readable.assign(**marks).groupby("source")[list(marks)].sum().reset_index()
    return counted.sort_values(["images", "source"], ascending=[False, True], ignore_index=True)


def conflicts(sources: pd.DataFrame) -> pd.DataFrame:
    """Return the sources that carry both labels, with the columns of ``copies``."""
    counted = copies(sources)
    return counted[(counted.polycystic > 0) & (counted.normal > 0)].reset_index(drop=True)


def between(sources: pd.DataFrame) -> pd.DataFrame:
    """Return one row per pair of data sets: their names, ``shared_sources``, and how many images of each show these."""
    counted = sources[sources.status == "ok"].groupby(["source", "dataset"]).size().unstack(fill_value=0)
    rows = []
    for first, second in combinations(counted, 2):
        shared = counted[(counted[first] > 0) & (counted[second] > 0)]
        rows.append((first, second, len(shared), shared[first].sum(), shared[second].sum()))
    return pd.DataFrame(rows, columns=["first", "second", "shared_sources", "images_in_first", "images_in_second"])


def against_names(sources: pd.DataFrame) -> pd.Series:
    """Compare the audit with file names such as ``22_pco_1.jpg``; the names decide nothing.

    Returns the numbers of ``images`` whose name follows the scheme, of ``frames`` that they name, of ``joined`` sources
    (with images of several frames) and of ``parted`` frames (whose images have several sources).
    """
    named = sources.assign(frame=sources.path.map(named_frame))
    named = named[(named.status == "ok") & (named.frame != "")]
    joined = int((named.groupby("source").frame.nunique() > 1).sum())
    parted = int((named.groupby("frame").source.nunique() > 1).sum())
    return pd.Series({"images": len(named), "frames": named.frame.nunique(), "joined": joined, "parted": parted})


def effective_size(sources: pd.DataFrame, correlation: float) -> float:
    """Return how many independent images the images are worth at a correlation, 0 to 1, between copies of a source."""
    size = sources[sources.status == "ok"].groupby("source").size()
    return size.sum() / design_effect(size, correlation)


def design_effect(sizes: Sequence[float], correlation: float) -> float:
    """Return the factor by which copies inflate the variance of a mean over images (Kish 1965).

    It is ``1 + (m - 1) * correlation``, where m is the number of images of a family, averaged over images.
    """
    size = np.asarray(sizes, float)
    return float(1 + ((size**2).sum() / size.sum() - 1) * correlation)
