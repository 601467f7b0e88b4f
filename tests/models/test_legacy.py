"""Pickled networks are read to the last number; what else a pickle may hold is refused, unrun, in one sentence."""

import io
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
from pcos_utils.models import architectures, legacy
from tests.models import hostile

FORMS = {
    "zip": {},
    "zip, protocol 4": {"pickle_protocol": 4},
    "row of pickles": {"_use_new_zipfile_serialization": False},
}


def small() -> dict[str, nn.Module]:
    """Networks of the published classes, small for the sake of time."""
    tiny = dict(growth_rate=4, block_config=(2, 2), num_classes=1)
    return {
        "torchvision": DenseNet(**tiny, num_init_features=8),
        "timm": timm.models.densenet.DenseNet(**tiny, stem_type="deep", in_chans=1),
        "iustnet": architectures.IustNet(32, hidden=4),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["torchvision", "timm", "iustnet"])
def test_a_whole_network_is_read_to_the_last_number(tmp_path, name, form):
    torch.manual_seed(0)
    network = small()[name].to(memory_format=torch.channels_last)  # strides other than those of the shape
    network(torch.randn(2, next(network.parameters()).shape[1], 32, 32))  # moves the running statistics
    torch.save(network, tmp_path / "w.pth", **FORMS[form])
    found = legacy.read(tmp_path / "w.pth")
    expected = network.state_dict()
    assert list(found.state) == list(expected)
    for key, tensor in expected.items():
        assert found.state[key].dtype == tensor.dtype and torch.equal(found.state[key], tensor), key
    assert list(found.parts) == [path for path, _ in network.named_modules()]


def test_a_state_dict_is_read_too(tmp_path):
    network = architectures.IustNet(32, hidden=4)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    found = legacy.read(tmp_path / "w.pth")
    assert list(found.state) == list(network.state_dict()) and not found.parts


def test_timm_under_the_module_names_of_its_time(tmp_path):
    torch.save(small()["timm"], tmp_path / "new.pth")
    old = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "new.pth") as source, zipfile.ZipFile(old, "w") as target:
        for member in source.infolist():
            data = source.read(member)
            if member.filename.endswith("data.pkl"):
                assert data.count(b"ctimm.layers.") == 2
                data = data.replace(b"ctimm.layers.", b"ctimm.models.layers.")
            target.writestr(member.filename, data)
    (tmp_path / "old.pth").write_bytes(old.getvalue())
    assert list(legacy.read(tmp_path / "old.pth").state) == list(legacy.read(tmp_path / "new.pth").state)


def test_a_buffer_that_is_not_kept_is_left_out(tmp_path):
    network = nn.Sequential(nn.Linear(2, 1))
    network.register_buffer("passing", torch.zeros(3), persistent=False)
    network.register_buffer("kept", torch.ones(2))
    torch.save(network, tmp_path / "w.pth")
    assert list(legacy.read(tmp_path / "w.pth").state) == list(network.state_dict()) == ["kept", "0.weight", "0.bias"]


def test_a_class_of_their_own_is_read_when_it_is_named(tmp_path):
    class TheirNet(nn.Sequential):
        pass

    TheirNet.__qualname__ = "TheirNet"
    sys.modules[__name__].TheirNet = TheirNet
    torch.save(TheirNet(nn.Linear(2, 1)), tmp_path / "w.pth")
    with pytest.raises(StudyError, match=r"TheirNet'.*--network-class"):
        legacy.read(tmp_path / "w.pth")
    assert list(legacy.read(tmp_path / "w.pth", own=["TheirNet"]).state) == ["0.weight", "0.bias"]


def test_no_file_and_no_ordinary_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing.pth", tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(StudyError, match="it is no file"):
            legacy.read(path)
    with open(tmp_path / "long.pth", "wb") as stream:
        stream.truncate(legacy.MAX_FILE + 1)
    with pytest.raises(StudyError, match="larger than"):
        legacy.read(tmp_path / "long.pth")


# In a process of its own: a crash or a hang is then seen, and the memory measured is the reader's alone.
CHILD = """
import json, sys, time
from pathlib import Path
import torch
from pcos_utils.config import StudyError
from pcos_utils.models import legacy

def peak():
    # Not getrusage: a child's highest value begins with its parent's.
    status = Path("/proc/self/status")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024 if status.exists() else 0

torch.frombuffer(bytearray(8), dtype=torch.float32).clone()
for line in sys.stdin:
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # the highest value so far is forgotten
    path, before, start, said = Path(line.strip()), peak(), time.perf_counter(), ""
    try:
        legacy.read(path)
    except StudyError as error:
        said = str(error)
    print(json.dumps(dict(
        path=str(path), said=said, seconds=time.perf_counter() - start, megabytes=peak() - before,
        imported="this" in sys.modules,
    )), flush=True)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """For each hostile file what a reader in another process said and what it had to name; and their folder."""
    folder = tmp_path_factory.mktemp("hostile")
    places = hostile.write(folder)
    lines = "\n".join(str(path) for path, _ in places.values())
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=lines, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    said = {one["path"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0 and len(said) == len(places), done.stderr[-2000:]
    return {name: (said[str(path)], found) for name, (path, found) in places.items()}, folder


def test_every_hostile_file_is_refused_for_its_own_reason(answers):
    wrong = {}
    for name, (answer, found) in answers[0].items():
        said = answer["said"]
        sound = found == "" and said == ""
        refused = found != "" and "is refused, and nothing in it was run: " in said and re.search(found, said)
        if not sound and not refused:
            wrong[name] = (found, said)
    assert wrong == {} and len(answers[0]) > 100


def test_a_refusal_is_one_short_sentence_that_names_file_and_remedy(answers):
    for answer, found in answers[0].values():
        said = answer["said"]
        if found:
            assert "\n" not in said and said.isprintable() and len(said) < 500 and said.endswith(".")
            assert answer["path"] in said and "fetch the published file again" in said


def test_nothing_ran_and_nothing_was_imported(answers):
    found, folder = answers
    assert not (folder / "canary").exists() and not any(answer["imported"] for answer, _ in found.values())


def test_the_canary_would_have_sung(answers, tmp_path):
    # Loaded as the published notebooks load, the very same file does run: so the test above can fail.
    canary = answers[1] / "canary"
    number = list(answers[0]).index("os.system")
    code = f"import torch; torch.load({str(answers[1] / f'{number}.pth')!r}, weights_only=False)"
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert canary.exists()
    canary.unlink()


def test_no_refusal_takes_long_or_much_memory(answers):
    slow = {name: one["seconds"] for name, (one, _) in answers[0].items() if one["seconds"] > 10}
    large = {name: one["megabytes"] for name, (one, _) in answers[0].items() if one["megabytes"] > 100}
    assert slow == {} and large == {}


@pytest.mark.parametrize("form", FORMS)
def test_damage_anywhere_is_refused_or_changes_nothing_but_numbers(tmp_path, form):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    torch.save(network, tmp_path / "w.pth", **FORMS[form])
    sound = (tmp_path / "w.pth").read_bytes()
    shapes = sorted(tuple(tensor.shape) for tensor in network.state_dict().values())
    draw, refused = random.Random(0), 0
    for _ in range(400):
        damaged = bytearray(sound)
        for _ in range(draw.choice([1, 1, 4])):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        (tmp_path / "w.pth").write_bytes(damaged[: draw.choice([len(sound)] * 4 + [draw.randrange(len(sound))])])
        try:
            found = legacy.read(tmp_path / "w.pth")
        except StudyError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert all(tensor.numel() <= 18 for tensor in found.state.values()), shapes
    assert refused > 100
