"""Define the command-line options that describe a study, the same for every command."""

import functools
import inspect
import os
import re
from collections.abc import Callable
from typing import Annotated

import typer

from pcos_utils.config import StudyError


def _setting(name: str, words: str, *flags: str, **more):
    # The Makefile passes its variables through the environment, where no shell interprets their content.
    return typer.Option(*flags, help=words, envvar=f"PCOS_SET_{name}", show_envvar=False, **more)


Preset = Annotated[str, _setting("PRESET", "demo (CPU, minutes) or full (GPU)")]
Data = Annotated[str, _setting("DATA", "a registered data set, or a folder of class folders")]
TABLE = "a table (.csv, .xlsx) of image and label, for a folder without them"
Labels = Annotated[str | None, _setting("LABELS", TABLE)]
Models = Annotated[str | None, _setting("MODELS", "some of densenet201,densenet121d,iustnet,follicles")]
Seed = Annotated[int, _setting("SEED", "of phantoms, folds, weights and order", min=0, max=2**31 - 1)]
Epochs = Annotated[int | None, _setting("EPOCHS", "instead of the recipe's")]
Weights = Annotated[str, _setting("WEIGHTS", "imagenet, none or a .safetensors file")]
AllowCpu = Annotated[bool, _setting("ALLOW_CPU", "run the full preset without a GPU", "--allow-cpu/--no-allow-cpu")]
STUDY = {  # the type and the default of each setting of ``config.study``
    "preset": (Preset, "demo"), "data": (Data, "phantom"), "labels": (Labels, None), "models": (Models, None),
    "seed": (Seed, 0), "epochs": (Epochs, None), "weights": (Weights, "imagenet"), "allow_cpu": (AllowCpu, False),
}  # fmt: skip
Jobs = Annotated[str, _setting("JOBS", "runs at a time, each in a process; with CLUSTER=slurm, jobs")]
Cluster = Annotated[str, _setting("CLUSTER", "tcp://HOST:PORT of a dask scheduler, or slurm, that executes the runs")]


def of_study(command: Callable) -> Callable:
    """Give a command the options of STUDY, whose values reach it as one dict, its argument ``given``."""

    @functools.wraps(command)
    def with_options(**values):
        """Call the command with the study's options as one dict."""
        return command(given={name: values.pop(name) for name in STUDY}, **values)

    kind, parameters = inspect.Parameter.KEYWORD_ONLY, []
    for each in inspect.signature(command).parameters.values():
        study = [inspect.Parameter(name, kind, default=value, annotation=of) for name, (of, value) in STUDY.items()]
        parameters += study if each.name == "given" else [each.replace(kind=kind)]
    with_options.__signature__ = inspect.Signature(parameters)
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options


def place_of_runs() -> tuple[int, str] | None:
    """Return (JOBS, CLUSTER: "", "slurm" or a scheduler's address), or None where this process executes the runs."""
    jobs, cluster = (os.environ.get(f"PCOS_SET_{name}") or "" for name in ("JOBS", "CLUSTER"))
    if not re.fullmatch(r"([1-9]\d{0,3})?", jobs):
        raise StudyError(f"JOBS={jobs} is no number of processes; give 1, 2 or more.")
    if not re.fullmatch(r"(slurm|[a-z]+://\S+)?", cluster):
        raise StudyError(f"CLUSTER={cluster} is unknown; give tcp://HOST:PORT of a dask scheduler, or slurm.")
    if cluster or int(jobs or 1) > 1:
        return int(jobs or 2), cluster
    return None
