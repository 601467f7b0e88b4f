"""Verdicts say what the counts say, and the folder that an audit writes is whole."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from pcos_utils import cli
from pcos_utils.audit import summary
from pcos_utils.config import StudyError
from pcos_utils.data import manifest
from pcos_utils.phantom import simulator
from pcos_utils.reporting import audit as report
from pcos_utils.reporting import sentences_data

NORMAL = [(f"n{i}", 0, "train", f"n{i}") for i in range(8)]
POLYCYSTIC = [(f"p{i}", 1, "train", f"p{i}") for i in range(8)]


def table(*rows):
    """Return an audited manifest from (path, label, folder split, source) rows."""
    columns = pd.DataFrame(rows, columns=["path", "label", "folder_split", "source"])
    return columns.assign(status="ok", sha256=columns.path, pixel_sha256=columns.path, evidence="first")


def verdict(*rows):
    """Return the verdict on such a table, and whether leaks or conflicts were found."""
    counted = summary.totals(table(*rows))
    return sentences_data.verdict(counted), report.leaks_or_conflicts(counted)


def test_a_test_folder_of_copies_cannot_judge_anything():
    rows = ("a", 0, "train", "a"), ("b", 0, "test", "a"), ("c", 1, "train", "c"), ("d", 1, "test", "c")
    text, leaks = verdict(*rows)
    assert leaks and "4 readable images show 2 pictures" in text and "no model can be evaluated on it" in text
    assert "1 polycystic picture and 1 normal picture even a faultless score in the smaller class" in text


def test_a_partial_leak_is_counted_in_images():
    text, leaks = verdict(*NORMAL, *POLYCYSTIC, ("x", 0, "test", "n1"), ("y", 1, "test", "new"))
    assert leaks and "1 of 2 test images shows a picture that the train folder holds too" in text
    text, leaks = verdict(*NORMAL, *POLYCYSTIC, ("x", 0, "test", "fresh"), ("y", 1, "test", "new"))
    assert not leaks and "share no picture" in text and "coin" not in text


@pytest.mark.parametrize(("polycystic", "said"), [(0, "every label is normal"), (1, "in the smaller class"), (6, "")])
def test_few_pictures_of_a_class_are_told(polycystic, said):
    text, _ = verdict(*NORMAL, *POLYCYSTIC[:polycystic])
    assert said in text and ("coin" in text) == (polycystic == 1)


def test_copies_are_told_with_their_worth_and_one_image_as_one():
    one = table(("a", 1, "", "a"))
    assert sentences_data.verdict(summary.totals(one)).startswith("1 readable image shows 1 picture")
    assert sentences_data.copies(one) == "1 image, which cannot have a copy."
    two = table(("a", 1, "", "a"), ("b", 0, "", "b"))
    assert "no copy" in sentences_data.copies(two)
    plain = two.assign(evidence="too plain")
    assert "2 of them are too plain to compare" in sentences_data.verdict(summary.totals(plain))
    assert "no copy." not in sentences_data.copies(plain)
    text = sentences_data.copies(table(*[(f"a{i}", 0, "", "a") for i in range(10)], ("b", 1, "", "b")))
    assert "11 images show 2 source pictures" in text and "10 times" in text


def test_a_test_folder_is_held_against_the_train_folder_of_its_own_data_set():
    rows = ("a", 0, "train", "a"), ("b", 1, "test", "b"), ("b2", 1, "train", "b"), ("a2", 0, "test", "a")
    joined = table(*rows).assign(dataset=["one", "one", "two", "two"])
    counted, pairs = summary.totals(joined), summary.between(joined)
    text = sentences_data.verdict(counted, pairs)
    assert "share no picture" in text and "no model" not in text and "one and two share 2 pictures" in text
    assert report.leaks_or_conflicts(counted, pairs)


def test_two_labels_are_a_conflict_and_named():
    rows = *NORMAL, *POLYCYSTIC, ("q", 1, "train", "n3")
    text, conflicts = verdict(*rows)
    assert conflicts and "1 picture carries both labels" in text and "test" not in text
    assert "`n3` (1 image as polycystic, 1 as normal)" in sentences_data.conflicts(table(*rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight phantoms a class in train, two of them also in test, turned."""
    folder = tmp_path_factory.mktemp("phantoms")
    for name in ("train/normal", "train/pco", "test/normal", "test/pco"):
        (folder / name).mkdir(parents=True)
    for seed in range(16):
        image, name = Image.fromarray(simulator.simulate(seed, seed % 2).image), ("normal", "pco")[seed % 2]
        image.save(folder / "train" / name / f"{seed}.png")
        if seed in (4, 5):
            image.rotate(15).save(folder / "test" / name / "turned.png")
    return folder


def audit(*arguments):
    """Return what `pcos audit` returns and prints."""
    return CliRunner().invoke(cli.app, ["audit", *map(str, arguments)])


def test_the_command_writes_a_whole_folder_and_exits_with_3_on_a_leak(folder, tmp_path):
    done = audit(folder, "--out", tmp_path / "out")
    assert done.exit_code == 3 and "no model can be evaluated on it" in done.output
    content = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert content["leaks_or_conflicts"] and content["summary"][summary.SOURCES] == 16
    assert len(content["shortcuts"]) == 14 and len(content["copies"]) == 16
    sources = manifest.read(tmp_path / "out" / "sources.csv")
    wanted = {"path", "label", "sha256", "pixel_sha256", "folder_split", "source", "inliers", "evidence"}
    assert wanted <= set(sources.columns) and len(sources) == 18
    sheet = np.asarray(Image.open(tmp_path / "out" / "local" / "contact_sheet.png").convert("L"))
    assert sheet.shape[0] > 200 and sheet.std() > 30
    assert not list((tmp_path / "out").rglob(".*"))


@pytest.mark.slow
def test_the_command_compares_folders_and_is_content_with_clean_ones(folder, tmp_path):
    assert audit(folder / "train", "--out", tmp_path / "clean").exit_code == 0
    done = audit(folder / "train", folder / "test", "--out", tmp_path / "both")
    assert done.exit_code == 3 and "test and train share 2 pictures" in done.output


def test_images_without_classes_can_be_audited(tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for seed in (4, 6):
        Image.fromarray(simulator.simulate(seed, 0).image).save(flat / f"{seed}.png")
    (flat / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    for litter in (".DS_Store", "Thumbs.db"):
        (flat / litter).write_bytes(b"a system's own")
    done = audit(flat, "--out", tmp_path / "out")
    assert done.exit_code == 0 and "coin" not in done.output
    content = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert content["unreadable"] == [{"path": "broken.jpg", "status": "damaged"}] and content["shortcuts"] == []
    (tmp_path / "table.csv").write_text("image,label\n4.png,0\n")
    assert len(manifest.scan(flat, tmp_path / "table.csv", every=True)) == 3  # litter is no image here, either


@pytest.mark.parametrize("what", ["missing", "empty", "twice", "nested", "blocked", "a file", "inside"])
def test_unusable_input_is_one_sentence_and_nothing_is_written(folder, tmp_path, what):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    folders = {"missing": [tmp_path / "none"], "empty": [tmp_path / "empty"], "twice": [folder, folder]}
    folders["nested"] = [folder, folder / "test"]
    places = {"blocked": tmp_path / "file" / "out", "a file": tmp_path / "file", "inside": folder / "out"}
    with pytest.raises(StudyError) as caught:
        cli.audit(folders.get(what, [folder]), places.get(what, tmp_path / "out"))
    assert "\n" not in str(caught.value) and "permission" not in str(caught.value)
    assert not (tmp_path / "out").exists() and not (folder / "out").exists()
