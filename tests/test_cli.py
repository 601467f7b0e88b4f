"""A mistake on the command line is one sentence, exit code 2, and no trace on the disk."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pcos_utils import config
from pcos_utils.config import ROOT
from pcos_utils.files import fingerprint
from pcos_utils.phantom import simulator


def one_sentence(code: int, out: str, err: str, words: str) -> bool:
    """Return whether a command ended with exit code 2 and one sentence that holds these words."""
    return code == 2 and words in err and err.count("\n") == 1


@pytest.mark.parametrize(("option", "value", "words"), [
    ("--data", "nowhere", "DATA=nowhere"), ("--epochs", "0", "epochs=0"),
    ("--weights", "gone.safetensors", "is no file"), ("--preset", "full", "CUDA GPU"),
])  # fmt: skip
def test_a_study_that_cannot_start_is_one_sentence(home, pcos, monkeypatch, option, value, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert one_sentence(*pcos("reproduce", option, value), words) and list(home.iterdir()) == []


def test_what_the_system_refuses_and_an_output_that_nobody_takes_are_one_sentence(pcos):
    assert one_sentence(*pcos("predict", "a" * 300), "file name too long")
    command = [sys.executable, "-m", "pcos_utils.cli", "download", "--list"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert one_sentence(done.returncode, "", done.stderr, "The output cannot be used (no space left on device)")
    assert subprocess.run(["bash", "-c", '"$@" >&-', "", *command], capture_output=True).returncode == 0


def test_a_place_for_results_that_cannot_be_written(home, pcos):
    # A file where the folder should be refuses everybody; permissions alone would not stop root.
    (home / "reports").write_text("in the way")
    assert one_sentence(*pcos("reproduce"), "is a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into a read-only folder; the test above stands in")
def test_a_read_only_place_for_results(home, pcos):
    home.chmod(0o555)
    code, _, err = pcos("reproduce")
    home.chmod(0o755)
    assert code == 2 and "not writable" in err


@pytest.mark.slow
@pytest.mark.parametrize(("files", "words"), [
    ({}, "no class folders"), ({"pco/a.png": True}, "one class only"),
    ({"pco/a.png": False, "normal/b.png": False}, "is a readable image"),
])  # fmt: skip
def test_a_folder_that_cannot_be_studied_stops_its_notebook(home, pcos, files, words):
    (home / "scans").mkdir()
    for i, (name, good) in enumerate(files.items()):
        (path := home / "scans" / name).parent.mkdir()
        noise = np.random.default_rng(i).integers(0, 255, (30, 30), dtype=np.uint8)
        Image.fromarray(noise).save(path) if good else path.write_text("no image")
    for name in ("01_download", "02_explore"):
        target = home / "out" / f"{name}.ipynb"
        code, _, err = pcos("run", ROOT / "notebooks" / target.name, target, "--data", home / "scans")
        if code:
            break
    sentences = [line for line in err.splitlines() if line.startswith("pcos: ")]
    assert code == 2 and len(sentences) == 1 and words in sentences[0]
    assert not target.exists() and target.with_suffix(".failed.ipynb").exists()
    assert not list((home / "reports").rglob("sources.csv"))


def test_the_table_of_labels_is_matched_before_anything_runs_and_a_changed_one_is_another_study(home, pcos):
    (home / "scans").mkdir()
    for name in ("a", "b"):
        Image.new("L", (30, 30)).save(home / "scans" / f"{name}.png")
    (home / "labels.csv").write_text("image,label\na,1\nb,0\n")
    study = config.study(data=str(home / "scans"), labels=str(home / "labels.csv"))
    first, again = fingerprint(study), fingerprint(study)
    (home / "labels.csv").write_text("image,label\na,1\nc,0\n")
    assert first == again != fingerprint(study) and "labels.csv" in first
    said = pcos("reproduce", "--data", home / "scans", "--labels", home / "labels.csv")
    assert one_sentence(*said, "Row 3 of labels.csv names 'c'") and not (home / "runs").exists()


@pytest.mark.slow
def test_a_folder_of_two_pictures_is_described_and_nothing_is_trained(home, pcos):
    for number, name in enumerate(("pco", "normal")):
        (home / "scans" / name).mkdir(parents=True)
        Image.fromarray(simulator.simulate(number, number).image).save(home / "scans" / name / "a.png")
    for name in ("01_download", "02_explore", "05_train_iustnet", "06_compare"):
        target = home / "out" / f"{name}.ipynb"
        code, _, err = pcos("run", ROOT / "notebooks" / target.name, target, "--data", home / "scans")
        assert code == 0 and ("The study ends here, as it should" in target.read_text()) == (name > "03"), err
    page = (home / "reports" / config.study(data=str(home / "scans")).name / "report.html").read_text()
    assert "2 readable images show 2 pictures" in page and "a test set needs 6 of each class" in page
    assert not list((home / "runs").rglob("run.json"))


@pytest.mark.slow
def test_pretrain_leaves_weights_and_says_how_good_they_are(home, pcos):
    code, out, err = pcos("pretrain", "--phantoms", "2")
    assert code == 0 and "dice_follicle" in out, err
    assert (home / "runs" / "follicles" / "s0" / "weights.safetensors").exists()


def test_check_tables_names_what_differs_and_exits_with_1(home, pcos):
    demo = ROOT / "reports" / "phantom-demo"
    shutil.copytree(demo / "tables", home / "tables")
    shutil.copyfile(demo / "plan.json", home / "plan.json")
    text = (home / "tables" / "audit.csv").read_text()
    (home / "tables" / "audit.csv").write_text(text.replace("readable images,300", "readable images,301"))
    code, out, _ = pcos("check-tables", demo, home)
    assert code == 1 and "audit.csv, row fact=readable images, column count: committed 300" in out
    assert one_sentence(*pcos("check-tables", demo, home / "nowhere"), "holds no tables")
