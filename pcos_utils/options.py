"""Define the command-line options that describe a study, the same for every command."""

from typing import Annotated

import typer


def _setting(name: str, words: str, *flags: str, **more):
    # The Makefile passes its variables through the environment, where no shell interprets their content.
    return typer.Option(*flags, help=words, envvar=f"PCOS_SET_{name}", show_envvar=False, **more)


Preset = Annotated[str, _setting("PRESET", "demo (CPU, minutes) or full (GPU)")]
Data = Annotated[str, _setting("DATA", "a registered data set, or a folder of class folders")]
Labels = Annotated[
    str | None, _setting("LABELS", "a table (.csv, .xlsx) of image and label, for a folder without them")
]
Models = Annotated[str | None, _setting("MODELS", "some of densenet201,densenet121d,iustnet,follicles")]
Seed = Annotated[int, _setting("SEED", "of phantoms, folds, weights and order", min=0)]
Epochs = Annotated[int | None, _setting("EPOCHS", "instead of the recipe's")]
Weights = Annotated[str, _setting("WEIGHTS", "imagenet, none or a .safetensors file")]
AllowCpu = Annotated[bool, _setting("ALLOW_CPU", "run the full preset without a GPU", "--allow-cpu/--no-allow-cpu")]
