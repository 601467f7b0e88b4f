"""Define the settings of a study: one frozen and validated object, from which every folder follows.

The positive class is defined here and nowhere else: polycystic morphology = 1, positive logit, probability near 1.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

ROOT = Path(__file__).resolve().parents[1]  # the repository, or the current folder where there is none
ROOT = ROOT if (ROOT / "notebooks").is_dir() else Path.cwd()
CLASS_NAMES = {0: "normal", 1: "polycystic"}
MODELS = ("densenet201", "densenet121d", "iustnet")  # the networks of the published study
LITE0, ZERO_SHOT, TUNED = "efficientnet_lite0", "iustnet_zero_shot", "iustnet_tuned"  # what other pictures taught
FEATURES = (LITE0, f"{LITE0}_random", "densenet201_frozen", "densenet201_frozen_random")  # read by logistic regression
COUNT = "follicles"  # the count of follicles, by a network that phantoms trained
JUDGED = (*MODELS, COUNT)
DATASETS = ("phantom", "dataset-b", "dataset-b-modified", "dataset-a")
# Each training arm is evaluated under its own protocol: the published split once, or grouped folds.
PROTOCOL_OF_ARM = {"published": "published", "ours": "grouped"}
CAVEAT = "Research only, not a diagnostic device; morphology (PCOM) is not the syndrome (PCOS)."

BY_PRESET = {  # demo, full
    "image_side": (72, 224),  # pixels; 72: a tenth of the area, so that two old CPU cores finish in five minutes
    "phantoms_per_class": (150, 400),  # 150 was chosen after four looks at seed 0
    "folds": (3, 7),  # seven leave two polycystic sources of dataset B in each fold
    "repeats": (1, 10),
    "inners": (1, 3),  # three use each training source for selection once: two polycystic ones cannot set a threshold
    "sources_per_class": (60, None),  # at most, from folders with very many images
    "images_per_source": (4, None),  # at most
    "precision": ("float32", "auto"),
}
PRESETS = {
    preset: {name: values[at] for name, values in BY_PRESET.items()} for at, preset in enumerate(("demo", "full"))
}

# Settings that do not change the result of a run, such as the other models of the study and where files lie.
GIVEN = {"models", "allow_cpu", "data", "labels", "weights"}


class StudyError(Exception):
    """An error told in one sentence: what is wrong, with what, and how to fix it. It is shown without a traceback."""

    banner = "\x1b[31mThe study stopped:\x1b[0m"

    def _render_traceback_(self):
        # Jupyter calls this method to show the exception. The user needs the sentence, not our call stack.
        return [f"{self.banner} {self}"]


class TooFewSources(StudyError):
    """The end of a study after its data description: too few sources to evaluate any model. Not a failure."""

    banner = "\x1b[33mThe study ends here, as it should:\x1b[0m"


class Run(NamedTuple):
    """One training run of a network."""

    arm: str
    protocol: str
    seed: int
    repeat: int
    fold: int
    inner: int


class Study(BaseModel):
    """One study: which images, how much compute, and how models are evaluated. Frozen; unknown settings are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["demo", "full"] = "demo"
    data: str = "phantom"  # a registered name, or a folder of class folders
    labels: str | None = None  # a table of image and label, for a folder that is not sorted into class folders
    models: tuple[Literal["densenet201", "densenet121d", "iustnet", "follicles"], ...] = JUDGED
    seed: int = Field(0, ge=0, lt=2**31)
    weights: str = "imagenet"  # where DenseNet201 starts: "imagenet", "none" or a .safetensors file
    epochs: int | None = Field(None, ge=1)  # None: the recipe's value for the preset
    allow_cpu: bool = False  # lets "full" run without a GPU
    keep_label_conflicts: bool = False  # a source that carries both labels is left out unless this is set

    image_side: int = Field(ge=32)
    phantoms_per_class: int = Field(ge=1)
    folds: int = Field(ge=2)
    repeats: int = Field(ge=1)
    inners: int = Field(ge=1)  # parts of a fold's training sources; each in turn is used for selection
    sources_per_class: int | None = Field(ge=2)
    images_per_source: int | None = Field(ge=1)

    # Ways to compute the same results faster. Each can be turned off; a test compares both ways.
    precision: Literal["auto", "bfloat16", "float32"]  # auto: bfloat16 where the processor or the GPU has it
    channels_last: bool = True

    @property
    def settings(self) -> dict:
        """Return the settings that decide a network's results; where images and starting weights lie is left out."""
        return self.model_dump(exclude=GIVEN)

    @property
    def folder(self) -> Path | None:
        """Return the folder of images that the user named, or None for registered data."""
        return None if self.data in DATASETS else from_root(self.data)

    @property
    def labels_path(self) -> Path | None:
        """Return the table of labels for the user's folder, or None where class folders give the labels."""
        return None if self.labels is None else from_root(self.labels)

    @property
    def data_name(self) -> str:
        """Return the data's name in file names: the registered one, or ``local-<folder>-<digest of its path>``."""
        if self.folder is None:
            return self.data
        folder = self.folder.resolve()
        word = re.sub(r"[^\w.-]+", "-", folder.name).strip("-.") or "folder"  # letters of any script are kept
        return f"local-{word}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:4]}"

    @property
    def name(self) -> str:
        """Return the study's name, ``<data>-<preset>``, which keeps apart the folders of presets and data sets."""
        return f"{self.data_name}-{self.preset}"

    @property
    def synthetic(self) -> bool:
        """Return whether the images are phantoms, which may be shown and committed."""
        return self.data == "phantom"

    @property
    def data_dir(self) -> Path:
        """Return the folder of the manifest, and of the images unless they lie in a folder that the user named."""
        # Only phantoms depend on the preset: the demo's 150 per class must not replace the full study's 400.
        return home() / "data" / (self.name if self.synthetic else self.data_name)

    @property
    def image_dir(self) -> Path:
        """Return the folder that holds the class folders."""
        if self.folder is not None:
            return self.folder
        elsewhere = os.environ.get("PCOS_DATA_DIR")
        return from_root(elsewhere) / self.data_name if elsewhere and not self.synthetic else self.data_dir

    @property
    def runs_dir(self) -> Path:
        """Return the folder of trained runs."""
        return home() / "runs" / self.name

    @property
    def cache_dir(self) -> Path:
        """Return the folder of what can be computed again: decoded pixels and measures of images."""
        return home() / "cache" / (self.name if self.synthetic else self.data_name)

    def runs(self, arm: str, protocol: str) -> Iterator[Run]:
        """Yield each run of one arm: the published split once, or every repeat, fold and inner part."""
        counts = (1, 1, 1) if protocol == "published" else (self.repeats, self.folds, self.inners)
        yield from (Run(arm, protocol, self.seed, *numbers) for numbers in product(*map(range, counts)))

    def run_dir(self, model: str, run: Run) -> Path:
        """Return the folder of one run of a network."""
        inner = f"i{run.inner}" if self.inners > 1 and run.protocol == "grouped" else ""
        return self.runs_dir / model / run.arm / run.protocol / f"s{run.seed}r{run.repeat}f{run.fold}{inner}"

    @property
    def served_dir(self) -> Path:
        """Return the folder of the study's served model."""
        return home() / "runs" / "served" / self.name

    @property
    def report_dir(self) -> Path:
        """Return the folder of tables, figures and the report."""
        return home() / "reports" / self.name

    @property
    def plan_path(self) -> Path:
        """Return the path of the plan, which is written before any training."""
        return self.report_dir / "plan.json"


