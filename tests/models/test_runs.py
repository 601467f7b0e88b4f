"""Runs on other processes: the same bytes, whatever dies meanwhile, and one sentence for each way not to start."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pandas as pd
import pytest

from pcos_utils import config
from pcos_utils.data import splits
from pcos_utils.files import write_csv
from pcos_utils.models import runs, sweep
from tests.models.made import contents
from tests.serving.made import free_port

WORKER = "from distributed.cli.dask_worker import main; main()"


@pytest.fixture
def ready(small, home, monkeypatch):
    """The small study in this test's own home, and a function that makes its sweep there or in another home."""
    study, table, there = small

    def make(name: str, study=study, **settings):
        place = home / name
        place.mkdir()
        (place / "data").symlink_to(there / "data")
        for setting in ("JOBS", "CLUSTER"):
            monkeypatch.setenv(f"PCOS_SET_{setting}", str(settings.get(setting, "")))
        monkeypatch.setenv("PCOS_HOME", str(place))
        write_csv(study.report_dir / "sources.csv", splits.draw(table.drop(columns=["used", "split", "r0"]), study))
        study.plan_path.write_text("{}")
        return sweep.run("iustnet", study, ("ours",)).drop(columns="seconds"), contents(study.runs_dir)

    return study, make


def start(*command) -> subprocess.Popen:
    return subprocess.Popen(command, cwd=config.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def scheduler(address: str) -> subprocess.Popen:
    return start(sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard")


def worker(address: str, *words: str, before: str = "", within: tuple = ()) -> subprocess.Popen:
    """Start a worker, which runs Python code before it begins, within another command."""
    words = ("--no-nanny", "--no-dashboard", *(words or ("--nthreads", "1")))
    return start(*within, sys.executable, "-c", before + WORKER, address, *words)


@contextmanager
def cluster(*words: str, **how):
    """The address of a scheduler and a dict of it and of one worker, whose processes are killed at the end."""
    address = f"tcp://127.0.0.1:{free_port()}"
    processes = {"scheduler": scheduler(address), "first": worker(address, *words, **how)}
    try:
        yield address, processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(ready, capsys):
    study, make = ready
    rows, files = make("one")
    assert len(rows) == 2 and "dashboard" not in capsys.readouterr().out
    again, others = make("two", JOBS=2)
    assert again.equals(rows) and others == files and len(files) == 8
    assert "dashboard: http://127.0.0.1:" in capsys.readouterr().out


def test_a_run_that_fails_is_a_row_and_the_others_are_finished(ready, monkeypatch):
    study, make = ready
    execute = runs.execute

    def failing(job, *given):
        return execute(job, *given) if job.run.fold else 1 / 0

    shown = []
    monkeypatch.setattr(sweep.progress, "bar", lambda **named: Told([], lambda states: shown.append(dict(states))))
    monkeypatch.setattr(runs, "execute", failing)
    named = r"^1 of 2 runs of iustnet failed \(ours repeat 0 fold 0 inner 0\): ZeroDivisionError.*failures.csv"
    with pytest.raises(config.StudyError, match=named):
        make("home")
    assert shown == [dict(done=0, failed=1, left=1), dict(done=1, failed=1, left=0)]
    path = study.runs_dir / "iustnet" / "failures.csv"
    row = pd.read_csv(path).iloc[0]
    assert row.fold == 0 and "in failing" in row.traceback and "ZeroDivisionError" in row.error
    assert len([name for name in contents(study.runs_dir) if name.endswith("run.json")]) == 1
    monkeypatch.setattr(runs, "execute", execute)
    assert len(sweep.run("iustnet", study, ("ours",))) == 2 and not path.exists()


def test_a_missing_extra_a_wrong_address_and_a_wrong_number_are_one_sentence_each(ready, monkeypatch):
    make = ready[1]
    monkeypatch.setattr(runs, "CONNECT", 0.3)
    with pytest.raises(config.StudyError, match=r"^No scheduler answers at tcp://127.0.0.1:1 .*dask scheduler\.$"):
        make("address", CLUSTER="tcp://127.0.0.1:1")
    for wrong in (dict(JOBS="0"), dict(JOBS="many"), dict(CLUSTER="here")):
        with pytest.raises(config.StudyError, match=r"^(JOBS|CLUSTER)=.*; give"):
            make(str(wrong), **wrong)
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(config.StudyError, match=r"^JOBS and CLUSTER need dask_jobqueue; .*pcos-utils\[cluster\]'\.$"):
        make("extra", JOBS=2)


NONE = "import sys; sys.modules['pcos_utils'] = None; "
OTHER = "import importlib.metadata as m; old = m.version; m.version = lambda n: '0' if n == 'pcos-utils' else old(n); "


@pytest.mark.slow
@pytest.mark.parametrize(("before", "threads", "sentence"), [
    (NONE, "1", r"cannot use this package \(.*pcos_utils.*\); install"),
    (OTHER, "1", r"has pcos-utils 0, and here it is \S+; install the same"),
    ("", "2", "takes several runs at a time; start it with --nthreads 1"),
])  # fmt: skip
def test_a_worker_that_does_not_fit_is_one_sentence(ready, before, threads, sentence):
    refused = pytest.raises(config.StudyError, match=f"^The worker tcp://.* {sentence}")
    with cluster("--nthreads", threads, before=before) as (address, _), refused:
        ready[1]("home", CLUSTER=address)


@pytest.mark.slow
def test_slurm_workers_are_jobs(ready, tmp_path, monkeypatch):
    """A sbatch of our own runs what it is given on this machine."""
    # It reads the script before it returns, as sbatch does: dask-jobqueue then removes the file.
    sbatch = 'script=$(cat "$1")\nbash -c "$script" >/dev/null 2>&1 &\necho Submitted batch job $!\n'
    for name, text in {"sbatch": sbatch, "scancel": "pkill -P $1; kill $1\n"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    study, make = ready
    with pytest.raises(config.StudyError, match=r"^CLUSTER=slurm: .*jobqueue\.yaml\.$"):
        make("unset", CLUSTER="slurm")
    import dask

    with dask.config.set({"jobqueue.slurm.cores": 1, "jobqueue.slurm.memory": "2GB"}):
        assert make("slurm", CLUSTER="slurm", JOBS=1)[1] == make("here")[1]


@pytest.mark.slow
def test_workers_and_the_scheduler_die_and_the_table_is_that_of_a_sweep_in_process(ready, monkeypatch):
    """42 runs on two workers; one is killed twice, and the scheduler once; what died is started again."""
    study = ready[0].model_copy(update={"folds": 7, "repeats": 3, "inners": 2, "epochs": 8})
    rows, files = ready[1]("here", study)
    done, ended, told = study.runs_dir.parents[1].parent / "cluster" / "runs", threading.Event(), []
    kills = [(4, "first"), (12, "first"), (22, "scheduler")]

    def tend(address: str, alive: dict):
        """Kill at certain numbers of finished runs, and start again what has ended, as a batch system does."""
        while not ended.wait(0.2):
            if kills and len(list(done.rglob("run.json"))) >= kills[0][0]:
                victim = alive[kills.pop(0)[1]]
                victim.send_signal(signal.SIGKILL)
                victim.wait()
            for name, process in alive.items():
                if process.poll() is not None:
                    alive[name] = (scheduler if name == "scheduler" else worker)(address)

    monkeypatch.setattr(sweep.progress, "bar", lambda **named: Told(told))
    with cluster() as (address, alive):
        alive["second"] = worker(address)
        tender = threading.Thread(target=tend, args=(address, alive))
        tender.start()
        try:
            again, others = ready[1]("cluster", study, CLUSTER=address)
        finally:
            ended.set()
            tender.join()
    assert kills == []
    assert len(rows) == 42 and again.equals(rows) and others == files
    assert told == [8] * 42  # each run once


HIDDEN = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$1"; mount -t tmpfs none "$2"; shift 2; exec "$@"', "sh")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs Linux, where a process may have disks of its own")
def test_workers_that_see_neither_home_nor_images_send_the_same_files_when_one_is_killed(
    small, home, ready, monkeypatch
):
    """Each worker has an empty disk where others have the study; finished runs are not made again."""
    study, make = ready[0].model_copy(update={"folds": 4, "epochs": 4}), ready[1]
    rows, files = make("here", study)
    told, hidden = [], dict(within=(*HIDDEN, home, small[2]))
    with cluster(**hidden) as (address, processes):

        def replace(states):
            """Kill the worker that alone has the pixels when its first run has ended, and start another."""
            if len(processes) == 2:
                processes["first"].kill()
                processes["second"] = worker(address, **hidden)

        monkeypatch.setattr(sweep.progress, "bar", lambda **named: Told(told, replace))
        again, others = make("home", study, CLUSTER=address)
        assert again.equals(rows) and others == files and told == [4] * 4
        assert processes["first"].wait() == -signal.SIGKILL
        folder = study.run_dir("iustnet", next(sweep.plan(study, ("ours",)).itertuples()))
        (folder / "predictions.csv").write_text("spoiled")
        before = {path: path.stat().st_mtime_ns for path in study.runs_dir.rglob("[!.]*.*")}
        assert sweep.run("iustnet", study, ("ours",)).drop(columns="seconds").equals(rows)
        assert contents(study.runs_dir) == files
        assert {path.parent for path, time in before.items() if path.stat().st_mtime_ns != time} == {folder}


@pytest.mark.slow
def test_a_full_study_goes_to_workers_with_a_gpu_where_any_has_one(small, ready):
    """The other worker, which fails all runs, gets none."""
    from distributed import Client

    study = ready[0].model_copy(update={"preset": "full", "allow_cpu": True})
    (small[2] / "data" / study.name).symlink_to(small[2] / "data" / ready[0].name)
    with cluster(before="import pcos_utils.models.runs as runs; runs.attempt = None; ") as (address, processes):
        processes["fit"] = worker(address, "--nthreads", "1", "--resources", "GPU=1")
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        assert len(ready[1]("full", study, CLUSTER=address)[0]) == 2
        with pytest.raises(config.StudyError, match="TypeError"):
            ready[1]("demo", CLUSTER=address)


class Told(list):
    """A progress bar that keeps what it is told."""

    def __init__(self, told: list, show=lambda states: None):
        self.update, self.set_postfix = lambda *steps: told.extend(steps), show

    __enter__ = lambda self: self  # noqa: E731
    __exit__ = lambda self, *_: None  # noqa: E731
