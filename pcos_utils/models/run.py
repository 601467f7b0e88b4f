"""Train one network on one split, evaluate it there and write the run's folder.

The folder holds ``weights.safetensors``, ``history.csv``, ``predictions.csv`` and ``run.json``. ``run.json`` is written
last, so a folder without it is unfinished. An unfinished run resumes after the last epoch in its ``checkpoint.pt``. It
then gives the same result as a run that never stopped: to the bit on a CPU with the same number of threads.
"""

import json
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from pcos_utils import files
from pcos_utils.config import Run, Study, StudyError
from pcos_utils.data import images, splits
from pcos_utils.data.pixels import copies_of, expand, stack
from pcos_utils.files import cached, write_csv
from pcos_utils.models import architectures, frozen, training, weights
from pcos_utils.models.checkpoints import BUSY, Checkpoint
from pcos_utils.models.devices import Engine
from pcos_utils.models.recipes import Recipe, recipe

# On a GPU an epoch of few images can be shorter than a write. Some epochs are then not saved; they cost only seconds.
SHARE_OF_WRITING = {"cpu": None, "cuda": 0.02}
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
TURN = ("seed", "repeat", "fold", "inner")  # what tells the runs of one arm apart
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pillow")
# The modules whose code decides a run's numbers.
CODE = (*images.CODE, "data/pixels.py", "data/splits.py", *(f"models/{name}.py" for name in (
        "architectures", "checkpoints", "devices", "frozen", "run", "training", "weights")))  # fmt: skip


class Job(NamedTuple):
    """The description of one run; ``run`` is its row of the plan (arm, protocol, seed, repeat, fold, inner).

    ``start`` identifies the weights that the network starts from, a file by its digest; see ``weights.identity``.
    """

    model: str
    study: Study
    run: Run
    engine: Engine
    sources_sha256: str
    start: str

    @property
    def recipe(self) -> Recipe:
        """Return how the network is trained."""
        return recipe(self.model, self.run.arm, self.study)

    @property
    def folder(self) -> Path:
        """Return the folder of the run's files."""
        return self.study.run_dir(self.model, self.run)

    @property
    def settings(self) -> dict:
        """Return everything that decides the run's numbers, except the machine."""
        return {
            "model": self.model, "arm": self.run.arm, "protocol": self.run.protocol,
            "study": self.study.settings, "data": self.study.data_name, "recipe": self.recipe.model_dump(),
            "run": {name: getattr(self.run, name) for name in TURN},
            "sources_sha256": self.sources_sha256, "starts_from": self.start, "code_sha256": files.code(*CODE),
            # On a CPU the number of threads decides how sums are rounded.
            "threads": torch.get_num_threads() if self.engine.device.type == "cpu" else None,
        }  # fmt: skip

    def say(self, text: str) -> None:
        """Print the text on a line that names the run, once where several processes train it."""
        if self.engine.rank:
            return
        turn = f"repeat {self.run.repeat} fold {self.run.fold} inner {self.run.inner}"
        print(f"{self.model} {self.run.arm} {turn}: {text}", flush=True)


class Lesson(NamedTuple):
    """A network before training, with the part that learns and what it learns from."""

    network: nn.Module
    learner: nn.Module  # the part of the network that learns, or all of it
    prepare: training.Prepare
    pixels: torch.Tensor  # the images, or stored features in their place
    change: training.Change | None
    origin: str  # what the network starts from, as given by ``weights.start``
    behind: Path | None = None  # the file of the network that computed stored features


def lesson(model: str, study: Study, how: Recipe, rows: pd.DataFrame, pixels: torch.Tensor, engine: Engine) -> Lesson:
    """Return the network before its training; torch's generator draws weights. ``pixels``: the images of ``rows``."""
    if how.freeze_batch_norm:
        features, behind, origin = frozen.shared(model, study, how, rows, pixels, engine)
        head = nn.Linear(features.shape[-1], 1)
        network = architectures.build(model, how.side)
        weights.load(network, behind)
        network.classifier = head
        return Lesson(network, head, frozen.only, features, frozen.pick, origin, behind)
    network = architectures.build(model, how.side)
    origin = weights.start(network, model, study.weights, must_fetch=study.preset == "full")
    return Lesson(network, network, partial(architectures.prepare, model), pixels, None, origin)


def images_of(roles: pd.DataFrame, pixels: torch.Tensor, role: str) -> training.Images:
    """Return the images of one role, with their weights for drawing.

    Classes have equal weight, and so have the sources within a class and the images within a source.
    """
    rows = roles[roles.role == role]
    of_source = rows.groupby("source").path.transform("size")
    of_class = rows.groupby("label").source.transform("nunique")
    shares = torch.tensor((1 / of_source / of_class).to_numpy(np.float64))
    labels = torch.tensor(rows.label.to_numpy(np.float32))
    return training.Images(pixels[rows.index.to_numpy(copy=True)], labels, shares)


def split(job: Job, table: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, int], int]:
    """Return one row per copy of each image with its role, the copies by class, and the crossings of the split.

    Raises StudyError if a source is on both sides.
    """
    run, how, study = job.run, job.recipe, job.study
    roles = splits.roles(table, run.protocol, run.repeat, run.fold, run.seed, run.inner, study.inners)
    crossings = splits.guard(roles, run.protocol)
    copies = copies_of(roles[roles.role == "train"], dict(enumerate(how.copies)), synthetic=study.synthetic)
    return expand(roles, copies), copies, crossings


