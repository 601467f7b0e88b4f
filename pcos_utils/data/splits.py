"""Split images for training and testing by whole sources, so that no source is on both sides.

There are two protocols. ``published`` makes one split in the proportions of the published study (10 + 4 polycystic
and 28 + 12 normal frames; for dataset B the known test frames are on the test side), or uses the folders' own
train and test if they exist. ``grouped`` makes stratified folds over sources, repeated.
"""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedKFold

from pcos_utils.config import CLASS_NAMES, Study, StudyError, TooFewSources

# Of each class. With five, even five right answers of five have an exact 95 % interval that contains .5 (it starts at
# .025 ** (1 / 5) = .48), so no result could tell a perfect method from a coin. With six it starts at .54.
FEWEST_SOURCES = 6
TEST_SHARE = {1: 4 / 14, 0: 12 / 40}  # share of the sources of each class, as published
TEST_FRAMES = {1: 4, 0: 12}  # of dataset B
# Frames of dataset B that the published study is known to have tested on. Six of its twelve normal ones are unknown.
KNOWN_TEST_FRAMES = {1: {1, 4, 7, 13}, 0: {10, 21, 25, 31, 34, 38}}
LAST_FRAME = {1: 14, 0: 40}
SELECTION_SHARE = 1 / 5  # share of the training sources that chooses the epoch if there is one inner fold


def draw(sources: pd.DataFrame, study: Study, level: str = "source") -> pd.DataFrame:
    """Return the audited manifest with columns ``used``, ``split`` and ``r0``, ``r1``, ... (the fold in each repeat).

    ``used`` is "yes" or the reason why not: unreadable, collage (of several sources), bridge (an image that matches two
    sources), two labels, not drawn. ``split`` is train or test under the published protocol. A source has one fold per
    repeat. Where the table has a column ``group``, all pictures of a group count as one source, named by the first. At
    the ``level`` "clip" so do all pictures that are probably of one clip. If a class has too few sources for a test
    set, splits and folds stay empty, and ``need_test_set`` says why.
    """
    repeats = [f"r{repeat}" for repeat in range(study.repeats)]
    table = sources.assign(used=_used(sources, study), split="", **dict.fromkeys(repeats, pd.NA))
    table = whole_groups(whole_groups(table, "clip") if level == "clip" else table)
    table = table.drop(columns="clip", errors="ignore")
    if enough(table, study):
        images = table[table.used == "yes"]
        labels = source_labels(images)
        table.loc[images.index, "split"] = _split(images, labels, study)
        for repeat, column in enumerate(repeats):
            table[column] = images.source.map(folds_of(labels, study.folds, study.seed + repeat))
    return table.astype(dict.fromkeys(repeats, "Int64"))


def whole_groups(table: pd.DataFrame, column: str = "group") -> pd.DataFrame:
    """Return the table with one ``source`` for all pictures of a group, such as a patient, that ``column`` names.

    Groups that share a picture are one. An empty cell is no group; without the column nothing changes.
    """
    if column not in table:
        return table
    named = table[column].fillna("").ne("") & table.source.ne("")
    source, names = pd.factorize(table.source[named])
    group, _ = pd.factorize(table[column][named])
    links = coo_array((np.ones(len(source)), (source, group + len(names))), shape=(len(names) + len(group),) * 2)
    joined = pd.Series(connected_components(links, directed=False)[1][: len(names)])
    first = joined.map(pd.Series(names).groupby(joined).first())
    return table.assign(source=table.source.replace(dict(zip(names, first, strict=True))))


def source_labels(images: pd.DataFrame) -> pd.Series:
    """Return the label of each source, 0 or 1, indexed and sorted by source.

    A source is 1 if at least half of its images are, which matters only with ``keep_label_conflicts``.
    """
    return images.groupby("source", sort=True).label.mean().ge(0.5).astype(int)


def folds_of(labels: pd.Series, folds: int, seed: int) -> pd.Series:
    """Return the fold of each source, from 0, stratified by class. ``labels``: of ``source_labels``."""
    # Not scikit-learn's StratifiedGroupKFold, which shuffles only groups of like class and size.
    fold_of = pd.Series(-1, index=labels.index)
    for fold, (_, held) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)):
        fold_of.iloc[held] = fold
    return fold_of


def enough(table: pd.DataFrame, study: Study) -> bool:
    """Return whether both classes have enough sources for a test set and for every fold."""
    return bool(_sources_per_class(table).min() >= max(FEWEST_SOURCES, study.folds))


def need_test_set(table: pd.DataFrame, study: Study) -> None:
    """Raise TooFewSources if there are not enough sources, so that the study ends after describing its data."""
    if not enough(table, study):
        normal, polycystic = _sources_per_class(table)
        raise TooFewSources(
            f"{study.data_name} has {polycystic} polycystic and {normal} normal source pictures that can be used, and "
            f"a test set needs {max(FEWEST_SOURCES, study.folds)} of each class; nothing is trained and no score is "
            "given, because it would mean nothing. Add source pictures: copies do not count."
        )


