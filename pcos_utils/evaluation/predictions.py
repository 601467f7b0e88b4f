"""Read and check every method's predictions on the sources of a study; after this no function takes a study.

A method is a network of the study, the count of follicles, or a baseline. Selection rows choose, test rows judge.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pcos_utils.config import COUNT, FEATURES, MODELS, PROTOCOL_OF_ARM, TUNED, ZERO_SHOT, Study, StudyError
from pcos_utils.data import manifest
from pcos_utils.data.splits import crossings, need_test_set, roles
from pcos_utils.evaluation import auc, baselines, image_measures, plan
from pcos_utils.files import RECORD, read_record, sha256

ARM_OF_PROTOCOL = {protocol: arm for arm, protocol in PROTOCOL_OF_ARM.items()}
UNFITTED = (COUNT, ZERO_SHOT, *baselines.UNFITTED)  # nothing is fitted to the ranking of these
PHOTOGRAPHS = "1.3 million everyday photographs with their labels"
DEALINGS = "dealings.csv"  # of a study: AUCs of methods trained again on dealt labels, made by studies.dealings


class Loaded(NamedTuple):
    """What was predicted in a study; dicts are by method."""

    grouped: dict[str, pd.DataFrame]  # selection and test rows under grouped folds
    published: dict[str, pd.DataFrame]  # of networks: test rows of the published split
    bare: dict[str, pd.DataFrame]  # where nothing is fitted: source, label, and the score as ``logit``
    taught: dict[str, str]  # what it was taught with
    dealt: dict[str, np.ndarray]  # AUCs of the method trained on dealt labels, where there are any
    crossing: int  # sources on both sides of the published split
    counted: pd.DataFrame | None  # follicles found in each image
    pairs: list[tuple[str, str]]  # the planned comparisons


def load(study: Study) -> Loaded:
    """Return the predictions of a study. Raises StudyError where a fold is missing, edited or tests what trained it."""
    table = read_table(study, "sources")
    need_test_set(table, study)
    used = table[table.used == "yes"].reset_index(drop=True)
    again = trained_models(study, protocol="published")  # of 217 epochs; without a GPU it may have been left out
    grouped = {name: of_runs(study, name, "grouped") for name in trained_models(study, (*study.models, TUNED))}
    taught = {name: _taught(study, name) for name in grouped}
    bare, counted = {}, None
    if (study.runs_dir / ZERO_SHOT / RECORD).exists():
        grouped[ZERO_SHOT], bare[ZERO_SHOT], taught[ZERO_SHOT] = zero_shot(study, table)
    if COUNT in study.models:
        counted, taught[COUNT] = count(study)
        grouped[COUNT] = baselines.fold_predictions(counted[["count"]], baselines.Monotone(), table, study)
        bare[COUNT] = auc.by_source(counted, counted["count"])
    measured = image_measures.measured(study, used)
    on_features = baselines.of_features(study, table, features(study))
    simple = baselines.predictions(study, table, measured)
    grouped |= on_features | simple
    bare["local_contrast"] = auc.by_source(used, measured[0].contrast_count)
    fitted = "the labels of the training folds"
    for name in on_features:
        taught[name] = f"{'no picture (random features)' if name.endswith('_random') else PHOTOGRAPHS}; then {fitted}"
    taught |= dict.fromkeys(simple, fitted) | {"always_normal": "nothing"}
    taught["local_contrast"] = "400 phantoms, which chose its settings"
    order = (*MODELS, *FEATURES, TUNED, ZERO_SHOT, COUNT, *simple)
    grouped = {name: grouped[name] for name in order if name in grouped}
    for name, rows in grouped.items():
        as_drawn(used, name, rows)
    published = {name: of_runs(study, name, "published").query("role == 'test'") for name in again}
    for name, rows in published.items():
        as_split(used, name, rows)
    across = crossings(roles(table, "published", 0, 0, study.seed))
    return Loaded(grouped, published, bare, taught, dealings(study), across, counted, plan.comparisons(study))


def read_table(study: Study, name: str) -> pd.DataFrame:
    """Return a table that an earlier notebook wrote. Raises StudyError with the remedy where it is missing."""
    path = study.report_dir / ("sources.csv" if name == "sources" else f"tables/{name}.csv")
    if not path.exists():
        raise StudyError(f"{path.name} of {study.name} is missing; run the earlier notebooks, or 'make reproduce'.")
    return manifest.read(path) if name == "sources" else pd.read_csv(path)


def trained_models(study: Study, among: tuple[str, ...] | None = None, protocol: str = "grouped") -> list[str]:
    """Return the networks that have finished runs under the study's seed, by default among those of the study."""
    first, networks = next(study.runs(ARM_OF_PROTOCOL[protocol], protocol)), (*MODELS, TUNED)
    names = [name for name in among or study.models if name in networks]
    return [name for name in names if (study.run_dir(name, first) / RECORD).exists()]


def of_runs(study: Study, model: str, protocol: str) -> pd.DataFrame:
    """Return the rows of all runs of a network under a protocol. Raises StudyError where one is missing or edited."""
    folders = [study.run_dir(model, run) for run in study.runs(ARM_OF_PROTOCOL[protocol], protocol)]
    if (finished := sum((folder / RECORD).exists() for folder in folders)) < len(folders):
        runs = f"{finished} of {len(folders)} runs under the {protocol} protocol with seed {study.seed}"
        raise StudyError(f"{model} has {runs}; run its notebook again.")
    remedy = f"run the notebook of {model} again"
    return pd.concat([_written(study, folder / "predictions.csv", remedy) for folder in folders], ignore_index=True)


