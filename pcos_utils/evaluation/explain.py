"""Where a network looked: three saliency maps for a named class, by captum.

Grad-CAM (Selvaraju et al. 2017), integrated gradients (Sundararajan et al. 2017) and occlusion (Zeiler and Fergus
2014). A saliency map shows what moved the logit, not that the reason is right; saliency_checks.py tests the maps.

Follicles are black, so black cannot stand for "nothing there": a black patch *adds* a follicle, and integrated
gradients from a black picture give black pixels no saliency at all. What takes a place's place here is the picture's
own strong blur (Sturmfels et al. 2020, doi 10.23915/distill.00022).
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion
from torch import Tensor, nn

from pcos_utils.config import Study
from pcos_utils.data.images import load, resize
from pcos_utils.evaluation.metrics import THRESHOLD
from pcos_utils.models import architectures, features, training

# The last block whose map still has at least six cells a side at 96 pixels; the very last has three.
LAYERS = {"densenet201": "features.denseblock3", "densenet121d": "features.denseblock3", "iustnet": "block_2"}
# Chosen so that a demo can afford all three: about 10 s for 24 images of IustNet at 96 pixels on one core.
STEPS = 6  # of the path of integrated gradients, at Gauss and Legendre's places
PARTS = 5  # squares to a side
BLUR = 8  # the SD of the blur that removes follicles goes so often into the side
BATCH = 8  # images


def saliency(method: str, model: str, network: nn.Module, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Evidence for each image's named class, shape (n, side, side), each map scaled to [0, 1].

    ``method``: a key of METHODS; ``model``: the network's name; ``pixels``: uint8 (n, side, side, 3); ``labels``: the
    class to explain, 1 = polycystic, 0 = normal. A map of zeros means that nothing spoke for the class.
    """
    return METHODS[method](model, network, pixels, labels)


def grad_cam(model: str, network: nn.Module, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Channels of one layer, weighted by their mean gradient. Arguments and answer as in ``saliency``."""
    layer = network.get_submodule(LAYERS[model])

    def attribute(logit_for, x: Tensor, without: Tensor, sign: Tensor) -> Tensor:
        x = x.requires_grad_()  # frozen layers need a gradient
        coarse = LayerGradCam(logit_for, layer).attribute(x, additional_forward_args=(sign,), relu_attributions=True)
        return LayerAttribution.interpolate(coarse, x.shape[2:], "bilinear")  # (n, 1, h, w) -> (n, 1, side, side)

    return _maps(model, network, pixels, labels, attribute)


def integrated_gradients(model: str, network: nn.Module, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each pixel adds on the way from the blurred picture. Arguments and answer as in ``saliency``."""

    def attribute(logit_for, x: Tensor, without: Tensor, sign: Tensor) -> Tensor:
        return IntegratedGradients(logit_for).attribute(x, without, additional_forward_args=(sign,), n_steps=STEPS)

    return _maps(model, network, pixels, labels, attribute)


def occlusion(model: str, network: nn.Module, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What the logit loses when a square is blurred away. Arguments and answer as in ``saliency``."""

    def attribute(logit_for, x: Tensor, without: Tensor, sign: Tensor) -> Tensor:
        channels, side = x.shape[1:3]
        square = -(-side // PARTS)
        with torch.no_grad():
            return Occlusion(logit_for).attribute(
                x, (channels, square, square), (channels, square, square), without,
                additional_forward_args=(sign,), perturbations_per_eval=4,
            )  # fmt: skip

    return _maps(model, network, pixels, labels, attribute)


METHODS = {"grad_cam": grad_cam, "integrated_gradients": integrated_gradients, "occlusion": occlusion}


def _maps(model: str, network: nn.Module, pixels: np.ndarray, labels: np.ndarray, attribute) -> np.ndarray:
    network.eval().to(memory_format=torch.channels_last)  # half the time on a CPU
    signs = torch.tensor(np.where(np.asarray(labels) == 1, 1.0, -1.0), dtype=torch.float32)
    made = []
    for rows in torch.arange(len(pixels)).split(BATCH):
        sharp = pixels[rows.numpy()]
        x, without = (
            architectures.prepare(model, torch.from_numpy(part)).contiguous(memory_format=torch.channels_last)
            for part in (sharp, blurred(sharp))
        )
        evidence = attribute(lambda x, sign: network(x).squeeze(1) * sign, x, without, signs[rows])
        made.append(evidence.detach().sum(dim=1).clamp(min=0).numpy())  # (n, channels, h, w) -> (n, h, w)
    maps = np.concatenate(made)
    peak = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(peak > 0, peak, 1)


def blurred(pixels: np.ndarray) -> np.ndarray:
    """The pictures without any structure of a follicle's size, uint8 like ``pixels``, (n, side, side, 3)."""
    width = pixels.shape[1] / BLUR
    return np.stack([cv2.GaussianBlur(image, (0, 0), width, borderType=cv2.BORDER_REPLICATE) for image in pixels])


def answers(model: str, network: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """A function from pixels, uint8 (n, side, side, 3), to logits (n,): what robustness.py asks."""

    def predict(pixels: np.ndarray) -> np.ndarray:
        prepare = lambda images: architectures.prepare(model, images)  # noqa: E731
        return training.predict(network, prepare, torch.from_numpy(pixels)).numpy()

    return predict


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


def explain_run(
    model: str, study: Study, folder: Path, each: int = 2, method: str = "grad_cam"
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pixels, maps for the *called* class, and titles, of one run's clearest rights and wrongs."""
    chosen = outcomes(pd.read_csv(folder / "predictions.csv"), each)
    return explain_images(model, study, chosen, lambda row: folder, method)


def explain_images(
    model: str, study: Study, rows: pd.DataFrame, folder_of: Callable, method: str = "grad_cam"
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pixels, maps for the *called* class, and titles, of images with an outcome, in the order of ``rows``.

    ``rows``: image, outcome ("false negative", ...), probability, as from ``outcomes`` or failures.failures;
    ``folder_of(row)``: the run folder of the network that judged the image.
    """
    pixels = np.stack([resize(load(study.image_dir / name), study.image_side) for name in rows.image])
    called = rows.outcome.str.endswith("positive").astype(int).to_numpy()
    folders = [folder_of(row) for row in rows.itertuples()]
    maps = np.zeros(pixels.shape[:3])
    for folder in dict.fromkeys(folders):
        own = np.array([other == folder for other in folders])
        network = features.trained(model, study, folder)
        maps[own] = saliency(method, model, network, pixels[own], called[own])
    titles = [f"{row.outcome}\nprobability {row.probability:.2f}" for row in rows.itertuples()]
    return pixels, maps, titles
