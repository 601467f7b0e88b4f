"""Real kills, a full disk and a folder that cannot be written: the run ends right, or stops in one sentence."""

import os
import re
import subprocess
import sys

import pytest
import torch

from pcos_utils.config import ROOT, StudyError
from pcos_utils.models import architectures, checkpoints, run, sweep, weights
from tests.models.made import contents


def folder_of(study):
    """The folder of the one run that is planned here."""
    return study.run_dir("iustnet", next(sweep.plan(study).itertuples()))


def interrupt(study, monkeypatch, after: int):
    """A run that stops after some epochs, as if its process had gone."""
    save = checkpoints.Checkpoint.save

    def stop(self, parts, generator, rows, best):
        save(self, parts, generator, rows, best)
        if len(rows) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints.Checkpoint, "save", stop)
        sweep.run("iustnet", study)
    assert (folder_of(study) / "checkpoint.pt").exists() and not (folder_of(study) / "run.json").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills need a POSIX system")
@pytest.mark.slow
def test_killed_at_random_and_while_it_writes(place):
    command = [sys.executable, "-m", "studies.kill_training", "--place", str(place), "--model", "iustnet"]
    command += ["--side", "32", "--phantoms", "12", "--epochs", "6", "--kills", "8", "--seed", "1"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kills: 8 {'random': 4, 'half': 2, 'before': 1, 'after': 1}" in done.stdout
    # Whether the second process came in time to wait is the system's affair; that it waits, tests/test_files.py shows.
    assert "whole sweep(s): the same" in done.stdout and re.search(r"two at once \(. waited\): the same", done.stdout)


def test_an_interrupted_run_goes_on_and_leaves_the_four_files(small, place, monkeypatch, capsys):
    study = small[0].model_copy(update={"epochs": 4})
    sweep.run("iustnet", study)
    undisturbed = contents(folder_of(study))
    (folder_of(study) / "run.json").unlink()
    interrupt(study, monkeypatch, after=2)
    (folder_of(study) / ".checkpoint.4711.pt").write_text("left half written by a killed process")
    capsys.readouterr()
    sweep.run("iustnet", study)
    assert "iustnet ours repeat 0 fold 0 inner 0: goes on after epoch 2" in capsys.readouterr().out
    assert contents(folder_of(study)) == undisturbed and len(undisturbed) == 4
    assert not list(folder_of(study).glob(".checkpoint*"))


@pytest.mark.parametrize("changed", ["settings", "device or packages"])
def test_a_run_of_other_settings_or_another_torch_begins_again(small, place, monkeypatch, capsys, changed):
    study = small[0].model_copy(update={"epochs": 3})
    interrupt(study, monkeypatch, after=1)
    if changed == "settings":
        study = study.model_copy(update={"epochs": 4})
    else:
        monkeypatch.setattr(run, "version", lambda name: "another")
    sweep.run("iustnet", study)
    said = capsys.readouterr().out
    assert "goes on" not in said and "cannot be used" not in said
    assert len(list(folder_of(study).glob("[!.]*"))) == 4


@pytest.mark.parametrize("record", [None, "", "half", "[]", "{}"])
def test_a_run_without_a_run_json_of_ours_is_trained_again_to_the_same_bytes(small, place, record):
    sweep.run("iustnet", small[0])
    folder = folder_of(small[0])
    before = contents(folder)
    (folder / "predictions.csv").write_text("half")
    (folder / "run.json").unlink() if record is None else (folder / "run.json").write_text(record)
    sweep.run("iustnet", small[0])
    assert contents(folder) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_no_room_is_one_sentence_and_the_last_checkpoint_stays(tmp_path):
    import resource

    model = architectures.IustNet(32)
    parts = {"model": model, "optimiser": torch.optim.SGD(model.parameters(), lr=0.1)}
    keep = checkpoints.Checkpoint(tmp_path / "checkpoint.pt", "one")
    keep.save(parts, torch.Generator(), [{"epoch": 1}], None)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # the system refuses the rest, as a full disk does
    try:
        with pytest.raises(StudyError, match="Cannot write .*checkpoint.pt: .*make room"):
            keep.save(parts, torch.Generator(), [{"epoch": 1}, {"epoch": 2}], None)
        with pytest.raises(StudyError, match="Cannot write .*w.safetensors: .*make room"):
            weights.save(model, tmp_path / "w.safetensors", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(keep.restore(parts, torch.Generator())[0]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_what_stands_in_the_way_is_one_sentence(small, place, capsys):
    folder = folder_of(small[0])
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    with pytest.raises(StudyError, match="Cannot write.*stands where.*PCOS_HOME"):
        sweep.run("iustnet", small[0])
    folder.unlink()
    (folder / "checkpoint.pt").mkdir(parents=True)
    with pytest.raises(StudyError, match="Cannot write.*checkpoint.pt"):
        sweep.run("iustnet", small[0])
    assert "cannot be used" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["CPU", "CUDA", "numpy", "another error"])
def test_too_little_memory_is_one_sentence_with_what_to_lower(small, place, monkeypatch, kind):
    errors = {"CUDA": torch.OutOfMemoryError("CUDA out of memory."), "numpy": MemoryError()}

    def hungry(*_, **__):
        if kind == "CPU":
            torch.empty(1 << 60, dtype=torch.uint8)  # the allocator's own words
        raise errors.get(kind, RuntimeError("shapes do not match"))

    monkeypatch.setattr(architectures.IustNet, "forward", hungry)
    sentence = r"Memory ran out .*batches of 16 images of 32 x 32.*lower 'batch'"
    words = "RuntimeError: shapes do not match.*failures.csv" if kind == "another error" else sentence
    with pytest.raises(StudyError, match=words):
        sweep.run("iustnet", small[0])
