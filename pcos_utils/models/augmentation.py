"""Random flips, rotations and brightness for a batch at a time, on the device that trains."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(images: Tensor, generator: torch.Generator, *, rotation: float, brightness: float, flip: float) -> Tensor:
    """Changed copies, float in [0, 255], shape (n, H, W, 3) like the images. Each image draws its own change.

    ``rotation``: degrees, uniform in +- this, corners filled with black as the published study's rotation fills
    them; ``brightness``: factor uniform in 1 +- this; ``flip``: probability of a left-right flip. All randomness
    comes from ``generator``, a CPU generator, so that every device sees the same changes.
    """
    n = len(images)
    angle, light, side = torch.rand(3, n, generator=generator).to(images.device)
    turn = (2 * angle - 1) * math.radians(rotation)
    mirror = torch.where(side < flip, -1.0, 1.0)
    zero = torch.zeros_like(turn)
    rows = torch.stack([mirror * turn.cos(), -turn.sin(), zero, mirror * turn.sin(), turn.cos(), zero], dim=1)
    x = images.permute(0, 3, 1, 2).float()  # (n, 3, H, W)
    grid = F.affine_grid(rows.view(n, 2, 3), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, align_corners=False)
    x = x * (1 + (2 * light - 1) * brightness).view(n, 1, 1, 1)
    return x.clamp(0, 255).permute(0, 2, 3, 1)
