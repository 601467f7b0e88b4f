"""Train one network's runs from the command line: alone, or by the processes that torchrun starts."""

from typing import Annotated

import typer

from pcos_utils.config import MODELS, StudyError, study
from pcos_utils.options import AllowCpu, Data, Epochs, Labels, Preset, Seed, Weights


def train(
    model: Annotated[str, typer.Argument(help=", ".join(MODELS))],
    preset: Preset = "demo",
    data: Data = "phantom",
    labels: Labels = None,
    seed: Seed = 0,
    epochs: Epochs = None,
    weights: Weights = "imagenet",
    allow_cpu: AllowCpu = False,
) -> None:
    """Train the runs of one network, as its notebook does. Under torchrun all processes share each run."""
    from pcos_utils.models import sweep

    if model not in MODELS:
        raise StudyError(f"The network '{model}' is unknown; use one of: {', '.join(MODELS)}.")
    cfg = study(preset, data, labels=labels, seed=seed, epochs=epochs, weights=weights, allow_cpu=allow_cpu)
    sweep.run(model, cfg)
