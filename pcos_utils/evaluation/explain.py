"""Where a network looked: three saliency maps for a named class, by captum, and networks to test the maps with.

Grad-CAM (Selvaraju et al. 2017), integrated gradients (Sundararajan et al. 2017) and occlusion (Zeiler and Fergus
2014). A saliency map shows what moved the logit, not that the reason is right; saliency_checks.py tests the maps.

Follicles are black, so black cannot stand for "nothing there": a black patch adds a follicle, and integrated
gradients from a black picture give black pixels no saliency at all. What takes a place's place is the picture's own
strong blur (Sturmfels et al. 2020, doi 10.23915/distill.00022).
"""

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion
from torch import Tensor, nn

from pcos_utils.config import Study
from pcos_utils.data.images import load, resize, stack
from pcos_utils.evaluation.metrics import THRESHOLD
from pcos_utils.models import architectures, features, lessons, training
from pcos_utils.models.recipes import recipe

# The last block whose map still has four cells a side at the demo's 72 pixels; the very last has two.
LAYERS = {"densenet201": "features.denseblock3", "densenet121d": "features.denseblock3", "iustnet": "block_2"}
STEPS = 8  # of the path of integrated gradients, at Gauss and Legendre's places
PARTS = 6  # squares to a side that are blurred away, one at a time
BLUR = 8  # the SD of the blur that removes follicles goes so often into the side
BATCH = 8  # images


def saliency(method: str, model: str, network: nn.Module, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Evidence for each image's named class, shape (n, side, side), each map scaled to [0, 1].

    ``method``: one of METHODS; ``model``: the network's name; ``pixels``: uint8 (n, side, side, 3); ``labels``: the
    class to explain, 1 = polycystic, 0 = normal. A map of zeros means that nothing spoke for the class.
    """
    network.eval().to(memory_format=torch.channels_last)  # half the time on a CPU
    signs = torch.tensor(np.where(np.asarray(labels) == 1, 1.0, -1.0), dtype=torch.float32)
    made = []
    for rows in torch.arange(len(pixels)).split(BATCH):
        sharp = pixels[rows.numpy()]
        x, without = (architectures.prepare(model, torch.from_numpy(part)) for part in (sharp, blurred(sharp)))
        evidence = METHODS[method](
            lambda x, sign: network(x).squeeze(1) * sign, network.get_submodule(LAYERS[model]), x, without, signs[rows]
        )
        made.append(evidence.detach().sum(dim=1).clamp(min=0).numpy())  # (n, channels, h, w) -> (n, h, w)
    maps = np.concatenate(made)
    peak = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(peak > 0, peak, 1)


def blurred(pixels: np.ndarray) -> np.ndarray:
    """The pictures without any structure of a follicle's size, uint8 (n, side, side, 3)."""
    width = pixels.shape[1] / BLUR
    return np.stack([cv2.GaussianBlur(image, (0, 0), width, borderType=cv2.BORDER_REPLICATE) for image in pixels])


def _grad_cam(logit, layer: nn.Module, x: Tensor, without: Tensor, sign: Tensor) -> Tensor:
    x = x.requires_grad_()  # frozen layers need a gradient
    coarse = LayerGradCam(logit, layer).attribute(x, additional_forward_args=(sign,), relu_attributions=True)
    return LayerAttribution.interpolate(coarse, x.shape[2:], "bilinear")  # (n, 1, h, w) -> (n, 1, side, side)


def _integrated_gradients(logit, layer: nn.Module, x: Tensor, without: Tensor, sign: Tensor) -> Tensor:
    return IntegratedGradients(logit).attribute(x, without, additional_forward_args=(sign,), n_steps=STEPS)


@torch.no_grad()
def _occlusion(logit, layer: nn.Module, x: Tensor, without: Tensor, sign: Tensor) -> Tensor:
    square = (x.shape[1], *[-(-side // PARTS) for side in x.shape[2:]])
    return Occlusion(logit).attribute(
        x, square, strides=square, baselines=without, additional_forward_args=(sign,), perturbations_per_eval=4
    )


METHODS = {"grad_cam": _grad_cam, "integrated_gradients": _integrated_gradients, "occlusion": _occlusion}


def untrained(model: str, pixels: np.ndarray, seed: int = 0) -> nn.Module:
    """The same network with random weights. ``pixels``, uint8 (n, side, side, 3), give batch norm its statistics."""
    torch.manual_seed(seed)
    network = architectures.build(model, pixels.shape[1])
    training.calibrate_batch_norm(network, partial(architectures.prepare, model), torch.from_numpy(pixels))
    return network.eval()


def on_dealt_labels(model: str, study: Study, roles: pd.DataFrame, seed: int = 0) -> nn.Module:
    """A network trained as ever on the train and selection rows of ``roles``, but on labels dealt anew to the sources.

    ``roles`` as of ``splits.roles``. For networks that are trained whole: one whose features are frozen would answer
    from the same features as before. Not saved.
    """
    seen = deal(roles[roles.role != "test"].reset_index(drop=True), seed)
    # Not from the cache, which keeps one set of images: the study's.
    how = recipe(model, "ours", study)
    pixels = torch.from_numpy(stack([study.image_dir / name for name in seen.path], how.side))
    torch.manual_seed(seed)
    network = architectures.build(model, how.side)
    train, selection = (lessons.images_of(seen, pixels, role) for role in ("train", "selection"))
    prepare = partial(architectures.prepare, model)
    training.fit(network, prepare, train, selection, how, seed=seed)
    return network.eval()


def deal(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows with labels that were dealt anew among their sources; as many sources of each class as before."""
    of_source = rows.groupby("source", sort=True).label.max()
    dealt = pd.Series(np.random.default_rng(seed).permutation(of_source.to_numpy()), index=of_source.index)
    return rows.assign(label=rows.source.map(dealt))


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
    maps = saliency("grad_cam", model, network, pixels, called)
    titles = [f"{row.outcome}\nprobability {row.probability:.2f}" for row in chosen.itertuples()]
    return pixels, maps, titles
