"""Build the networks, each with one logit that is positive for polycystic morphology.

DenseNets: Huang et al. 2017, as in torchvision (BSD-3). Deep stem: He et al. 2019 ("bag of tricks"), with the
state-dict names of timm 0.6.13's ``densenet121d`` (Apache-2.0), which the published study used. IustNet: the TinyVGG
layout with 45 hidden units. Layer sizes and parameter counts of these three are those of the published study.
EfficientNet-Lite0 (Tan and Le 2019, without squeeze and excitation) is timm's ``tf_efficientnet_lite0``: its ImageNet
weights come with a package, so that it can always start from everyday photographs.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models import DenseNet

from pcos_utils import config

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma, as torchvision's Grayscale
PUBLISHED_SIDE = 224
NETWORKS = (*config.MODELS, config.LITE0, config.TUNED)


def build(name: str, side: int = PUBLISHED_SIDE) -> nn.Module:
    """Return one of NETWORKS with random weights, for square images. Raises StudyError for another name."""
    makers = {"densenet201": densenet201, "densenet121d": densenet121d, config.LITE0: efficientnet_lite0}
    makers |= dict.fromkeys(("iustnet", config.TUNED), lambda: IustNet(side))
    if name not in makers:
        raise config.StudyError(f"The network '{name}' is unknown; use one of: {', '.join(NETWORKS)}.")
    return makers[name]()


def densenet201() -> DenseNet:
    """Return DenseNet201 for one grey channel, frozen except for a new head: 18,088,577 parameters, 1,921 trainable."""
    model = _densenet((6, 12, 48, 32))
    model.features.conv0 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    model.features.requires_grad_(False)
    return model


def densenet121d() -> DenseNet:
    """Return DenseNet121 with the deep stem for one grey channel: 6,973,537 parameters, all trainable."""
    model = _densenet((6, 12, 24, 16))
    stem = OrderedDict()
    for i, (channels_in, channels_out, stride) in enumerate([(1, 32, 2), (32, 32, 1), (32, 64, 1)]):
        stem[f"conv{i}"] = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        stem[f"norm{i}"] = nn.BatchNorm2d(channels_out)
        stem[f"relu{i}"] = nn.ReLU(inplace=True)
    stem["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)
    after_stem = list(model.features.named_children())[4:]  # without torchvision's conv0, norm0, relu0 and pool0
    model.features = nn.Sequential(stem | OrderedDict(after_stem))
    for i in range(3):
        nn.init.kaiming_normal_(stem[f"conv{i}"].weight)  # as torchvision initialises its own convolutions
    return model


def efficientnet_lite0() -> nn.Module:
    """Return EfficientNet-Lite0 for three channels, frozen but for a new head: 3,372,289 parameters, 1,281 trained."""
    import timm  # half a second, which answering need not wait for

    model = timm.create_model("tf_efficientnet_lite0", num_classes=1)
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    return model


def _densenet(blocks: tuple[int, ...]) -> DenseNet:
    model = DenseNet(growth_rate=32, block_config=blocks, num_init_features=64, num_classes=1)
    for name, part in model.features.named_children():
        if name.startswith("transition"):
            # The published order is convolution, then pooling. A 1 x 1 convolution and average pooling commute, so
            # this order gives the same numbers up to rounding, for a quarter of the convolution's work.
            conv = part.conv
            del part.conv
            part.conv = conv
    return model


class IustNet(nn.Module):
    """A small convolutional network for three channels in [0, 1]: 197,191 parameters at 224 pixels.

    The head is one linear layer over all remaining pixels, so its size depends on the image side. At a side other than
    224 it is a different network of the same design, and ``note`` says so.
    """

    def __init__(self, side: int = PUBLISHED_SIDE, hidden: int = 45):
        super().__init__()
        self.side = side
        self.block_1 = self._block(3, hidden)
        self.block_2 = self._block(hidden, hidden)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(hidden * (side // 4) ** 2, 1))

    @property
    def note(self) -> str:
        """Return how this network differs from the published one, or an empty string."""
        if self.side == PUBLISHED_SIDE:
            return ""
        count, _ = count_parameters(self)
        return f"IustNet's head is adapted to {self.side} x {self.side} pixels: {count:,} parameters, not 197,191."

    @staticmethod
    def _block(channels_in: int, hidden: int) -> nn.Sequential:
        # The published order is ReLU, then pooling. ReLU and max pooling commute, so this order gives the same
        # numbers and gradients, for a quarter of the ReLU's work.
        first, second = nn.Conv2d(channels_in, hidden, 3, padding=1), nn.Conv2d(hidden, hidden, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(inplace=True), second, nn.MaxPool2d(2), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, 1) for images (n, 3, side, side) in [0, 1]. Raises ValueError for another side."""
        if x.shape[-2:] != (self.side, self.side):
            raise ValueError(f"IustNet was built for {self.side} x {self.side} pixels, not {tuple(x.shape[-2:])}.")
        x = self.block_2(self.block_1(x))  # (n, 3, s, s) -> (n, 45, s/4, s/4)
        return self.classifier(x)  # (n, 1)


def prepare(name: str, images: Tensor) -> Tensor:
    """Return the images in the form that the named network takes.

    ``images``: uint8 or float in [0, 255], shape (n, H, W, 3). IustNet takes three channels in [0, 1] and
    EfficientNet-Lite0 in [-1, 1]. The DenseNets take one: as published, the image is normalised by ImageNet's mean and
    SD *first* and turned grey afterwards.
    """
    x = images.permute(0, 3, 1, 2).float() / 255  # (n, 3, H, W)
    if name in ("iustnet", config.TUNED):
        return x
    if name == config.LITE0:
        return 2 * x - 1
    mean, std, grey = (x.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD, GREY))
    return ((x - mean) / std * grey).sum(dim=1, keepdim=True)  # (n, 1, H, W)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return the number of all parameters and of the trainable ones."""
    parameters = list(model.parameters())
    return sum(part.numel() for part in parameters), sum(part.numel() for part in parameters if part.requires_grad)
