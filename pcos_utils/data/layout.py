"""Read from folder names which class and which split an image has, whatever the classes are.

A class is the deepest folder that is no split, no mere container (``images``), no patient and no series. The words of
PCOS only add the sign: polycystic = 1.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from pcos_utils.data import words
from pcos_utils.data.words import key, sign, split, tokens

MOST_NUMBERS = 50  # folders named by numbers are classes where they count up from 0 or 1 to at most this many
LONG = 4  # digits of a number that is a patient's, a slide's or a date: SOB_B_A-14-22549AB
LEAST_IMAGES = 2  # a class; more folders than half the images are patients or series
MANY = 10  # classes from which that is asked


def signed(folders: Sequence[str]) -> int | None:
    """Return the label, 0 or 1, of the deepest of an image's folders that has a sign; None below an unlabelled one."""
    telling = (name for name in reversed(folders) if key(name) in words.UNLABELLED or sign(name) is not None)
    return sign(next(telling, ""))


def train_or_test(folders: Sequence[str]) -> str:
    """Return "train", "test" for any other split, or "", by the outermost folder that names a split but no fold."""
    first = next((word for word in map(split, folders) if word and not word.startswith("fold")), "")
    return "train" if first.startswith("train") else first and "test"


def read(folders: list[tuple[str, ...]]) -> pd.DataFrame:
    """Return columns ``class``, ``label`` and ``folder_split``, one row per image; "" where the folders say nothing.

    ``folders``: the names of each image's folders, the outermost first. ``label`` is the class's sign. A split inside a
    fold is named ``fold 1/train``.
    """
    both = _split_and_class({part for parts in folders for part in parts})
    folders = [tuple(word for part in parts for word in both.get(part, (part,))) for parts in folders]
    folders = answered(_numbered_folds(folders))
    chains = [tuple(filter(_may_be_class, parts)) for parts in folders]
    worded = [tuple(part for part in chain if not part.isdecimal()) for chain in chains]
    numbers = {int(part) for chain in chains for part in chain if part.isdecimal()}
    counted = 1 < len(numbers) <= MOST_NUMBERS and max(numbers) - min(numbers) == len(numbers) - 1 and min(numbers) < 2
    if not counted or len({key(chain[-1]) if chain else "" for chain in worded}) > 1:
        chains = worded
    splits = [_split(parts) for parts in folders]
    if len({word.partition("/")[2] for word in splits if word.startswith("fold")}) == 1:  # train/fold_1, train/fold_2
        splits = [word.partition("/")[0] if word.startswith("fold") else word for word in splits]
    return with_labels(pd.DataFrame({"class": _classes(chains), "folder_split": splits}))


