"""Find the source of every image.

Images are compared by bytes, by pixels, and by keypoints and speckle (``matching``). So a copy is found even if it
was shifted, zoomed, turned, mirrored, brightened, stored again, framed or captioned.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.audit import families
from pcos_utils.audit.kept import keep
from pcos_utils.config import StudyError
from pcos_utils.data import manifest as manifests
from pcos_utils.data.images import load
from pcos_utils.data.shards import kept
from pcos_utils.progress import bar

SHOWS = "it shows "  # begins the reason of a collage; the sources follow, between commas


def find_sources(
    manifest: pd.DataFrame | Sequence[str | Path],
    folder: Path | dict[str, Path] | None = None,
    shards: Path | None = None,
) -> pd.DataFrame:
    """Return the manifest with ``source``, ``clip``, ``inliers`` and ``evidence``, empty for unreadable files.

    A list of image files does instead of a manifest and its folder, and gives one row per file, in the same order, so
    that no copy crosses ``GroupKFold().split(paths, y, groups=find_sources(paths).source)``.

    ``source`` is the path of the first image of the family. ``clip`` is that of the first image of all sources that
    are probably frames of one clip: they share anatomy and no speckle. ``inliers`` is the number of keypoints shared
    with the picture through which the image joined it. ``evidence`` says how it joined: "first", "same pixels" or
    "keypoints". It is "too plain" for a picture with nothing to compare, "cannot tell" for one that is so smooth that a
    copy and another scan of the same ovary look alike, and "bridge" for one that matches two families which stay apart.
    A file that shows several sources, each in a panel of its own, has no source; its ``status`` is "collage", and its
    ``reason`` names them. A manifest of several data sets has a column ``dataset``; ``folder`` then maps each data set
    to its folder, and a source is named ``dataset/path``. ``shards``, a folder, keeps what is seen of each picture, so
    that a search that was killed reads no picture again. Raises StudyError where a listed file cannot be read or shows
    several sources.
    """
    listed = not isinstance(manifest, pd.DataFrame)
    if listed:
        manifest, folder = _listed(manifest, shards), Path()
    readable = manifest[manifest.status == "ok"]
    picture, _ = pd.factorize(readable.pixel_sha256)  # images with the same pixels are one picture
    first = ~readable.pixel_sha256.duplicated().to_numpy()
    distinct = readable[first]
    name = names(distinct).to_numpy()
    files = places(distinct, folder)
    progress = partial(bar, name="compare", total=len(files))
    shared = {"share": keep(distinct.pixel_sha256.tolist(), shards)} if shards else {}
    gathered = families.gather(lambda number: load(files[number]), len(files), progress, **shared)
    evidence = np.where(gathered.inliers > 0, "keypoints", "first").astype(object)
    evidence[gathered.plain] = "too plain"
    evidence[gathered.unsure & (gathered.inliers == 0)] = "cannot tell"
    evidence[[number for number, _, _ in gathered.refused]] = "bridge"
    found = {"source": name[gathered.family[picture]], "clip": name[gathered.clip[picture]]}
    columns = pd.DataFrame(found, index=readable.index)
    inliers = pd.Series(gathered.inliers[picture], readable.index)
    columns["inliers"] = inliers.where(inliers > 0).astype("Int64")
    columns["evidence"] = np.where(first | (evidence[picture] == "bridge"), evidence[picture], "same pixels")
    shows = {number: SHOWS + ", ".join(name[families]) for number, families in gathered.collages.items()}
    reason = pd.Series(picture, readable.index).map(shows).dropna()
    columns.loc[reason.index] = ["", "", pd.NA, ""]
    table = manifest.join(columns).fillna({"source": "", "clip": "", "evidence": ""})
    table.loc[reason.index, "status"], table.loc[reason.index, "reason"] = "collage", reason
    if listed and len(reason):  # no group holds it, and in one of its own it would be a leak
        raise StudyError(f"{table.path[reason.index[0]]} has no one source: {reason.iloc[0]}; leave it out.")
    return table


def names(rows: pd.DataFrame) -> pd.Series:
    """Return the name of each row's image: its path, or ``dataset/path`` in a table of several data sets."""
    return rows.dataset + "/" + rows.path if "dataset" in rows else rows.path


def _listed(paths: Sequence[str | Path], shards: Path | None) -> pd.DataFrame:
    """Return a manifest of the listed files, none of which may be missing or damaged."""
    files, keep = [(Path(path), str(path)) for path in paths], partial(kept, shards) if shards else None
    table = pd.DataFrame(manifests.decoded(files, keep=keep), columns=manifests.COLUMNS)
    table = table.drop(columns=["label", "folder_split"])
    for row in table[table.status != "ok"].itertuples():
        raise StudyError(f"{row.path} has no source: {row.status} ({row.reason}); mend it or leave it out.")
    return table


def places(rows: pd.DataFrame, folder: Path | dict[str, Path]) -> list[Path]:
    """Return the path of each row's file; ``folder`` is as in ``find_sources``."""
    if isinstance(folder, dict):
        return [folder[row.dataset] / row.path for row in rows.itertuples()]
    return [folder / path for path in rows.path]
