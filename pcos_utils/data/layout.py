"""Read from folder names which class and which split an image has, whatever the classes are.

A class is the deepest folder that is no split, no mere container (``images``), no patient and no series. The words of
PCOS only add the sign: polycystic = 1.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

import pandas as pd

# Names of class folders, compared without regard to case.
LABEL_OF_FOLDER = dict.fromkeys(("infected", "pco", "pcos", "pcom", "abnormal"), 1) | dict.fromkeys(
    ("notinfected", "normal", "healthy", "control"), 0
)
SIGNS = LABEL_OF_FOLDER | {"polycystic": 1}
NEGATIONS = ("non", "not", "no", "without", "un")
FILLERS = {"ovary", "ovaries", "ovarian", "syndrome", "class", "case", "cases", "image", "images", "patients"}
SPLITS = dict.fromkeys(("train", "training", "trainval"), "train")
SPLITS |= dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val")
SPLITS |= dict.fromkeys(("test", "testing", "tests", "holdout", "heldout", "eval", "evaluation"), "test")
FOLDS = {"fold", "cv", "kfold"}
SPLIT_FILLERS = {"set", "data", "dataset", "image", "images", "img", "imgs", "folder", "split", "frames"}
UNLABELLED = {"unlabelled", "unlabeled", "unknown", "unsorted", "unclassified", "nolabel", "misc"}
MASKS = {"mask", "masks", "segmentation", "segmentations", "groundtruth", "gt", "annotation", "annotations", "labels"}
# Folders that say how images are kept or seen and not what they show.
CONTAINERS = MASKS | SPLIT_FILLERS | {
    "files", "scans", "original", "originals", "raw", "jpg", "jpeg", "png", "tif", "dicom", "us", "ultrasound", "bmode",
    "left", "right", "sagittal", "transverse", "longitudinal", "augmented", "aug", "cropped", "crop", "resized",
    "processed", "enhanced", "thumbs", "thumbnails",
}  # fmt: skip
SERIES = re.compile(
    r"(?:pt|pat|patient|case|subject|subj|sub|study|series|ses|visit|exam|scan|video|clip|seq|sequence|id|p)\d+|\d{4,}"
)
MOST_NUMBERS = 50  # folders named by numbers are classes where they count up from 0 or 1 to at most this many
LEAST_IMAGES = 2  # a class; more folders than half the images are patients or series
MANY = 10  # classes from which that is asked


def composed(text: str) -> str:
    """Return the text in Unicode NFC, in which one letter is written in one way."""
    return unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """Return the text as names of folders and columns are compared: Unicode NFC, without regard to case."""
    return composed(text).casefold().strip()


def key(name: str) -> str:
    """Return a class's name without separators and case, so that ``Non-PCOS`` and ``non_pcos`` are one."""
    return re.sub(r"[\W_]+", "", fold(name)) or fold(name)


@cache
def sign(name: str) -> int | None:
    """Return 1 where a class's name says polycystic, 0 where it says normal (as ``Non-PCOS`` does), else None."""
    words = [token for token in tokens(name) if token not in FILLERS]
    word = "".join(words[1:] if len(words) > 1 and words[0].isdecimal() else words)  # also "0_normal"
    for start in ("", *NEGATIONS):
        if word.startswith(start) and word[len(start) :] in SIGNS:
            value = SIGNS[word[len(start) :]]
            return 1 - value if start else value
    return None


@cache
def split(name: str) -> str:
    """Return the split that a folder's name or a cell says: ``train``, ``val``, ``test``, ``test 2``, ``fold 3``."""
    words = [word for word in tokens(name) if word not in SPLIT_FILLERS | MASKS]
    if words[:2] in (["hold", "out"], ["held", "out"]):
        words[:2] = ["holdout"]
    number = f" {int(words.pop())}" if len(words) == 2 and words[1].isdecimal() else ""
    word = re.sub(r"(?:set|data|images|imgs)$", "", words[0]) if len(words) == 1 else ""
    if word in FOLDS and number:
        return f"fold{number}"
    return SPLITS[word] + number if word in SPLITS else ""


def signed(folders: Sequence[str]) -> int | None:
    """Return the label, 0 or 1, of the deepest of an image's folders that has a sign; None below an unlabelled one."""
    for name in reversed(folders):
        if key(name) in UNLABELLED or sign(name) is not None:
            return None if key(name) in UNLABELLED else sign(name)
    return None


def train_or_test(folders: Sequence[str]) -> str:
    """Return the split as a study knows it, "train", "test" or "", of the outermost folder that says one but a fold.

    What is no train folder counts as test.
    """
    first = next((word for word in map(split, folders) if word and not word.startswith("fold")), "")
    return "train" if first.startswith("train") else first and "test"


