"""A published file becomes weights of ours, and these answer on images as the pickled network did, sign turned."""

import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from sklearn.metrics import roc_auc_score
from torch import nn

from pcos_utils.data.images import stack
from pcos_utils.files import sha256
from pcos_utils.models import architectures, weights
from pcos_utils.published import networks as answers
from pcos_utils.published.networks import TURNED, convert
from tests.conftest import refused
from tests.published import hostile

IMAGES = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
CONV, LINEAR = partial(nn.Conv2d, kernel_size=3, padding=1), partial(nn.Linear, 45 * 56 * 56)
STEPS = {"relu": torch.relu, "pool": nn.MaxPool2d(2), "flatten": nn.Flatten()}


class IustNet(nn.Module):
    """The published network as its authors may have written it, in a notebook and with names that are not known."""

    def __init__(self, order: str, **parts: nn.Module):
        super().__init__()
        self.order = order.split()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        for name in self.order:
            x = STEPS[name](x) if name in STEPS else getattr(self, name)(x)
        return x


def block(channels, hidden=45, padding=1) -> nn.Sequential:
    first, second = CONV(channels, hidden), CONV(hidden, hidden, padding=padding)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.MaxPool2d(2))


def head(*more, inputs=45 * 56 * 56) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 8 if more else 1), *more)


def flat(names: str) -> IustNet:
    """Its layers one by one, registered in the order of the names and used in that of the alphabet."""
    one, two, three, four = sorted(names.split())
    order = f"{one} relu {two} relu pool {three} relu {four} relu pool flatten zfc"
    return IustNet(order, **{name: CONV(3 if name == one else 45, 45) for name in names.split()}, zfc=LINEAR(1))


BLOCKS = partial(IustNet, "block_a block_b head")
FITTING = {
    "blocks": lambda: BLOCKS(block_a=block(3), block_b=block(45), head=head()),
    "blocks registered backwards": lambda: BLOCKS(head=head(), block_b=block(45), block_a=block(3)),
    "one row": lambda: IustNet("row flatten fc", row=nn.Sequential(*block(3), *block(45)), fc=LINEAR(1)),
    "flat": lambda: flat("conv1 conv2 conv3 conv4"),
}
REFUSED = {
    "'bwide.' do not tell the order": lambda: flat("afirst bwide cthen dlast"),
    "'conv4.' do not tell the order": lambda: flat("conv4 conv3 conv2 conv1"),
    "layers like": lambda: BLOCKS(block_a=block(3), block_b=block(45, padding=0), head=head()),
    "[0-9] layers like": lambda: BLOCKS(block_a=block(3, 40), block_b=block(40, 40), head=head(inputs=40 * 56 * 56)),
    "12 tensors, not 10": lambda: BLOCKS(block_a=block(3), block_b=block(45), head=head(nn.Linear(8, 1))),
}


@pytest.fixture(autouse=True)
def notebook(monkeypatch):
    torch.manual_seed(3)
    monkeypatch.setattr(IustNet, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "IustNet", IustNet, raising=False)


def converted(network: nn.Module, name: str, folder) -> tuple[nn.Module, dict[str, str]]:
    torch.save(network, folder / "theirs.pth")
    metadata = convert(folder / "theirs.pth", name, folder / "ours.safetensors")
    ours = architectures.build(name).eval()
    weights.load(ours, folder / "ours.safetensors")
    return ours, metadata


def lively(network: nn.Module) -> nn.Module:
    """The network with other numbers in every tensor, running statistics too: none may be left out unseen."""
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape)
            tensor.copy_(0.8 + 0.4 * noise if "running_var" in key else tensor + 0.05 * (noise - 0.5))
        else:
            tensor.fill_(41)
    return network.eval()


def densenet121d() -> nn.Module:
    return timm.create_model("densenet121", stem_type="deep", in_chans=1, num_classes=1)


def densenet201() -> nn.Module:
    network = torchvision.models.densenet201(num_classes=1)
    network.features.conv0 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return network


