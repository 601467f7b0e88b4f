"""Pickled networks are read to the last number; what else a pickle may hold is refused, unrun, in one sentence."""

import json
import os
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import timm.models.densenet
import torch
from torch import nn
from torchvision.models import DenseNet

from pcos_utils.config import ROOT, StudyError
from pcos_utils.models.architectures import IustNet
from pcos_utils.published import reader
from tests.conftest import refused
from tests.published import hostile

TINY = dict(growth_rate=4, block_config=(2, 2), num_classes=1)
NETWORKS = {
    "torchvision": lambda: DenseNet(**TINY, num_init_features=8),
    "timm": lambda: timm.models.densenet.DenseNet(**TINY, stem_type="deep", in_chans=1),
    "iustnet": lambda: IustNet(32, hidden=4),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_whole_network_is_read_to_the_last_number(tmp_path, name, protocol):
    network = NETWORKS[name]().to(memory_format=torch.channels_last)  # strides other than those of the shape
    network(torch.randn(2, next(network.parameters()).shape[1], 32, 32))  # moves the running statistics
    torch.save(network, tmp_path / "w.pth", pickle_protocol=protocol)
    found, expected = reader.read(tmp_path / "w.pth"), network.state_dict()
    assert list(found.state) == list(expected)
    for key, tensor in expected.items():
        assert found.state[key].dtype == tensor.dtype and torch.equal(found.state[key], tensor), key
    assert list(found.parts) == [path for path, _ in network.named_modules()]


def test_timm_under_the_module_names_of_its_time(tmp_path):
    torch.save(NETWORKS["timm"](), tmp_path / "new.pth")
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"ctimm.layers.", b"ctimm.models.layers."))
    assert b"ctimm.models.layers." in (tmp_path / "old.pth").read_bytes()
    assert [*reader.read(tmp_path / "old.pth").state] == [*reader.read(tmp_path / "new.pth").state]


def test_a_class_of_their_own_is_read_when_it_is_named_but_no_buffer_that_is_not_kept(tmp_path, monkeypatch):
    their_net = type("TheirNet", (nn.Sequential,), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "TheirNet", their_net, raising=False)
    network = their_net(nn.Linear(2, 1))
    network.register_buffer("passing", torch.zeros(3), persistent=False)
    network.register_buffer("kept", torch.ones(2))
    torch.save(network, tmp_path / "w.pth")
    refused(r"TheirNet'.*--network-class", reader.read, tmp_path / "w.pth")
    state = reader.read(tmp_path / "w.pth", own=["TheirNet"]).state
    assert [*state] == [*network.state_dict()] == ["kept", "0.weight", "0.bias"]


def test_no_file_and_no_ordinary_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "long.pth", "wb") as stream:
        stream.truncate(reader.MAX_FILE + 1)
    for path in (tmp_path, tmp_path / "missing.pth", tmp_path / "pipe", Path("/dev/zero"), tmp_path / "long.pth"):
        refused("it is no file of at most", reader.read, path)


# In a process of its own: a crash or a hang is then seen, and the memory measured is the reader's alone. The hook hears
# of everything that Python runs, imports or starts; the first file is read before it listens.
CHILD = """
import json, sys, time
from pathlib import Path
from pcos_utils.config import StudyError
from pcos_utils.published import reader

def peak():
    # Not getrusage: a child's highest value begins with its parent's.
    status = Path("/proc/self/status")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024 if status.exists() else 0

ran = []
WATCHED = ("import", "exec", "compile", "marshal", "os.system", "os.exec", "os.posix", "os.fork", "subprocess")
sys.addaudithook(lambda event, _: ran.append(event) if event.startswith(WATCHED) else None)
for line in sys.stdin:
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # the highest value so far is forgotten
    path, before, start, said = Path(line.strip()), peak(), time.perf_counter(), ""
    ran.clear()
    try:
        reader.read(path)
    except StudyError as error:
        said = str(error)
    print(json.dumps([str(path), said, time.perf_counter() - start, peak() - before, ran]), flush=True)
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return hostile.write(tmp_path_factory.mktemp("hostile"))


def test_every_hostile_file_is_refused_for_its_own_reason_and_nothing_runs(places):
    paths = [places["sound"][0], *(path for path, _ in places.values())]
    given = dict(input="\n".join(map(str, paths)), cwd=ROOT, timeout=300, capture_output=True, text=True)
    done = subprocess.run([sys.executable, "-c", CHILD], **given)
    said = {path: rest for path, *rest in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0 and len(said) == len(places) > 85, done.stderr[-2000:]
    wrong = {}
    for name, (path, found) in places.items():
        sentence, seconds, megabytes, ran = said[str(path)]
        beginning = f"The pickled network {path} is refused, and nothing in it was run: "
        refused = found and sentence.startswith(beginning) and re.search(found, sentence)
        remedied = "; fetch the published file again" in sentence and sentence.endswith(".")
        short = sentence.isprintable() and len(sentence) < 500
        if not (sentence == found == "" or (refused and remedied and short)):
            wrong[name] = found, sentence
        if seconds > 10 or megabytes > 100 or ran:
            wrong[name] = seconds, megabytes, ran
    assert wrong == {} and not places["sound"][0].with_name("canary").exists()


@pytest.mark.slow
def test_the_canary_would_have_sung(places):
    # Loaded as the published notebooks load, the very same file does run: so the test above can fail.
    place = places["os.system"][0]
    code = f"import torch; torch.load({str(place)!r}, weights_only=False)"
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert place.with_name("canary").exists()
    place.with_name("canary").unlink()


@pytest.mark.parametrize("protocol", [2, 4])
def test_damage_anywhere_is_refused_or_changes_nothing_but_numbers(tmp_path, protocol):
    torch.save(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), tmp_path / "w.pth", pickle_protocol=protocol)
    sound = (tmp_path / "w.pth").read_bytes()
    draw, refused = random.Random(0), 0
    for _ in range(400):
        damaged = bytearray(sound)
        for _ in range(draw.choice([1, 1, 4])):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        (tmp_path / "w.pth").write_bytes(damaged[: draw.choice([len(sound)] * 4 + [draw.randrange(len(sound))])])
        try:
            assert all(tensor.numel() <= 18 for tensor in reader.read(tmp_path / "w.pth").state.values())
        except StudyError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 100
