"""One run: one network trained on one split and judged there, with all that its folder holds.

A run folder holds ``weights.safetensors``, ``history.csv``, ``predictions.csv`` and ``run.json``, which is written
last: a folder without it is unfinished. What is unfinished goes on after the last epoch that its ``checkpoint.pt``
holds, and ends as if it had never stopped: on a CPU with as many threads, to the bit.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from pcos_utils.config import Study, StudyError
from pcos_utils.data import cache, offline, splits
from pcos_utils.files import alone_in, in_a_sentence, sha256, write_csv, write_json
from pcos_utils.models import architectures, training, weights
from pcos_utils.models.checkpoints import Checkpoint
from pcos_utils.models.code import code_hash
from pcos_utils.models.devices import Engine
from pcos_utils.models.lessons import images_of, lesson
from pcos_utils.models.recipes import Recipe, recipe

# On a GPU an epoch of few images can be shorter than a write; then some epochs are not kept, to lose seconds at most.
SHARE_OF_WRITING = {"cpu": None, "cuda": 0.02}
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pillow")


class Job(NamedTuple):
    """What one run is: ``one`` is a row of the plan (arm, protocol, seed, repeat, fold, inner)."""

    model: str
    study: Study
    one: tuple
    engine: Engine
    sources_sha256: str

    @property
    def recipe(self) -> Recipe:
        """How the network is trained."""
        return recipe(self.model, self.one.arm, self.study)

    @property
    def folder(self) -> Path:
        """Where the run's files lie."""
        return self.study.run_dir(self.model, self.one)

    @property
    def settings(self) -> dict:
        """All that decides the run's numbers, but the machine."""
        return {
            "model": self.model,
            "arm": self.one.arm,
            "protocol": self.one.protocol,
            "study": self.study.model_dump(exclude={"models", "resamples", "allow_cpu", "data", "labels"}),
            "data": self.study.data_name,
            "recipe": self.recipe.model_dump(),
            "run": {name: getattr(self.one, name) for name in ("seed", "repeat", "fold", "inner")},
            "sources_sha256": self.sources_sha256,
            "code_sha256": code_hash(),
        }

    def say(self, text: str) -> None:
        """The text on a line that names the run."""
        print(
            f"{self.model} {self.one.arm} repeat {self.one.repeat} fold {self.one.fold} inner {self.one.inner}: {text}",
            flush=True,
        )


def execute(job: Job, table: pd.DataFrame, bar) -> dict:
    """The run's record, as in run.json: read where it is finished under the same settings, else trained first.

    ``bar`` is told of every epoch. Raises StudyError where a source stands on both sides, memory is short, or nothing
    can be written.
    """
    one = job.one
    roles = splits.roles(table, one.protocol, one.repeat, one.fold, one.seed, one.inner, job.study.inners)
    crossings = splits.guard(roles, job.one.protocol)
    settings = job.settings
    settings_hash = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    with alone_in(job.folder, lambda: job.say("another process is at this run; waiting for it to end")):
        # Where the settings agree but not the device or torch, going on would mix the roundings of two machines.
        identity = json.dumps([settings_hash, job.engine.device.type, job.engine.precision, packages()])
        share = SHARE_OF_WRITING[job.engine.device.type]
        keep = Checkpoint(job.folder / "checkpoint.pt", identity, share=share, say=job.say)
        record = _finished(job.folder / "run.json", settings_hash)
        if record:
            bar.update(job.recipe.epochs)
        else:
            with _enough_memory(job):
                record = _train(job, roles, bar, keep, settings_hash)
            record = settings | record | {"crossings": crossings, "plan_sha256": sha256(job.study.plan_path)}
            write_json(job.folder / "run.json", record)
        keep.remove()
    return record


def _finished(path: Path, settings_hash: str) -> dict | None:
    try:
        record = json.loads(path.read_text())
        if record["settings_sha256"] == settings_hash:
            return record
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # not what this module writes
        pass
    with in_a_sentence(path):
        path.unlink()  # from here on the folder counts as unfinished
    return None


