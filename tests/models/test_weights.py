"""Weights go out and come back, and ImageNet's are loaded for real, from a file of torchvision's own form."""

import pytest
import torch
from safetensors import safe_open
from torchvision.models import DenseNet201_Weights, densenet201

from pcos_utils.config import StudyError
from pcos_utils.models import architectures, weights


@pytest.fixture(autouse=True)
def _asked_anew():
    weights._imagenet.cache_clear()
    yield
    weights._imagenet.cache_clear()


def test_round_trip(tmp_path):
    first, second = architectures.IustNet(32), architectures.IustNet(32)
    weights.save(first, tmp_path / "w.safetensors", {"model": "iustnet"})
    weights.load(second, tmp_path / "w.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("content", [None, b"not tensors", "other"])
def test_unusable_weights_are_one_sentence(tmp_path, content):
    path = tmp_path / "w.safetensors"
    if content == "other":
        weights.save(architectures.IustNet(64), path, {})
    elif content:
        path.write_bytes(content)
    with pytest.raises(StudyError, match=r"w\.safetensors cannot be used"):
        weights.load(architectures.IustNet(32), path)


def test_imagenet_weights_come_from_the_cache_with_old_names_and_grey_stem(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    state = densenet201(weights=None).state_dict()
    # torchvision's file is older than its own names: "norm.1" where the module says "norm1".
    parts = ("norm1", "norm2", "conv1", "conv2")
    old = {}
    for key, value in state.items():
        for part in parts:
            if "denselayer" in key:
                key = key.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
        if "num_batches_tracked" not in key:  # the file is older than that, too
            old[key] = value
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(old, folder / DenseNet201_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1])
    network = architectures.densenet201()
    head = network.classifier.weight.clone()
    assert weights.start(network, "densenet201", "imagenet", must_fetch=True) == "imagenet"
    loaded = network.state_dict()
    torch.testing.assert_close(loaded["features.conv0.weight"], state["features.conv0.weight"].sum(1, keepdim=True))
    deep = "features.denseblock4.denselayer32.conv2.weight"
    assert torch.equal(loaded[deep], state[deep]) and torch.equal(network.classifier.weight, head)


@pytest.fixture
def _offline(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*_):
        raise ConnectionRefusedError("no network")

    monkeypatch.setattr(weights.socket, "create_connection", refuse)


@pytest.mark.usefixtures("_offline")
def test_unreachable_weights_stop_the_full_study_and_mark_the_demo():
    network = architectures.densenet201()
    assert "unreachable" in weights.start(network, "densenet201", "imagenet", must_fetch=False)
    with pytest.raises(StudyError, match="densenet201-.*WEIGHTS=none"):
        weights.start(network, "densenet201", "imagenet", must_fetch=True)


def test_only_densenet201_starts_from_imagenet():
    assert weights.start(architectures.IustNet(32), "iustnet", "imagenet", must_fetch=True) == "random"


def test_equal_weights_are_equal_bytes_and_keep_their_metadata(tmp_path):
    network, facts = torch.nn.Linear(3, 2), {"model": "x", "settings_sha256": "y", "logit": "z \u00b1"}
    for number in range(12):
        weights.save(network, tmp_path / f"{number}.safetensors", facts)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    again = torch.nn.Linear(3, 2)
    weights.load(again, tmp_path / "0.safetensors")
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata() == facts and torch.equal(again.weight, network.weight)
