"""Several processes of torchrun train one network: on the same batches, to the same curve as one process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pcos_utils import config
from pcos_utils.files import write_csv
from pcos_utils.models import architectures, devices, sweep, training
from pcos_utils.models.recipes import Recipe
from tests.models.made import noise

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m")
SGD = Recipe(optimiser="sgd", learning_rate=0.05, momentum=0.9, epochs=3, batch=8, one_cycle=True, average=0.9)
RECIPES = [SGD.model_copy(update={"select_epoch": True, "balance": True}), SGD.model_copy(update={"at_once": 3})]


def start(*command, **how) -> subprocess.Popen:
    """Start a command whose processes take one thread each."""
    return subprocess.Popen(command, cwd=config.ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, **how)


def curves(engine: devices.Engine) -> list:
    """Histories and weights with and without batch norm; the last batch is one image, too few for two processes."""
    told = []
    for recipe, norm in zip(RECIPES, (nn.BatchNorm2d, nn.Identity), strict=True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), norm(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1))
        prepare = partial(architectures.prepare, "iustnet")
        history = training.fit(model, prepare, noise(33, 0), noise(16, 1), recipe, seed=3, engine=engine)
        weights = torch.cat([value.flatten().float() for value in model.state_dict().values()])
        told.append([history.drop(columns="chosen").to_numpy().tolist(), weights.tolist()])
    return told


@pytest.mark.slow
def test_the_curve_of_two_processes_is_that_of_one_within_rounding(tmp_path):
    assert start(*TORCHRUN, "tests.models.test_together", tmp_path).wait() == 0
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    for here, there in zip(curves(devices.Engine()), first, strict=True):
        for one, two in zip(here, there, strict=True):
            np.testing.assert_allclose(one, two, atol=2e-6)


@pytest.mark.slow
def test_a_shared_sweep_has_one_writer_and_goes_on_when_a_process_was_killed(small, tmp_path, monkeypatch):
    study, table, there = small
    study, histories = study.model_copy(update={"epochs": 16}), []
    for processes in (1, 2):
        monkeypatch.setenv("PCOS_HOME", str(home := tmp_path / str(processes)))
        write_csv(study.report_dir / "sources.csv", table)
        study.plan_path.write_text("{}")
        (home / "data").symlink_to(there / "data")
        command = (*TORCHRUN, "tests.models.test_together", home, study.model_dump_json())
        if processes == 1:
            sweep.run("iustnet", study)
        else:
            killed = start(*command, stderr=subprocess.DEVNULL)
            while not list(study.runs_dir.rglob("checkpoint.pt")):
                time.sleep(0.005)
            children = subprocess.check_output(["pgrep", "-P", str(killed.pid)], text=True).split()
            os.kill(int(children[-1]), signal.SIGKILL)
            assert killed.wait() == 1
            again = start(*command, stdout=subprocess.PIPE)
            assert again.communicate()[0].count("goes on after epoch") == 1 and again.returncode == 0
        folders = [study.run_dir("iustnet", run) for run in sweep.plan(study).itertuples()]
        for folder in folders:
            record = json.loads((folder / "run.json").read_text())
            assert record.get("processes", 1) == processes
            assert sorted(path.name for path in folder.glob("[!.]*")) == sorted([*record["files"], "run.json"])
            histories.append(pd.concat([pd.read_csv(folder / name) for name in ("history.csv", "predictions.csv")]))
    for one, two in zip(histories[:3], histories[3:], strict=True):
        pd.testing.assert_frame_equal(one, two, atol=1e-3)  # rounding grows from step to step


def test_an_unknown_network_and_two_ways_at_once_are_one_sentence_each(place, small, pcos, monkeypatch):
    code, _, said = pcos("train", "resnet")
    known = "densenet201, densenet121d, iustnet"
    assert code == 2 and said.startswith(f"pcos: The network 'resnet' is unknown; use one of: {known}")
    assert pcos("train", "iustnet", "--epochs", 1)[0] == 0 and len(list(place.rglob("run.json"))) == 1
    monkeypatch.setattr(devices.Engine, "processes", 2)
    monkeypatch.setenv("PCOS_SET_JOBS", "2")
    with pytest.raises(config.StudyError, match=r"^JOBS and CLUSTER .* leave one of them out\.$"):
        sweep.run("iustnet", small[0])


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
def test_the_batch_scripts_of_the_page_are_sound():
    scripts = re.findall(r"```bash\n(#!.*?)```", (config.ROOT / "docs" / "scaling.md").read_text(), re.DOTALL)
    assert len(scripts) == 3
    for script in scripts:
        done = subprocess.run(["shellcheck", "-"], input=script, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout


if __name__ == "__main__":
    if given := sys.argv[2:]:
        sweep.run("iustnet", config.Study.model_validate_json(given[0]))
    else:
        engine = devices.engine_for(config.study())
        Path(sys.argv[1], f"{engine.rank}.json").write_text(json.dumps(curves(engine)))
