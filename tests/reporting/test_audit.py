"""Verdicts say what the counts say, and the folder that an audit writes is whole."""

import base64
import errno
import io
import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from pcos_utils import cli
from pcos_utils.audit import summary
from pcos_utils.audit.findings import counts, pairs
from pcos_utils.config import ROOT, StudyError
from pcos_utils.data import manifest
from pcos_utils.data.survey import APART
from pcos_utils.phantom import simulator
from pcos_utils.reporting import audit as reporting
from pcos_utils.reporting import audit_page, sentences_audit, sentences_data
from pcos_utils.serving import commands
from tests.conftest import refused

NORMAL = [(f"n{i}", 0, "train", f"n{i}") for i in range(8)]
POLYCYSTIC = [(f"p{i}", 1, "train", f"p{i}") for i in range(8)]
FAIR = [*NORMAL, *POLYCYSTIC, ("y", 1, "test", "new")]
X, Y = [(f"x/{i}", "x", "train", f"x{i}") for i in range(6)], [(f"y/{i}", "y", "train", f"y{i}") for i in range(6)]


def table(*rows):
    columns = pd.DataFrame(rows, columns=["path", "label", "folder_split", "source"])
    return columns.assign(status="ok", sha256=columns.path, pixel_sha256=columns.path, evidence="first")


