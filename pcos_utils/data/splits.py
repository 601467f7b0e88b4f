"""Who trains and who tests: whole sources are drawn, so that no picture stands on both sides.

Two protocols. ``published``: one split in the proportions of the published study (10 + 4 polycystic and 28 + 12
normal frames), or the folders' own train and test where they exist. ``grouped``: stratified folds over sources,
repeated.
"""

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from pcos_utils.config import Study, StudyError
from pcos_utils.data.audit import crossing_sources

TEST_SHARE = {1: 4 / 14, 0: 12 / 40}  # of the sources of each class, as published
SELECTION_SHARE = 1 / 5  # of the training sources, to choose the epoch


def draw(sources: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The audited manifest with columns ``used``, ``split`` and ``r0``, ``r1``, ... (the fold per repeat).

    ``used`` is "yes" or the reason why not: unreadable, bridge (an image that shows two sources), two labels, not
    drawn. ``split`` is train or test under the
    published protocol. A source has one fold per repeat. Raises StudyError when a class has too few sources.
    """
    table = sources.assign(used=_used(sources, study))
    chosen = table[table.used == "yes"]
    per_source = chosen.groupby("source", sort=True).label.max()
    few = per_source.value_counts().reindex([0, 1], fill_value=0)
    if few.min() < study.folds:
        raise StudyError(
            f"{study.data_name} has {few[1]} polycystic and {few[0]} normal sources, fewer than its {study.folds} "
            "folds in one class; add source pictures (copies do not count) or choose a preset with fewer folds."
        )
    table["split"] = chosen.folder_split if _has_own_split(chosen) else chosen.source.map(_published(per_source, study))
    for repeat in range(study.repeats):
        folds = StratifiedKFold(study.folds, shuffle=True, random_state=study.seed + repeat)
        fold_of = pd.Series(-1, index=per_source.index)
        for fold, (_, test) in enumerate(folds.split(per_source.index, per_source)):
            fold_of.iloc[test] = fold
        table[f"r{repeat}"] = chosen.source.map(fold_of)
    table["split"] = table.split.fillna("")
    return table.astype({f"r{repeat}": "Int64" for repeat in range(study.repeats)})


def roles(table: pd.DataFrame, protocol: str, repeat: int, fold: int, seed: int) -> pd.DataFrame:
    """The used images with their ``role``: train, selection or test. The selection sources come out of training.

    ``protocol`` is "grouped" or "published" (which ignores repeat and fold).
    """
    images = table[table.used == "yes"].reset_index(drop=True)
    test = images.split == "test" if protocol == "published" else images[f"r{repeat}"] == fold
    outer = images[~test].groupby("source").label.max()
    rng = np.random.default_rng([seed, repeat, fold])
    held = []
    for label in (0, 1):
        names = np.sort(outer.index[outer == label])
        held += list(rng.permutation(names)[: max(1, round(len(names) * SELECTION_SHARE))])
    role = np.where(test, "test", np.where(images.source.isin(held), "selection", "train"))
    return images.assign(role=role)


def crossings(images: pd.DataFrame) -> int:
    """The number of sources that stand on the training side (train, selection) and on the test side."""
    return crossing_sources(images, images.role != "test", images.role == "test")


def guard(images: pd.DataFrame, protocol: str) -> int:
    """The number of crossing sources, where the protocol tolerates and reports them.

    Raises StudyError when a source crosses under the grouped protocol, or between train and selection under any.
    """
    across = crossings(images)
    inside = crossing_sources(images, images.role == "train", images.role == "selection")
    if inside or (across and protocol == "grouped"):
        raise StudyError(
            f"{across + inside} source(s) stand on both sides of a split under the {protocol} protocol; "
            "nothing was trained. Draw the splits again with splits.draw, which keeps sources whole."
        )
    return across


def _used(sources: pd.DataFrame, study: Study) -> pd.Series:
    used = pd.Series("yes", index=sources.index)
    readable = sources.status == "ok"
    used[~readable] = "unreadable"
    if "evidence" in sources:
        used[sources.evidence == "bridge"] = "bridge"
    labels = sources[readable].groupby("source").label.nunique()
    if not study.keep_label_conflicts:
        used[sources.source.isin(labels.index[labels > 1])] = "two labels"
    rng = np.random.default_rng(study.seed)
    # Phantoms come in the number that the preset asks for; only folders of many images are cut down.
    if study.sources_per_class is not None and not study.synthetic:
        for label in (0, 1):
            names = np.sort(sources.source[(used == "yes") & (sources.label == label)].unique())
            spare = rng.permutation(names)[study.sources_per_class :]
            used[(used == "yes") & sources.source.isin(spare)] = "not drawn"
    if study.images_per_source is not None:
        order = pd.Series(rng.random(len(sources)), index=sources.index)
        rank = order[used == "yes"].groupby(sources.source).rank(method="first")
        used[rank.index[rank > study.images_per_source]] = "not drawn"
    return used


def _has_own_split(images: pd.DataFrame) -> bool:
    return set(images.folder_split) >= {"train", "test"}


def _published(per_source: pd.Series, study: Study) -> pd.Series:
    rng = np.random.default_rng(study.seed)
    split = pd.Series("train", index=per_source.index)
    for label, share in TEST_SHARE.items():
        names = np.sort(per_source.index[per_source == label])
        split[rng.permutation(names)[: max(1, round(len(names) * share))]] = "test"
    return split