def roles(
    table: pd.DataFrame, protocol: str, repeat: int, fold: int, seed: int, inner: int = 0, inners: int = 1
) -> pd.DataFrame:
    """Return the used images with their ``role``: train, selection or test.

    ``protocol`` is "grouped" or "published". Under "grouped", the selection sources are taken from the training part.
    If there are several ``inners``, that part is cut into so many stratified inner folds, and fold ``inner`` is for
    selection, so that each training source is used for selection once. "published" ignores the other arguments and has
    no selection: as in the published study, the whole training side trains.
    """
    images = table[table.used == "yes"].reset_index(drop=True)
    if protocol == "published":
        return images.assign(role=images.split)
    test = images[f"r{repeat}"] == fold
    outer = source_labels(images[~test])
    rng = np.random.default_rng([seed, repeat, fold])
    selection = []
    for label in (0, 1):
        names = rng.permutation(np.sort(outer.index[outer == label]))
        share = max(1, round(len(names) * SELECTION_SHARE))
        selection += list(names[inner::inners] if inners > 1 else names[:share])
    return images.assign(role=np.where(test, "test", np.where(images.source.isin(selection), "selection", "train")))


def crossings(images: pd.DataFrame) -> int:
    """Return the number of sources on both the training side (train, selection) and the test side."""
    return crossing_sources(images, images.role != "test", images.role == "test")


def crossing_sources(images: pd.DataFrame, train: pd.Series, test: pd.Series) -> int:
    """Return the number of sources with images on both sides; ``train`` and ``test`` are boolean, one per image."""
    return len(set(images.source[train]) & set(images.source[test]))


def guard(images: pd.DataFrame, protocol: str) -> int:
    """Return the number of sources on both the training and the test side, which only "published" tolerates.

    Raises StudyError if a source crosses under the grouped protocol, or crosses train and selection under either.
    """
    across = crossings(images)
    inside = crossing_sources(images, images.role == "train", images.role == "selection")
    if inside or (across and protocol == "grouped"):
        raise StudyError(
            f"{across + inside} source(s) have images on both sides of a split under the {protocol} protocol; "
            "nothing was trained. Draw the splits again with splits.draw, which keeps sources whole."
        )
    return across


def _sources_per_class(table: pd.DataFrame) -> pd.Series:
    return source_labels(table[table.used == "yes"]).value_counts().reindex([0, 1], fill_value=0)


def _used(sources: pd.DataFrame, study: Study) -> pd.Series:
    used = pd.Series("yes", index=sources.index)
    readable = sources.status == "ok"
    used[~readable] = "unreadable"
    used[sources.status == "collage"] = "collage"
    if "evidence" in sources:
        used[sources.evidence == "bridge"] = "bridge"
    labels = sources[readable].groupby("source").label.nunique()
    if not study.keep_label_conflicts:
        used[sources.source.isin(labels.index[labels > 1])] = "two labels"
    rng = np.random.default_rng(study.seed)
    # Phantoms are made in the number that the preset asks for, so only folders of images are cut down.
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


def _split(images: pd.DataFrame, labels: pd.Series, study: Study) -> pd.Series:
    """Return train or test of each image under the published protocol; ``labels`` are those of the sources."""
    if set(images.folder_split) >= {"train", "test"}:
        classes = set(images.label[images.folder_split == "train"])
        if len(classes) < 2:
            raise StudyError(
                f"The train folder of {study.data_name} holds usable images of one class only "
                f"({CLASS_NAMES[classes.pop()]}), so nothing can be learned there; add images of the other class to "
                "it, or move all images into class folders without train and test, and the study splits them itself."
            )
        return images.folder_split
    frames = images.path.str.extract(r"(?:^|/)(?:normal|pco)_(\d+)\.[^/.]+$")[0].astype("Int64")
    rng, tested = np.random.default_rng(study.seed), set()
    dataset_b = frames.notna().all() and (frames <= images.label.map(LAST_FRAME)).all()
    for label in (1, 0):
        if dataset_b:
            tested |= _known(images[images.label == label].assign(frame=frames), label, rng)
        else:
            names = rng.permutation(np.sort(labels.index[labels == label]))
            tested |= set(names[: max(1, round(len(names) * TEST_SHARE[label]))])
    return pd.Series(np.where(images.source.isin(tested), "test", "train"), index=images.index)


def _known(images: pd.DataFrame, label: int, rng: np.random.Generator) -> set[str]:
    """Return one class's test sources of dataset B: the known frames, then random ones up to the published number."""
    size = images.groupby("source").size()
    tested = set(images.source[images.frame.isin(KNOWN_TEST_FRAMES[label])])
    for name in rng.permutation(np.sort(size.index)):
        if name not in tested and size[list(tested)].sum() + size[name] <= TEST_FRAMES[label]:
            tested.add(name)
    return tested
