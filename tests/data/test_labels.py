"""A table of labels is read as its owner meant it, or refused with one sentence that names the row."""

import sys
from itertools import permutations

import numpy as np
import openpyxl
import pandas as pd
import pytest
from PIL import Image

from pcos_utils.config import StudyError
from pcos_utils.data import labels, manifest

FILES = ["a.png", "left/b.png", "left/c.png", "right/c.png", "right/d.jpg", "right/d.png", "x.1.png", "007.png"]


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a table of labels, as text or as a workbook, and returns its path."""

    def write(content, name="labels.csv"):
        path = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content.to_excel(path, index=False)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def matched(path, files=FILES) -> dict:
    """Return the label of each file that a table names."""
    return labels.match(path, files).label.to_dict()


@pytest.mark.parametrize(
    ("image", "file"),
    [("a.png", "a.png"), ("a", "a.png"), ("left/c.png", "left/c.png"), ("left/c", "left/c.png"), ("007", "007.png"),
     ("./left/c.png", "left/c.png"), ("left\\c.png", "left/c.png"), ("b.png", "left/b.png"), ("b", "left/b.png"),
     ("d.jpg", "right/d.jpg"), ("x.1", "x.1.png")],
)  # fmt: skip
def test_a_file_by_its_path_or_its_bare_name_with_or_without_suffix(table, image, file):
    assert matched(table(f"image,label\n{image},1\n")) == {file: 1}
    # A whole path is never ambiguous.
    assert matched(table("image,label\nc.png,1\n"), ["c.png", "left/c.png", "c.png.png"]) == {"c.png": 1}


@pytest.mark.parametrize(
    ("said", "label"),
    [("0", 0), ("1", 1), ("1.0", 1), ("PCO", 1), ("Infected", 1), (" normal ", 0), ("NotInfected", 0), ("healthy", 0)],
)
def test_what_a_label_may_say(table, said, label):
    assert matched(table(f"image,label\na,{said}\n")) == {"a.png": label}


@pytest.mark.parametrize(
    "text",
    [
        "image,label\na,1\nb,0\n",
        "\ufeffLabel , IMAGE,remark\n1,a,x\n,,\n0,b,\n",
        "image;label\na;pco\nb;normal\n",
        "image\tlabel\na\t1\nb\t0\n\n",
        "image,label\r\na,1\r\nb,0\r\na.png,1\r\n",
        'image,label\n"a","1"\nleft/b.png,0',
        "Labels of our scans\n\nimage,label\na,1\nb,0\n",
        "Labels, as of May 2024\nsee the paper\nimage;label;age\na;1;30,5\nb;0;\n",
        "sep=;\nimage;label;;\na;1;;\nb;0;;\n",  # these three are Excel's
        "\n\nimage,label\na,1,,\nb,0,,\n",
        "image,label\na,1,,,,\nb,0,,,,\n,,,\n",
    ],
)
def test_the_ways_to_write_a_table(table, text):
    assert matched(table(text)) == {"a.png": 1, "left/b.png": 0}


def test_a_workbook(table):
    cells = pd.DataFrame({"Image": ["a.png", None, "007"], "Label": [1, None, 0]})  # the gap makes 1 into 1.0
    assert matched(table(cells, "labels.XLSX")) == {"a.png": 1, "007.png": 0}


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("filename\tDiagnosis\na\tBenign\n", "t.tsv", {"class": "Benign"}),
        ("ID,Case,Pathology\na,12,malignant\n", "t.csv", {"class": "malignant", "group": "12"}),
        ("image,MEL,NV,BKL\na,0.0,1.0,0\n", "t.csv", {"class": "NV"}),
        ("Image_name;Patient_num;Plane\na;7;brain\n", "t.csv", {"group": "7"}),
        ("file,label\na,normal\na,0\n", "t.csv", {"class": "normal"}),
        ("file,label,clip,split\na,,c3,Val\n", "t.csv", {"class": "", "group": "c3", "split": "Val"}),
        ("file,label,patient,split\na,NaN,NA,n/a\n", "t.csv", {"class": "", "group": "", "split": ""}),
        ("file,label,patient\na,None,none\n", "t.csv", {"class": "None", "group": ""}),
        ("file,patient,smoker,IVF\na,p1,1,1\n", "t.csv", {"group": "p1"}),
        ("file,patient,PCO,IVF\na,p1,1,1\n", "t.csv", {"class": "PCO", "group": "p1"}),
        ("file,case\na,1\n", "t.csv", {"group": "1"}),
    ],
)
def test_an_audit_takes_any_classes_and_the_usual_names_of_columns(table, text, name, said):
    (found,) = labels.match(table(text, name), FILES, signs=False).to_dict("records")
    assert {part: value for part, value in found.items() if part != "label"} == said


def test_a_patient_of_merged_cells_or_in_another_case_is_one_patient(table):
    path = table(pd.DataFrame({"image": FILES[:4], "patient": ["P01", "", "P02", "p01"]}), "merged.xlsx")
    book = openpyxl.load_workbook(path)
    book.worksheets[0].merge_cells("B2:B3")
    book.save(path)
    assert labels.match(path, FILES, signs=False).group.to_list() == ["P01", "P01", "P02", "P01"]


@pytest.mark.parametrize(
    "name", ["Patient No.", "patient_name", "PID", "MRN", "study_uid", "Participant ID", "case no"]
)
def test_a_column_of_patients_has_many_names(table, name):
    read = labels.read(table(f"image,label,{name}\na,1,003\nb,1,3.0\nc,0,P 3\nd,0,p03\ne,0,P-4\n"))
    assert read.group.tolist() == ["003", "003", "P 3", "P 3", "P-4"]
    assert "group" not in labels.read(table(f"image,label,{name}\na,1,one\nb,0,one\n"))


@pytest.mark.parametrize(
    ("name", "cells", "said"),
    [
        ("usage", "Training Test train", ["Training", "Test", "train"]),
        ("dataset", "train val test", ["train", "val", "test"]),
        ("is_test", "0 1 0", ["train", "test", "train"]),
        ("is_train", "0 1 1", ["test", "train", "train"]),
        ("cohort", "A B A", None),
        ("dataset", "train train train", None),
    ],
)
def test_a_column_of_splits_has_many_names(table, name, cells, said):
    rows = "".join(f"{image},1,{cell}\n" for image, cell in zip("abc", cells.split(), strict=True))
    read = labels.read(table(f"image,label,{name}\n{rows}"))
    assert (read.split.tolist() if "split" in read else None) == said


@pytest.mark.parametrize("values", [("PCOS", "Control"), ("1", "0"), ("PCOS+", "PCOS-")])
def test_a_column_that_may_mean_patients_and_holds_classes_is_not_guessed_at(table, values):
    rows = "image,Group\na,{}\nb,{}\n".format(*values)
    with pytest.raises(StudyError, match="column 'Group' of labels.csv holds classes .* call it 'label'"):
        labels.match(table(rows), FILES, signs=False)
    assert labels.match(table(rows.replace("Group", "Patient ID")), FILES, signs=False).group.to_list() == [*values]


def test_one_file_twice_agrees_with_itself_whatever_its_class(table):
    rows = table("file,label,group\na,benign,1\na.png,benign,1\nb,normal,\n")
    assert labels.match(rows, FILES, signs=False)["class"].to_dict() == {"a.png": "benign", "left/b.png": "normal"}
    with pytest.raises(StudyError, match="Rows 2 and 3 of labels.csv give a.png different labels"):
        labels.match(table("file,label\na,benign\na,normal\nb,1\n"), FILES, signs=False)


def test_names_are_compared_as_the_eye_reads_them(table):
    for written, stored in permutations(("\u00e9.png", "e\u0301.png")):
        assert matched(table(f"image,label\n{written},1\n"), [stored]) == {stored: 1}


def test_healthy_is_the_other_way_round_and_only_without_a_label(table):
    own = pd.DataFrame({"imagePath": ["a.png", "b.png"], "Healthy": [1, 0]})
    assert matched(table(own, "class_label.xlsx")) == {"a.png": 0, "left/b.png": 1}
    assert matched(table("image,Healthy\na,0\n")) == {"a.png": 1}
    assert matched(table("image,healthy,label\na,1,1\n")) == {"a.png": 1}


def test_columns_that_are_not_read_are_named(table):
    text = "image,diagnosis,patient,ward no,,age\na,pco,p1,7,x,30\nb,normal,p2,8,x,31\n"
    assert labels.match(table(text), FILES).attrs["unread"] == ["ward no", "age"]
    assert labels.match(table("id,benign,malignant\na,1,0\nb,0,1\n"), FILES, signs=False).attrs["unread"] == []


def test_a_title_above_a_workbooks_columns_is_no_column(table):
    sheet = pd.DataFrame([["Labels", ""], ["image", "label"], ["a", 1], ["b", 0]])
    sheet.to_excel(path := table("", "labels.xlsx"), index=False, header=False)
    assert matched(path) == {"a.png": 1, "left/b.png": 0}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no column called 'image'"),
        ("picture,label\na,1\n", "no column called 'image' (its first row holds: picture, label)"),
        ("image,remark\na,1\n", "no column called 'label'"),
        ("image,benign,malignant\na,1,1\n", "2 classes for a in the columns benign, malignant"),
        ("image,benign,malignant\na,1,0\n", "Row 2 of labels.csv has label 'benign'"),
        ("image,label,patient\na,1,p\na,1,q\n", "different values of 'group'"),
        ("image,label,Label\na,1,0\n", "2 columns called 'label'"),
        ("image,label\n", "no row below"),
        ("image,label\na,1\nb,2\n", "Row 3 of labels.csv has label '2' for b"),
        ("image,label\na,1\n\nb,\n", "Row 4 of labels.csv has label ''"),
        ("image,label\na,1\n,1\n", "Row 3 of labels.csv has no image"),
        ("image,healthy\na,normal\n", "Row 2 of labels.csv has healthy 'normal'"),
        ("image,label\na,1\nb,1\na.png,0\n", "Rows 2 and 4 of labels.csv give a.png different labels"),
        ("image,label\na,1\nz.png,1\n", "Row 3 of labels.csv names 'z.png', which is not in the folder"),
        ("image,label\na,1\n../a.png,1\n", "Row 3 of labels.csv names '../a.png'"),
        ("image,label\na,1\nc.png,1\n", "names 'c.png', which fits 2 files (left/c.png, right/c.png)"),
        ("image,label\na,1\nright/d,1\n", "fits 2 files (right/d.jpg, right/d.png)"),
        ("image,label\ny,1\nz,0\n", "No image of labels.csv is in the folder (row 2 names 'y')"),
        (b"image,label\n\xe9,1\n", "not UTF-8"),
        ('image,label\n"a,1\n', "cannot be read"),
        ("image,label\na,1,1,1\n", "Row 2 of labels.csv has more cells"),
    ],
)
def test_a_problem_is_one_sentence_that_names_it(table, text, named):
    with pytest.raises(StudyError) as caught:
        labels.match(table(text), FILES)
    text = str(caught.value)
    assert named in text and text.endswith(".") and "\n" not in text


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [("labels.txt", "image,label\na,1\n", "save it as .csv or .xlsx"),
     ("labels.xlsx", b"PK\3\4 no workbook", "labels.xlsx cannot be read"),
     ("labels.xlsx", b"", "labels.xlsx cannot be read")],
)  # fmt: skip
def test_files_that_are_no_tables(table, name, content, named):
    with pytest.raises(StudyError, match=named):
        labels.match(table(content, name), FILES)


def test_a_workbook_needs_its_reader(table, monkeypatch):
    path = table(pd.DataFrame({"image": ["a"], "label": [1]}), "good.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(StudyError, match="needs openpyxl; run 'make setup', or save the table as .csv"):
        labels.match(path, FILES)


@pytest.fixture
def folder(tmp_path):
    """Six pictures under two folders, one of them named like a class."""
    for i, name in enumerate(("train/1.png", "train/2.png", "test/3.png", "test/pco/4.png", "pco/5.png", "6.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 255, (30, 30), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
    return tmp_path


def test_the_table_says_what_is_read_and_the_folders_do_not(folder, table):
    path = table("image,label\n1,1\n2,normal\n3,0\npco/5,0\n")
    scanned = manifest.scan(folder, path)
    assert scanned.set_index("path").label.to_dict() == {
        "train/1.png": 1, "train/2.png": 0, "test/3.png": 0, "pco/5.png": 0,
    }  # fmt: skip
    assert scanned.folder_split.tolist() == ["", "test", "train", "train"]
    assert manifest.outside(folder, path) == 3  # two pictures and the table
    assert len(manifest.listing(folder)) == 2  # without it, the folders speak


def test_a_table_of_one_class_or_of_bad_files_is_no_study(folder, table):
    with pytest.raises(StudyError, match=r"one class only \(normal\); label images of the other class too"):
        manifest.scan(folder, table("image,label\n1,0\n2,0\n"))
    (folder / "6.png").write_text("no picture")
    scanned = manifest.scan(folder, table("image,label\n1,0\n2,1\n6,1\n"))
    assert scanned.status.tolist() == ["not an image", "ok", "ok"]


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(StudyError, match="none.csv is no file; name a table"):
        labels.read(tmp_path / "none.csv")
