"""The environment is the pinned one, and every list of it says the same."""

import inspect
import re
import tomllib

import gdown
import torch
import torchvision

from pcos_utils.config import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = set(PROJECT["dependencies"]).union(*PROJECT["optional-dependencies"].values())


def test_torch_and_torchvision_belong_together():
    # A CPU-only torch imports beside an ordinary torchvision and fails only here.
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0]


def test_environment_yml_has_the_pins_of_pyproject_each_with_its_reason():
    listed = set(re.findall(r"^ +- ([\w-]+==[\w.]+)", (ROOT / "environment.yml").read_text(), re.MULTILINE))
    assert listed == PINS and all("==" in pin for pin in PINS)
    lines = [line for line in (ROOT / "environment.yml").read_text().splitlines() if "==" in line]
    assert [line for line in lines if "  # " not in line] == []


def test_lock_holds_the_pins_and_no_address():
    lock = (ROOT / "requirements.lock").read_text()
    assert [pin for pin in PINS if not re.search(rf"^{re.escape(pin)}\b", lock, re.MULTILINE | re.IGNORECASE)] == []
    assert "://" not in lock and "--index-url" not in lock


def test_gdown_still_takes_what_we_give_it():
    known = set(inspect.signature(gdown.download_folder).parameters)
    assert {"id", "output", "resume", "timeout", "retries"} <= known
