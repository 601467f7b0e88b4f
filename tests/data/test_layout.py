"""Folder names give a class and a split in the words that people use, and nothing is taken for a class in silence."""

import pytest

from pcos_utils.data import layout, words
from pcos_utils.data.words import LABEL_OF_FOLDER


@pytest.mark.parametrize(
    ("name", "label"),
    [("polycystic", 1), ("Polycystic Ovary", 1), ("Non-PCOS", 0), ("noninfected", 0), ("NOT_INFECTED", 0),
     ("no pcos", 0), ("unhealthy", 1), ("PCOS+", 1), ("PCOS-", 0), ("PCOS (-)", 0), ("PCOS\N{MINUS SIGN}", 0),
     ("PCOS negative", 0), ("pco_pos", 1), ("normal negative", None), ("yes", None), ("infected_aug", 1),
     ("PCOS images augmented", 1), ("0_normal", 0), ("benign", None), ("pco_1", None), ("images", None),
     ("-PCOS", 0), ("(-) PCOS", 0), ("~PCOS", 0), ("!PCOS", 0), ("(+) PCOS", 1), ("PCOS?", None), ("-normal", None),
     *LABEL_OF_FOLDER.items()],
)  # fmt: skip
def test_words_of_pcos_have_a_sign(name, label):
    assert words.sign(name) == label


@pytest.mark.parametrize(
    ("name", "split"),
    [("Train", "train"), ("TRAINING", "train"), ("training_set", "train"), ("trainval-image", "train"),
     ("valid", "val"), ("Validation", "val"), ("dev", "val"), ("test_images", "test"), ("TestData", "test"),
     ("testing", "test"),
     ("hold-out", "test"), ("Holdout", "test"), ("test2", "test 2"), ("Fold_03", "fold 3"), ("cv1", "fold 1"),
     ("K-Fold 1", "fold 1"),
     ("train_augmented", "train"), ("aug_train", "train"), ("train_v2", "train"), ("train - Copy", "train"),
     ("X_train", "train"), ("external_test", "test"), ("test_dir", "test"), ("split_1", "fold 1"), ("split", ""),
     ("fold", ""), ("benign", ""), ("testis", ""), ("3", ""), ("imagesTr", "train"), ("imagesTs", "test"),
     ("trainA", "train a"), ("testB", "test b"), ("trn", "train"), ("tst", "test"), ("训练集", "train"),
     ("测试集", "test"),
     ("public_test", "test"), ("external validation cohort", "val"), ("unseen", "test"), ("entrainement", "train"),
     ("TR3", ""), ("tr", ""), ("te", ""), ("auto_test", "test"), ("Trainingsdaten", "train"), ("Testdaten", "test")],
)  # fmt: skip
def test_words_of_splits(name, split):
    assert words.split(name) == split


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
        ("", [""]),
    ],
)  # fmt: skip
def test_the_class_is_the_deepest_folder_that_says_what_is_seen(folders, classes):
    parts = [tuple(folder.split("/")) for folder in folders.split(" ")]
    assert layout.read(parts)["class"].tolist() == classes


def test_a_split_stands_above_or_below_the_class_and_inside_a_fold():
    folders = [("pco", "Training"), ("VAL", "pco"), ("fold1", "train", "pco"), ("fold2", "pco"), ("pco",)]
    assert layout.read(folders).folder_split.tolist() == ["train", "val", "fold 1/train", "fold 2", ""]


@pytest.mark.parametrize("names", [("1", "2"), ("split_1", "split_2"), ("seed-1", "seed-2")])
def test_numbered_folders_that_hold_splits_are_folds_and_folds_of_one_split_are_parts_of_it(names):
    folders = [(name, part, "pco") for name in names for part in ("train", "val")]
    assert layout.read(folders).folder_split.tolist() == ["fold 1/train", "fold 1/val", "fold 2/train", "fold 2/val"]
    folders = [("train", "fold_1", "pco"), ("train", "fold_2", "pco"), ("test", "pco"), ("data_2", "pco")]
    assert layout.read(folders).folder_split.tolist() == ["fold 1", "fold 2", "test", ""]


def test_the_label_is_that_of_an_answer_and_of_0_and_1_only_without_other_words():
    table = layout.read([("PCOS", "yes"), ("PCOS", "Negative"), ("PCOS+",), ("pcos-",), ("PCOS neg",)])
    assert table.label.tolist() == [1, 0, 1, 0, 0]
    assert layout.read([("0",), ("1",)]).label.tolist() == [0, 1]
    assert layout.read([("normal", "1"), ("pco", "0")]).label.tolist() == [0, 1]
    assert layout.read([("0",), ("1",), ("2",)]).label.isna().all()


def read(*paths: str) -> list[tuple[str, str]]:
    """Return class and split of an image in each folder."""
    told = layout.read([tuple(path.split("/")) for path in paths])
    return list(zip(told["class"], told.folder_split, strict=True))


@pytest.mark.parametrize("name", ["grade_{}", "BIRADS{}", "class{}", "T{}", "CIN{}", "HER{}", "stage {}", "{}"])
def test_numbered_classes_around_the_splits_are_no_folds(name):
    first, second = name.format(1), name.format(2)
    found = read(f"{first}/train", f"{first}/test", f"{second}/train", f"{second}/test")
    assert found == [(first, "train"), (first, "test"), (second, "train"), (second, "test")]


@pytest.mark.parametrize("place", ["hospital_{}", "center{}", "v{}", "Task{}"])
def test_numbered_places_share_their_splits_and_numbered_runs_do_not(place):
    def around(name: str) -> list[str]:
        """Return the splits of two classes in two numbered folders."""
        return [split for _, split in read(*(f"{name.format(n)}/{s}/a" for n in (1, 2) for s in ("train", "test")))]

    assert around(place) == ["train", "test"] * 2
    assert around("seed_{}") == around("{}") == ["fold 1/train", "fold 1/test", "fold 2/train", "fold 2/test"]


@pytest.mark.parametrize("between", ["", "train/", "images/", "val/images/"])
def test_an_answer_below_a_split_is_that_of_the_question_above_it(between):
    table = layout.read([tuple(f"PCOS/{between}{word}".split("/")) for word in ("yes", "no")])
    assert table.label.tolist() == [1, 0] and table["class"].nunique() == 2


def test_a_signed_folder_around_all_classes_is_the_name_of_the_data_set():
    table = layout.read([("PCOS", "benign"), ("PCOS", "malignant")])
    assert table["class"].tolist() == ["benign", "malignant"] and table.label.isna().all()
