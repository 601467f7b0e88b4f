"""Real kills, a full disk and a folder that cannot be written: the run ends right, or stops in one sentence."""

import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from pcos_utils.config import StudyError
from pcos_utils.models import architectures, checkpoints, run, sweep, weights
from tests.models.made import contents


def folder_of(study):
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


def trained(study, home, stage) -> None:
    """Finish all grouped runs; ``stage``: of the first write of a checkpoint, at which this process is killed."""
    os.environ |= {"PCOS_HOME": str(home), "PCOS_PLAIN": "1"}
    torch.set_num_threads(1)
    rename, write = os.replace, Path.write_bytes

    def die(here, path):
        if here == stage and "checkpoint" in Path(path).name:
            os.kill(os.getpid(), signal.SIGKILL)

    def slow_rename(source, target):
        die("before", target)
        rename(source, target)
        die("after", target)

    def slow_write(path, data):
        write(path, data[: len(data) // 2])
        die("half", path)
        return write(path, data)

    os.replace, Path.write_bytes = slow_rename, slow_write
    with open(home / "log.txt", "a") as stream, redirect_stdout(stream):
        sweep.run("iustnet", study, arms=("ours",))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills need a POSIX system")
@pytest.mark.slow
def test_killed_at_random_and_while_it_writes(small, home):
    study, _, there = small
    study = study.model_copy(update={"epochs": 6})
    (home / "data").symlink_to(there / "data")
    shutil.copytree(there / "reports", home / "reports")
    system, rng, folder = multiprocessing.get_context("forkserver"), random.Random(1), study.runs_dir / "iustnet"
    system.set_forkserver_preload([__name__])  # so that each process starts at once, with its imports

    def start(stage=None):
        process = system.Process(target=trained, args=(study, home, stage))
        process.start()
        return process

    def end(*processes) -> dict:
        """The names of all files, and the contents of each run, after all processes have ended well."""
        assert [process.join() or process.exitcode for process in processes] == [0] * len(processes)
        names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
        found = {str(path.parent.relative_to(folder)): contents(path.parent) for path in folder.rglob("run.json")}
        shutil.rmtree(study.runs_dir)
        return {"files": names, "runs": found}

    end(start())  # so that the next one is not slowed by what starts
    began = time.perf_counter()
    expected = end(start())
    seconds = time.perf_counter() - began
    assert len(expected["runs"]) == 2
    for stage in (None, "half", None, "before", None, "after", None, "half"):
        for _ in range(5):
            process = start(stage)
            if not stage:
                time.sleep(rng.uniform(0, 0.8 * seconds))  # late enough that some hit the second run
                process.kill()
            process.join()
            if process.exitcode == -signal.SIGKILL:
                break
            assert end(process) == expected  # it ended before it could be killed
        assert process.exitcode == -signal.SIGKILL
    assert end(start()) == expected
    assert "goes on after epoch" in (home / "log.txt").read_text()
    # Whether the second process came in time to wait is the system's affair; that it waits, tests/test_files.py shows.
    assert end(start(), start()) == expected


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


def test_a_run_without_a_run_json_of_ours_is_trained_again_to_the_same_bytes(small, place):
    sweep.run("iustnet", small[0])
    before = contents(folder := folder_of(small[0]))
    for record in (None, "", "half", "[]", "{}"):
        (folder / "predictions.csv").write_text("half")
        (folder / "run.json").unlink() if record is None else (folder / "run.json").write_text(record)
        sweep.run("iustnet", small[0])
        assert contents(folder) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_no_room_is_one_sentence_and_the_last_checkpoint_stays(tmp_path):
    import resource

    model, order = architectures.IustNet(32), torch.Generator()
    parts = {"model": model, "optimiser": torch.optim.SGD(model.parameters(), lr=0.1)}
    keep = checkpoints.Checkpoint(tmp_path / "checkpoint.pt", "one")
    keep.save(parts, order, [{"epoch": 1}], None)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # the system refuses the rest, as a full disk does
    try:
        with pytest.raises(StudyError, match="Cannot write .*checkpoint.pt: .*make room"):
            keep.save(parts, order, [{"epoch": 1}, {"epoch": 2}], None)
        with pytest.raises(StudyError, match="Cannot write .*w.safetensors: .*make room"):
            weights.save(model, tmp_path / "w.safetensors", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(keep.restore(parts, order)[0]) == 1 and [*tmp_path.iterdir()] == [keep.path]


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


@pytest.mark.parametrize(
    "error", [None, torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("shapes do not match")]
)
def test_too_little_memory_is_one_sentence_with_what_to_lower(small, place, monkeypatch, error):
    def hungry(*_, **__):
        if error is None:
            torch.empty(1 << 60, dtype=torch.uint8)  # the allocator's own words
        raise error

    monkeypatch.setattr(architectures.IustNet, "forward", hungry)
    sentence = r"Memory ran out .*batches of 16 images of 32 x 32.*lower 'batch'"
    other = "RuntimeError: shapes do not match.*failures.csv"
    with pytest.raises(StudyError, match=other if "shapes" in str(error) else sentence):
        sweep.run("iustnet", small[0])
