"""The source picture behind every image, and what follows: copies, leaks between folders, and pictures with two labels.

Bytes first, then pixels, then keypoints and speckle (``keypoints``): so a copy is found although it was shifted,
zoomed, turned, mirrored, brightened, stored again, framed or captioned.
"""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from pcos_utils.data import families
from pcos_utils.data.images import load
from pcos_utils.data.manifest import named_frame

SOURCES = "source pictures"
BOTH_LABELS = "sources that carry both labels"
CROSSING = "sources in both the train and the test folder"
COPIED_BYTES = "test images whose bytes are in the train folder"
COPIED_SOURCES = "test images whose source is in the train folder"
NEW_SOURCES = "test sources that the train folder lacks"


def find_sources(manifest: pd.DataFrame, folder: Path | dict[str, Path]) -> pd.DataFrame:
    """The manifest with columns ``source``, ``inliers`` and ``evidence``. Unreadable files have none of the three.

    ``source`` is the path of the first image of the family; ``inliers`` the number of keypoints shared with the
    picture through which the image joined it. ``evidence`` says how it joined: "first", "same pixels", "keypoints";
    "too plain" marks a picture that has nothing to compare, and "bridge" one that matches two families which were
    nevertheless kept apart. A manifest of several data sets has a column ``dataset``; ``folder`` then gives each its
    folder, and a source is named ``dataset/path``.
    """
    readable = manifest[manifest.status == "ok"]
    several = "dataset" in manifest
    name = readable.dataset + "/" + readable.path if several else readable.path
    first = ~readable.pixel_sha256.duplicated().to_numpy()
    distinct = np.flatnonzero(first)
    files = places(readable.iloc[distinct], folder)
    plain = "PCOS_PLAIN" in os.environ  # a stored bar is dead on every other page
    progress = partial(tqdm, desc="compare", total=len(files), mininterval=2, disable=plain)
    found = families.gather(lambda number: load(files[number]), len(files), progress)
    evidence = np.where(found.inliers > 0, "keypoints", "first").astype(object)
    evidence[found.plain] = "too plain"
    evidence[[number for number, _, _ in found.refused]] = "bridge"
    # From distinct pictures back to images: those with the same pixels follow the first of them.
    number = pd.Series(np.arange(len(distinct)), index=readable.pixel_sha256.to_numpy()[distinct])
    picture = number[readable.pixel_sha256].to_numpy()
    source = name.to_numpy()[distinct][found.family[picture]]
    made = pd.DataFrame({"source": source, "inliers": found.inliers[picture]}, index=readable.index)
    made["evidence"] = np.where(first | (evidence[picture] == "bridge"), evidence[picture], "same pixels")
    made["inliers"] = made.inliers.where(made.inliers > 0).astype("Int64")
    made = made.reindex(manifest.index).fillna({"source": "", "evidence": ""})
    return manifest.assign(**{column: made[column] for column in made})


def places(rows: pd.DataFrame, folder: Path | dict[str, Path]) -> list[Path]:
    """Where the file of each row lies; ``folder`` as in ``find_sources``."""
    if isinstance(folder, dict):
        return [folder[row.dataset] / row.path for row in rows.itertuples()]
    return [folder / path for path in rows.path]