def _written(study: Study, path: Path, remedy: str) -> pd.DataFrame:
    """Read a table of a run. Raises StudyError where it is not what its run wrote, or the sources were drawn anew."""
    record = read_record(path.parent)
    if record.get("sources_sha256") != sha256(study.report_dir / "sources.csv"):
        raise StudyError(f"{path} is missing, or was made under another sources.csv; {remedy}.")
    if record["files"].get(path.name) != sha256(path):
        raise StudyError(f"{path} is not what its run wrote; remove the folder {path.parent.name} and {remedy}.")
    return pd.read_csv(path)


def histories(study: Study, model: str, arm: str) -> pd.DataFrame:
    """Return every epoch of every run of one network and arm under the study's seed, with the run's name."""
    folders = [study.run_dir(model, run) for run in study.runs(arm, PROTOCOL_OF_ARM[arm])]
    epochs = [pd.read_csv(folder / "history.csv").assign(run=folder.name) for folder in folders]
    return pd.concat(epochs, ignore_index=True)


def count(study: Study) -> tuple[pd.DataFrame, str]:
    """Return one row per used image in the order of sources.csv, and what the networks that counted were taught with.

    Columns: path, source, label and means over the networks. Raises StudyError where these images were not counted.
    """
    path = study.runs_dir / COUNT / "counts.csv"
    counted = _written(study, path, "run notebook 02_explore again").drop(columns="network")
    means = counted.groupby(["path", "source", "label"], sort=False).mean().reset_index()
    return means, read_record(path.parent)["taught"]


def zero_shot(study: Study, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return the predictions of the IustNet that phantoms taught, by folds and bare, and what taught it."""
    path = study.runs_dir / ZERO_SHOT / "logits.csv"
    logits = _written(study, path, "run notebook 05_train_iustnet again")
    by_folds = baselines.fold_predictions(logits[["logit"]], baselines.Monotone(), table, study)
    return by_folds, auc.by_source(logits, logits.logit), read_record(path.parent)["taught"]


def _taught(study: Study, model: str) -> str:
    """Return what the runs of a network learned from, in a few words."""
    runs = read_table(study, f"runs_{model}").query("arm == 'ours'")
    images = " to ".join(f"{number:,}" for number in sorted({runs.train_images.min(), runs.train_images.max()}))
    starts = ", ".join(sorted(set(runs.start))).replace("imagenet", "ImageNet weights")
    starts = starts.replace("random", "random weights", 1)
    return f"{images} images of the training folds with their labels; started from {starts}"


def features(study: Study) -> dict[str, np.ndarray]:
    """Return frozen features of the used images, (n, channels), by method. Raises StudyError where sources are new."""
    drawn = sha256(study.report_dir / "sources.csv")
    paths = {name: study.runs_dir / name / "features.npy" for name in FEATURES}
    there = {name: path for name, path in paths.items() if path.exists()}
    for path in there.values():
        if read_record(path.parent).get("sources_sha256") != drawn:
            raise StudyError(f"{path} is of another sources.csv; run notebook 03_finetune_densenet201 again.")
    return {name: np.load(path) for name, path in there.items()}


def dealings(study: Study) -> dict[str, np.ndarray]:
    """Return the AUCs of each method trained again on permuted labels of these sources, where there are any."""
    path = study.report_dir / DEALINGS
    if not path.exists():
        return {}
    table, drawn = pd.read_csv(path), sha256(study.report_dir / "sources.csv")
    return {name: rows.auc.to_numpy() for name, rows in table[table.sources_sha256 == drawn].groupby("model")}


def as_drawn(used: pd.DataFrame, name: str, predictions: pd.DataFrame) -> None:
    """Raise StudyError unless each fold tests what sources.csv (its used rows) puts there and selects on none of it."""
    _need_sources(used, name, predictions)
    for (repeat, fold), rows in predictions.groupby(["repeat", "fold"]):
        drawn = set(used.source[used[f"r{repeat}"].astype(int) == fold])
        tested, chosen = (set(rows.source[rows.role == role]) for role in ("test", "selection"))
        leaked = "is a test source among the selection sources, so the threshold would be chosen on test data"
        faults = {"is tested and stands on the training side of this fold": tested - drawn}
        faults |= {"is not tested": drawn - tested, leaked: drawn & chosen}
        for fault, sources in faults.items():
            if sources:
                where = f"{name}, repeat {repeat}, fold {fold}: source {min(sources)} {fault}"
                raise StudyError(f"{where} ({len(sources)} in all); run its notebook again.")


def as_split(used: pd.DataFrame, name: str, predictions: pd.DataFrame) -> None:
    """Raise StudyError unless the test rows of the published protocol are the test images of sources.csv."""
    _need_sources(used, name, predictions)
    if wrong := sorted(set(_files(predictions.image, used)) ^ set(used.path[used.split == "test"])):
        what = f"image {wrong[0]} is tested and stands in train, or the other way round ({len(wrong)} in all)"
        raise StudyError(f"{name}, published split: {what}; run its notebook again.")


def _files(images: pd.Series, used: pd.DataFrame) -> pd.Series:
    """Return the files behind images, of which some are copies that were made before training."""
    return images.where(images.isin(used.path), images.str.replace(r"(^|/)\d+_([^/]*)$", r"\1\2", regex=True))


def _need_sources(used: pd.DataFrame, name: str, predictions: pd.DataFrame) -> None:
    source_of = _files(predictions.image, used).map(used.set_index("path").source)
    for row in predictions.assign(drawn=source_of)[source_of != predictions.source].itertuples():
        here = f"of source {row.source} in the predictions and of {row.drawn} in sources.csv"
        raise StudyError(f"{name}: image {row.image} is {here}; run its notebook again.")