def _train(job: Job, roles: pd.DataFrame, bar, keep: Checkpoint, settings_hash: str) -> dict:
    """What run.json says beside the settings; the run's other files are written."""
    one, how, study = job.one, job.recipe, job.study
    copies = offline.copies_of(roles[roles.role == "train"], dict(enumerate(how.copies)), synthetic=study.synthetic)
    roles = offline.expand(roles, copies)
    pixels = torch.from_numpy(
        cache.stack(roles, study.image_dir, how.side, study.data_dir / "cache", seed=how.seed or 0)
    )
    seed = how.seed if how.seed is not None else 1000 * one.seed + 100 * one.repeat + one.fold + 100_000 * one.inner
    on_epoch = lambda row: bar.update()  # noqa: E731
    fit = partial(training.fit, recipe=how, seed=seed, engine=job.engine, on_epoch=on_epoch, keep=keep)
    torch.manual_seed(seed)
    what = lesson(job.model, study, how, roles, pixels, job.engine)
    train, selection = (images_of(roles, what.pixels, role) for role in ("train", "selection"))
    train = train._replace(pixels=job.engine.hold(train.pixels))
    history = fit(what.learner, what.prepare, train, selection, change=what.change)
    facts = {"model": job.model, "settings_sha256": settings_hash}
    if what.behind:  # the head is kept and judged alone, beside the network that all runs share
        facts["features"], network = what.behind.name, what.learner
        predictions = _predictions(network, what.prepare, roles, what.pixels, job)
    else:
        network = what.network
        predictions = _predictions(network, partial(architectures.prepare, job.model), roles, pixels, job)
    seconds = keep.seconds
    chosen = history[history.chosen].iloc[0]
    weights.save(network, job.folder / "weights.safetensors", facts)
    write_csv(job.folder / "history.csv", history)
    write_csv(job.folder / "predictions.csv", predictions)
    digest = sha256(job.folder / "predictions.csv")
    return {
        "settings_sha256": settings_hash,
        "predictions_sha256": digest,
        "start": what.origin,
        "note": getattr(network, "note", ""),
        "chosen_epoch": int(chosen.epoch),
        "selection_loss": round(float(chosen.selection_loss), 6) if len(selection.labels) else None,
        "train_images": len(train.labels),
        "copies": {"normal": copies[0], "polycystic": copies[1]},
        "test_sources": int(roles[roles.role == "test"].source.nunique()),
        "device": str(job.engine.device),
        "precision": job.engine.precision,
        "seconds": round(seconds, 2),
        "images_per_second": round(len(train.labels) * how.epochs / seconds, 1),
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Versions of the packages that decide a run's numbers."""
    return {name: version(name) for name in PACKAGES}


@contextmanager
def _enough_memory(job: Job) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not (isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY)):
            raise
        side = job.recipe.side
        raise StudyError(
            f"Memory ran out ({job.engine.device.type}) at {job.model} {job.one.arm}: batches of {job.recipe.batch} "
            f"images of {side} x {side} pixels; lower 'batch' of this recipe in pcos_utils/models/recipes.py, or "
            "'image_side' of the preset in pcos_utils/config.py, or end what else fills the memory."
        ) from error


def _predictions(network, prepare, roles: pd.DataFrame, pixels: torch.Tensor, job: Job) -> pd.DataFrame:
    judged = roles[roles.role != "train"]
    chosen = pixels[judged.index.to_numpy(copy=True)]
    # In float32: eight bits of bfloat16 would tie sources that differ, and a ranking counts ties.
    logits = training.predict(network, prepare, chosen, engine=job.engine.exact()).numpy()
    return pd.DataFrame(
        {
            "image": judged.path,
            "source": judged.source,
            "label": judged.label,
            "role": judged.role,
            "seed": job.one.seed,
            "repeat": job.one.repeat,
            "fold": job.one.fold,
            "inner": job.one.inner,
            "logit": logits,
            "probability": 1 / (1 + np.exp(-logits.astype(np.float64))),
        }
    )
