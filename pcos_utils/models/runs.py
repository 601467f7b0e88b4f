"""Execute the runs of a sweep: one after the other in this process, or on the workers of a dask cluster.

Workers take one run at a time, in a process each. Those that see the disk of this process read and write there, and
others get what they need, and return files, by ``parcels``. Dask gives the run of a worker that was lost to another
one, which goes on from the run's checkpoint if it sees it. Results are files, so that nothing is lost with the
scheduler: what it had not finished is submitted to the one that takes its place.
"""

import logging
import os
import traceback
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib.metadata import version
from tempfile import NamedTemporaryFile

import pandas as pd
import torch

from pcos_utils import progress
from pcos_utils.config import Study, StudyError, from_root, home
from pcos_utils.files import code
from pcos_utils.models import parcels, weights
from pcos_utils.models.devices import engine_for
from pcos_utils.models.run import CODE, Job, execute, packages
from pcos_utils.options import place_of_runs

CONNECT = 10  # seconds for a scheduler to be found
PATIENCE = 120  # seconds for the first worker to come, and for a scheduler to come back
SHARED = ("PCOS_HOME", "PCOS_DATA_DIR")  # where the files of a study lie


def attempt(job: Job, table: pd.DataFrame, bar, pixels=None) -> dict:
    """Return the record of a run, or what it failed of: ``error``, one line, and ``traceback``.

    Where several processes share the run, the error is raised, so that torchrun ends the others, which wait.
    """
    try:
        return execute(job, table, bar, pixels)
    except Exception as error:
        if job.engine.processes > 1:
            raise
        return _failure(error)


def _failure(error: BaseException) -> dict:
    own = isinstance(error, StudyError)
    line = f"{'' if own else type(error).__name__ + ': '}{str(error).splitlines()[0] if str(error) else ''}"
    return {"error": line, "traceback": "".join(traceback.format_exception(error))}


def spread(jobs: list[Job], table: pd.DataFrame) -> Iterator[tuple[int, dict]]:
    """Execute jobs on the cluster that JOBS or CLUSTER names; yield each one's number and what ``attempt`` returns.

    Each run takes as many threads as in this process, since they decide how sums are rounded. If a worker has the
    resource GPU, a full study's runs go to such workers alone. Raises StudyError where there is no scheduler or no
    worker, and where a worker's packages differ from those here.
    """
    study, away = jobs[0].study, False
    if study.folder:  # a relative name would start at the worker's own checkout
        study = study.model_copy(update={"data": str(study.folder.resolve())})
    left = {number: job._replace(study=study, engine=None) for number, job in enumerate(jobs)}
    # A name of its own, because another disk may hold the same study at the same path.
    with scheduler() as address, NamedTemporaryFile(dir=study.plan_path.parent, prefix=".seen-") as token:
        wanted = _wanted(study, token.name)
        while left:
            # Where the scheduler is lost, its futures are cancelled, or an answer of it fails to come.
            with suppress(OSError, CancelledError), _connected(address, wanted, len(left) < len(jobs)) as client:
                from distributed import as_completed

                if away := away or False in client.run(parcels.sees, wanted, on_error="return").values():
                    for number in list(left):
                        if record := parcels.finished(jobs[number]):
                            del left[number]
                            yield number, record
                futures = _submitted(client, left, table, wanted, away)
                for future in as_completed(futures, loop=client.loop):
                    if future.status in ("finished", "error"):
                        error = future.exception()  # such as that it killed several workers
                        record = _failure(error) if error else parcels.unpack(future.result())
                        del left[futures[future]]
                        yield futures[future], record


def _submitted(client, jobs: dict[int, Job], table: pd.DataFrame, wanted: dict, away: bool) -> dict:
    """Return the futures of jobs with their numbers; ``away``: some worker does not see the files of the study."""
    pixels = parcels.pack(client, jobs, table) if away else {}
    workers = client.scheduler_info()["workers"].values()
    full = any(job.study.preset == "full" for job in jobs.values())
    how = {"GPU": 1} if full and any("GPU" in worker["resources"] for worker in workers) else None
    send = lambda *given: client.submit(_work, *given, pure=False, resources=how)  # noqa: E731
    return {send(job, table, wanted, pixels.get(number)): number for number, job in jobs.items()}


def _wanted(study: Study, token: str) -> dict:
    """Return what a worker must have in common with this process, and what it may see of this process's disk."""
    places = {name: str(from_root(os.environ[name]).resolve()) for name in SHARED if os.environ.get(name)}
    return {
        "places": {"PCOS_HOME": str(home().resolve())} | places,
        "seen": (token, str(study.image_dir)),
        "plan": study.plan_path.read_bytes(),
        "versions": _versions(),
        "threads": torch.get_num_threads(),
    }


def _versions() -> dict[str, str]:
    own = ("config.py", "files.py", "models/parcels.py", "models/recipes.py", "models/runs.py")
    return {"pcos-utils": version("pcos-utils"), "code of pcos_utils": code(*CODE, *own)[:12], **packages()}