@pytest.mark.parametrize("build", [densenet201, densenet121d])
@pytest.mark.slow
def test_a_densenet_answers_as_the_pickled_one_did_with_the_sign_turned(tmp_path, build):
    name, theirs = build.__name__, lively(build())
    ours, metadata = converted(theirs, name, tmp_path)
    with torch.inference_mode():
        x = architectures.prepare(name, IMAGES[:, :64, :64])
        expected = theirs(x)
        assert expected.abs().min() > 1e-3 and expected[0] != expected[1]
        torch.testing.assert_close(ours(x), -expected, rtol=1e-5, atol=1e-6)
    with safe_open(tmp_path / "ours.safetensors", "pt") as file:
        told = {"model": name, "source": "theirs.pth", "names": "the file's", "logit": TURNED}
        assert file.metadata() == metadata == told | {"source_sha256": sha256(tmp_path / "theirs.pth")}


@pytest.mark.parametrize("form", FITTING)
def test_iustnet_of_a_notebook_whatever_it_called_its_parts(tmp_path, form):
    theirs = FITTING[form]().eval()
    ours, metadata = converted(theirs, "iustnet", tmp_path)
    assert b"c__main__\nIustNet\n" in (tmp_path / "theirs.pth").read_bytes()
    with torch.inference_mode():
        x = architectures.prepare("iustnet", IMAGES)
        torch.testing.assert_close(ours(x), -theirs(x), rtol=1e-4, atol=1e-6)
    assert metadata["names"] == "matched by order and shape"


