"""The environment is the pinned one, and every list of it says the same."""

import inspect
import re
import tomllib

import gdown
import torch
import torchvision

from pcos_utils.config import ROOT


def test_torch_and_torchvision_belong_together():
    # A CPU-only torch imports beside an ordinary torchvision and fails only here.
    kept = torchvision.ops.nms(torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]]), torch.tensor([0.9, 0.8]), 0.5)
    assert kept.tolist() == [0]


def test_environment_yml_has_the_pins_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = set(project["dependencies"]).union(*project["optional-dependencies"].values())
    listed = set(re.findall(r"^ +- ([\w-]+==[\w.]+)", (ROOT / "environment.yml").read_text(), re.MULTILINE))
    assert listed == wanted
    assert all("==" in pin for pin in wanted)


def test_every_pin_of_environment_yml_has_its_reason():
    lines = [line for line in (ROOT / "environment.yml").read_text().splitlines() if "==" in line]
    assert [line for line in lines if "  # " not in line] == []


def test_lock_holds_the_pins_and_no_address():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text()
    pins = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    assert [pin for pin in pins if not re.search(rf"^{re.escape(pin)}\b", lock, re.MULTILINE | re.IGNORECASE)] == []
    assert "://" not in lock and "--index-url" not in lock


def test_gdown_still_takes_what_we_give_it():
    known = set(inspect.signature(gdown.download_folder).parameters)
    assert {"id", "output", "resume", "timeout", "retries"} <= known
