"""A table of labels is read as its owner meant it, or refused with one sentence that names the row."""

import sys
from itertools import permutations

import openpyxl
import pandas as pd
import pytest

from pcos_utils.config import StudyError
from pcos_utils.data import labels, manifest
from tests.data.made import put

FILES = ["a.png", "left/b.png", "left/c.png", "right/c.png", "right/d.jpg", "right/d.png", "x.1.png", "007.png"]
BOTH = {"a.png": 1, "left/b.png": 0}


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a table of labels, as text or as a workbook, and returns its path."""

    def write(content, name="labels.csv", **options):
        path = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content.to_excel(path, index=False, **options)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def matched(path, files=FILES) -> dict:
    return labels.match(path, files).label.to_dict()


NAMED = {
    "a.png": "a.png", "a": "a.png", "left/c.png": "left/c.png", "left/c": "left/c.png", "007": "007.png",
    "./left/c.png": "left/c.png", "left\\c.png": "left/c.png", "b.png": "left/b.png", "b": "left/b.png",
    "d.jpg": "right/d.jpg", "x.1": "x.1.png",
}  # fmt: skip
SAID = {"0": 0, "1": 1, "1.0": 1, "PCO": 1, "Infected": 1, " normal ": 0, "NotInfected": 0, "healthy": 0}
WAYS = [
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
    "image,Healthy\na,0\nb,1\n",  # the other way round, and only without a label
    "image,healthy,label\na,1,1\nb,1,0\n",
]


@pytest.mark.parametrize(
    ("text", "said"),
    [(f"image,label\n{name},1\n", {file: 1}) for name, file in NAMED.items()]
    + [(f"image,label\na,{said}\n", {"a.png": label}) for said, label in SAID.items()]
    + [(text, BOTH) for text in WAYS],
)
def test_the_ways_to_name_a_file_to_say_a_label_and_to_write_a_table(table, text, said):
    assert matched(table(text)) == said


def test_a_whole_path_is_never_ambiguous_and_names_are_compared_as_the_eye_reads_them(table):
    assert matched(table("image,label\nc.png,1\n"), ["c.png", "left/c.png", "c.png.png"]) == {"c.png": 1}
    for written, stored in permutations(("\u00e9.png", "e\u0301.png")):
        assert matched(table(f"image,label\n{written},1\n"), [stored]) == {stored: 1}


@pytest.mark.parametrize(("cells", "header", "said"), [
    ({"Image": ["a.png", None, "007"], "Label": [1, None, 0]}, True, {"a.png": 1, "007.png": 0}),  # 1 becomes 1.0
    ({"imagePath": ["a.png", "b.png"], "Healthy": [0, 1]}, True, BOTH),
    ([["Labels", ""], ["image", "label"], ["a", 1], ["b", 0]], False, BOTH),  # a title above the columns
])  # fmt: skip
def test_a_workbook(table, cells, header, said):
    assert matched(table(pd.DataFrame(cells), "labels.XLSX", header=header)) == said


@pytest.mark.parametrize(("text", "name", "said"), [
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
])  # fmt: skip
def test_an_audit_takes_any_classes_and_the_usual_names_of_columns(table, text, name, said):
    (found,) = labels.match(table(text, name), FILES, signs=False).to_dict("records")
    assert {part: value for part, value in found.items() if part != "label"} == said


def test_a_patient_of_merged_cells_or_in_another_case_is_one_patient(table):
    path = table(pd.DataFrame({"image": FILES[:4], "patient": ["P01", "", "P02", "p01"]}), "merged.xlsx")
    book = openpyxl.load_workbook(path)
    book.worksheets[0].merge_cells("B2:B3")
    book.save(path)
    assert labels.match(path, FILES, signs=False).group.to_list() == ["P01", "P01", "P02", "P01"]


PATIENTS = ("Patient No.", "patient_name", "PID", "MRN", "study_uid", "Participant ID", "case no")


@pytest.mark.parametrize(("column", "name", "cells", "said"), [
    *(("group", name, "003,3.0,P 3,p03,P-4", ["003", "003", "P 3", "P 3", "P-4"]) for name in PATIENTS),
    *(("group", name, "one,one", None) for name in PATIENTS),
    ("split", "usage", "Training,Test,train", ["Training", "Test", "train"]),
    ("split", "dataset", "train,val,test", ["train", "val", "test"]),
    ("split", "is_test", "0,1,0", ["train", "test", "train"]),
    ("split", "is_train", "0,1,1", ["test", "train", "train"]),
    ("split", "cohort", "A,B,A", None),
    ("split", "dataset", "train,train,train", None),
])  # fmt: skip
def test_columns_of_patients_and_of_splits_have_many_names(table, column, name, cells, said):
    rows = "".join(f"{image},1,{cell}\n" for image, cell in zip("abcde", cells.split(","), strict=False))
    read = labels.read(table(f"image,label,{name}\n{rows}"))
    assert (read[column].tolist() if column in read else None) == said


@pytest.mark.parametrize("values", [("PCOS", "Control"), ("1", "0"), ("PCOS+", "PCOS-")])
def test_a_column_that_may_mean_patients_and_holds_classes_is_not_guessed_at(table, values):
    rows = "image,Group\na,{}\nb,{}\n".format(*values)
    with pytest.raises(StudyError, match="column 'Group' of labels.csv holds classes .* call it 'label'"):
        labels.match(table(rows), FILES, signs=False)
    assert labels.match(table(rows.replace("Group", "Patient ID")), FILES, signs=False).group.to_list() == [*values]


def test_one_file_twice_agrees_with_itself_whatever_its_class(table):
    rows = "file,label,group\na,benign,1\na.png,{},1\nb,normal,\n"
    found = labels.match(table(rows.format("benign")), FILES, signs=False)
    assert found["class"].to_dict() == {"a.png": "benign", "left/b.png": "normal"}
    with pytest.raises(StudyError, match="Rows 2 and 3 of labels.csv give a.png different labels"):
        labels.match(table(rows.format("normal")), FILES, signs=False)


def test_columns_that_are_not_read_are_named(table):
    text = "image,diagnosis,patient,ward no,,age\na,pco,p1,7,x,30\nb,normal,p2,8,x,31\n"
    assert labels.match(table(text), FILES).attrs["unread"] == ["ward no", "age"]
    assert labels.match(table("id,benign,malignant\na,1,0\nb,0,1\n"), FILES, signs=False).attrs["unread"] == []


@pytest.mark.parametrize(("text", "named"), [
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
])  # fmt: skip
def test_a_problem_is_one_sentence_that_names_it(table, text, named):
    with pytest.raises(StudyError) as caught:
        labels.match(table(text), FILES)
    text = str(caught.value)
    assert named in text and text.endswith(".") and "\n" not in text


def test_files_that_are_no_tables_and_a_workbook_without_its_reader(table, tmp_path, monkeypatch):
    good = table(pd.DataFrame({"image": ["a"], "label": [1]}), "good.xlsx")
    for path, named in (
        (table("image,label\na,1\n", "labels.txt"), "save it as .csv or .xlsx"),
        (table(b"PK\3\4 no workbook", "text.xlsx"), "text.xlsx cannot be read"),
        (table(b"", "empty.xlsx"), "empty.xlsx cannot be read"),
        (tmp_path / "none.csv", "none.csv is no file; name a table"),
        (good, "needs openpyxl; run 'make setup', or save the table as .csv"),
    ):
        if path == good:
            monkeypatch.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(StudyError, match=named):
            labels.read(path)


@pytest.fixture
def folder(tmp_path):
    """Six pictures under two folders, one of them named like a class."""
    put(tmp_path, "train/1.png", "train/2.png", "test/3.png", "test/pco/4.png", "pco/5.png", "6.png")
    return tmp_path


def test_the_table_says_what_is_read_and_the_folders_do_not(folder, table):
    path = table("image,label\n1,1\n2,normal\n3,0\npco/5,0\n")
    scanned = manifest.scan(folder, path)
    labelled = {"train/1.png": 1, "train/2.png": 0, "test/3.png": 0, "pco/5.png": 0}
    assert scanned.set_index("path").label.to_dict() == labelled
    assert scanned.folder_split.tolist() == ["", "test", "train", "train"]
    assert manifest.outside(folder, path) == 3  # two pictures and the table
    assert len(manifest.listing(folder)) == 2  # without it, the folders speak


def test_a_table_of_one_class_or_of_bad_files_is_no_study(folder, table):
    with pytest.raises(StudyError, match=r"one class only \(normal\); label images of the other class too"):
        manifest.scan(folder, table("image,label\n1,0\n2,0\n"))
    (folder / "6.png").write_text("no picture")
    scanned = manifest.scan(folder, table("image,label\n1,0\n2,1\n6,1\n"))
    assert scanned.status.tolist() == ["not an image", "ok", "ok"]
