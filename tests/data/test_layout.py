"""Folder names give a class and a split in the words that people use, and nothing is taken for a class in silence."""

import pytest

from pcos_utils.data import layout
from pcos_utils.data.layout import LABEL_OF_FOLDER


@pytest.mark.parametrize(
    ("name", "label"),
    [("polycystic", 1), ("Polycystic Ovary", 1), ("Non-PCOS", 0), ("noninfected", 0), ("NOT_INFECTED", 0),
     ("no pcos", 0), ("unhealthy", 1), ("0_normal", 0), ("benign", None), ("pco_1", None), ("images", None),
     *LABEL_OF_FOLDER.items()],
)  # fmt: skip
def test_words_of_pcos_have_a_sign(name, label):
    assert layout.sign(name) == label


@pytest.mark.parametrize(
    ("name", "split"),
    [("Train", "train"), ("TRAINING", "train"), ("training_set", "train"), ("trainval-image", "train"),
     ("valid", "val"), ("Validation", "val"), ("dev", "val"), ("test_images", "test"), ("TestData", "test"),
     ("testing", "test"),
     ("hold-out", "test"), ("Holdout", "test"), ("test2", "test 2"), ("Fold_03", "fold 3"), ("cv1", "fold 1"),
     ("fold", ""), ("benign", ""), ("testis", ""), ("3", "")],
)  # fmt: skip
def test_words_of_splits(name, split):
    assert layout.split(name) == split


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
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
        ("", [""]),
    ],
)  # fmt: skip
def test_the_class_is_the_deepest_folder_that_says_what_is_seen(folders, classes):
    parts = [tuple(folder.split("/")) for folder in folders.split(" ")]
    assert layout.read(parts)["class"].tolist() == classes


def test_a_split_stands_above_or_below_the_class_and_inside_a_fold():
    folders = [("pco", "Training"), ("VAL", "pco"), ("fold1", "train", "pco"), ("fold2", "pco"), ("pco",)]
    assert layout.read(folders).folder_split.tolist() == ["train", "val", "fold 1/train", "fold 2", ""]


def test_folders_called_0_and_1_are_labels_only_without_other_words():
    assert layout.read([("0",), ("1",)]).label.tolist() == [0, 1]
    assert layout.read([("normal", "1"), ("pco", "0")]).label.tolist() == [0, 1]
    assert layout.read([("0",), ("1",), ("2",)]).label.isna().all()
