"""The published files answer on a folder of images as they did in their own notebooks, from one command."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pcos_utils.config import ROOT, StudyError
from pcos_utils.data.images import load, resize
from pcos_utils.evaluation import metrics
from pcos_utils.models import architectures, published, replay


class IustNet(nn.Module):
    """The published network as its authors may have written it."""

    def __init__(self):
        super().__init__()
        inner = architectures.IustNet()
        self.conv_block_1, self.conv_block_2, self.head = inner.block_1, inner.block_2, inner.classifier

    def forward(self, x):
        return self.head(self.conv_block_2(self.conv_block_1(x)))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder with one published file, and the network in it."""
    monkeypatch.setattr(IustNet, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "IustNet", IustNet, raising=False)
    torch.manual_seed(0)
    network = IustNet().eval()
    with torch.no_grad():
        network.head[1].weight *= 20  # so that answers differ from image to image
    (tmp_path / "weights").mkdir()
    torch.save(network, tmp_path / "weights" / "model_3 (final).pth")
    (tmp_path / "weights" / "notes.txt").write_text("not a network")
    return tmp_path / "weights", network


def test_one_command_gives_probabilities_and_metrics(weights, small, tmp_path):
    _, table, place = small
    folder = place / "data" / "phantom-demo"
    command = ["published", str(folder), "--weights", str(weights[0]), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-m", "pcos_utils.cli", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    assert list(found) == ["model", "image", "source", "label", "folder_split", "logit", "probability"]
    found = found[found.label != ""].astype({"label": int})
    assert len(found) == len(table) == 24 and set(found.model) == {"iustnet"}
    pixels = np.stack([resize(load(folder / path), 224) for path in found.image])
    with torch.inference_mode():
        theirs = weights[1](torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).squeeze(1).numpy()
    # Their probability is of "notinfected".
    np.testing.assert_allclose(1 - found.probability, 1 / (1 + np.exp(-theirs)), rtol=1e-4)
    assert np.ptp(theirs) > 0.1
    made = pd.read_csv(tmp_path / "out" / "metrics.csv")
    assert set(made.level) == {"source", "image"} and set(made.metric) == set(metrics.METRICS)
    auc = made[(made.metric == "auc") & (made.level == "image")].iloc[0]
    expected = metrics.auc(found.label.to_numpy(), found.probability.to_numpy(), np.ones(24))
    assert auc.value == pytest.approx(float(expected), abs=1e-5) and auc.low < auc.value < auc.high
    assert auc.sources == found.source.nunique()
    assert "iustnet" in done.stdout and "no test" in done.stdout
    assert (tmp_path / "out" / "weights" / "iustnet.safetensors").exists()


def test_converted_weights_serve_as_well_and_others_are_left_alone(weights, tmp_path):
    first = replay.gather(weights[0], tmp_path / "out", ["IustNet"])
    second = replay.gather(tmp_path / "out", tmp_path / "again", [])
    assert first == second == {"iustnet": tmp_path / "out" / "iustnet.safetensors"}
    from pcos_utils.models.weights import save

    save(architectures.IustNet(), tmp_path / "ours" / "weights.safetensors", {"model": "iustnet"})
    with pytest.raises(StudyError, match="holds none of the published"):
        replay.gather(tmp_path / "ours", tmp_path / "again", [])


def test_what_cannot_be_used_is_said(weights, tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(StudyError, match="holds none of the published"):
            replay.gather(folder, tmp_path / "out", [])
    published.convert(weights[0] / "model_3 (final).pth", "iustnet", weights[0] / "x.safetensors")
    with pytest.raises(StudyError, match="second file of iustnet, x.safetensors"):
        replay.gather(weights[0], tmp_path / "out", ["IustNet"])
    (weights[0] / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(StudyError, match="x.safetensors cannot be read"):
        replay.gather(weights[0], tmp_path / "out", ["IustNet"])
    (weights[0] / "x.safetensors").unlink()
    torch.save(nn.Sequential(nn.Linear(2, 1)), weights[0] / "other.pth")
    with pytest.raises(StudyError, match="other.pth is none of the three"):
        replay.gather(weights[0], tmp_path / "out", ["IustNet"])
