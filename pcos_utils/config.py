"""The settings of one study, as one frozen and validated object; every folder follows from it.

The positive class is stated here and nowhere else: polycystic morphology = 1, positive logit, probability near 1.
"""

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

ROOT = Path(__file__).resolve().parents[1]
CLASS_NAMES = {0: "normal", 1: "polycystic"}
MODELS = ("densenet201", "densenet121d", "iustnet")  # the networks of the published study
JUDGED = (*MODELS, "follicles")  # and the count of follicles, by a network that phantoms taught
DATASETS = ("phantom", "dataset-b", "dataset-b-modified", "dataset-a")
CAVEAT = "Research only, not a diagnostic device; morphology (PCOM) is not the syndrome (PCOS)."

PRESETS = {
    "demo": dict(
        image_side=72,  # pixels; a tenth of the published area, so that two old CPU cores finish in five minutes
        phantoms_per_class=150,  # chosen after four looks at seed 0
        folds=3,
        repeats=1,
        inners=1,
        sources_per_class=60,  # at most, from folders with very many images
        images_per_source=4,  # at most
        resamples=1000,
        precision="float32",
    ),
    "full": dict(
        image_side=224,
        phantoms_per_class=400,
        folds=7,  # two polycystic sources of dataset B in each
        repeats=10,
        inners=3,  # so that each training source selects once: two polycystic ones cannot set a threshold
        sources_per_class=None,
        images_per_source=None,
        resamples=5000,
        precision="auto",
    ),
}


class StudyError(Exception):
    """One sentence for a person: what is wrong, with which thing, and the remedy. It never carries a traceback."""

    def _render_traceback_(self):
        # Jupyter asks the exception itself how to show it; a reader needs the sentence, not our call stack.
        return [f"\x1b[31mThe study stopped:\x1b[0m {self}"]


class TooFewSources(StudyError):
    """Why a study ends with its description: too few source pictures to judge any model on. Not a failure."""

    def _render_traceback_(self):
        return [f"\x1b[33mThe study ends here, as it should:\x1b[0m {self}"]


