"""The words of folders and tables: what is a class with a sign, a split, a fold, a container or a series."""

import re
import unicodedata
from functools import cache

# Names of class folders, compared without regard to case.
LABEL_OF_FOLDER = dict.fromkeys(("infected", "pco", "pcos", "pcom", "abnormal"), 1)
LABEL_OF_FOLDER |= dict.fromkeys(("notinfected", "normal", "healthy", "control"), 0)
SIGNS = LABEL_OF_FOLDER | {"polycystic": 1}
NEGATIONS = ("non", "not", "no", "without", "un")
YES, NO = {"yes", "positive", "pos", "true", "present"}, {"no", "negative", "neg", "false", "absent"}
# How images were worked on, which is no class and no split of its own.
REWORKED = {"augmented", "augmentation", "aug", "original", "originals", "orig", "raw", "resized", "cropped", "crop"}
REWORKED |= {"processed", "preprocessed", "enhanced", "balanced", "copy", "jpg", "jpeg", "png", "tif"}
FILLERS = {"ovary", "ovaries", "ovarian", "syndrome", "class", "case", "cases", "image", "images", "patients"}
FILLERS |= REWORKED
SPLITS = dict.fromkeys(("train", "training", "trainval", "trn", "entrainement", "entraînement"), "train")
SPLITS |= dict.fromkeys(("trainings", "entrenamiento", "treinamento", "训练", "训练集"), "train")
SPLITS |= dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development", "验证", "验证集"), "val")
SPLITS |= dict.fromkeys(("test", "testing", "tests", "tst", "holdout", "heldout", "eval", "evaluation"), "test")
SPLITS |= dict.fromkeys(("unseen", "inference", "infer", "prueba", "测试", "测试集"), "test")
SHORT = {"tr": "train", "ts": "test", "te": "test", "va": "val"}  # beside another word: imagesTr, imagesTs
FOLDS = {"fold", "cv", "kfold", "split"}
# Numbered folders of one data set drawn anew, where they hold splits.
RUNS = {"seed", "run", "rep", "repeat", "repetition", "trial", "round", "iter", "iteration", "experiment", "exp"}
RUNS |= {"part", "partition", "resample", "bootstrap"}
SPLIT_FILLERS = {"set", "data", "dataset", "image", "images", "img", "imgs", "folder", "split", "frames", "cohort"}
# Of one split: "train_augmented", "X_train".
VARIANTS = REWORKED | {"dir", "final", "new", "external", "internal", "public", "private", "auto", "x"}
UNLABELLED = {"unlabelled", "unlabeled", "unknown", "unsorted", "unclassified", "nolabel", "misc"}
MASKS = {"mask", "masks", "segmentation", "segmentations", "groundtruth", "gt", "annotation", "annotations", "labels"}
# Folders that say how images are kept or seen and not what they show.
CONTAINERS = MASKS | SPLIT_FILLERS | REWORKED | {
    "files", "scans", "dicom", "us", "ultrasound", "bmode", "left", "right", "sagittal", "transverse", "longitudinal",
    "thumbs", "thumbnails",
}  # fmt: skip
# The last two are of initials and a number, as on a DICOM medium (PA000001/ST000001/SE000001), and of a magnification
# (40X).
SERIES = re.compile(
    r"(?:pt|pat|patient|case|subject|subj|sub|study|series|ses|visit|exam|scan|video|clip|seq|sequence|id|p)\d+|\d{4,}|"
    r"(?:patient|subject)(?!s)[a-z]|[a-z]{1,3}\d{4,}|\d+x"
)
# What tells two classes apart: PCOS+ and PCOS-, <12 and >=12, 1-2 and 12, 1.5 and 15, -1 and 1, ~PCOS and PCOS?.
MEANT = r"[+<>=~!¬?]|(?<=\d)[-.,](?=\d)|(?:^|(?<=\())-|-(?=\)?$)"
MARKED = re.compile(r"[(\[]?\s*([-~!¬+])\s*[)\]]?\s*(.*\w.*)")  # "-PCOS", "(-) PCOS", "+PCOS"
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # where the words of "imagesTr" meet
SIGNS_OF = {ord("\N{MINUS SIGN}"): "-", ord("\N{EN DASH}"): "-", ord("≥"): ">=", ord("≤"): "<="}


def composed(text: str) -> str:
    """Return the text in Unicode NFC, in which one letter is written in one way."""
    return unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """Return the text as names of folders and columns are compared: Unicode NFC, without regard to case."""
    return composed(text).casefold().strip()


def key(name: str) -> str:
    """Return a class's name without separators and case: ``Non-PCOS`` and ``non_pcos`` are one; signs in MEANT stay."""
    text = fold(name).translate(SIGNS_OF)
    return re.sub(rf"({MEANT})|[\W_]", r"\1", text) or text


@cache
def sign(name: str) -> int | None:
    """Return 1 where a class's name says polycystic, 0 where it says normal (as ``Non-PCOS`` does), else None."""
    if marked := MARKED.fullmatch(fold(name).translate(SIGNS_OF)):
        value = sign(marked[2])
        return value if marked[1] == "+" or value is None else {1: 0}.get(value)  # "not normal" is not understood
    if "?" in name:
        return None
    words, last = [token for token in tokens(name) if token not in FILLERS], key(name)[-1:]
    words += {"+": ["positive"], "-": ["negative"]}.get(last, [])
    words = words[1:] if len(words) > 1 and words[0].isdecimal() else words  # also "0_normal"
    if len(words) > 1 and words[-1] in YES | NO:  # "PCOS negative"; who says "normal negative" is not understood
        return {1: int(words[-1] in YES)}.get(sign(" ".join(words[:-1])))
    word = "".join(words)
    for start in ("", *NEGATIONS):
        if word.startswith(start) and word[len(start) :] in SIGNS:
            value = SIGNS[word[len(start) :]]
            return 1 - value if start else value
    return None


@cache
def split(name: str) -> str:
    """Return the split that a folder's name or a cell says: ``train``, ``val``, ``test``, ``test 2``, ``fold 3``."""
    parts = tokens(CAMEL.sub(" ", composed(name)))
    words = [word for word in parts if word not in SPLIT_FILLERS | MASKS]
    if len(parts) == 2 and len(words) == 1:
        words = [SHORT.get(words[0], words[0])]
    if len(tokens(name)) == 2 and tokens(name)[0] == "split" and words:
        words = tokens(name)
    if "v" in words[:-1] and words[words.index("v") + 1].isdecimal():  # "train_v2" is no second train split
        del words[words.index("v") : words.index("v") + 2]
    words = [word for word in words if word not in VARIANTS]
    if words[:2] in (["hold", "out"], ["held", "out"], ["k", "fold"]):
        words[:2] = ["".join(words[:2])]
    number = f" {int(words.pop())}" if len(words) == 2 and words[1].isdecimal() else ""
    number = f" {words.pop()}" if len(words) == 2 and words[1] in ("a", "b") else number  # trainA, trainB
    word = re.sub(r"(?:set|data|daten|images|imgs)$", "", words[0]) if len(words) == 1 else ""
    if word in FOLDS and number:
        return f"fold{number}"
    return SPLITS[word] + number if word in SPLITS else ""


def tokens(name: str) -> list[str]:
    """Return the words and numbers in a name."""
    return re.findall(r"[^\W\d_]+|\d+", fold(name))
