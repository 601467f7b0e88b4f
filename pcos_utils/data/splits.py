"""Who trains and who tests: whole sources are drawn, so that no picture stands on both sides.

Two protocols. ``published``: one split in the proportions of the published study (10 + 4 polycystic and 28 + 12
normal frames; of dataset B with the known test frames on the test side), or the folders' own train and test where
they exist. ``grouped``: stratified folds over sources,
repeated.
"""

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from pcos_utils.config import Study, StudyError, TooFewSources
from pcos_utils.data.audit import crossing_sources

# Of each class: with five, even five right answers of five have an exact 95 % interval that holds .5 (.025 ** (1 / 5)
# is .48), so no result could tell a faultless reader from a coin. With six it is .54.
FEWEST_SOURCES = 6
TEST_SHARE = {1: 4 / 14, 0: 12 / 40}  # of the sources of each class, as published
TEST_FRAMES = {1: 4, 0: 12}  # of dataset B
# Frames of dataset B that the published study is known to have tested on; of its twelve normal ones six are unknown.
KNOWN_TEST_FRAMES = {1: {1, 4, 7, 13}, 0: {10, 21, 25, 31, 34, 38}}
LAST_FRAME = {1: 14, 0: 40}
SELECTION_SHARE = 1 / 5  # of the training sources, to choose the epoch, where there is a single inner part


def draw(sources: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The audited manifest with columns ``used``, ``split`` and ``r0``, ``r1``, ... (the fold per repeat).

    ``used`` is "yes" or the reason why not: unreadable, bridge (an image that shows two sources), two labels, not
    drawn. ``split`` is train or test under the published protocol. A source has one fold per repeat. Where a class has
    too few sources for a test set nothing is drawn: splits and folds stay empty, and ``need_test_set`` says why.
    """
    table = sources.assign(used=_used(sources, study))
    chosen = table[table.used == "yes"]
    per_source = chosen.groupby("source", sort=True).label.max()
    repeats = [f"r{repeat}" for repeat in range(study.repeats)]
    if not enough(table, study):
        return table.assign(split="", **dict.fromkeys(repeats, pd.NA)).astype(dict.fromkeys(repeats, "Int64"))
    table["split"] = _split(chosen, per_source, study)
    for repeat, column in enumerate(repeats):
        folds = StratifiedKFold(study.folds, shuffle=True, random_state=study.seed + repeat)
        fold_of = pd.Series(-1, index=per_source.index)
        for fold, (_, test) in enumerate(folds.split(per_source.index, per_source)):
            fold_of.iloc[test] = fold
        table[column] = chosen.source.map(fold_of)
    table["split"] = table.split.fillna("")
    return table.astype(dict.fromkeys(repeats, "Int64"))


def enough(table: pd.DataFrame, study: Study) -> bool:
    """Whether both classes have the source pictures that folds and a test set need."""
    return bool(_per_class(table).min() >= _needed(study))


def need_test_set(table: pd.DataFrame, study: Study) -> None:
    """Nothing; raises TooFewSources, which ends a study with its description, where there are not enough sources."""
    if not enough(table, study):
        few = _per_class(table)
        raise TooFewSources(
            f"{study.data_name} has {few[1]} polycystic and {few[0]} normal source pictures that can be used, and a "
            f"test set needs {_needed(study)} of each class; nothing is trained and no score is given, because it "
            "would mean nothing. Add source pictures: copies do not count."
        )


def roles(
    table: pd.DataFrame, protocol: str, repeat: int, fold: int, seed: int, inner: int = 0, inners: int = 1
) -> pd.DataFrame:
    """The used images with their ``role``: train, selection or test. The selection sources come out of training.

    With several ``inners`` the training part is cut into so many inner folds, stratified, of which number ``inner``
    selects; so every training source selects once. ``protocol`` is "grouped" or "published", which ignores all of
    them and selects nothing: as published, it trains on its whole training side.
    """
    images = table[table.used == "yes"].reset_index(drop=True)
    if protocol == "published":
        return images.assign(role=images.split)
    test = images[f"r{repeat}"] == fold
    outer = images[~test].groupby("source").label.max()
    rng = np.random.default_rng([seed, repeat, fold])
    held = []
    for label in (0, 1):
        names = rng.permutation(np.sort(outer.index[outer == label]))
        share = max(1, round(len(names) * SELECTION_SHARE))
        held += list(names[inner::inners] if inners > 1 else names[:share])
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


def _per_class(table: pd.DataFrame) -> pd.Series:
    used = table[table.used == "yes"].drop_duplicates("source")
    return used.label.value_counts().reindex([0, 1], fill_value=0)


def _needed(study: Study) -> int:
    return max(FEWEST_SOURCES, study.folds)


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


def _split(chosen: pd.DataFrame, per_source: pd.Series, study: Study) -> pd.Series:
    if _has_own_split(chosen):
        return chosen.folder_split
    frames = chosen.path.str.extract(r"(?:^|/)(?:normal|pco)_(\d+)\.[^/.]+$")[0].astype("Int64")
    rng = np.random.default_rng(study.seed)
    if frames.notna().all() and (frames <= chosen.label.map(LAST_FRAME)).all():
        tested = _known(chosen.assign(frame=frames), rng)
    else:
        tested = set()
        for label, share in TEST_SHARE.items():
            names = np.sort(per_source.index[per_source == label])
            tested |= set(rng.permutation(names)[: max(1, round(len(names) * share))])
    return pd.Series(np.where(chosen.source.isin(tested), "test", "train"), index=chosen.index)


def _known(chosen: pd.DataFrame, rng: np.random.Generator) -> set[str]:
    """The test sources of dataset B: those of the known frames, then any that fit, up to the published frames."""
    tested = set()
    for label, known in KNOWN_TEST_FRAMES.items():
        rows = chosen[chosen.label == label]
        size = rows.groupby("source").size()
        mine = set(rows.source[rows.frame.isin(known)])
        for name in rng.permutation(np.sort(size.index)):
            if name not in mine and size[list(mine)].sum() + size[name] <= TEST_FRAMES[label]:
                mine.add(name)
        tested |= mine
    return tested