def answered(folders: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the folders of images with ``PCOS/yes`` and ``PCOS/no`` as ``PCOS yes`` and ``PCOS no``.

    ``PCOS/1`` and ``PCOS/0`` too, where no other folder is of a normal class: else they may be patients. Splits and
    containers between the two come first: ``PCOS/train/yes`` is ``train/PCOS yes``.
    """
    folders = [tuple(sorted(parts, key=_is_class_or_answer)) for parts in folders]
    below, answers = {}, dict.fromkeys(words.YES, "yes") | dict.fromkeys(words.NO, "no")
    for parts in folders:
        for depth in range(1, len(parts)):
            below.setdefault(parts[:depth], set()).add(key(parts[depth]))
    alone = not any(sign(part) == 0 for parts in folders for part in parts)

    def told(parts: tuple[str, ...]) -> tuple[str, ...]:
        """Return one image's folders, an answer joined to its question."""
        for depth in range(1, len(parts)):
            bits = {"1": "yes", "0": "no"} if alone and below[parts[:depth]] == {"0", "1"} else {}
            if sign(parts[depth - 1]) == 1 and (answer := (answers | bits).get(key(parts[depth]))):
                return *parts[: depth - 1], f"{parts[depth - 1]} {answer}", *parts[depth + 1 :]
        return parts

    return [told(parts) for parts in folders]


def _is_class_or_answer(part: str) -> bool:
    return not split(part) and key(part) not in words.CONTAINERS


def _numbered_folds(folders: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the folders with ``seed_1/train``, ``seed_1/val`` and ``seed_2/train`` as parts of numbered folds.

    Folders that are called otherwise, such as ``grade_1/train`` or ``hospital_1/train``, are classes or places. Those
    of bare numbers are folds where the classes lie in them.
    """
    inside = {}
    for parts in set(folders):
        for depth, (part, inner) in enumerate(pairwise(parts), 1):
            bare = part.isdecimal() and any(map(_may_be_class, parts[depth:]))
            run = bare or (words.RUNS & {*tokens(part)[:1]} and part[-1:].isdecimal())
            if run and split(inner) and not split(part):
                inside.setdefault(parts[:depth], set()).add(split(inner))
    beside = Counter(place[:-1] for place, found in inside.items() if len(found) > 1)
    folds = {place for place in inside if beside[place[:-1]] > 1}
    return [
        tuple(f"fold {tokens(part)[-1]}" if parts[:depth] in folds else part for depth, part in enumerate(parts, 1))
        for parts in folders
    ]


def with_labels(table: pd.DataFrame, *, by_folder: bool = True) -> pd.DataFrame:
    """Return a table of ``class`` and ``folder_split`` with one spelling for each class, and with ``label``.

    ``by_folder``: the classes are folders, which may turn out to be patients or series.
    """
    named = table["class"].map(_kind)
    sizes = named[named != ""].value_counts()
    if by_folder and len(sizes) > MANY and len(sizes) * LEAST_IMAGES > sizes.sum():
        named = pd.Series("", index=named.index)
    bits = set(named) - {""} == {"0", "1"}
    shown = table["class"].where(named != "", "")  # a key such as "pcosnegative" has lost where its words end
    label = shown.map(lambda name: int(key(name)) if bits and name else sign(name)).astype("Int64")
    # "infected" in one split and "pco" in another are one class, where no split holds both.
    for value in (0, 1):
        same = label.eq(value).fillna(False)
        if named[same].nunique() > 1 and named[same].groupby(table.folder_split[same]).nunique().max() == 1:
            named[same] = named[same].iloc[0]
    spelled = table["class"].groupby(named).first()
    return table.assign(**{"class": named.map(spelled.where(spelled.index != "", "")), "label": label})


def _kind(name: str) -> str:
    """Return the key of a class's name without the words that say how its images were worked on."""
    kept = re.sub(rf"(?i)(?<![^\W\d_])(?:{'|'.join(words.REWORKED)})(?![^\W\d_])", "", name)
    return key(kept) if re.search(r"[^\W_]", kept) else key(name)


def _split_and_class(parts: set[str]) -> dict[str, tuple[str, str]]:
    """Return the split and the class in names such as ``test_benign``, where these name several splits."""
    found = {}
    for part in parts:
        names = [word for word in re.split(r"[-_ ]+", words.CAMEL.sub(" ", part)) if word]
        for word, rest in ((names[0], names[1:]), (names[-1], names[:-1])) if len(names) > 1 else ():
            if words.fold(word) in words.SPLITS and not split(part):
                found[part] = (word, "_".join(rest))
    return found if len({split(word) for word, _ in found.values()}) > 1 else {}


def _may_be_class(part: str) -> bool:
    names = tokens(part)
    numbered = any(name.isdecimal() and len(name) >= LONG for name in names)
    series = (numbered or words.SERIES.fullmatch("".join(names))) and sign(names[0]) is None
    return _is_class_or_answer(part) and (part.isdecimal() or not series)


def _split(parts: tuple[str, ...]) -> str:
    found = [name for name in map(split, parts) if name]
    folds = [name for name in found if name.startswith("fold")]
    return "/".join([*folds[:1], *[name for name in found if name not in folds][:1]])


def _classes(chains: list[tuple[str, ...]]) -> list[str]:
    """Return the class of each image: of its folders the deepest with a sign, or else the deepest."""
    marks = {chain[: i + 1] for chain in set(chains) for i, part in enumerate(chain) if sign(part) is not None}
    if len(marks) == 1 and len(set(chains)) > 1:
        (only,) = marks  # `PCOS/benign` and `PCOS/malignant`: the data set's name, around its classes
        marks = set() if all(chain[: len(only)] == only and len(chain) > len(only) for chain in chains) else marks
    outer = {mark[:depth] for mark in marks for depth in range(len(mark))}  # `PCOS` around `PCOS` and `Non-PCOS`
    down_to_class = {}
    for chain in set(chains):
        signed_depths = [depth for depth in range(1, len(chain) + 1) if chain[:depth] in marks - outer]
        unlabelled = chain in outer & marks or (chain and key(chain[-1]) in words.UNLABELLED)
        down_to_class[chain] = () if unlabelled else chain[: max(signed_depths, default=None)]
    direct, below = Counter(down_to_class[chain] for chain in chains), Counter()
    for chain, count in direct.items():
        below.update({chain[:depth]: count for depth in range(len(chain))})
    # Without a sign, of a folder and the folders in it, that side counts which holds more images.
    whole = {chain for chain in direct if direct[chain] >= below[chain]}
    name = {}
    for chain in direct:
        name[chain] = next((part for depth, part in enumerate(chain, 1) if chain[:depth] in whole), "")
    return [name[down_to_class[chain]] for chain in chains]