class Study(BaseModel):
    """One study: which images, how much compute, judged how. Frozen; unknown settings are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["demo", "full"] = "demo"
    data: str = "phantom"  # a registered name, or a folder of class folders
    labels: str | None = None  # a table of image and label, for a folder whose folders do not carry the class
    models: tuple[Literal["densenet201", "densenet121d", "iustnet", "follicles"], ...] = JUDGED
    seed: int = Field(0, ge=0)
    weights: str = "imagenet"  # where DenseNet201 starts: "imagenet", "none" or a .safetensors file
    epochs: int | None = Field(None, ge=1)  # None: the recipe's value for the preset
    allow_cpu: bool = False  # lets "full" run without a GPU
    keep_label_conflicts: bool = False  # a source that carries both labels is left out unless this is set

    image_side: int = Field(ge=32)
    phantoms_per_class: int = Field(ge=1)
    folds: int = Field(ge=2)
    repeats: int = Field(ge=1)
    inners: int = Field(ge=1)  # parts of a fold's training sources that take turns to select
    sources_per_class: int | None = Field(ge=2)
    images_per_source: int | None = Field(ge=1)
    resamples: int = Field(ge=100)

    # How the same sums are done faster. Each can be turned off; a test holds the two ways side by side.
    precision: Literal["auto", "bfloat16", "float32"]  # auto: bfloat16 where the processor or the GPU has it
    channels_last: bool = True
    keep_memory: bool = True  # a process keeps what it frees, instead of asking the system for it again
    compiled: bool = False  # torch.compile: on a GPU it may pay after minutes
    memory_efficient: bool = False  # DenseNets compute again on the way back what they would have kept

    @property
    def folder(self) -> Path | None:
        """The folder of images that the user named, or None for registered data."""
        if self.data in DATASETS:
            return None
        return _from_root(self.data)

    @property
    def labels_path(self) -> Path | None:
        """The table of labels that goes with the folder, or None where class folders carry the labels."""
        return None if self.labels is None else _from_root(self.labels)

    @property
    def data_name(self) -> str:
        """The data's name in file names: the registered one, or ``local-<folder>``."""
        if self.folder is None:
            return self.data
        return "local-" + re.sub(r"[^A-Za-z0-9_.-]+", "-", self.folder.resolve().name)

    @property
    def name(self) -> str:
        """The study's name, ``<data>-<preset>``: no preset or data set overwrites another."""
        return f"{self.data_name}-{self.preset}"

    @property
    def synthetic(self) -> bool:
        """Whether the images are phantoms, which may be shown and committed."""
        return self.data == "phantom"

    @property
    def data_dir(self) -> Path:
        """Where the manifest lies, and the images too unless the user named a folder of their own."""
        # Only phantoms depend on the preset: the demo's 150 a class must not replace the full study's 400.
        return home() / "data" / (self.name if self.synthetic else self.data_name)

    @property
    def image_dir(self) -> Path:
        """The folder that holds the class folders."""
        if self.folder is not None:
            return self.folder
        given = os.environ.get("PCOS_DATA_DIR")
        return self.data_dir if self.synthetic or not given else Path(given) / self.data_name

    @property
    def runs_dir(self) -> Path:
        """Where trained runs lie."""
        return home() / "runs" / self.name

    def run_dir(self, model: str, one) -> Path:
        """The folder of one run of a network's plan, which has arm, protocol, seed, repeat, fold and inner."""
        turn = f"i{one.inner}" if self.inners > 1 and one.protocol == "grouped" else ""
        return self.runs_dir / model / one.arm / one.protocol / f"s{one.seed}r{one.repeat}f{one.fold}{turn}"

    @property
    def report_dir(self) -> Path:
        """Where tables, figures and the report lie."""
        return home() / "reports" / self.name

    @property
    def plan_path(self) -> Path:
        """The plan, which is written before anything is trained."""
        return self.report_dir / "plan.json"


def home() -> Path:
    """The folder under which data, runs and reports are written: the repository, or ``PCOS_HOME``."""
    return Path(os.environ.get("PCOS_HOME", ROOT))


def study(preset: str = "demo", data: str = "phantom", **settings) -> Study:
    """A study with the preset's values, except where settings are given. Raises StudyError with one sentence."""
    if preset not in PRESETS:
        raise StudyError(f"PRESET={preset} is unknown; use one of: {', '.join(PRESETS)}.")
    given = {key: value for key, value in settings.items() if not (key in PRESETS[preset] and value is None)}
    if isinstance(given.get("models"), str):
        given["models"] = tuple(name for name in re.split(r"[,\s]+", given["models"]) if name)
    if not given.get("models", True):
        del given["models"]
    try:
        made = Study(preset=preset, data=str(data), **(PRESETS[preset] | given))
    except ValidationError as error:
        raise StudyError(_sentence(error.errors()[0])) from None
    if made.folder is not None and not made.folder.is_dir():
        raise StudyError(
            f"DATA={data} is neither registered nor a folder; use one of {', '.join(DATASETS)}, "
            f"or the path of a folder of class folders."
        )
    if made.labels is not None and made.folder is None:
        raise StudyError(f"LABELS={made.labels} needs a folder of yours: {data} has its own labels; add DATA=FOLDER.")
    if made.labels is not None and not made.labels_path.is_file():
        raise StudyError(f"LABELS={made.labels} is no file; give the path of a .csv or .xlsx with image and label.")
    return made


def _from_root(name: str) -> Path:
    # A relative name counts from the repository root, not from where a notebook happens to run.
    return ROOT / Path(name).expanduser()


def _sentence(problem: dict) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"The setting '{name}' is unknown; known settings are: {', '.join(Study.model_fields)}."
    if name == "models":
        return f"MODELS={problem['input']} is unknown; use some of: {', '.join(JUDGED)}."
    return f"The setting {name}={problem['input']!r} cannot be used ({problem['msg'].lower()}); correct or omit it."
