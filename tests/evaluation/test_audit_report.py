"""Verdicts say what the counts say, and the folder that an audit writes is whole."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcos_utils import cli
from pcos_utils.config import StudyError
from pcos_utils.data import audit, manifest, phantom
from pcos_utils.evaluation import audit_report


def table(rows):
    """An audited manifest from (path, label, folder split, source) rows."""
    made = pd.DataFrame(rows, columns=["path", "label", "folder_split", "source"])
    return made.assign(status="ok", sha256=made.path, pixel_sha256=made.path, evidence="first")


def told(rows):
    """The verdict on such a table, and whether something was found."""
    facts = audit.summary(table(rows))
    return audit_report.verdict(facts), audit_report.found(facts)


def test_a_test_folder_of_copies_cannot_judge_anything():
    text, found = told([("a", 0, "train", "a"), ("b", 0, "test", "a"), ("c", 1, "train", "c"), ("d", 1, "test", "c")])
    assert found and "4 readable images show 2 pictures" in text and "no model can be evaluated on it" in text
    assert "1 polycystic picture and 1 normal picture even a faultless score in the smaller class" in text


def test_a_partial_leak_is_counted_in_images():
    rows = [(f"n{i}", 0, "train", f"n{i}") for i in range(8)] + [(f"p{i}", 1, "train", f"p{i}") for i in range(8)]
    text, found = told([*rows, ("x", 0, "test", "n1"), ("y", 1, "test", "new")])
    assert found and "1 of 2 test images shows a picture that the train folder holds too" in text
    text, found = told([*rows, ("x", 0, "test", "fresh"), ("y", 1, "test", "new")])
    assert not found and "share no picture" in text and "coin" not in text


@pytest.mark.parametrize(("polycystic", "said"), [(0, "every label is normal"), (1, "in the smaller class"), (6, "")])
def test_few_pictures_of_a_class_are_told(polycystic, said):
    rows = [(f"n{i}", 0, "", f"n{i}") for i in range(30)] + [(f"p{i}", 1, "", f"p{i}") for i in range(polycystic)]
    text, _ = told(rows)
    assert said in text and ("coin" in text) == (polycystic == 1)


def test_one_image_is_told_as_one_and_what_could_not_be_compared_as_that():
    one = table([("a", 1, "", "a")])
    assert audit_report.verdict(audit.summary(one)).startswith("1 readable image shows 1 picture")
    assert audit_report.copies_sentence(one) == "1 image, which cannot have a copy."
    plain = table([("a", 1, "", "a"), ("b", 0, "", "b")]).assign(evidence="too plain")
    assert "2 of them are too plain to compare" in audit_report.verdict(audit.summary(plain))
    assert "no copy." not in audit_report.copies_sentence(plain)


def test_a_test_folder_is_held_against_the_train_folder_of_its_own_data_set():
    rows = [("a", 0, "train", "a"), ("b", 1, "test", "b"), ("b2", 1, "train", "b"), ("a2", 0, "test", "a")]
    joined = table(rows).assign(dataset=["one", "one", "two", "two"])
    facts, pairs = audit.summary(joined), audit.between(joined)
    text = audit_report.verdict(facts, pairs)
    assert "share no picture" in text and "no model" not in text and "one and two share 2 pictures" in text
    assert audit_report.found(facts, pairs)


def test_two_labels_are_a_conflict_and_named():
    rows = [(f"n{i}", 0, "", f"n{i}") for i in range(8)] + [(f"p{i}", 1, "", f"p{i}") for i in range(8)]
    text, found = told([*rows, ("q", 1, "", "n3")])
    assert found and "1 picture carries both labels" in text and "test" not in text
    sentence = audit_report.conflicts_sentence(table([*rows, ("q", 1, "", "n3")]))
    assert "`n3` (1 image as polycystic, 1 as normal)" in sentence


def test_copies_are_told_with_their_worth():
    sentence = audit_report.copies_sentence(table([(f"a{i}", 0, "", "a") for i in range(10)] + [("b", 1, "", "b")]))
    assert "11 images show 2 source pictures" in sentence and "10 times" in sentence
    assert "no copy" in audit_report.copies_sentence(table([("a", 0, "", "a"), ("b", 1, "", "b")]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight phantoms a class in train, two of them also in test, turned."""
    place = tmp_path_factory.mktemp("phantoms")
    for seed in range(16):
        image = Image.fromarray(phantom.simulate(seed, seed % 2).image)
        home = place / "train" / ("pco" if seed % 2 else "normal")
        home.mkdir(parents=True, exist_ok=True)
        image.save(home / f"{seed}.png")
        if seed in (4, 5):
            home = place / "test" / home.name
            home.mkdir(parents=True)
            image.rotate(15).save(home / "turned.png")
    return place