def pixels_of(job: Job, rows: pd.DataFrame) -> np.ndarray:
    """Return the pixels of a run's rows, uint8 (n, side, side, 3)."""
    how, study = job.recipe, job.study
    return stack(rows, study.image_dir, how.side, study.cache_dir, seed=how.seed or 0)


def execute(job: Job, table: pd.DataFrame, bar, pixels: np.ndarray | None = None) -> dict:
    """Return the run's record, as in run.json. Train first, unless the run is finished under the same settings.

    ``bar`` is updated after every epoch. ``pixels``: those of ``pixels_of``, where there are no images. Where several
    processes share the engine, all call this, the first decides and writes, and all return its record. Raises
    StudyError if a source is on both sides of the split, memory is short, or nothing can be written.
    """
    settings = job.settings
    rows, copies, crossings = split(job, table)
    # Resuming with another device, number of processes or version of torch would mix two ways of rounding.
    engine, tell = job.engine, job.engine.fabric.broadcast
    identity = json.dumps([settings, engine.device.type, engine.processes, engine.precision, packages()])
    share = SHARE_OF_WRITING[engine.device.type]
    checkpoint = Checkpoint(job.folder / files.CHECKPOINT, identity, share=share, say=job.say)
    given = rows, copies, pixels, bar, checkpoint

    if engine.rank:
        record = tell(None)  # the first process's answer; None asks for help
        if record is None:
            _train(job, *given)
            record = tell(None)
        return record

    def make() -> dict:
        """Train, and return what run.json says besides the settings."""
        tell(None)
        facts = _train(job, *given) | {"crossings": crossings, "plan_sha256": files.sha256(job.study.plan_path)}
        return facts | {"study": job.study.settings}

    record, trained = cached(job.folder, settings, make, waiting=lambda: job.say(BUSY))
    if not trained:
        bar.update(job.recipe.epochs)
    checkpoint.remove()
    return tell(record)


def _trained(job: Job, roles: pd.DataFrame, copies: dict, pixels: np.ndarray | None, bar, checkpoint) -> dict:
    """Train and evaluate the network, write the run's other files, and return what run.json says besides settings."""
    run, how, study = job.run, job.recipe, job.study
    pixels = torch.from_numpy(pixels_of(job, roles)) if pixels is None else torch.tensor(pixels)
    seed = how.seed if how.seed is not None else 1000 * run.seed + 100 * run.repeat + run.fold + 100_000 * run.inner
    torch.manual_seed(seed)
    what = lesson(job.model, study, how, roles, pixels, job.engine)
    train, selection = (images_of(roles, what.pixels, role) for role in ("train", "selection"))
    train = train._replace(pixels=job.engine.hold(train.pixels))
    history = training.fit(
        what.learner, what.prepare, train, selection, how, seed=seed, engine=job.engine, change=what.change,
        on_epoch=lambda row: bar.update(), keep=checkpoint,
    )  # fmt: skip
    if job.engine.rank:
        return {}
    metadata = {"model": job.model}
    if what.behind:  # only the head is saved and evaluated; all runs share the rest
        metadata["features"] = f"{what.behind.parent.name}/{what.behind.name}"
    predictions = _predictions(what.learner, what.prepare, roles, what.pixels, job)
    seconds = checkpoint.seconds
    chosen = history[history.chosen].iloc[0]
    weights.save(what.learner, job.folder / "weights.safetensors", metadata)
    write_csv(job.folder / "history.csv", history)
    write_csv(job.folder / "predictions.csv", predictions)
    return {
        "start": what.origin, "note": getattr(what.learner, "note", ""), "chosen_epoch": int(chosen.epoch),
        "selection_loss": round(float(chosen.selection_loss), 6) if len(selection.labels) else None,
        "train_images": len(train.labels), "copies": {"normal": copies[0], "polycystic": copies[1]},
        "test_sources": int(roles[roles.role == "test"].source.nunique()), "device": str(job.engine.device),
        **({"processes": job.engine.processes} if job.engine.processes > 1 else {}),
        "precision": job.engine.precision, "seconds": round(seconds, 2),
        "images_per_second": round(len(train.labels) * how.epochs / seconds, 1), "packages": packages(),
    }  # fmt: skip


def packages() -> dict[str, str]:
    """Return the versions of the packages that decide a run's numbers."""
    return {name: version(name) for name in PACKAGES}


def _train(job: Job, *given) -> dict:
    """Return what ``_trained`` does. Raises StudyError where memory runs out."""
    try:
        return _trained(job, *given)
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not (isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY)):
            raise
        side = job.recipe.side
        raise StudyError(
            f"Memory ran out ({job.engine.device.type}) at {job.model} {job.run.arm}: batches of {job.recipe.batch} "
            f"images of {side} x {side} pixels; lower 'batch' of this recipe in pcos_utils/models/recipes.py, or "
            "'image_side' of the preset in pcos_utils/config.py, or end what else fills the memory."
        ) from error


def _predictions(network, prepare, roles: pd.DataFrame, pixels: torch.Tensor, job: Job) -> pd.DataFrame:
    rows = roles[roles.role != "train"]
    # In float32, because the eight bits of bfloat16 give ties between different sources, and ties change a ranking.
    chosen = pixels[rows.index.to_numpy(copy=True)]
    logits = training.predict(network, prepare, chosen, engine=job.engine.exact()).numpy()
    table = rows[["path", "source", "label", "role"]].rename(columns={"path": "image"}).assign(**job.settings["run"])
    return table.assign(logit=logits, probability=1 / (1 + np.exp(-logits.astype(np.float64))))