def _work(job: Job, table: pd.DataFrame, wanted: dict, pixels) -> dict:
    """Return what ``attempt`` does, on a worker; with the files of the run where it got ``pixels`` and needed them."""
    from distributed import get_worker

    try:
        if reason := _unfit(wanted):
            raise StudyError(f"A worker {reason}")
        job = job._replace(engine=engine_for(job.study))
        start = weights.identity(job.model, job.study.weights, must_fetch=job.study.preset == "full")
        if start != job.start:
            raise StudyError(f"A worker starts from '{start}', and not from '{job.start}'; put the same file there.")
        if pixels is None and not parcels.sees(wanted):
            raise StudyError("A worker that came late sees no PCOS_HOME or no images; give the same command again.")
    except Exception as error:
        return _failure(error)
    torch.set_num_threads(wanted["threads"])
    bar = progress.bar(hidden=True)
    if parcels.sees(wanted):
        os.environ |= wanted["places"]
        return attempt(job, table, bar)
    scratch = get_worker().local_directory
    return parcels.unpacked(job, scratch, wanted["plan"], lambda: attempt(job, table, bar, pixels))


def _unfit(wanted: dict, dask_worker=None) -> str:
    """Return what keeps this worker from running jobs, and the remedy, or ""."""
    from distributed import get_worker

    for name, theirs in _versions().items():
        if theirs != wanted["versions"][name]:
            return f"has {name} {theirs}, and here it is {wanted['versions'][name]}; install the same on both."
    if (dask_worker or get_worker()).state.nthreads > 1:  # a task asks for its worker; dask gives it to other calls
        return "takes several runs at a time; start it with --nthreads 1, and more of them with --nworkers."
    return ""


@contextmanager
def scheduler() -> Iterator[str]:
    """Yield the address of the scheduler that JOBS or CLUSTER names, and print that of its dashboard.

    Where a number of processes, or SLURM, is named, scheduler and workers are started for as long as the block runs.
    The processes that are started meanwhile share them. Raises StudyError where dask is missing or nothing answers.
    """
    jobs, place = place_of_runs()
    try:
        import bokeh  # noqa: F401  # else the dashboard is empty
        import dask
        import dask_jobqueue
        import distributed  # noqa: F401
    except ModuleNotFoundError as error:
        raise StudyError(f"JOBS and CLUSTER need {error.name}; pip install 'pcos-utils[cluster]'.") from None
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if "://" in place:
        with _client(place, CONNECT) as client:
            print(f"dashboard: {client.dashboard_link}", flush=True)
        yield place
        return
    if place:
        try:
            extra = dask.config.get("jobqueue.slurm.worker-extra-args", None) or []  # such as --resources GPU=1
            cluster = dask_jobqueue.SLURMCluster(worker_extra_args=["--nthreads", "1", *extra])
        except (ValueError, RuntimeError) as error:
            said = str(error).splitlines()[0]
            raise StudyError(f"CLUSTER=slurm: {said}; set it in ~/.config/dask/jobqueue.yaml.") from None
        cluster.scale(jobs=jobs)
        print(f"{jobs} jobs are submitted; waiting for the first to start", flush=True)
        cluster.wait_for_workers(1)
    else:
        cluster = here(jobs, dashboard_address="127.0.0.1:0")
        threads, cores = torch.get_num_threads(), os.cpu_count() or 1
        if jobs * threads > cores:
            fewer = max(1, cores // jobs)
            print(f"{jobs} x {threads} threads share {cores} cores; OMP_NUM_THREADS={fewer} is faster, and rounds anew")
    before = {name: os.environ.get(name, "") for name in ("PCOS_SET_JOBS", "PCOS_SET_CLUSTER")}
    with cluster:
        print(f"dashboard: {cluster.dashboard_link}", flush=True)
        os.environ |= {"PCOS_SET_JOBS": "", "PCOS_SET_CLUSTER": cluster.scheduler_address}
        try:
            yield cluster.scheduler_address
        finally:
            os.environ |= before


def here(count: int, **options):
    """Return a cluster of ``count`` worker processes of this machine; ``options`` are those of dask's LocalCluster."""
    import dask
    import distributed

    # Dask has each worker return freed memory at once. A training asks for it anew at each step, a third slower.
    with dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}):
        return distributed.LocalCluster(n_workers=count, threads_per_worker=1, memory_limit=None, **options)


def _client(address: str, seconds: float):
    """Return a client of the scheduler."""
    from distributed import Client

    try:
        return Client(address, timeout=seconds, set_as_default=False)
    except (OSError, ValueError) as error:  # also TimeoutError
        said = type(error).__name__
        raise StudyError(f"No scheduler answers at {address} ({said}); start one: dask scheduler.") from None


@contextmanager
def _connected(address: str, wanted: dict, again: bool) -> Iterator:
    """Yield a client of a scheduler, all of whose workers can run jobs; ``again``: it may be about to restart."""
    with _client(address, PATIENCE if again else CONNECT) as client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            start = f"dask worker {address} --nthreads 1"
            raise StudyError(f"No worker came to {address} in {PATIENCE} s; start one: {start}.") from None
        for worker, reason in client.run(_unfit, wanted, on_error="return").items():
            if isinstance(reason, OSError):  # this worker was lost meanwhile
                continue
            if isinstance(reason, Exception):  # dask tells it as text where the worker lacks the package
                reason = f"cannot use this package ({reason}); install pcos-utils[cluster] there, the same as here."
            if reason:
                raise StudyError(f"The worker {worker} {reason}")
        yield client
