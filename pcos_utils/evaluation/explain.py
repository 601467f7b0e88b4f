"""Where a network looked: Grad-CAM for a named class (Selvaraju et al. 2017), by captum.

A saliency map shows what moved the logit, not that the reason is right.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from captum.attr import LayerAttribution, LayerGradCam

from pcos_utils.config import Study
from pcos_utils.data.images import load, resize
from pcos_utils.evaluation.metrics import THRESHOLD
from pcos_utils.models import architectures, features

# The last block whose map still has at least six cells a side at 96 pixels; the very last has three.
LAYERS = {"densenet201": "features.denseblock3", "densenet121d": "features.denseblock3", "iustnet": "block_2"}


def grad_cam(model: str, network: torch.nn.Module, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Evidence for each image's named class, shape (n, side, side), each map scaled to [0, 1].

    ``pixels``: uint8 (n, side, side, 3); ``labels``: the class to explain, 1 = polycystic, 0 = normal. A map of
    zeros means that nothing in this layer spoke for the class.
    """
    network.eval()
    inputs = architectures.prepare(model, torch.from_numpy(pixels)).requires_grad_()  # frozen layers need a gradient
    sign = torch.tensor(np.where(labels == 1, 1.0, -1.0), dtype=torch.float32)
    layer = network.get_submodule(LAYERS[model])
    cam = LayerGradCam(lambda x: network(x).squeeze(1) * sign, layer)
    coarse = cam.attribute(inputs, relu_attributions=True).detach()  # (n, 1, h, w)
    maps = LayerAttribution.interpolate(coarse, pixels.shape[1:3], "bilinear").squeeze(1).clamp(min=0).numpy()
    peak = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(peak > 0, peak, 1)


def outcomes(predictions: pd.DataFrame, each: int = 2) -> pd.DataFrame:
    """The most confident test images of each outcome, with ``outcome``: true or false, positive or negative.

    At most ``each`` images an outcome, from one image per source.
    """
    test = predictions[predictions.role == "test"].drop_duplicates("source").copy()
    called, positive = test.probability >= THRESHOLD, test.label == 1
    names = np.where(called == positive, "true ", "false ") + np.where(called, "positive", "negative").astype(object)
    test["outcome"] = names
    test = test.assign(sure=test.logit.abs()).sort_values(["outcome", "sure", "image"], ascending=[False, False, True])
    return test.groupby("outcome", sort=False).head(each)


def explain_run(model: str, study: Study, folder: Path, each: int = 2) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pixels, Grad-CAM maps for the *called* class, and titles, of one run's clearest rights and wrongs."""
    chosen = outcomes(pd.read_csv(folder / "predictions.csv"), each)
    side = json.loads((folder / "run.json").read_text())["recipe"]["side"]
    pixels = np.stack([resize(load(study.image_dir / name), side) for name in chosen.image])
    network = features.trained(model, study, folder)
    called = (chosen.probability >= THRESHOLD).astype(int).to_numpy()
    maps = grad_cam(model, network, pixels, called)
    titles = [f"{row.outcome}\nprobability {row.probability:.2f}" for row in chosen.itertuples()]
    return pixels, maps, titles