def summary(sources: pd.DataFrame) -> pd.DataFrame:
    """Counts that describe a data set, one row per fact, columns ``fact`` and ``count``."""
    readable = sources[sources.status == "ok"]
    train, test = readable.folder_split == "train", readable.folder_split == "test"
    # Each data set has its own train and test folder: what one trains on and another tests on is no leak of either.
    own = readable
    if "dataset" in readable:
        own = readable.assign(**{name: readable.dataset + ":" + readable[name] for name in ("source", "sha256")})
    facts = {
        "files in class folders": len(sources),
        "readable images": len(readable),
        "unreadable files": len(sources) - len(readable),
        "distinct files (SHA-256)": readable.sha256.nunique(),
        "distinct pictures by pixels": readable.pixel_sha256.nunique(),
        SOURCES: readable.source.nunique(),
        "polycystic sources": readable[readable.label == 1].source.nunique(),
        "normal sources": readable[readable.label == 0].source.nunique(),
        BOTH_LABELS: len(conflicts(sources)),
        "images of the most copied source": int(readable.source.value_counts().max()),
        "images too plain to compare": int((readable.evidence == "too plain").sum()),
        "images that match two sources kept apart": int((readable.evidence == "bridge").sum()),
        "images in the train folder": int(train.sum()),
        "images in the test folder": int(test.sum()),
        COPIED_BYTES: int(own.sha256[test].isin(own.sha256[train]).sum()),
        COPIED_SOURCES: int(own.source[test].isin(own.source[train]).sum()),
        CROSSING: crossing_sources(own, train, test),
        NEW_SOURCES: len(set(own.source[test]) - set(own.source[train])),
    }
    return pd.DataFrame({"fact": list(facts), "count": list(facts.values())})


def copies(sources: pd.DataFrame) -> pd.DataFrame:
    """One row per source, the most copied first: ``source`` and its number of ``images``.

    ``polycystic``, ``normal``, ``train`` and ``test`` count the images by label and by folder.
    """
    readable = sources[sources.status == "ok"]
    marked = readable.assign(
        polycystic=readable.label == 1,
        normal=readable.label == 0,
        train=readable.folder_split == "train",
        test=readable.folder_split == "test",
    )
    counted = marked.groupby("source")[["polycystic", "normal", "train", "test"]].sum()
    counted.insert(0, "images", marked.groupby("source").size())
    return counted.reset_index().sort_values(["images", "source"], ascending=[False, True], ignore_index=True)


def conflicts(sources: pd.DataFrame) -> pd.DataFrame:
    """The sources that carry both labels, as in ``copies``."""
    counted = copies(sources)
    return counted[(counted.polycystic > 0) & (counted.normal > 0)].reset_index(drop=True)


def between(sources: pd.DataFrame) -> pd.DataFrame:
    """One row per pair of data sets: ``first``, ``second``, ``shared_sources`` and the images of each in these."""
    readable = sources[sources.status == "ok"]
    names = sorted(readable.dataset.unique())
    rows = []
    for i, one in enumerate(names):
        for two in names[i + 1 :]:
            left, right = readable[readable.dataset == one], readable[readable.dataset == two]
            shared = set(left.source) & set(right.source)
            here, there = int(left.source.isin(shared).sum()), int(right.source.isin(shared).sum())
            rows.append((one, two, len(shared), here, there))
    return pd.DataFrame(rows, columns=["first", "second", "shared_sources", "images_in_first", "images_in_second"])


def against_names(sources: pd.DataFrame) -> pd.Series:
    """The audit beside what file names claim, such as ``22_pco_1.jpg``; the names decide nothing.

    Counts: ``images`` whose name follows the scheme, ``frames`` that they name, ``joined`` (sources with images of
    several frames) and ``parted`` (frames whose images have several sources).
    """
    readable = sources[sources.status == "ok"]
    named = readable.assign(frame=readable.path.map(named_frame))
    named = named[named.frame != ""]
    return pd.Series(
        {
            "images": len(named),
            "frames": named.frame.nunique(),
            "joined": int((named.groupby("source").frame.nunique() > 1).sum()),
            "parted": int((named.groupby("frame").source.nunique() > 1).sum()),
        }
    )


def effective_size(sources: pd.DataFrame, correlation: float) -> float:
    """The number of independent images that the images are worth, when copies of a source correlate so much.

    The images divided by the design effect ``1 + (m - 1) * correlation``, m being the family's size averaged over
    images (Kish 1965). ``correlation`` lies in [0, 1]; at 1 a family counts about once.
    """
    size = sources[sources.status == "ok"].groupby("source").size()
    return float(size.sum() / (1 + ((size**2).sum() / size.sum() - 1) * correlation))


def crossing_sources(images: pd.DataFrame, train: pd.Series, test: pd.Series) -> int:
    """The number of sources with an image on both sides; ``train`` and ``test`` are boolean, one per image."""
    return len(set(images.source[train]) & set(images.source[test]))
