"""The three published networks, one logit each, positive for polycystic morphology.

DenseNets: Huang et al. 2017, as in torchvision (BSD-3). The deep stem: He et al. 2019 ("bag of tricks"), with the
state-dict names of timm 0.6.13's ``densenet121d`` (Apache-2.0), which the published study used. IustNet: the TinyVGG
layout with 45 hidden units. Sizes and counts as in the published study.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma, as torchvision's Grayscale
PUBLISHED_SIDE = 224


def build(name: str, side: int = PUBLISHED_SIDE, *, memory_efficient: bool = False) -> nn.Module:
    """A network with random weights for square images of ``side`` pixels. Names: densenet201, densenet121d, iustnet.

    ``memory_efficient``: DenseNets compute again on the way back what they would have kept, slower and in less memory.
    """
    if name == "densenet201":
        return densenet201(memory_efficient)
    return densenet121d(memory_efficient) if name == "densenet121d" else IustNet(side)


def densenet201(memory_efficient: bool = False) -> DenseNet:
    """DenseNet201 for one grey channel, features frozen, a new head: 18,088,577 parameters, 1,921 trainable."""
    model = _densenet((6, 12, 48, 32), memory_efficient)
    model.features.conv0 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    model.features.requires_grad_(False)
    return model


def densenet121d(memory_efficient: bool = False) -> DenseNet:
    """DenseNet121 with the deep stem for one grey channel: 6,973,537 parameters, all trainable."""
    model = _densenet((6, 12, 24, 16), memory_efficient)
    stem = OrderedDict()
    for i, (channels_in, channels_out, stride) in enumerate([(1, 32, 2), (32, 32, 1), (32, 64, 1)]):
        stem[f"conv{i}"] = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        stem[f"norm{i}"] = nn.BatchNorm2d(channels_out)
        stem[f"relu{i}"] = nn.ReLU(inplace=True)
    stem["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)
    blocks = OrderedDict(
        (name, part)
        for name, part in model.features.named_children()
        if name.startswith(("denseblock", "trans", "norm5"))
    )
    model.features = nn.Sequential(stem | blocks)
    for part in model.features:
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)  # as torchvision starts its own convolutions
    return model


def _densenet(blocks: tuple[int, ...], memory_efficient: bool) -> DenseNet:
    model = DenseNet(
        growth_rate=32, block_config=blocks, num_init_features=64, num_classes=1, memory_efficient=memory_efficient
    )
    for name, part in model.features.named_children():
        if name.startswith("transition"):
            # Published as convolution, then pooling. A weighted sum of means is the mean of weighted sums, so but for
            # rounding this order gives the same numbers, with a quarter of the convolution's work.
            conv = part.conv
            del part.conv
            part.conv = conv
    return model


class IustNet(nn.Module):
    """A small convolutional network for three channels in [0, 1]: 197,191 parameters at 224 pixels.

    The head is one linear layer over every remaining pixel, so its size follows the image's side; at another side
    than 224 it is another network of the same design, and ``note`` says so.
    """

    def __init__(self, side: int = PUBLISHED_SIDE, hidden: int = 45):
        super().__init__()
        self.side = side
        self.block_1 = self._block(3, hidden)
        self.block_2 = self._block(hidden, hidden)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(hidden * (side // 4) ** 2, 1))

    @property
    def note(self) -> str:
        """How this network differs from the published one, or nothing."""
        if self.side == PUBLISHED_SIDE:
            return ""
        count = sum(parameter.numel() for parameter in self.parameters())
        return f"IustNet's head is adapted to {self.side} x {self.side} pixels: {count:,} parameters, not 197,191."

    @staticmethod
    def _block(channels_in: int, hidden: int) -> nn.Sequential:
        # Published as ReLU, then pooling. The largest of four stays the largest where all below 0 become 0, so this
        # order gives the same numbers and gradients, with a quarter of the work.
        return nn.Sequential(
            nn.Conv2d(channels_in, hidden, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, 1), for images (n, 3, side, side) in [0, 1]. Raises ValueError at another side."""
        if x.shape[-2:] != (self.side, self.side):
            raise ValueError(f"IustNet was built for {self.side} x {self.side} pixels, not {tuple(x.shape[-2:])}.")
        x = self.block_2(self.block_1(x))  # (n, 3, s, s) -> (n, 45, s/4, s/4)
        return self.classifier(x)  # (n, 1)


def prepare(name: str, images: Tensor) -> Tensor:
    """Images as the named network takes them. Images: uint8 or float in [0, 255], shape (n, H, W, 3).

    IustNet takes three channels in [0, 1]. The DenseNets take one: normalised by ImageNet's channels *first* and
    turned grey afterwards, in the published order.
    """
    x = images.permute(0, 3, 1, 2).float() / 255  # (n, 3, H, W)
    if name == "iustnet":
        return x
    mean, std, grey = (x.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD, GREY))
    return ((x - mean) / std * grey).sum(dim=1, keepdim=True)  # (n, 1, H, W)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """The number of parameters, and of those that train."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)


@torch.no_grad()
def sum_over_rgb(weight: Tensor) -> Tensor:
    """A first convolution for one grey channel that answers as the RGB one does to three equal channels."""
    return weight.sum(dim=1, keepdim=True)
