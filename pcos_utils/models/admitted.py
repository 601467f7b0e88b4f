"""The names that a pickled published network may hold: a name that stands nowhere here is refused.

As torch, torchvision and timm name the parts of the three networks; "module name", as a pickle writes them.
"""

_NAMES = {
    "torch.nn.modules.activation": "ReLU",
    "torch.nn.modules.batchnorm": "BatchNorm2d",
    "torch.nn.modules.container": "Sequential ModuleList ModuleDict",
    "torch.nn.modules.conv": "Conv2d",
    "torch.nn.modules.dropout": "Dropout",
    "torch.nn.modules.flatten": "Flatten",
    "torch.nn.modules.linear": "Linear Identity",
    "torch.nn.modules.pooling": "MaxPool2d AvgPool2d AdaptiveAvgPool2d",
    "torchvision.models.densenet": "DenseNet _DenseBlock _DenseLayer _Transition",
    # timm renamed both its classes and its folders over the years; 0.6.13 is the published study's.
    "timm.models.densenet": "DenseNet DenseBlock DenseLayer DenseTransition _DenseBlock _DenseLayer _Transition",
    "timm.models.layers.adaptive_avgmax_pool": "SelectAdaptivePool2d",
    "timm.models.layers.norm_act": "BatchNormAct2d",
    "timm.layers.adaptive_avgmax_pool": "SelectAdaptivePool2d",
    "timm.layers.norm_act": "BatchNormAct2d",
}
LAYERS = {f"{module} {name}" for module, names in _NAMES.items() for name in names.split()}
DTYPES = {"torch FloatStorage": "float32", "torch LongStorage": "int64"}  # of weights, and of counted batches
OWN = ("IustNet",)  # a class that the study wrote itself; which file it stood in is not known
