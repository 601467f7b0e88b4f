"""Teach IustNet the labels of phantoms, so that it can be tried on images none of which taught it."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from pcos_utils.config import COUNT, home
from pcos_utils.data import images
from pcos_utils.follicles import pretrain, training_set
from pcos_utils.models import architectures, devices, training, weights
from pcos_utils.models.recipes import RECIPES
from pcos_utils.phantom import simulator

EPOCHS, HELD_OUT = 12, 200  # phantoms held out of each class


def phantoms(per_class: int, seed: int) -> training.Images:
    """Return phantoms with their labels, from the files that the follicle network learns from."""
    content = training_set.load(training_set.shards(home() / "runs" / COUNT / "shards", per_class, seed))
    pixels, labels = resized(content["images"], weights.PHANTOM_SIDE), content["label"].astype(np.float32)
    return training.Images(pixels, torch.tensor(labels), torch.ones(len(pixels)))


def resized(grey: np.ndarray, side: int) -> torch.Tensor:
    """Return grey images, uint8 (n, H, W), as uint8 (n, side, side, 3)."""
    return torch.from_numpy(np.stack([images.resize(np.repeat(each[..., None], 3, axis=2), side) for each in grey]))


def taught(model: str, train, side: int, epochs: int, seed: int, on_epoch=lambda row: None) -> torch.nn.Module:
    """Return a network after its training by labels, from random weights; the last epoch is kept."""
    torch.manual_seed(seed)
    network, prepare = architectures.build(model, side), partial(architectures.prepare, model)
    recipe = RECIPES[model, "ours"].model_copy(update={"epochs": epochs, "side": side, "select_epoch": False})
    training.fit(network, prepare, train, None, recipe, seed=seed, engine=devices.fastest(), on_epoch=on_epoch)
    return network


def teach(per_class: int, seed: int, on_epoch=lambda row: None, target: Path = weights.PHANTOM_IUSTNET) -> dict:
    """Train IustNet on phantoms alone, save its weights in float16 as ``target``, and return what they are.

    The AUC is that on phantoms that it never saw, by the weights as saved.
    """
    train = phantoms(per_class, pretrain.PHANTOM_SEED)
    network = taught("iustnet", train, weights.PHANTOM_SIDE, EPOCHS, seed, on_epoch).half().float()
    held = phantoms(HELD_OUT, pretrain.HELD_OUT_SEED)
    logits = training.predict(network, partial(architectures.prepare, "iustnet"), held.pixels)
    facts = {"phantoms_per_class": per_class, "phantom_version": simulator.VERSION, "seed": seed,
             "auc": round(float(roc_auc_score(held.labels, logits)), 4), "held_out_phantoms": len(logits)}  # fmt: skip
    weights.save(network.half(), target, {"model": "iustnet"} | facts)
    return facts