def home() -> Path:
    """Return the folder for data, runs and reports: ``PCOS_HOME``, or else the repository."""
    return from_root(os.environ.get("PCOS_HOME") or ".")


def study(preset: str = "demo", data: str = "phantom", **settings) -> Study:
    """Return a study with the preset's values and other settings; None stands for the default of a setting.

    ``models``: names, also as one string with commas. Raises StudyError with one sentence.
    """
    for folder in (Path.cwd(), Path.cwd().parent):
        if (other := folder / "pcos_utils" / "config.py").is_file() and not other.samefile(__file__):
            raise StudyError(f"The code of {ROOT} runs in {folder}, which has its own; run 'make setup' there first.")
    if preset not in PRESETS:
        raise StudyError(f"PRESET={preset} is unknown; use one of: {', '.join(PRESETS)}.")
    settings = PRESETS[preset] | {name: value for name, value in settings.items() if value is not None}
    models = settings.pop("models", None) or JUDGED
    models = tuple(re.findall(r"[^,\s]+", models)) or JUDGED if isinstance(models, str) else models
    if settings.get("weights", "imagenet") not in ("imagenet", "none"):
        settings["weights"] = str(from_root(settings["weights"]))
    try:
        cfg = Study(preset=preset, data=str(data), models=models, **settings)
    except ValidationError as error:
        raise StudyError(_sentence(error.errors()[0])) from None
    if cfg.folder is not None and not cfg.folder.is_dir():
        places = f"{', '.join(DATASETS)} or a folder of class folders"
        raise StudyError(f"DATA={data} is neither registered nor a folder; use {places}.")
    if cfg.labels is not None and cfg.folder is None:
        raise StudyError(f"LABELS={cfg.labels} needs a folder of yours: {data} has its own labels; add DATA=FOLDER.")
    if cfg.labels is not None and not cfg.labels_path.is_file():
        raise StudyError(f"LABELS={cfg.labels} is no file; give the path of a .csv or .xlsx with image and label.")
    if cfg.weights not in ("imagenet", "none") and not Path(cfg.weights).is_file():
        raise StudyError(f"WEIGHTS={cfg.weights} is no file; use imagenet, none or the path of a .safetensors file.")
    return cfg


def from_root(name: str) -> Path:
    """Return a path; a relative name starts at the repository root, wherever a notebook runs. ``~`` is understood."""
    try:
        return ROOT / Path(name).expanduser()
    except RuntimeError:
        raise StudyError(f"{name}: that home folder is not known here; give the path without '~'.") from None


def _sentence(problem: dict) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"The setting '{name}' is unknown; known settings are: {', '.join(Study.model_fields)}."
    if name == "models":
        return f"MODELS={problem['input']} is unknown; use some of: {', '.join(JUDGED)}."
    return f"The setting {name}={problem['input']!r} cannot be used ({problem['msg'].lower()}); correct or omit it."
