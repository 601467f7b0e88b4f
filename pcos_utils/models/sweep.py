"""Execute all runs of one network (arms, repeats, folds), here or on other processes; finished ones are skipped."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing

import pandas as pd

from pcos_utils import progress
from pcos_utils.config import PROTOCOL_OF_ARM, Run, Study, StudyError
from pcos_utils.data import manifest
from pcos_utils.files import read_record, sha256, write_csv
from pcos_utils.models import runs, weights
from pcos_utils.models.devices import engine_for
from pcos_utils.models.recipes import ARMS
from pcos_utils.models.run import Job
from pcos_utils.options import place_of_runs

SHOWN = ("start", "chosen_epoch", "selection_loss", "crossings", "train_images", "test_sources", "seconds")


def plan(study: Study, arms: Sequence[str] = ARMS) -> pd.DataFrame:
    """Return the runs of each network: arm, protocol, seed, repeat, fold, inner. The published split is run once."""
    return pd.DataFrame(run for arm in arms for run in study.runs(arm, PROTOCOL_OF_ARM[arm]))


def run(model: str, study: Study, arms: Sequence[str] = ARMS) -> pd.DataFrame:
    """Execute the plan and return one row per run: epoch, selection loss, crossings, seconds and starting weights.

    Finished runs with the same settings are read instead of trained; unfinished ones resume. A second process waits for
    each run that the first is working on, and then reads it. With JOBS or CLUSTER the runs are executed elsewhere
    (``runs.spread``), to the same bytes. Under torchrun all processes share each run, to the same numbers within
    rounding. A run that fails does not stop the others; failures.csv tells its error and traceback. Raises StudyError
    if runs failed, the sources or the plan are missing, or the preset needs a device that is missing.
    """
    away = place_of_runs() is not None
    engine = engine_for(study.model_copy(update={"allow_cpu": study.allow_cpu or away}))  # a worker needs its own
    if away and engine.processes > 1:
        raise StudyError(
            "JOBS and CLUSTER give a process whole runs, and torchrun shares each run; leave one of them out."
        )
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
    planned, records = plan(study, arms).itertuples(index=False), {}
    jobs = [Job(model, study, Run(*row), engine, digest, start) for row in planned]
    if not engine.rank:
        _say_what_changed(model, jobs)
    total, states = sum(job.recipe.epochs for job in jobs), Counter(done=0, failed=0, left=len(jobs))
    with progress.bar(name=model, total=total, hidden=engine.rank > 0) as bar:
        here = ((number, runs.attempt(job, table, bar)) for number, job in enumerate(jobs))
        with closing(runs.spread(jobs, table) if away else here) as ending:
            for number, record in ending:
                records[number] = record
                bar.update(jobs[number].recipe.epochs if away else 0)  # here each epoch was told
                states.update({"failed" if "error" in record else "done": 1, "left": -1})
                bar.set_postfix(states)
    ended = [(job.run, records[number]) for number, job in enumerate(jobs)]
    _raise_failures(study, model, ended)
    if progress.plain() and not engine.rank:
        for row, record in ended:
            print(f"{model} {row.arm} fold {row.fold}: epoch {record['chosen_epoch']} kept", flush=True)
    return pd.DataFrame(row._asdict() | {key: record[key] for key in SHOWN} for row, record in ended)


def _say_what_changed(model: str, jobs: list[Job]) -> None:
    """Print which finished runs are trained again, and what differs from the settings that they were made with."""
    changed: Counter[str] = Counter()
    for job in jobs:
        record, settings = read_record(job.folder), json.loads(json.dumps(job.settings, default=str))
        differ = [name for name in settings if name in record and record[name] != settings[name]]
        if "threads" in differ and None in (record["threads"], settings["threads"]):  # a worker's device is not ours
            differ.remove("threads")
        if differ == ["threads"]:
            there, here = record["threads"], settings["threads"]
            changed[f"the number of threads ({there} then, {here} now); OMP_NUM_THREADS={there} keeps them"] += 1
        elif differ:
            changed[", ".join(name.removesuffix("_sha256") for name in differ)] += 1
    for what, count in changed.items():
        print(f"{model}: {count} of {len(jobs)} runs are finished but trained again, since they differ in {what}")


def _raise_failures(study: Study, model: str, ended: list[tuple[Run, dict]]) -> None:
    """Raise StudyError if runs failed, and write each of them into failures.csv; remove that file if none has."""
    path = study.runs_dir / model / "failures.csv"
    failed = [run._asdict() | record for run, record in ended if "error" in record]
    if not failed:
        path.unlink(missing_ok=True)
        return
    write_csv(path, pd.DataFrame(failed))
    names = ", ".join("{arm} repeat {repeat} fold {fold} inner {inner}".format(**row) for row in failed)
    raise StudyError(
        f"{len(failed)} of {len(ended)} runs of {model} failed ({names}): {failed[0]['error'].rstrip('.')}; correct "
        f"that and give the same command again, finished runs are kept; tracebacks: {path}."
    )
