"""A published file becomes weights of ours that answer as the pickled network did, with the sign turned."""

import json
import os
import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from torch import nn

from pcos_utils.config import ROOT, StudyError
from pcos_utils.files import sha256
from pcos_utils.models import architectures, published, weights
from tests.models import hostile

IMAGES = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

# The study's own class stood in a notebook, and its names are not known: so a script of its own, and several forms.
SCRIPT = """
import json, sys, torch
from torch import nn
from pcos_utils.models import architectures

def block(channels, hidden=45, padding=1):
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 3, 1, padding), nn.ReLU(), nn.Conv2d(hidden, hidden, 3, 1, padding), nn.ReLU(),
        nn.MaxPool2d(kernel_size=2, stride=2),
    )

class IustNet(nn.Module):
    def __init__(self):
        super().__init__()
        if FORM == "blocks":
            self.conv_block_1, self.conv_block_2 = block(3), block(45)
            self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(45 * 56 * 56, 1))
        if FORM == "blocks registered backwards":
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(45 * 56 * 56, 1))
            self.deep, self.input = block(45), block(3)
        if FORM == "one row":
            self.layers = nn.Sequential(*block(3), *block(45))
            self.fc = nn.Linear(45 * 56 * 56, 1)
        if FORM in ("flat", "flat, no numbers", "flat, backwards"):
            names = {"flat": "conv1 conv2 conv3 conv4", "flat, no numbers": "first wide then last"}
            for i, name in enumerate(names.get(FORM, "conv4 conv3 conv2 conv1").split()):
                setattr(self, name, nn.Conv2d(3 if i == 0 else 45, 45, 3, padding=1))
            self.fc = nn.Linear(45 * 56 * 56, 1)
        if FORM == "other stride":
            self.conv_block_1, self.conv_block_2 = block(3), block(45)
            self.conv_block_2[2].padding = (0, 0)
            self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(45 * 56 * 56, 1))
        if FORM == "other width":
            self.conv_block_1, self.conv_block_2 = block(3, 40), block(40, 40)
            self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(40 * 56 * 56, 1))
        if FORM == "one layer more":
            self.conv_block_1, self.conv_block_2 = block(3), block(45)
            self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(45 * 56 * 56, 8), nn.Linear(8, 1))

    def forward(self, x):
        if FORM == "blocks":
            return self.classifier(self.conv_block_2(self.conv_block_1(x)))
        if FORM == "blocks registered backwards":
            return self.head(self.deep(self.input(x)))
        if FORM == "one row":
            return self.fc(self.layers(x).flatten(1))
        x = nn.functional.max_pool2d(self.conv2(self.conv1(x).relu()).relu(), 2)
        return self.fc(nn.functional.max_pool2d(self.conv4(self.conv3(x).relu()).relu(), 2).flatten(1))

torch.manual_seed(3)
images = architectures.prepare("iustnet", torch.load("images.pt"))
for i, FORM in enumerate(json.loads(sys.argv[1])):
    network = IustNet().eval()
    torch.save(network, f"{i}.pth")
    with torch.inference_mode():
        torch.save(network(images) if i < 4 else None, f"{i}.pt")  # the others would fail, or are refused anyway
"""
FITTING = ["blocks", "blocks registered backwards", "one row", "flat"]
REFUSED = {
    "flat, no numbers": "do not tell the order",
    "flat, backwards": "do not tell the order",
    "other stride": "layers like",
    "other width": "layers like",
    "one layer more": "12 tensors, not 10",
}


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    """The folder of IustNets pickled from a script's ``__main__``, as ``<number of the form>.pth``, with logits."""
    folder = tmp_path_factory.mktemp("iustnet")
    torch.save(IMAGES, folder / "images.pt")
    command = [sys.executable, "-c", SCRIPT, json.dumps([*FITTING, *REFUSED])]
    # The script's folder is another than the repository, as a notebook's is.
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    return folder


def loaded(name, path) -> nn.Module:
    network = architectures.build(name).eval()
    weights.load(network, path)
    return network


def lively(network: nn.Module) -> nn.Module:
    """The network with other numbers in every tensor, running statistics too: none may be left out unseen."""
    generator = torch.Generator().manual_seed(2)
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(0.8 + 0.4 * noise if "running_var" in key else tensor + 0.05 * (noise - 0.5))
        else:
            tensor.fill_(41)
    return network.eval()


@pytest.mark.parametrize("name", ["densenet201", "densenet121d"])
def test_a_densenet_answers_as_the_pickled_one_did_with_the_sign_turned(tmp_path, name):
    if name == "densenet201":
        theirs = torchvision.models.densenet201(num_classes=1)
        theirs.features.conv0 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        theirs = lively(theirs)
    else:
        theirs = lively(timm.create_model("densenet121", stem_type="deep", in_chans=1, num_classes=1))
    torch.save(theirs, tmp_path / "theirs.pth")
    metadata = published.convert(tmp_path / "theirs.pth", name, tmp_path / "ours.safetensors")
    ours = loaded(name, tmp_path / "ours.safetensors")
    with torch.inference_mode():
        x = architectures.prepare(name, IMAGES[:, :64, :64])
        expected = theirs(x)
        assert expected.abs().min() > 1e-3 and expected[0] != expected[1]
        torch.testing.assert_close(ours(x), -expected, rtol=1e-5, atol=1e-6)
    assert metadata["names"] == "the file's" and len(ours.state_dict()) == (1207 if name == "densenet201" else 739)
    with safe_open(tmp_path / "ours.safetensors", "pt") as file:
        assert file.metadata() == metadata == {
            "model": name,
            "source": "theirs.pth",
            "source_sha256": sha256(tmp_path / "theirs.pth"),
            "names": "the file's",
            "logit": "logit sign turned: positive = polycystic",
        }  # fmt: skip


