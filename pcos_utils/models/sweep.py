"""Execute all runs of one network (arms, repeats, folds); finished ones are skipped."""

from collections.abc import Sequence

import pandas as pd

from pcos_utils import progress
from pcos_utils.config import PROTOCOL_OF_ARM, Study, StudyError
from pcos_utils.data import manifest
from pcos_utils.files import sha256
from pcos_utils.models import weights
from pcos_utils.models.devices import engine_for
from pcos_utils.models.recipes import ARMS, recipe
from pcos_utils.models.run import Job, execute

SHOWN = ("start", "chosen_epoch", "selection_loss", "crossings", "train_images", "test_sources", "seconds")


def plan(study: Study, arms: Sequence[str] = ARMS) -> pd.DataFrame:
    """Return the runs of each network: arm, protocol, seed, repeat, fold, inner. The published split is run once."""
    return pd.DataFrame(run for arm in arms for run in study.runs(arm, PROTOCOL_OF_ARM[arm]))


def run(model: str, study: Study, arms: Sequence[str] = ARMS) -> pd.DataFrame:
    """Execute the plan and return one row per run: epoch, selection loss, crossings, seconds and starting weights.

    Finished runs with the same settings are read instead of trained; unfinished ones resume. A second process with the
    same study waits for each run that the first is working on, and then reads it. Raises StudyError if the sources or
    the plan are missing, a source is on both sides of a split, the preset needs a device that is missing, memory is
    short, or nothing can be written.
    """
    engine = engine_for(study)
    table_path = study.report_dir / "sources.csv"
    if not table_path.exists():
        raise StudyError(f"{table_path.name} of {study.name} is missing; run notebook 02 first, or 'make reproduce'.")
    if not study.plan_path.exists():
        raise StudyError(
            f"{study.plan_path.name} of {study.name} is missing: nothing is trained without a plan; run notebook 02."
        )
    # Read once, so that all runs of a sweep use the same table even if the file changes meanwhile.
    digest, table = sha256(table_path), manifest.read(table_path)
    start = weights.identity(model, study.weights, must_fetch=study.preset == "full")
    runs, records = plan(study, arms), []
    bar = progress.bar(name=model, total=sum(recipe(model, arm, study).epochs for arm in runs.arm))
    for row in runs.itertuples(index=False):
        record = execute(Job(model, study, row, engine, digest, start), table, bar)
        records.append(row._asdict() | {key: record[key] for key in SHOWN})
        if progress.plain():
            print(f"{model} {row.arm} fold {row.fold}: epoch {record['chosen_epoch']} kept", flush=True)
    bar.close()
    return pd.DataFrame(records)