def read(folders: list[tuple[str, ...]]) -> pd.DataFrame:
    """Return columns ``class``, ``label`` and ``folder_split``, one row per image; "" where the folders say nothing.

    ``folders``: the names of each image's folders, the outermost first. ``label`` is the class's sign. A split inside a
    fold is named ``fold 1/train``.
    """
    both = _split_and_class({part for parts in folders for part in parts})
    folders = [tuple(word for part in parts for word in both.get(part, (part,))) for parts in folders]
    chains = [tuple(filter(_may_be_class, parts)) for parts in folders]
    worded = [tuple(part for part in chain if not part.isdecimal()) for chain in chains]
    numbers = {int(part) for chain in chains for part in chain if part.isdecimal()}
    counted = 1 < len(numbers) <= MOST_NUMBERS and max(numbers) - min(numbers) == len(numbers) - 1 and min(numbers) < 2
    if not counted or len({key(chain[-1]) if chain else "" for chain in worded}) > 1:
        chains = worded
    return with_labels(pd.DataFrame({"class": _classes(chains), "folder_split": [_split(parts) for parts in folders]}))


def with_labels(table: pd.DataFrame, *, by_folder: bool = True) -> pd.DataFrame:
    """Return a table of ``class`` and ``folder_split`` with one spelling for each class, and with ``label``.

    ``by_folder``: the classes are folders, which may turn out to be patients or series.
    """
    named = table["class"].map(key)
    sizes = named[named != ""].value_counts()
    if by_folder and len(sizes) > MANY and len(sizes) * LEAST_IMAGES > sizes.sum():
        named = pd.Series("", index=named.index)
    bits = set(named) - {""} == {"0", "1"}
    label = named.map(lambda name: int(name) if bits and name else sign(name)).astype("Int64")
    # "infected" in one split and "pco" in another are one class, where no split holds both.
    for value in (0, 1):
        same = label.eq(value).fillna(False)
        if named[same].nunique() > 1 and named[same].groupby(table.folder_split[same]).nunique().max() == 1:
            named[same] = named[same].iloc[0]
    spelled = table["class"].groupby(named).first()
    return table.assign(**{"class": named.map(spelled.where(spelled.index != "", "")), "label": label})


def tokens(name: str) -> list[str]:
    """Return the words and numbers in a name."""
    return re.findall(r"[^\W\d_]+|\d+", fold(name))


def _split_and_class(parts: set[str]) -> dict[str, tuple[str, str]]:
    """Return the split and the class in names such as ``test_benign``, where these name several splits."""
    found = {}
    for part in parts:
        words = [word for word in re.split(r"[-_ ]+", part) if word]
        for word, rest in ((words[0], words[1:]), (words[-1], words[:-1])) if len(words) > 1 else ():
            if fold(word) in SPLITS and not split(part):
                found[part] = (word, "_".join(rest))
    return found if len({split(word) for word, _ in found.values()}) > 1 else {}


def _may_be_class(part: str) -> bool:
    known = split(part) or key(part) in CONTAINERS
    return not known and (part.isdecimal() or not SERIES.fullmatch(key(part)))


def _split(parts: tuple[str, ...]) -> str:
    found = [name for name in map(split, parts) if name]
    folds = [name for name in found if name.startswith("fold")]
    return "/".join([*folds[:1], *[name for name in found if name not in folds][:1]])


def _classes(chains: list[tuple[str, ...]]) -> list[str]:
    """Return the class of each image: of its folders the deepest with a sign, or else the deepest.

    Without a sign, of a folder and the folders in it, that side counts which holds more images.
    """
    marks = {chain[: i + 1] for chain in set(chains) for i, part in enumerate(chain) if sign(part) is not None}
    outer = {mark[:depth] for mark in marks for depth in range(len(mark))}  # `PCOS` around `PCOS` and `Non-PCOS`
    down_to_class = {}
    for chain in set(chains):
        signed_depths = [depth for depth in range(1, len(chain) + 1) if chain[:depth] in marks - outer]
        unlabelled = chain in outer & marks or (chain and key(chain[-1]) in UNLABELLED)
        down_to_class[chain] = () if unlabelled else chain[: max(signed_depths, default=None)]
    direct, below = Counter(down_to_class[chain] for chain in chains), Counter()
    for chain, count in direct.items():
        below.update({chain[:depth]: count for depth in range(len(chain))})
    whole = {chain for chain in direct if direct[chain] >= below[chain]}
    name = {}
    for chain in direct:
        name[chain] = next((part for depth, part in enumerate(chain, 1) if chain[:depth] in whole), "")
    return [name[down_to_class[chain]] for chain in chains]
