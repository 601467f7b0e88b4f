"""Show where a network looked: Grad-CAM (Selvaraju et al. 2017) for the predicted class, by captum.

A saliency map shows what moved the logit, not that the reason is right.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import nn

from pcos_utils.config import Study
from pcos_utils.data.images import stack
from pcos_utils.files import read_record
from pcos_utils.models import architectures, frozen

# The last block whose map still has four cells a side at the demo's 72 pixels; the very last has two.
LAYERS = {"densenet201": "features.denseblock3", "densenet121d": "features.denseblock3", "iustnet": "block_2"}
BATCH = 8  # images


def grad_cam(model: str, network: nn.Module, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the Grad-CAM map of each image for its class, shape (n, side, side), each map scaled to [0, 1].

    ``model``: the network's name; ``pixels``: uint8 (n, side, side, 3); ``labels``: the class to explain, 1 =
    polycystic, 0 = normal. A map of zeros means that nothing spoke for the class.
    """
    network.eval().to(memory_format=torch.channels_last)  # half the time on a CPU
    signs = torch.tensor(np.where(labels == 1, 1.0, -1.0), dtype=torch.float32)
    explainer = LayerGradCam(lambda x, sign: network(x).squeeze(1) * sign, network.get_submodule(LAYERS[model]))
    maps = []
    for rows in torch.arange(len(pixels)).split(BATCH):
        # Frozen layers need a gradient, too.
        x = architectures.prepare(model, torch.from_numpy(pixels[rows.numpy()])).requires_grad_()
        coarse = explainer.attribute(x, additional_forward_args=(signs[rows],), relu_attributions=True)
        fine = LayerAttribution.interpolate(coarse, x.shape[2:], "bilinear")  # (n, 1, h, w) -> (n, 1, side, side)
        maps.append(fine.detach().squeeze(1).clamp(min=0).numpy())
    evidence = np.concatenate(maps)
    peak = evidence.max(axis=(1, 2), keepdims=True)
    return evidence / np.where(peak > 0, peak, 1)


def called(model: str, study: Study, folder: Path, chosen: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels, uint8 (n, side, side, 3), and Grad-CAM maps (n, side, side) of what ``tables.surest`` chose."""
    pixels = stack([study.image_dir / name for name in chosen.image], read_record(folder)["recipe"]["side"])
    network = frozen.trained(model, study, folder)
    return pixels, grad_cam(model, network, pixels, chosen.called.to_numpy(int))
