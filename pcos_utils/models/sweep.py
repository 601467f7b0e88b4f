"""Many runs: the table of runs of one network (arms, repeats, folds), executed; finished ones are skipped.

A run folder holds ``weights.safetensors``, ``history.csv``, ``predictions.csv`` and ``run.json``, which is written
last: a folder without it is unfinished. What is unfinished goes on after the last epoch that its ``checkpoint.pt``
holds, and ends as if it had never stopped: on a CPU with as many threads, to the bit.
"""

import ast
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from pcos_utils.config import Study, StudyError
from pcos_utils.data import images as image_files
from pcos_utils.data import manifest, splits
from pcos_utils.files import alone_in, in_a_sentence, sha256, write_csv, write_json
from pcos_utils.models import architectures, training, weights
from pcos_utils.models.checkpoints import Checkpoint
from pcos_utils.models.recipes import ARMS, PROTOCOL_OF_ARM, recipe

# On a GPU an epoch of few images can be shorter than a write; then some epochs are not kept, to lose seconds at most.
SHARE_OF_WRITING = {"cpu": None, "cuda": 0.02}
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pillow")


def plan(model: str, study: Study) -> pd.DataFrame:
    """The runs of one network: columns arm, protocol, seed, repeat, fold. The published split is run once."""
    rows = []
    for arm in ARMS:
        once = PROTOCOL_OF_ARM[arm] == "published"
        for repeat in range(1 if once else study.repeats):
            for fold in range(1 if once else study.folds):
                rows.append((arm, PROTOCOL_OF_ARM[arm], study.seed, repeat, fold))
    return pd.DataFrame(rows, columns=["arm", "protocol", "seed", "repeat", "fold"])


def run(model: str, study: Study) -> pd.DataFrame:
    """The executed plan: one row per run with epoch, selection loss, crossings, seconds and what it started from.

    Finished runs whose settings hash matches are read instead of trained, unfinished ones go on. A second process
    with the same study waits for each run that the first is at, and reads it. Raises StudyError where the guard finds
    a source on both sides, the preset needs a device that is not there, memory is short, or nothing can be written.
    """
    device = choose_device(study)
    table_path = study.report_dir / "sources.csv"
    if not table_path.exists():
        raise StudyError(f"{table_path.name} of {study.name} is missing; run notebook 02 first, or 'make reproduce'.")
    table = manifest.read(table_path)
    used = table[table.used == "yes"].reset_index(drop=True)
    pixels = torch.from_numpy(image_files.stack([study.image_dir / path for path in used.path], study.image_side))
    runs = plan(model, study)
    rows = []
    plain = "PCOS_PLAIN" in os.environ  # papermill records every tick of a bar as a line of its own
    bar = tqdm(total=sum(recipe(model, arm, study).epochs for arm in runs.arm), desc=model, disable=plain)
    for one in runs.itertuples(index=False):
        roles = splits.roles(table, one.protocol, one.repeat, one.fold, one.seed)
        record = _one(model, study, one, roles, pixels, sha256(table_path), device, bar)
        rows.append(one._asdict() | {key: record[key] for key in SHOWN})
        if plain:
            print(f"{model} {one.arm} fold {one.fold}: epoch {record['chosen_epoch']} kept", flush=True)
    bar.close()
    return pd.DataFrame(rows)


SHOWN = ("start", "chosen_epoch", "selection_loss", "crossings", "train_images", "test_sources", "seconds")


def folder_of(model: str, study: Study, one) -> Path:
    """The folder of one run of the plan."""
    return study.runs_dir / model / one.arm / one.protocol / f"s{one.seed}r{one.repeat}f{one.fold}"


def choose_device(study: Study) -> torch.device:
    """The device a study trains on: the CPU for a demo, a GPU for the full study.

    Raises StudyError, naming the driver and the remedy, when the full study finds no usable GPU.
    """
    if study.preset == "demo":
        # The same sums in the same order: the demo's tables must agree to the last byte.
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if study.allow_cpu:
        return torch.device("cpu")
    raise StudyError(
        f"PRESET=full needs a CUDA GPU and none is usable (torch {torch.__version__} wants NVIDIA driver 580 or "
        "newer; check nvidia-smi); install the driver, or state ALLOW_CPU=1 and expect hours."
    )


