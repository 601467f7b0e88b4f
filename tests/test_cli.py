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


def pcos(*words, home, **environment) -> subprocess.CompletedProcess:
    """Return the finished command, run from another folder than the repository."""
    return subprocess.run(
        [sys.executable, "-m", "pcos_utils.cli", *words],
        cwd=home, capture_output=True, text=True, env=os.environ | {"PCOS_HOME": str(home)} | environment,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess, words: str) -> bool:
    """Return whether a command ended with exit code 2 and one sentence that holds these words."""
    return done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--data", "nowhere", "DATA=nowhere"),
        ("--epochs", "0", "epochs=0"),
        ("--weights", "gone.safetensors", "is no file"),
        ("--preset", "full", "CUDA GPU"),
    ],
)
def test_a_study_that_cannot_start_is_one_sentence(home, option, value, words):
    assert refused(pcos("reproduce", option, value, home=home, CUDA_VISIBLE_DEVICES=""), words)
    assert list(home.iterdir()) == []


def test_what_the_system_refuses_is_one_sentence(home):
    assert refused(pcos("predict", "a" * 300, home=home), "file name too long")


def test_an_output_that_nobody_takes_is_one_sentence(home):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "pcos_utils.cli", "download", "--list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert refused(done, "The output cannot be used (no space left on device)")
    assert subprocess.run(["bash", "-c", '"$@" >&-', "", *command], capture_output=True).returncode == 0


def test_a_place_for_results_that_cannot_be_written(home):
    # A file where the folder should be refuses everybody; permissions alone would not stop root.
    (home / "reports").write_text("in the way")
    assert refused(pcos("reproduce", home=home), "is a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into a read-only folder; the test above stands in")
def test_a_read_only_place_for_results(home):
    home.chmod(0o555)
    done = pcos("reproduce", home=home)
    home.chmod(0o755)
    assert done.returncode == 2 and "not writable" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no class folders"),
        ({"pco/a.png": True}, "one class only"),
        ({"pco/a.png": False, "normal/b.png": False}, "is a readable image"),
    ],
)
def test_a_folder_that_cannot_be_studied_stops_its_notebook(home, files, words):
    folder = home / "scans"
    folder.mkdir()
    for i, (name, good) in enumerate(files.items()):
        (folder / name).parent.mkdir()
        noise = np.random.default_rng(i).integers(0, 255, (30, 30), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name) if good else (folder / name).write_text("no image")
    for notebook in ("01_download", "02_explore"):
        target = home / "out" / f"{notebook}.ipynb"
        done = pcos("run", str(ROOT / "notebooks" / f"{notebook}.ipynb"), str(target), "--data", str(folder), home=home)
        if done.returncode:
            break
    sentences = [line for line in done.stderr.splitlines() if line.startswith("pcos: ")]
    assert done.returncode == 2 and len(sentences) == 1 and words in sentences[0]
    assert not target.exists() and target.with_suffix(".failed.ipynb").exists()
    assert not list((home / "reports").rglob("sources.csv"))


@pytest.fixture
def scans(home):
    """Make a folder of two pictures without class folders, and a table of labels; return the options that name them."""
    (home / "scans").mkdir()
    for name in ("a", "b"):
        Image.new("L", (30, 30)).save(home / "scans" / f"{name}.png")
    (home / "labels.csv").write_text("image,label\na,1\nb,0\n")
    return ["--data", str(home / "scans"), "--labels", str(home / "labels.csv")]


def test_the_table_of_labels_is_matched_with_the_folder_before_anything_runs(home, scans):
    (home / "labels.csv").write_text("image,label\na,1\nc,0\n")
    assert refused(pcos("reproduce", *scans, home=home), "Row 3 of labels.csv names 'c'")
    assert not (home / "runs").exists()


def test_a_changed_table_of_labels_is_another_study_to_compute(home, scans):
    study = config.study(data=scans[1], labels=scans[3])
    first, again = fingerprint(study), fingerprint(study)
    (home / "labels.csv").write_text("image,label\na,0\nb,1\n")
    assert first == again != fingerprint(study) and "labels.csv" in first


@pytest.mark.slow
def test_a_folder_of_two_pictures_is_described_and_nothing_is_trained(home):
    for number, name in enumerate(("pco", "normal")):
        (home / "scans" / name).mkdir(parents=True)
        Image.fromarray(simulator.simulate(number, number).image).save(home / "scans" / name / "a.png")
    for notebook in ("01_download", "02_explore", "05_train_iustnet", "06_compare"):
        target = home / "out" / f"{notebook}.ipynb"
        source = str(ROOT / "notebooks" / f"{notebook}.ipynb")
        done = pcos("run", source, str(target), "--data", str(home / "scans"), home=home)
        assert done.returncode == 0, done.stderr
        assert ("The study ends here, as it should" in target.read_text()) == (notebook > "03")
    name = config.study(data=str(home / "scans")).name
    page = (home / "reports" / name / "report.html").read_text()
    assert "2 readable images show 2 pictures" in page and "a test set needs 6 of each class" in page
    assert not list((home / "runs").rglob("run.json"))


@pytest.mark.slow
def test_pretrain_leaves_weights_and_says_how_good_they_are(home):
    done = pcos("pretrain", "--phantoms", "2", home=home)
    assert done.returncode == 0 and "dice_follicle" in done.stdout, done.stderr
    assert (home / "runs" / "follicles" / "s0" / "weights.safetensors").exists()


def test_check_tables_names_what_differs_and_exits_with_1(home):
    demo = ROOT / "reports" / "phantom-demo"
    shutil.copytree(demo / "tables", home / "tables")
    shutil.copyfile(demo / "plan.json", home / "plan.json")
    text = (home / "tables" / "audit.csv").read_text()
    (home / "tables" / "audit.csv").write_text(text.replace("readable images,300", "readable images,301"))
    done = pcos("check-tables", str(demo), str(home), home=home)
    assert done.returncode == 1 and "audit.csv, row fact=readable images, column count: committed 300" in done.stdout
    assert refused(pcos("check-tables", str(demo), str(home / "nowhere"), home=home), "holds no tables")
