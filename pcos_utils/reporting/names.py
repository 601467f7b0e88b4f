"""The names of methods in tables, figures and sentences, their colours, and the look of all figures."""

from pcos_utils.config import COUNT, FEATURES, LITE0, MODELS, TUNED, ZERO_SHOT
from pcos_utils.evaluation.baselines import BASELINES

TITLES = {name: baseline.title for name, baseline in BASELINES.items()} | {
    "densenet201": "DenseNet201",
    "densenet121d": "DenseNet121d",
    "iustnet": "IustNet",
    COUNT: "Follicle count",
    LITE0: "EfficientNet-Lite0 (ImageNet)",
    f"{LITE0}_random": "EfficientNet-Lite0 (random)",
    "densenet201_frozen": "DenseNet201 features (as started)",
    "densenet201_frozen_random": "DenseNet201 features (random)",
    ZERO_SHOT: "IustNet (phantoms, zero-shot)",
    TUNED: "IustNet (phantoms, fine-tuned)",
}
# Okabe and Ito's colours, which colour-blind readers tell apart; black is left for the lines of reference.
CLASS_COLOURS = {"normal": "#0072B2", "polycystic": "#D55E00"}
MODEL_COLOURS = {"densenet201": "#0072B2", "densenet121d": "#009E73", "iustnet": "#CC79A7", COUNT: "#D55E00"}
STYLE = {"figure.dpi": 72, "savefig.dpi": 100, "figure.constrained_layout.use": True, "svg.hashsalt": "pcos"}

# What stands before a group's methods where they are listed.
HEADINGS = {
    "networks": "Networks trained on these sources",
    "frozen features": "Everyday photographs, then these labels",
    "taught by phantoms": "Taught by phantoms",
    "baselines": "The baseline to beat",
}


def group_of(name: str) -> str:
    """Return what taught a method first: labels of these images (networks), photographs, phantoms, or a baseline."""
    if name in MODELS:
        return "networks"
    if name in FEATURES:
        return "frozen features"
    return "taught by phantoms" if name in (COUNT, ZERO_SHOT, TUNED) else "baselines"


def colour_of(name: str) -> str:
    """Return the colour of a method in every figure; baselines share one."""
    return MODEL_COLOURS.get(name, "#E69F00")
