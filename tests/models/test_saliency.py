"""A map finds what a network was built to look at, and speaks for the class that the study called."""

import numpy as np
import torch

from pcos_utils.evaluation import predictions, tables
from pcos_utils.models import architectures, saliency


def bright_corner_network() -> architectures.IustNet:
    """Return an IustNet whose logit is the brightness of the upper fourth of the picture."""
    network = architectures.IustNet(32).requires_grad_(False)
    for parameter in network.parameters():
        parameter.zero_()
    for block in (network.block_1, network.block_2):
        block[0].weight[0, 0, 1, 1] = block[2].weight[0, 0, 1, 1] = 1
    network.classifier[1].weight[0, :64] = 1
    return network.requires_grad_(True)


def test_a_map_lies_on_the_bright_corner_and_only_for_the_class_it_speaks_for():
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    pixels[:, :8, :8] = 255
    maps = saliency.grad_cam("iustnet", bright_corner_network(), pixels, np.array([1, 0]))
    assert maps[0][:8, :8].mean() > 0.8 and maps[0][16:, 16:].max() == 0
    assert maps[1].max() == 0  # brightness speaks against "normal", so nothing is marked


def test_maps_do_not_depend_on_the_company_of_an_image():
    torch.manual_seed(0)
    network = architectures.IustNet(32)
    pixels = np.random.default_rng(0).integers(0, 255, (saliency.BATCH + 1, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(len(pixels)) % 2
    together = saliency.grad_cam("iustnet", network, pixels, labels)
    for row in (0, len(pixels) - 1):
        alone = saliency.grad_cam("iustnet", network, pixels[[row]], labels[[row]])
        np.testing.assert_allclose(together[[row]], alone, atol=1e-4)


def test_densenets_are_explained_although_their_features_are_frozen():
    pixels = np.random.default_rng(0).integers(0, 255, (1, 96, 96, 3), dtype=np.uint8)
    for label in (0, 1):
        maps = saliency.grad_cam("densenet201", architectures.densenet201(), pixels, np.array([label]))
        assert maps.shape == (1, 96, 96) and maps.min() >= 0 and maps.max() <= 1


def test_the_map_is_of_the_decision_at_the_threshold_fixed_beforehand(evaluated, monkeypatch):
    study, _, home = evaluated
    monkeypatch.setenv("PCOS_HOME", str(home))
    judged = tables.judge(predictions.load(study))["iustnet"]
    surest = tables.surest(judged, predictions.read_table(study, "sources").query("used == 'yes'"))
    monkeypatch.setattr(saliency, "grad_cam", lambda *of: of[3] == 1)
    folder = study.run_dir("iustnet", next(study.runs("ours", "grouped")))
    for chosen in (surest, surest.assign(called=~surest.called)):
        pixels, maps = saliency.called("iustnet", study, folder, chosen)
        assert pixels.shape == (len(chosen), 32, 32, 3) and maps.tolist() == chosen.called.tolist()