def save(path, seed, degrees=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(simulator.simulate(seed, seed % 2).image).rotate(degrees).save(path)


@pytest.mark.parametrize(("rows", "said", "unsaid"), [
    ([("a", 0, "train", "a"), ("b", 0, "test", "a"), ("c", 1, "train", "c"), ("d", 1, "test", "c")],
     ["4 readable images show 2 pictures", "no model can be evaluated on it",
      "1 polycystic picture and 1 normal picture even a faultless score in the smaller class"], "share no"),
    ([*FAIR, ("x", 0, "test", "n1")], ["1 of 2 test images shows a picture that the train folder holds too"], "no pic"),
    ([*FAIR, ("x", 0, "test", "fresh")], ["share no picture"], "coin"),
    (NORMAL, ["every label is normal"], "coin"),
    ([*NORMAL, *POLYCYSTIC[:1]], ["in the smaller class", "coin"], "every label"),
    ([*NORMAL, *POLYCYSTIC[:6]], [], "coin"),
    ([*NORMAL, *POLYCYSTIC, ("q", 1, "train", "n3")], ["1 picture carries both labels"], "test"),
])  # fmt: skip
def test_a_study_is_told_what_its_pictures_can_judge(rows, said, unsaid):
    text = sentences_data.verdict(summary.totals(table(*rows)))
    assert [words for words in said if words not in text] == [] and unsaid not in text


def test_copies_are_told_with_their_worth_and_one_image_as_one():
    one, two = table(("a", 1, "", "a")), table(("a", 1, "", "a"), ("b", 0, "", "b"))
    plain = two.assign(evidence="too plain")
    assert sentences_data.verdict(summary.totals(one)).startswith("1 readable image shows 1 picture")
    assert sentences_data.copies(one) == "1 image, which cannot have a copy."
    assert "no copy." in sentences_data.copies(two) and "no copy." not in sentences_data.copies(plain)
    assert "2 of them are too plain to compare" in sentences_data.verdict(summary.totals(plain))
    text = sentences_data.copies(table(*[(f"a{i}", 0, "", "a") for i in range(10)], ("b", 1, "", "b")))
    assert "11 images show 2 source pictures" in text and "10 times" in text
    both = table(*NORMAL, *POLYCYSTIC, ("q", 1, "train", "n3"))
    assert "`n3` (1 image as polycystic, 1 as normal)" in sentences_data.conflicts(both)


@pytest.mark.parametrize(("rows", "said", "unsaid"), [
    ([*X, *Y], ["labels were compared for 12 images of 2 classes (`x` 6, `y` 6)."], "coin"),
    ([*X, *Y[:2]], ["with fewer than 6 pictures of `y` even a faultless"], "share"),
    (X, ["every label is `x`"], "compared"),
    ([(f"z/{i}", "", "", f"{i}") for i in range(10)] + X,
     ["10 images in `z` carry no label", "`train` is the only split"], "share no"),
    ([(f"{i}", "", "", f"{i}") for i in range(2)], ["2 images in the folder itself carry no label."], "class"),
    ([*X, ("y/9", "y", "train", "x1")], ["1 picture stands in two classes or more"], "test"),
    ([*X, ("v", "x", "val", "x1"), ("w", "x", "val", "new")],
     ["1 of 2 `val` images shows a picture that `train` holds too, so a score on `val` is no score"], "no picture"),
    ([*X, ("v", "x", "val", "x1"), ("t", "x", "test", "x1"), ("u", "x", "test", "q")],
     ["`val` (1 image) holds no picture that `train` lacks, so no model can be evaluated on it",
      "1 of 2 `test` images shows a picture that `train` holds",
      "1 of 2 `test` images shows a picture that `val`"], "no sp"),
    ([*X, ("v", "x", "val", "new"), ("extra/a", "x", "", "far")],
     ["`train` and `val` share no picture", "1 image in `extra` belongs to no split; 0 of them"], "score"),
    ([("a", "x", "train", "a"), ("more/a2", "x", "", "a")],
     ["`train` is the only split that was recognised", "1 image in `more` belongs to no split; 1 of them shows"],
     "share no picture"),
    ([(f"p{i}", "pco", "", f"p{i}") for i in range(6)] + [(f"n{i}", "normal", "", f"n{i}") for i in range(6)] + X,
     ["of 3 classes", "`x` says neither polycystic nor normal"], "no label"),
    ([(f"{fold}{part}", "pco", f"fold {fold}/{part}", part) for fold in (1, 2) for part in ("train", "val")],
     ["in none of 2 folds do its parts share a picture; folds were not compared"], "share no picture"),
])  # fmt: skip
def test_a_verdict_speaks_of_the_labels_and_splits_that_were_read(rows, said, unsaid):
    classed = table(*rows).rename(columns={"label": "class"})
    classed["label"] = classed["class"].map({"pco": 1, "normal": 0}).astype("Int64")
    text = sentences_audit.verdict(classed, counts(classed, APART), pairs(classed), pd.DataFrame())
    assert [words for words in said if words not in text] == [] and unsaid not in text


@pytest.mark.parametrize(("names", "groups"), [
    (["pt07_visit1", "pt07_visit2", "pt08_visit1", "pt08_visit2"], "2 groups, such as `pt07`"),
    (["1_pco_3", "2_pco_3", "1_normal_4"], "2 groups, such as `pco_3`"),
    (["scan_a_frame_0041", "scan_a_frame_0042", "b_frame_1"], "2 groups, such as `scan_a`"),
    (["a", "b", "c"], ""), (["pt1", "pt2", "pt3"], ""),  # nothing to join
])  # fmt: skip
def test_names_that_look_like_patients_are_offered(names, groups):
    rows = table(*[(f"{name}.png", 0, "", name) for name in names])
    text = sentences_audit.suggestion(rows)
    assert groups in text and bool(text) == bool(groups)
    assert sentences_audit.suggestion(rows.assign(group="p")) == ""  # they were asked for


def test_near_misses_are_the_pairs_that_look_most_alike(monkeypatch):
    rng = np.random.default_rng(0)
    measured = table(*[(f"{i}", 0, "", f"s{max(i, 1)}") for i in range(60)])
    values = rng.normal(100, 20, (60, 256))
    values[40] = 1.2 * values[7] + rng.normal(0, 4, 256)  # another picture much like it
    monkeypatch.setattr(audit_page, "BLOCK", 16)
    (near,) = audit_page.near_misses(measured.assign(thumbnail=list(values + rng.normal(0, 50, 256))))
    assert (near["first"], near["second"]) == ("7", "40") and near["correlation"] > 0.9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A place whose ``set`` has eight phantoms a class in train, two of them also in test, turned."""
    place = tmp_path_factory.mktemp("phantoms")
    for seed in range(16):
        save(place / "set" / "train" / ("normal", "pco")[seed % 2] / f"{seed}.png", seed)
    for seed in (4, 5):
        save(place / "set" / "test" / ("normal", "pco")[seed % 2] / "turned.png", seed, 15)
    return place


def audit(place, *options, folders=("set",), out="out"):
    """Return the exit code of `pcos audit` for folders of a place, what it says, and the content of audit.json."""
    words = ["audit", *(place / name for name in folders), "--out", place / out, *options]
    done = CliRunner().invoke(cli.app, [*map(str, words)])
    return done.exit_code, done.output, json.loads((place / out / "audit.json").read_text())


def test_the_command_writes_a_whole_folder_and_exits_with_3_on_a_leak(folder):
    code, said, content = audit(folder)
    out = folder / "out"
    assert code == 3 and "no model can be evaluated on it" in said
    jsonschema.validate(content, json.loads((out / content["$schema"]).read_text()))
    assert content["leaks_or_conflicts"] and content["summary"][summary.SOURCES] == 16
    assert len(content["shortcuts"]) == 14 and [row["images"] for row in content["copies"]] == [2, 2]
    found = [(row["path"], row["new"]) for row in content["findings"]]
    assert found == [("test/normal/turned.png", True), ("test/pco/turned.png", True)]
    sources = manifest.read(out / "sources.csv")
    wanted = {"path", "class", "label", "sha256", "pixel_sha256", "folder_split", "source", "inliers", "evidence"}
    assert wanted <= set(sources.columns) and len(sources) == 18
    page = (out / "audit.html").read_text()
    assert not re.search(r"https?://|<script|src=\"(?!data:)", page) and "no model can be evaluated on it" in page
    shown = [base64.b64decode(coded) for coded in re.findall(r"data:image/jpeg;base64,([^\"]+)", page)]
    assert len(shown) >= 18 and min(np.asarray(Image.open(io.BytesIO(coded))).std() for coded in shown) > 5
    assert {path.name for path in out.iterdir()} == {"audit.html", "audit.json", "audit.schema.json", "sources.csv"}
    code, said, _ = audit(folder, "--baseline", out / "sources.csv", out="again")
    assert code == 0 and "2 findings, of which 0 are new since the baseline" in said


@pytest.mark.slow
def test_the_command_compares_folders_and_is_content_with_clean_ones(folder):
    assert audit(folder, folders=["set/train"], out="clean")[0] == 0
    code, said, _ = audit(folder, folders=["set/train", "set/test"], out="both")
    assert code == 3 and "test and train share 2 pictures" in said


def test_every_picture_in_both_classes_leaves_nothing_to_tell_apart(tmp_path):
    for name in ("x", "y"):
        save(tmp_path / "set" / name / "a.png", 4)
    code, said, _ = audit(tmp_path)
    assert code == 3 and "1 picture stands in two classes" in said and "AUC" not in said


def test_names_are_text_on_the_page(tmp_path):
    for seed in (4, 6, 8):
        save(tmp_path / "set" / "<b>&" / f"<i>{seed}.png", seed)
    (tmp_path / "set" / "<u>.jpg").write_text("no image")
    assert audit(tmp_path)[0] == 0
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "&lt;b&gt;&amp;/&lt;i&gt;4.png" in page and "&lt;u&gt;.jpg" in page and not re.search("<[iu]>", page)


def test_frames_of_one_clip_in_two_splits_are_findings_at_their_level(tmp_path):
    for split, step in (("train", 0.0), ("test", 1e-3)):
        save(tmp_path / "set" / split / "x" / "other.png", 20 + bool(step))
        frame = simulator.simulate(80_000_001, 1, elevation=step).image
        Image.fromarray(frame).save(tmp_path / "set" / split / "x" / "frame.png")
    code, said, _ = audit(tmp_path)
    assert "1 of 2 `test` images is no copy but is probably of a clip that `train` has" in said
    assert code == 0 and "share no picture" in said
    code, _, content = audit(tmp_path, "--level", "clip")
    assert code == 3 and [row["finding"] for row in content["findings"]] == ["clip split"]
    assert content["clips"][0]["sources"] == ["test/x/frame.png", "train/x/frame.png"]
    assert "Probably one clip" in (tmp_path / "out" / "audit.html").read_text()
    unknown = "--level scan is unknown; give source or clip"
    refused(unknown, commands.audit, [tmp_path / "set"], tmp_path / "out", level="scan")


def test_images_without_classes_can_be_audited(tmp_path):
    for seed in (4, 6):
        save(tmp_path / "set" / f"{seed}.png", seed)
    for name in ("broken.jpg", ".DS_Store", "Thumbs.db"):
        (tmp_path / "set" / name).write_bytes(b"\xff\xd8\xff no picture")
    code, said, content = audit(tmp_path)
    assert code == 0 and "coin" not in said and "cannot be read: broken.jpg (" in said
    assert [row["path"] for row in content["unreadable"]] == ["broken.jpg"] and content["shortcuts"] == []
    assert content["summary"]["set apart: litter"] == 2


def test_a_collage_of_training_pictures_is_a_leak(tmp_path):
    for number, seed in enumerate((4, 6, 8, 10, 12, 14)):
        save(tmp_path / "set" / ("train" if number < 4 else "test") / "a" / f"{seed}.png", seed)
    panels = [simulator.simulate(seed, 0).image for seed in (4, 6)]
    Image.fromarray(np.hstack(panels)).save(tmp_path / "set" / "test" / "a" / "figure.png")
    code, said, content = audit(tmp_path)
    assert code == 3 and "1 collage, which shows several pictures, is not counted as one" in said
    assert "1 of 3 `test` images shows a picture that `train` holds too" in said
    assert {(row["finding"], row["path"]) for row in content["findings"]} == {("split", "test/a/figure.png")}
    code, said, _ = audit(tmp_path, "--baseline", tmp_path / "out" / "sources.csv", out="more")
    assert code == 0 and "1 finding, of which 0 are new" in said


def test_files_of_two_folders_are_counted_by_folder():
    rows = table(("a.png", 0, "", "a"), ("b.tif#1", 0, "", "b"), ("b.tif#2", 0, "", "b")).assign(**{"class": "normal"})
    both = pd.concat([rows.assign(dataset="one"), rows.assign(dataset="two")])
    assert counts(both, APART)["files"] == 4 and counts(rows, APART)["files"] == 2


def test_archives_and_labels_that_contradict_a_folder_are_named(tmp_path):
    rows = ["image,label,ward"]
    for seed, kind in zip(range(4, 16, 2), ("pco", "normal") * 3, strict=True):
        save(tmp_path / "set" / kind / f"{seed}.png", seed)
        rows.append(f"{seed},{int(seed != 8 and kind == 'pco')},7")
    (tmp_path / "set" / "more.zip").write_bytes(b"PK\3\4")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    said = audit(tmp_path, "--labels", tmp_path / "labels.csv")[1]
    assert "Not looked into, unpack: `more.zip`." in said and "1 archive is set apart" in said
    assert "Table and folder contradict each other for 1 of 6 images: `pco/8.png`; the table was used" in said
    assert "Of the table these columns were not read: `ward`; one column of each kind" in said


def test_a_disk_that_is_full_on_the_way_leaves_no_file_of_an_audit(tmp_path, monkeypatch):
    for seed in (4, 6):
        save(tmp_path / "set" / f"{seed}.png", seed)
    write = Path.write_text

    def full(path, text, **options):
        if path.suffix == ".csv":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    refused("sources.csv: no space left on device; make room", reporting.run, [tmp_path / "set"], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("folders", "out", "baseline"), [
    (["none"], "out", None), (["empty"], "out", None), (["set", "set"], "out", None),
    (["set", "set/test"], "out", None), (["set"], "file/out", None), (["set"], "file", None),
    (["set"], "set/out", None), (["set"], "out", "none.csv"), (["set"], "out", "other.csv"),
    (["set"], "out", "set/test/pco/turned.png"),
])  # fmt: skip
def test_unusable_input_is_one_sentence_and_nothing_is_written(folder, tmp_path, folders, out, baseline):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "set").symlink_to(folder / "set")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StudyError) as caught:
        commands.audit([tmp_path / name for name in folders], tmp_path / out, baseline=baseline and tmp_path / baseline)
    assert "\n" not in str(caught.value) and "permission" not in str(caught.value)
    assert not (tmp_path / "out").exists() and not (folder / "set" / "out").exists()


def test_the_hook_and_the_workflow_name_options_that_exist():
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "audit.yml").read_text())["jobs"]["audit"]["steps"]
    (command,) = [step["run"] for step in steps if "pcos audit" in step.get("run", "")]
    named = set(re.findall(r"--[a-z-]+", command + (ROOT / ".pre-commit-hooks.yaml").read_text()))
    known = set(re.findall(r"--[a-z-]+", CliRunner().invoke(cli.app, ["audit", "--help"]).output))
    assert hook["entry"] == "pcos audit" and named == {"--out", "--labels", "--baseline"} and named <= known
