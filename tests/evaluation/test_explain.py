"""Grad-CAM finds what a network was built to look at, and names the class it explains."""

import numpy as np
import pandas as pd
import torch

from pcos_utils.evaluation import explain
from pcos_utils.models import architectures


def bright_corner_network() -> architectures.IustNet:
    """An IustNet whose logit is the brightness of the picture, and nothing else."""
    network = architectures.IustNet(32)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for block in (network.block_1, network.block_2):
            for layer in (block[0], block[2]):
                layer.weight[0, 0, 1, 1] = 1
        network.classifier[1].weight[0, :64] = 1
    return network


def test_the_map_lies_on_the_bright_corner_and_only_for_the_class_it_speaks_for():
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    pixels[:, :8, :8] = 255
    maps = explain.grad_cam("iustnet", bright_corner_network(), pixels, np.array([1, 0]))
    assert maps[0][:8, :8].mean() > 0.8 and maps[0][16:, 16:].max() == 0
    assert maps[1].max() == 0  # brightness speaks against "normal", so nothing is marked


def test_densenets_are_explained_although_their_features_are_frozen():
    pixels = np.random.default_rng(0).integers(0, 255, (1, 96, 96, 3), dtype=np.uint8)
    for label in (0, 1):
        maps = explain.grad_cam("densenet201", architectures.densenet201(), pixels, np.array([label]))
        assert maps.shape == (1, 96, 96) and maps.min() >= 0 and maps.max() <= 1


def test_outcomes_are_named_rightly_and_one_image_a_source():
    table = pd.DataFrame(
        {
            "image": list("abcde"),
            "source": list("abcdd"),
            "label": [1, 1, 0, 0, 0],
            "role": "test",
            "logit": [2.0, -1, 1, -3, -4],
        }
    )
    table["probability"] = 1 / (1 + np.exp(-table.logit))
    named = explain.outcomes(table).set_index("image").outcome.to_dict()
    assert named == {"a": "true positive", "b": "false negative", "c": "false positive", "d": "true negative"}
