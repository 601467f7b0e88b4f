"""The names of methods in tables, figures and sentences, their colours, and the look of all figures."""

from pcos_utils.config import COUNT, MODELS
from pcos_utils.evaluation.baselines import BASELINES, FROZEN

MODEL_NAMES = {
    "densenet201": "DenseNet201",
    "densenet121d": "DenseNet121d",
    "iustnet": "IustNet",
    COUNT: "Follicle count",
}
TITLES = MODEL_NAMES | {name: baseline.title for name, baseline in BASELINES.items()}
TITLES |= {FROZEN: "DenseNet201 features, untrained"}
# Okabe and Ito's colours, which colour-blind readers tell apart; black is left for the lines of reference.
CLASS_COLOURS = {"normal": "#0072B2", "polycystic": "#D55E00"}
MODEL_COLOURS = {"densenet201": "#0072B2", "densenet121d": "#009E73", "iustnet": "#CC79A7", COUNT: "#D55E00"}
STYLE = {"figure.dpi": 72, "savefig.dpi": 100, "figure.constrained_layout.use": True, "svg.hashsalt": "pcos"}


def group_of(name: str) -> str:
    """Return the kind of a method: a network, the count of follicles, or a baseline."""
    if name in MODELS:
        return "networks"
    return "follicles counted" if name == COUNT else "baselines"


def colour_of(name: str) -> str:
    """Return the colour of a method in every figure; baselines share one."""
    return MODEL_COLOURS.get(name, "#E69F00")
