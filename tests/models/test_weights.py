"""Weights go out and come back, and ImageNet's are loaded for real, from a file of torchvision's own form."""

import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import requests
import torch
from safetensors import safe_open
from torchvision.models import densenet201

from pcos_utils.config import StudyError
from pcos_utils.files import sha256
from pcos_utils.models import architectures, weights


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of torch's, and a network to fetch over."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PCOS_OFFLINE", raising=False)
    weights._imagenet.cache_clear()
    yield tmp_path / "cache"
    weights._imagenet.cache_clear()


@pytest.mark.parametrize("content", [None, b"", b"not tensors", "other"])
def test_unusable_weights_are_one_sentence(tmp_path, content):
    path = tmp_path / "w.safetensors"
    if content == "other":
        weights.save(architectures.IustNet(64), path, {})
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(StudyError, match=r"w\.safetensors cannot be used"):
        weights.load(architectures.IustNet(32), path)


def checkpoint(folder: Path) -> tuple[Path, dict]:
    """Return a file of torchvision's own form under the name that its digest gives it, and its weights."""
    torch.manual_seed(0)
    state = densenet201(weights=None).state_dict()
    # torchvision's file is older than its own names ("norm.1" where the module says "norm1") and than some of its keys.
    kept = {key: value for key, value in state.items() if "num_batches_tracked" not in key}
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value for key, value in kept.items()}
    torch.save(old, folder / "new.pth")
    return (folder / "new.pth").rename(folder / f"densenet201-{sha256(folder / 'new.pth')[:8]}.pth"), state


@pytest.mark.slow
def test_imagenet_weights_are_fetched_once_with_old_names_and_grey_stem(tmp_path, monkeypatch):
    path, state = checkpoint(tmp_path)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(weights, "imagenet_address", lambda: f"http://127.0.0.1:{server.server_port}/{path.name}")
        network = architectures.densenet201()
        head = network.classifier.weight.clone()
        assert weights.start(network, "densenet201", "imagenet", must_fetch=True) == "imagenet"
        server.shutdown()
    loaded = network.state_dict()
    torch.testing.assert_close(loaded["features.conv0.weight"], state["features.conv0.weight"].sum(1, keepdim=True))
    deep = "features.denseblock4.denselayer32.conv2.weight"
    assert torch.equal(loaded[deep], state[deep]) and torch.equal(network.classifier.weight, head)
    weights._imagenet.cache_clear()  # the server is gone, the file is there
    assert weights.identity("densenet201", "imagenet", must_fetch=True) == f"imagenet {path.stem[-8:]}"


def test_a_cached_file_that_is_another_is_one_sentence(cache):
    place = cache / "hub" / "checkpoints" / weights.imagenet_address().rsplit("/", 1)[1]
    place.parent.mkdir(parents=True)
    for content in (b"", b"half a file", None):
        place.write_bytes(content) if content is not None else torch.save({"a": torch.zeros(1)}, place)
        with pytest.raises(StudyError, match=r"not what its name promises.*Remove the file"):
            weights.start(architectures.densenet201(), "densenet201", "imagenet", must_fetch=False)


@pytest.mark.slow
def test_a_run_knows_its_starting_weights_by_their_digest(tmp_path):
    names, mine = [], tmp_path / "mine.safetensors"
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.save(architectures.densenet201(), mine, {})
        names.append(weights.identity("densenet201", str(mine), must_fetch=False))
    assert names[0] == names[1] != names[2]
    assert weights.identity("iustnet", str(mine), must_fetch=False) == "random"
    with pytest.raises(StudyError, match="WEIGHTS=.*nowhere.*cannot be read"):
        weights.identity("densenet201", str(tmp_path / "nowhere"), must_fetch=False)


def test_unreachable_weights_stop_the_full_study_and_mark_the_demo(monkeypatch):
    def refuse(*_):
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(weights.pooch.HTTPDownloader, "__call__", refuse)
    network = architectures.densenet201()
    assert "unreachable" in weights.start(network, "densenet201", "imagenet", must_fetch=False)
    with pytest.raises(StudyError, match="densenet201-.*WEIGHTS=none"):
        weights.start(network, "densenet201", "imagenet", must_fetch=True)
    assert weights.start(architectures.IustNet(32), "iustnet", "imagenet", must_fetch=True) == "random"  # it has none


def test_equal_weights_are_equal_bytes_and_keep_their_metadata(tmp_path):
    network, facts = torch.nn.Linear(3, 2), {"model": "x", "settings_sha256": "y", "logit": "z \u00b1"}
    for number in range(12):
        weights.save(network, tmp_path / f"{number}.safetensors", facts)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    again = torch.nn.Linear(3, 2)
    weights.load(again, tmp_path / "0.safetensors")
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata() == facts and torch.equal(again.weight, network.weight)
