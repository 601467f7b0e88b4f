"""Folder names give a class and a split in the words that people use, and nothing is taken for a class in silence."""

import pytest

from pcos_utils.data import layout, words
from pcos_utils.data.words import LABEL_OF_FOLDER

SIGNS = {
    1: ["polycystic", "Polycystic Ovary", "unhealthy", "PCOS+", "pco_pos", "infected_aug", "PCOS images augmented",
        "(+) PCOS"],
    0: ["Non-PCOS", "noninfected", "NOT_INFECTED", "no pcos", "PCOS-", "PCOS (-)", "PCOS\N{MINUS SIGN}", "PCOS neg",
        "PCOS negative", "0_normal", "-PCOS", "(-) PCOS", "~PCOS", "!PCOS"],
    None: ["normal negative", "yes", "benign", "pco_1", "images", "PCOS?", "-normal"],
}  # fmt: skip
SPLITS = {
    "train": ["Train", "TRAINING", "training_set", "trainval-image", "train_augmented", "aug_train", "train_v2",
              "train - Copy", "X_train", "imagesTr", "trn", "训练集", "entrainement", "Trainingsdaten"],
    "val": ["valid", "Validation", "dev", "external validation cohort"],
    "test": ["test_images", "TestData", "testing", "hold-out", "Holdout", "external_test", "test_dir", "imagesTs",
             "tst", "测试集", "public_test", "unseen", "auto_test", "Testdaten"],
    "test 2": ["test2"], "fold 3": ["Fold_03"], "fold 1": ["cv1", "K-Fold 1", "split_1"], "train a": ["trainA"],
    "test b": ["testB"], "": ["split", "fold", "benign", "testis", "3", "TR3", "tr", "te"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("read", "name", "said"),
    [(words.sign, name, sign) for sign, names in SIGNS.items() for name in names]
    + [(words.sign, name, sign) for name, sign in LABEL_OF_FOLDER.items()]
    + [(words.split, name, split) for split, names in SPLITS.items() for name in names],
)
def test_words_of_pcos_have_a_sign_and_words_of_splits_a_split(read, name, said):
    assert read(name) == said


def of_numbers(name: str, said: list) -> tuple[str, list]:
    """Return two numbered folders around the splits, and what is said of them."""
    return " ".join(f"{name.format(n)}/{split}/a" for n in (1, 2) for split in ("train", "test")), said


CLASSES = [
    ("PCOS/PCOS PCOS/Non-PCOS PCOS/Unlabelled PCOS", ["PCOS", "Non-PCOS", "", ""]),
    ("set/benign set/malignant set/normal set", ["benign", "malignant", "normal", ""]),
    ("Benign/images train/benign benign/left/pt07 bad/2023-05-01", ["Benign", "Benign", "Benign", "bad"]),
    ("data/0 data/1 data/2", ["0", "1", "2"]),
    ("benign/1 benign/2 malignant/3", ["benign", "benign", "malignant"]),  # patients
    ("pco/left normal/left", ["pco", "normal"]),
    ("train/infected test/pco test/normal", ["infected", "infected", "normal"]),  # one word in each split
    ("abnormal pcos normal", ["abnormal", "pcos", "normal"]),  # two words side by side
    ("benign benign benign/more malignant", ["benign", "benign", "benign", "malignant"]),
    ("a b c d e f g h i j k k", [""] * 12),  # hardly an image each: patients, not classes
    ("COVID/images COVID/masks Normal/images", ["COVID", "COVID", "Normal"]),
    ("train_benign test_benign test-benign stress_test", ["benign", "benign", "benign", "stress"]),
    ("benign stress_test", ["benign", "stress_test"]),
    ("PCOS/yes PCOS/no", ["PCOS yes", "PCOS no"]),
    ("PCOS/1 PCOS/0", ["PCOS yes", "PCOS no"]),
    ("PCOS/1 PCOS/0 normal/1", ["PCOS", "PCOS", "normal"]),  # patients
    ("infected infected_aug normal", ["infected", "infected", "normal"]),
    ("PCOS_Original PCOS_Augmented benign", ["PCOS_Original", "PCOS_Original", "benign"]),
    ("PCOS ~PCOS PCOS? -PCOS", ["PCOS", "~PCOS", "PCOS?", "-PCOS"]),
    ("PCOSTrain PCOSTest normalTrain normalTest", ["PCOS", "PCOS", "normal", "normal"]),
    ("PCOS+ PCOS- FIGO_1-2 FIGO_12 <12 >=12", ["PCOS+", "PCOS-", "FIGO_1-2", "FIGO_12", "<12", ">=12"]),
    ("a/PA000001/ST000000/SE000000 b/PA000002/ST000000/SE000001", ["a", "b"]),
    ("a/MRN-1000 b/AK_2021-01-12 a/Patient_A", ["a", "b", "a"]),
    ("b/SOB/tubular/SOB_B_TA-14-22549AB/40X b/SOB/adenosis/SOB_B_A-14-3411F/200X", ["tubular", "adenosis"]),
    ("train/patients train/controls", ["patients", "controls"]),
    ("pco/patientA normal/patientB", ["pco", "normal"]),  # one patient is no class
    ("PCOS PCOS/benign PCOS/malignant", ["PCOS"] * 3),
    ("PCOS/benign PCOS/malignant", ["benign", "malignant"]),  # the name of the data set
    ("", [""]),
]
LABELS = [
    ("PCOS/yes PCOS/Negative PCOS+ pcos- PCOS_neg", [1, 0, 1, 0, 0]),
    ("0 1", [0, 1]),
    ("normal/1 pco/0", [0, 1]),
    ("0 1 2", [None] * 3),
    ("PCOS/benign PCOS/malignant", [None] * 2),
    *((f"PCOS/{between}yes PCOS/{between}no", [1, 0]) for between in ("", "train/", "images/", "val/images/")),
]
FOLDS = ["fold 1/train", "fold 1/test", "fold 2/train", "fold 2/test"]
FOLDER_SPLITS = [
    ("pco/Training VAL/pco fold1/train/pco fold2/pco pco", ["train", "val", "fold 1/train", "fold 2", ""]),
    ("train/fold_1/pco train/fold_2/pco test/pco data_2/pco", ["fold 1", "fold 2", "test", ""]),
    ("1/train/pco 1/val/pco 2/train/pco 2/val/pco", ["fold 1/train", "fold 1/val", "fold 2/train", "fold 2/val"]),
    *(of_numbers(name, FOLDS) for name in ("{}", "split_{}", "seed-{}", "seed_{}")),
    *(of_numbers(name, ["train", "test"] * 2) for name in ("hospital_{}", "center{}", "v{}", "Task{}")),  # share them
]


@pytest.mark.parametrize(
    ("column", "folders", "told"),
    [("class", *case) for case in CLASSES]
    + [("label", *case) for case in LABELS]
    + [("folder_split", *case) for case in FOLDER_SPLITS],
)
def test_folders_tell_classes_labels_and_splits(column, folders, told):
    found = layout.read([tuple(folder.split("/")) for folder in folders.split(" ")])[column]
    assert found.astype(object).where(found.notna(), None).tolist() == told


@pytest.mark.parametrize("name", ["grade_{}", "BIRADS{}", "class{}", "T{}", "CIN{}", "HER{}", "stage {}", "{}"])
def test_numbered_classes_around_the_splits_are_no_folds(name):
    folders = [(name.format(n), split) for n in (1, 2) for split in ("train", "test")]
    told = layout.read(folders)
    assert list(zip(told["class"], told.folder_split, strict=True)) == folders


@pytest.mark.parametrize("between", [(), ("train",), ("images",), ("val", "images")])
def test_an_answer_below_a_split_is_of_another_class_than_the_other_answer(between):
    assert layout.read([("PCOS", *between, word) for word in ("yes", "no")])["class"].nunique() == 2
