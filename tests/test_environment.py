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


def test_torch_and_torchvision_belong_together_and_gdown_takes_what_we_give_it():
    # A CPU-only torch imports beside an ordinary torchvision and fails only here.
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0]
    assert {"id", "output", "resume", "timeout", "retries"} <= set(inspect.signature(gdown.download_folder).parameters)


def test_environment_yml_has_the_pins_of_pyproject_each_with_its_reason():
    listed = re.findall(r"^ +- ([\w-]+==[\w.]+)(.*)", (ROOT / "environment.yml").read_text(), re.MULTILINE)
    assert {pin for pin, _ in listed} == PINS and all("==" in pin for pin in PINS)
    assert [pin for pin, reason in listed if "  # " not in reason] == []


def test_lock_holds_the_pins_and_no_address():
    lock = (ROOT / "requirements.lock").read_text()
    assert [pin for pin in PINS if not re.search(rf"^{re.escape(pin)}\b", lock, re.MULTILINE | re.IGNORECASE)] == []
    assert "://" not in lock and "--index-url" not in lock
