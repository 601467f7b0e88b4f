"""Images that tests of training learn from."""

import numpy as np
import torch

from pcos_utils.models.training import Images


def noise(n: int, seed: int, side: int = 8, *, apart: int = 120) -> Images:
    """Return n images of noise; every second one has label 1 and is brighter by ``apart`` grey levels."""
    labels = np.arange(n) % 2
    pixels = np.random.default_rng(seed).integers(0, 255 - apart, (n, side, side, 3))
    pixels = torch.tensor(pixels + apart * labels[:, None, None, None], dtype=torch.uint8)
    return Images(pixels, torch.tensor(labels, dtype=torch.float32), torch.ones(n))