def _one(model, study, one, roles, pixels, sources_hash, device, bar) -> dict:
    crossings = splits.guard(roles, one.protocol)
    how = recipe(model, one.arm, study)
    settings = {
        "model": model,
        "arm": one.arm,
        "protocol": one.protocol,
        "study": study.model_dump(exclude={"models", "resamples", "allow_cpu", "data", "labels"}),
        "data": study.data_name,
        "recipe": how.model_dump(),
        "run": {"seed": one.seed, "repeat": one.repeat, "fold": one.fold},
        "sources_sha256": sources_hash,
        "code_sha256": code_hash(),
    }
    settings_hash = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    folder = folder_of(model, study, one)
    say = lambda text: print(f"{model} {one.arm} repeat {one.repeat} fold {one.fold}: {text}", flush=True)  # noqa: E731
    with alone_in(folder, lambda: say("another process is at this run; waiting for it to end")):
        # Where the settings agree but not the device or torch, going on would mix the roundings of two machines.
        identity = json.dumps([settings_hash, device.type, _packages()])
        share = SHARE_OF_WRITING[device.type]
        keep = Checkpoint(folder / "checkpoint.pt", identity, share=share, say=say)
        record = _finished(folder / "run.json", settings_hash)
        if record:
            bar.update(how.epochs)
        else:
            with _enough_memory(model, one, how, study, device):
                record = _train(model, study, one, how, roles, pixels, device, bar, keep, settings_hash)
            record = settings | record | {"crossings": crossings}
            write_json(folder / "run.json", record)
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


def _train(model, study, one, how, roles, pixels, device, bar, keep, settings_hash) -> dict:
    """What run.json says beside the settings; the run's other files are written."""
    seed = how.seed if how.seed is not None else 1000 * one.seed + 100 * one.repeat + one.fold
    torch.manual_seed(seed)
    network = architectures.build(model, study.image_side)
    origin = weights.start(network, model, study.weights, must_fetch=study.preset == "full")
    train, selection, test = (_images(roles, pixels, role) for role in ("train", "selection", "test"))
    prepare = lambda batch: architectures.prepare(model, batch)  # noqa: E731
    if how.freeze_batch_norm and origin.startswith("random"):
        training.calibrate_batch_norm(network, prepare, train.pixels)
    history = training.fit(
        network, prepare, train, selection, how, seed=seed, device=device, on_epoch=lambda row: bar.update(), keep=keep
    )
    predictions = _predictions(network, prepare, roles, pixels, one, device)
    seconds = keep.seconds
    chosen = history[history.chosen].iloc[0]
    folder = folder_of(model, study, one)
    weights.save(network, folder / "weights.safetensors", {"model": model, "settings_sha256": settings_hash})
    write_csv(folder / "history.csv", history)
    write_csv(folder / "predictions.csv", predictions)
    return {
        "settings_sha256": settings_hash,
        "start": origin,
        "note": getattr(network, "note", ""),
        "chosen_epoch": int(chosen.epoch),
        "selection_loss": round(float(chosen.selection_loss), 6),
        "train_images": len(train.labels),
        "test_sources": int(roles[roles.role == "test"].source.nunique()),
        "device": str(device),
        "seconds": round(seconds, 2),
        "images_per_second": round(len(train.labels) * how.epochs / seconds, 1),
        "packages": _packages(),
    }


def _packages() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


@contextmanager
def _enough_memory(model, one, how, study, device) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not (isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY)):
            raise
        raise StudyError(
            f"Memory ran out ({device.type}) at {model} {one.arm}: batches of {how.batch} images of {study.image_side} "
            f"x {study.image_side} pixels; lower 'batch' of this recipe in pcos_utils/models/recipes.py, or "
            "'image_side' of the preset in pcos_utils/config.py, or end what else fills the memory."
        ) from error


def _images(roles: pd.DataFrame, pixels: torch.Tensor, role: str) -> training.Images:
    rows = roles[roles.role == role]
    # Each class has one share, each source in it an equal part, each image of a source an equal part of that.
    of_source = rows.groupby("source").path.transform("size")
    of_class = rows.groupby("label").source.transform("nunique")
    return training.Images(
        pixels[rows.index.to_numpy(copy=True)],
        torch.tensor(rows.label.to_numpy(np.float32)),
        torch.tensor((1 / of_source / of_class).to_numpy(np.float64)),
    )


def _predictions(network, prepare, roles, pixels, one, device) -> pd.DataFrame:
    judged = roles[roles.role != "train"]
    logits = training.predict(network, prepare, pixels[judged.index.to_numpy(copy=True)], device=device).numpy()
    return pd.DataFrame(
        {
            "image": judged.path,
            "source": judged.source,
            "label": judged.label,
            "role": judged.role,
            "seed": one.seed,
            "repeat": one.repeat,
            "fold": one.fold,
            "logit": logits,
            "probability": 1 / (1 + np.exp(-logits.astype(np.float64))),
        }
    )


def code_hash() -> str:
    """SHA-256 of the code that decides a run's numbers; comments and docstrings do not count."""
    digest = hashlib.sha256()
    for name in ("architectures", "augmentation", "checkpoints", "training", "weights", "sweep"):
        tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            first = body[0] if isinstance(body, list) and body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value.value = ""
        digest.update(ast.dump(tree).encode())
    digest.update(Path(image_files.__file__).read_bytes())
    return digest.hexdigest()