@pytest.mark.parametrize("form", FITTING)
def test_iustnet_of_a_notebook_whatever_it_called_its_parts(notebooks, tmp_path, form):
    number = FITTING.index(form)
    assert b"c__main__\nIustNet\n" in (notebooks / f"{number}.pth").read_bytes()
    metadata = published.convert(notebooks / f"{number}.pth", "iustnet", tmp_path / "ours.safetensors")
    ours, expected = loaded("iustnet", tmp_path / "ours.safetensors"), torch.load(notebooks / f"{number}.pt")
    with torch.inference_mode():
        torch.testing.assert_close(ours(architectures.prepare("iustnet", IMAGES)), -expected, rtol=1e-4, atol=1e-6)
    assert metadata["names"] == "matched by order and shape"


@pytest.mark.parametrize("form", REFUSED)
def test_another_iustnet_or_one_that_fits_in_two_ways_is_refused(notebooks, tmp_path, form):
    number = [*FITTING, *REFUSED].index(form)
    with pytest.raises(StudyError, match=f"is not the published iustnet .*{REFUSED[form]}") as caught:
        published.convert(notebooks / f"{number}.pth", "iustnet", tmp_path / "ours.safetensors")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def _stride(network):
    network.features.denseblock1.denselayer1.conv2.padding = (0, 0)


def _eps(network):
    network.features.norm0.eps = 1e-3


def _pool(network):
    network.features.transition1.pool.stride = (1, 1)


def _no_relu(network):
    network.features.norm1.act = nn.Identity()


def _rgb(network):
    network.features.conv0 = nn.Conv2d(3, 32, 3, 2, 1, bias=False)


def _double(network):
    network.classifier.double()


@pytest.mark.parametrize("change", [_stride, _eps, _pool, _no_relu, _rgb, _double])
def test_numbers_that_fit_are_not_enough(tmp_path, change):
    network = timm.create_model("densenet121", stem_type="deep", in_chans=1, num_classes=1)
    change(network)
    torch.save(network, tmp_path / "theirs.pth")
    with pytest.raises(StudyError, match="refused|is not the published densenet121d"):
        published.convert(tmp_path / "theirs.pth", "densenet121d", tmp_path / "ours.safetensors")


def test_the_wrong_network_name_and_ending(tmp_path):
    torch.save(architectures.IustNet(), tmp_path / "w.pth")
    for model, out, named in [
        ("densenet201", "w.safetensors", "10 tensors, not 1,207"),
        ("resnet", "w.safetensors", "'resnet' is unknown"),
        ("iustnet", "w.pth", "ending .safetensors"),
    ]:
        with pytest.raises(StudyError, match=named):
            published.convert(tmp_path / "w.pth", model, tmp_path / out)


def test_only_tensors_are_matched_by_name(tmp_path):
    network = architectures.IustNet()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    metadata = published.convert(tmp_path / "w.pth", "iustnet", tmp_path / "w.safetensors")
    assert metadata["names"] == "the file's"
    assert torch.equal(loaded("iustnet", tmp_path / "w.safetensors").classifier[1].bias, -network.classifier[1].bias)


def test_whole_numbers_in_place_of_fractions_are_refused(tmp_path):
    state = architectures.IustNet().state_dict()
    torch.save(state | {"classifier.1.bias": torch.tensor([7])}, tmp_path / "w.pth")
    with pytest.raises(StudyError, match="'classifier.1.' has other shapes or settings"):
        published.convert(tmp_path / "w.pth", "iustnet", tmp_path / "w.safetensors")


def test_the_command_converts_and_refuses_in_one_line(notebooks, tmp_path):
    (tmp_path / "evil.pth").write_bytes(hostile.calls(tmp_path / "canary")["os.system"][0])
    lines = []
    for path in (notebooks / "0.pth", tmp_path / "evil.pth"):
        command = ["convert", str(path), "--model", "iustnet", "--out", str(tmp_path / f"{path.stem}.safetensors")]
        done = subprocess.run(
            [sys.executable, "-m", "pcos_utils.cli", *command], cwd=ROOT, capture_output=True, text=True
        )
        lines.append((done.returncode, done.stdout, done.stderr))
    assert lines[0][0] == 0 and published.TURNED in lines[0][1]
    assert lines[1][0] == 2 and "'posix.system'" in lines[1][2] and lines[1][2].count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.safetensors", "evil.pth"]