def run(*arguments):
    """The exit code of the command line."""
    try:
        cli.app(["audit", *map(str, arguments)], standalone_mode=True)
    except SystemExit as end:
        return end.code
    return 0


def test_the_command_writes_a_whole_folder_and_exits_with_3_on_a_leak(folder, tmp_path, capsys):
    assert run(folder, "--out", tmp_path / "out") == 3
    assert "no model can be evaluated on it" in capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert content["leaks_or_conflicts"] and content["summary"][audit.SOURCES] == 16
    assert len(content["shortcuts"]) == 28 and len(content["copies"]) == 16
    sources = manifest.read(tmp_path / "out" / "sources.csv")
    wanted = {"path", "label", "sha256", "pixel_sha256", "folder_split", "source", "inliers", "evidence"}
    assert wanted <= set(sources.columns) and len(sources) == 18
    sheet = np.asarray(Image.open(tmp_path / "out" / "local" / "contact_sheet.png").convert("L"))
    assert sheet.shape[0] > 200 and sheet.std() > 30
    assert not list((tmp_path / "out").rglob(".*"))


def test_the_command_compares_folders_and_is_content_with_clean_ones(folder, tmp_path, capsys):
    assert run(folder / "train", "--out", tmp_path / "clean") == 0
    assert run(folder / "train", folder / "test", "--out", tmp_path / "both") == 3
    assert "test and train share 2 pictures" in capsys.readouterr().out


def test_images_without_classes_can_be_audited(folder, tmp_path, capsys):
    flat = tmp_path / "flat"
    flat.mkdir()
    for seed in (4, 6):
        Image.fromarray(phantom.simulate(seed, 0).image).save(flat / f"{seed}.png")
    (flat / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    assert run(flat, "--out", tmp_path / "out") == 0
    content = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert content["unreadable"] == [{"path": "broken.jpg", "status": "damaged"}] and content["shortcuts"] == []
    assert "coin" not in capsys.readouterr().out


def test_litter_is_no_image_with_a_table_of_labels_either(folder, tmp_path):
    (tmp_path / "flat").mkdir()
    for name in (".DS_Store", "Thumbs.db"):
        (tmp_path / "flat" / name).write_bytes(b"a system's own")
    Image.fromarray(phantom.simulate(4, 0).image).save(tmp_path / "flat" / "a.png")
    (tmp_path / "table.csv").write_text("image,label\na.png,0\n")
    assert len(manifest.scan(tmp_path / "flat", tmp_path / "table.csv", every=True)) == 1


@pytest.mark.parametrize("what", ["missing", "empty", "twice", "nested", "blocked", "a file", "inside"])
def test_unusable_input_is_one_sentence_and_nothing_is_written(folder, tmp_path, what):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    folders = {"missing": [tmp_path / "none"], "empty": [tmp_path / "empty"], "twice": [folder, folder]}
    folders["nested"] = [folder, folder / "test"]
    places = {"blocked": tmp_path / "file" / "out", "a file": tmp_path / "file", "inside": folder / "out"}
    out = places.get(what, tmp_path / "out")
    with pytest.raises(StudyError) as caught:
        cli.audit(folders.get(what, [folder]), out)
    assert len(str(caught.value).splitlines()) == 1 and not (tmp_path / "out").exists()
    assert "permission" not in str(caught.value) and not (folder / "out").exists()
