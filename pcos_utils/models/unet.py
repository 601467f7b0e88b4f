"""A small U-Net that outlines follicles, with its targets and its loss.

U-Net: Ronneberger et al. 2015, with batch norm and nearest upsampling. Two by two pixels are read and answered at a
time (Shi et al. 2016), so that no convolution runs at full size: a third of the time. The core map follows the idea of
deep watershed (Bai and Urtasun 2017): what touches in the mask is apart in the cores. Dice loss: Milletari et al. 2016.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (24, 32, 48, 64, 96)
BLOCK = 2  # px a side that one cell of the first level holds
MAPS = ("follicle", "core", "ovary")
WEIGHTS = (1.0, 1.0, 0.4)  # of the maps in the loss: the ovary's outline is vague in many frames


def follicle_unet() -> "UNet":
    """A U-Net with random weights, three maps for one grey channel: 509,196 parameters."""
    return UNet()


class UNet(nn.Module):
    """An encoder and a decoder with skips; each level is two convolutions with batch norm."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS, maps: int = len(MAPS)):
        super().__init__()
        inputs = (BLOCK**2, *channels[:-1])
        self.down = nn.ModuleList(_level(before, after) for before, after in zip(inputs, channels, strict=True))
        pairs = list(zip(channels[1:], channels[:-1], strict=True))[::-1]
        self.up = nn.ModuleList(_level(deep + skip, skip) for deep, skip in pairs)
        self.head = nn.Conv2d(channels[0], maps * BLOCK**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, 3, H, W) as in MAPS, for standardised images (n, 1, H, W).

        Raises ValueError unless both sides are multiples of 32, since the blocks and four poolings must divide them.
        """
        if x.shape[-2] % 32 or x.shape[-1] % 32:
            raise ValueError(f"Both sides of the images must be multiples of 32, not {tuple(x.shape[-2:])}.")
        x, skips = F.pixel_unshuffle(x, BLOCK), []  # (n, 4, H / 2, W / 2)
        for level in self.down:
            x = level(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)  # (n, 24 .. 96, H / 2 .. 32, W / 2 .. 32)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return F.pixel_shuffle(self.head(x), BLOCK)  # (n, 24, H / 2, W / 2) -> (n, 3, H, W)


def _level(before: int, after: int) -> nn.Sequential:
    layers = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def standardise(x: Tensor) -> Tensor:
    """Images (n, 1, H, W) in [0, 1] with each one's mean at 0 and SD near 1, so that gain does not matter."""
    # The small addend keeps a flat image from becoming noise.
    return (x - x.mean(dim=(2, 3), keepdim=True)) / (x.std(dim=(2, 3), keepdim=True) + 0.03)


def targets(follicles: np.ndarray, cores: np.ndarray, ovary: np.ndarray) -> Tensor:
    """The maps to learn, float32 (n, 3, H, W) of 0 and 1, from the masks of phantoms, each (n, H, W).

    Follicles too small to count are not in those masks (`phantom.VISIBLE_PIXELS`).
    """
    return torch.from_numpy(np.stack([follicles > 0, cores > 0, ovary > 0], axis=1)).float()


def segmentation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Twice the cross-entropy plus the Dice loss of each map over the batch, weighted and added; a scalar.

    ``logits`` and ``target``: (n, 3, H, W); with the batch as one set of pixels, a frame without follicles is
    no special case.
    """
    over = (0, 2, 3)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=over)  # (3,)
    share = logits.sigmoid()
    dice = 1 - (2 * (share * target).sum(dim=over) + 1) / ((share + target).sum(dim=over) + 1)
    return ((2 * entropy + dice) * logits.new_tensor(WEIGHTS)).sum()