@pytest.mark.parametrize("why", REFUSED)
def test_another_iustnet_or_one_that_fits_in_two_ways_is_refused(tmp_path, why):
    refused(f"^.*is not the published iustnet .*{why}.*$", converted, REFUSED[why](), "iustnet", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.pth"]


CHANGES = {
    "features.denseblock1.denselayer1.conv2.padding": (0, 0),
    "features.norm0.eps": 1e-3,
    "features.transition1.pool.stride": (1, 1),
    "features.norm1.act": nn.Identity(),
    "features.conv0": nn.Conv2d(3, 32, 3, 2, 1, bias=False),
    "classifier": nn.Linear(1024, 1).double(),
}


@pytest.mark.parametrize("place", CHANGES)
def test_numbers_that_fit_are_not_enough(tmp_path, place):
    network, (part, _, name) = densenet121d(), place.rpartition(".")
    setattr(network.get_submodule(part), name, CHANGES[place])
    refused("refused|is not the published densenet121d", converted, network, "densenet121d", tmp_path)


def test_only_tensors_are_matched_by_name_and_wrong_names_and_kinds_are_refused(tmp_path):
    state = architectures.IustNet().state_dict()
    ours, metadata = converted(state, "iustnet", tmp_path)
    assert metadata["names"] == "the file's" and torch.equal(ours.classifier[1].bias, -state["classifier.1.bias"])
    for model, out, named in (
        ("densenet201", "w.safetensors", "10 tensors, not 1,207"), ("resnet", "w.safetensors", "'resnet' is unknown"),
        ("iustnet", "w.pth", "ending .safetensors"),
    ):  # fmt: skip
        refused(named, convert, tmp_path / "theirs.pth", model, tmp_path / out)
    wrong = state | {"classifier.1.bias": torch.tensor([7])}
    refused("'classifier.1.' has other shapes or settings", converted, wrong, "iustnet", tmp_path)


@pytest.mark.slow
def test_the_command_converts_and_refuses_in_one_line(tmp_path, pcos):
    torch.save(FITTING["blocks"](), tmp_path / "sound.pth")
    (tmp_path / "evil.pth").write_bytes(hostile.calls(tmp_path / "canary")["os.system"][0])
    code, said, _ = pcos("convert", "sound.pth", "--model", "iustnet", "--out", "sound.safetensors")
    assert code == 0 and TURNED in said
    code, _, told = pcos("convert", "evil.pth", "--model", "iustnet", "--out", "evil.safetensors")
    assert code == 2 and "'posix.system'" in told and told.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pth", "sound.pth", "sound.safetensors"]


def test_answers_on_files_have_the_sign_of_polycystic(tmp_path):
    theirs = FITTING["blocks"]().eval()
    converted(theirs, "iustnet", tmp_path)
    names = ["a.png", "b.png"]
    for name, pixels in zip(names, IMAGES.numpy(), strict=True):
        Image.fromarray(pixels).save(tmp_path / name)
    sources = pd.DataFrame({"path": names, "source": names, "label": [0, 1], "folder_split": "", "status": "ok"})
    table = answers.predict(sources, tmp_path, {"iustnet": tmp_path / "ours.safetensors"})
    with torch.inference_mode():
        expected = -theirs(architectures.prepare("iustnet", IMAGES))[:, 0].numpy()
    assert np.allclose(table.logit, expected, atol=1e-5) and ((table.probability > 0.5) == (expected > 0)).all()


@pytest.fixture
def published(tmp_path):
    network = FITTING["blocks"]().eval()
    with torch.no_grad():
        network.head[1].weight *= 20  # so that answers differ from image to image
    (tmp_path / "weights").mkdir()
    torch.save(network, tmp_path / "weights" / "model_3 (final).pth")
    (tmp_path / "weights" / "notes.txt").write_text("not a network")
    return tmp_path / "weights", network


@pytest.mark.slow
def test_one_command_gives_probabilities_and_metrics(published, small, tmp_path, pcos):
    _, table, place = small
    folder, out = place / "data" / "phantom-demo", tmp_path / "out"
    code, said, err = pcos("published", folder, "--weights", published[0], "--out", out)
    assert code == 0 and "iustnet" in said and "no test" in said, err
    found = pd.read_csv(out / "predictions.csv", keep_default_na=False)
    assert list(found) == ["model", "image", "source", "label", "folder_split", "logit", "probability"]
    found = found[found.label != ""].astype({"label": int})
    assert len(found) == len(table) == 24 and set(found.model) == {"iustnet"}
    pixels = stack([folder / path for path in found.image], 224)
    with torch.inference_mode():
        theirs = published[1](torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).squeeze(1).numpy()
    # Their probability is of "notinfected".
    np.testing.assert_allclose(1 - found.probability, 1 / (1 + np.exp(-theirs)), rtol=1e-4)
    assert np.ptp(theirs) > 0.1
    made = pd.read_csv(out / "metrics.csv").set_index("metric")
    assert set(made.index) == {"auc", "recall", "specificity", "precision", "accuracy"}
    auc = made.loc["auc"]
    assert auc.value == pytest.approx(roc_auc_score(found.label, found.probability), abs=1e-5)
    assert auc.low < auc.value < auc.high and auc.sources == found.source.nunique() == auc.images
    assert made.value["recall"] == pytest.approx((found.probability[found.label == 1] >= 0.5).mean())
    assert (out / "weights" / "iustnet.safetensors").exists()


def test_converted_weights_serve_as_well_and_what_cannot_be_used_is_said(published, tmp_path):
    folder, out = published[0], tmp_path / "out"
    first, second = answers.gather(folder, out, ["IustNet"]), answers.gather(out, tmp_path / "again", [])
    assert first == second == {"iustnet": out / "iustnet.safetensors"}
    weights.save(architectures.IustNet(), tmp_path / "ours" / "weights.safetensors", {"model": "iustnet"})
    for nothing in (tmp_path / "nowhere", tmp_path, tmp_path / "ours"):
        refused("holds none of the published", answers.gather, nothing, out, [])
    other, sound = folder / "x.safetensors", (out / "iustnet.safetensors").read_bytes()
    for content, said in ((sound, "second file of iustnet, x.safetensors"), (b"junk", "x.safetensors cannot be read")):
        other.write_bytes(content)
        refused(said, answers.gather, folder, out, ["IustNet"])
    other.unlink()
    torch.save(nn.Sequential(nn.Linear(2, 1)), folder / "other.pth")
    refused("other.pth is none of the three", answers.gather, folder, out, ["IustNet"])
