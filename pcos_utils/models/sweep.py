"""Many runs: the table of runs of one network (arms, repeats, folds), executed; finished ones are skipped."""

import os
from itertools import product

import pandas as pd
from tqdm.auto import tqdm

from pcos_utils.config import Study, StudyError
from pcos_utils.data import manifest
from pcos_utils.files import sha256
from pcos_utils.models.devices import engine_for
from pcos_utils.models.recipes import ARMS, PROTOCOL_OF_ARM, recipe
from pcos_utils.models.run import Job, execute

SHOWN = ("start", "chosen_epoch", "selection_loss", "crossings", "train_images", "test_sources", "seconds")


def plan(model: str, study: Study) -> pd.DataFrame:
    """The runs of one network: columns arm, protocol, seed, repeat, fold, inner. The published split is run once."""
    rows = []
    for arm in ARMS:
        turns = (1, 1, 1) if PROTOCOL_OF_ARM[arm] == "published" else (study.repeats, study.folds, study.inners)
        rows += [(arm, PROTOCOL_OF_ARM[arm], study.seed, *turn) for turn in product(*map(range, turns))]
    return pd.DataFrame(rows, columns=["arm", "protocol", "seed", "repeat", "fold", "inner"])


def run(model: str, study: Study) -> pd.DataFrame:
    """The executed plan: one row per run with epoch, selection loss, crossings, seconds and what it started from.

    Finished runs whose settings hash matches are read instead of trained, unfinished ones go on. A second process
    with the same study waits for each run that the first is at, and reads it. Raises StudyError where the guard finds
    a source on both sides, the preset needs a device that is not there, memory is short, or nothing can be written.
    """
    engine = engine_for(study)
    table_path = study.report_dir / "sources.csv"
    if not table_path.exists():
        raise StudyError(f"{table_path.name} of {study.name} is missing; run notebook 02 first, or 'make reproduce'.")
    if not study.plan_path.exists():
        raise StudyError(
            f"{study.plan_path.name} of {study.name} is missing: nothing is trained without a plan; run notebook 02."
        )
    table = manifest.read(table_path)
    runs = plan(model, study)
    rows = []
    plain = "PCOS_PLAIN" in os.environ  # papermill records every tick of a bar as a line of its own
    bar = tqdm(total=sum(recipe(model, arm, study).epochs for arm in runs.arm), desc=model, disable=plain)
    for one in runs.itertuples(index=False):
        record = execute(Job(model, study, one, engine, sha256(table_path)), table, bar)
        rows.append(one._asdict() | {key: record[key] for key in SHOWN})
        if plain:
            print(f"{model} {one.arm} fold {one.fold}: epoch {record['chosen_epoch']} kept", flush=True)
    bar.close()
    return pd.DataFrame(rows)
