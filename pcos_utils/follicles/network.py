"""Define the small U-Net that outlines follicles, with its targets and its loss, and predict with it.

U-Net: Ronneberger et al. 2015, with batch norm and nearest-neighbour upsampling. Blocks of two by two pixels are read
and written at a time (Shi et al. 2016), so that no convolution runs at full size; this takes a third of the time. The
core map follows deep watershed (Bai and Urtasun 2017): follicles that touch in the mask are apart in the cores. Dice
loss: Milletari et al. 2016.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcos_utils.follicles.counting import COLUMNS, measure
from pcos_utils.models import weights

CHANNELS = (24, 32, 48, 64, 96)
BATCH = 32  # images
BLOCK = 2  # px, the side of the block that one cell of the first level covers
MAPS = ("follicle", "core", "ovary")
MASKS = ("follicles", "cores", "ovary")  # their names among the truth of a phantom
WEIGHTS = (1.0, 1.0, 0.4)  # of each map in the loss; low for the ovary, whose outline is vague in many images


class UNet(nn.Module):
    """An encoder and a decoder with skip connections: one grey channel in, three maps out, 509,196 parameters."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS):
        super().__init__()
        inputs = (BLOCK**2, *channels[:-1])
        self.down = nn.ModuleList(_level(before, after) for before, after in zip(inputs, channels, strict=True))
        pairs = list(zip(channels[1:], channels[:-1], strict=True))[::-1]
        self.up = nn.ModuleList(_level(deep + skip, skip) for deep, skip in pairs)
        self.head = nn.Conv2d(channels[0], len(MAPS) * BLOCK**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, 3, H, W), as MAPS, of (n, 1, H, W). Raises ValueError unless 32 divides both sides."""
        return F.pixel_shuffle(self.head(self.body(x)), BLOCK)  # (n, 24, H / 2, W / 2) -> (n, 3, H, W)

    def body(self, x: Tensor) -> Tensor:
        """Return what the head reads, (n, 24, H / 2, W / 2)."""
        if x.shape[-2] % 32 or x.shape[-1] % 32:  # the blocks and four poolings must divide them
            raise ValueError(f"Both sides of the images must be multiples of 32, not {tuple(x.shape[-2:])}.")
        x, skips = F.pixel_unshuffle(x, BLOCK), []  # (n, 4, H / 2, W / 2)
        for level in self.down:
            x = level(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)  # (n, 24 .. 96, H / 2 .. 32, W / 2 .. 32)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return x


class Locator(UNet):
    """The network that finds ovaries, reading and writing blocks of four by four pixels, with 512,688 parameters.

    A box needs less detail than an outline, and larger blocks take a quarter of the time and see the whole frame. One
    grey channel in, three maps out (ovary, follicle, other).
    """

    def __init__(self):
        super().__init__()
        cells = BLOCK**4
        self.down[0][0] = nn.Conv2d(cells, CHANNELS[0], 3, padding=1, bias=False)
        self.head = nn.Conv2d(CHANNELS[0], len(MAPS) * cells, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, 3, H, W), for standardised images (n, 1, H, W), both sides multiples of 64."""
        return F.pixel_shuffle(self.head(self.body(F.pixel_unshuffle(x, BLOCK))), BLOCK**2)


def _level(before: int, after: int) -> nn.Sequential:
    layers = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def standardise(x: Tensor) -> Tensor:
    """Scale each image, (n, 1, H, W) in [0, 1], to mean 0 and SD near 1, so that gain does not matter."""
    # Without the small addend, the noise of a flat image would be amplified.
    return (x - x.mean(dim=(2, 3), keepdim=True)) / (x.std(dim=(2, 3), keepdim=True) + 0.03)


def load(path: Path, kind: type[UNet] = UNet) -> nn.Module:
    """Return the network with the file's weights, in float32 and eval mode. Raises StudyError for unusable files."""
    network = kind()
    weights.load(network, path)
    return network.eval()


class Outlining(nn.Module):
    """A follicle network in eval mode, with what comes before and after it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.eval()

    def forward(self, grey: Tensor) -> Tensor:
        """Return probabilities (n, 3, H, W) for grey images, uint8 (n, H, W), each averaged with its mirror image."""
        x = standardise(grey[:, None].float() / 255)  # (n, 1, H, W)
        return (self.network(x).sigmoid() + self.network(x.flip(3)).sigmoid().flip(3)) / 2


@torch.inference_mode()
def predict_maps(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """Return probabilities of follicle, core and ovary, float32 (n, 3, H, W), for grey images, uint8 (n, H, W)."""
    outlining = Outlining(network).to(memory_format=torch.channels_last)  # a third faster on a CPU
    parts = torch.from_numpy(np.ascontiguousarray(images)).split(BATCH)
    return np.concatenate([outlining(part).numpy() for part in parts])


def measure_all(network: nn.Module, images: np.ndarray) -> pd.DataFrame:
    """Return COLUMNS as `measure` computes them, one row per image. ``images``: grey, uint8 (n, H, W)."""
    return pd.DataFrame([measure(maps) for maps in predict_maps(network, images)], columns=list(COLUMNS))


def targets(masks: dict[str, np.ndarray]) -> Tensor:
    """Return the maps to learn, uint8 (n, 3, H, W) of 0 and 1; ``masks`` leave out follicles too small to count."""
    return torch.from_numpy(np.stack([masks[name] > 0 for name in MASKS], axis=1).astype(np.uint8))


def segmentation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return twice the cross-entropy plus the Dice loss of each map, (n, 3, H, W), weighted and summed to a scalar.

    Dice takes the whole batch as one set of pixels, so that an image without follicles is no special case.
    """
    over = (0, 2, 3)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=over)  # (3,)
    share = logits.sigmoid()
    dice = 1 - (2 * (share * target).sum(dim=over) + 1) / ((share + target).sum(dim=over) + 1)
    return ((2 * entropy + dice) * logits.new_tensor(WEIGHTS)).sum()
