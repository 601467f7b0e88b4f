"""Define the network that finds ovaries: the follicle U-Net, reading and writing blocks of four by four pixels.

A box needs less detail than an outline, and larger blocks take a quarter of the time and see the whole frame.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcos_utils.follicles.network import BLOCK, CHANNELS, MAPS, UNet
from pcos_utils.models import weights


class Locator(UNet):
    """One grey channel in, three maps out (ovary, follicle, other), 512,688 parameters."""

    def __init__(self):
        super().__init__()
        cells = BLOCK**4
        self.down[0][0] = nn.Conv2d(cells, CHANNELS[0], 3, padding=1, bias=False)
        self.head = nn.Conv2d(CHANNELS[0], len(MAPS) * cells, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, 3, H, W), for standardised images (n, 1, H, W), both sides multiples of 64."""
        return F.pixel_shuffle(self.head(self.body(F.pixel_unshuffle(x, BLOCK))), BLOCK**2)


def load(path: Path) -> torch.nn.Module:
    """Return the locator with the file's weights, in float32 and eval mode. Raises StudyError for unusable files."""
    network = Locator()
    weights.load(network, path)
    return network.eval()
