"""Measure what a run, an audited image and an answered image cost on one and on two workers, and what more would give.

    python -m studies.scaling      about five minutes, on a machine that does nothing else

A worker is a process on a core of its own. The runs are the demo's IustNet on fewer phantoms. The frames are phantoms
and copies of them, ten of each. The model, one line of arithmetic a row, is ``fitted``; what it does not know is
written as assumed. Writes scaling.csv, and the table of docs/scaling.md.
"""

import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import torch

from pcos_utils import config
from pcos_utils.audit import candidates, families, sketches
from pcos_utils.audit.sources import find_sources
from pcos_utils.data import download, shards, splits
from pcos_utils.data.images import load
from pcos_utils.files import write_csv, write_json
from pcos_utils.models import runs, sweep
from pcos_utils.reporting.text import markdown
from pcos_utils.serving import archive
from studies import answering, arguments, planted, publish, seconds

shards.SIZE = 50  # so that two workers end at nearly the same time
QUIET = 10  # per cent of the processors' time in use by a machine that does nothing else
WORKERS = (1, 2, 10, 100, 1000)
MEASURED, TRAINED = 2400, 8  # frames and runs
FRAMES, RUNS = 10_000_000, 1_000  # of the archive and of the study that the model is asked about
DISK, FRAME_BYTES = 1e9, 100_000  # assumed: bytes a second of a shared file system, and bytes of an archive's frame


@contextmanager
def workers(count: int) -> Iterator:
    """Yield a client of so many workers, each on a core of its own, to which sweeps go, too."""
    from distributed import Client

    with runs.here(count, dashboard_address=None) as cluster, Client(cluster) as client:
        for core, address in enumerate(client.scheduler_info()["workers"]):
            client.run(keep_to, core, workers=[address])
        os.environ["PCOS_SET_CLUSTER"] = cluster.scheduler_address
        yield client
        os.environ["PCOS_SET_CLUSTER"] = ""


def keep_to(core: int) -> None:
    """Keep this process and what it starts to one core; an audit would use a second one for its reading."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), {core})


def of_runs(place: Path) -> dict[str, float]:
    """Return the seconds of a demo run here, on one worker and on two, each of a thread, without any start."""
    os.environ["PCOS_HOME"] = str(place / "study")
    study = config.study(phantoms_per_class=40, folds=2, repeats=TRAINED // 2, weights="none")
    scans = find_sources(download.prepare(study), study.image_dir)
    write_csv(study.report_dir / "sources.csv", splits.draw(scans, study))
    write_json(study.plan_path, {})
    first = study.model_copy(update={"seed": 1, "repeats": 1, "epochs": 1})  # so that each worker has what it imports

    def swept(name: str) -> float:
        """Return the seconds of a run in a sweep from nothing."""
        sweep.run("iustnet", first, ("ours",))
        taken = seconds(lambda: sweep.run("iustnet", study, ("ours",)))
        study.runs_dir.rename(place / name)
        return taken / TRAINED

    found = {"run_here": swept("here")}
    for number in (1, 2):
        with workers(number) as client:
            found[f"run_{number}"] = swept(f"on {number}")
            found["task"] = seconds(lambda to=client: to.gather(to.map(abs, range(300), pure=False))) / 300
    return found


def audit(paths: list[Path], out: Path) -> None:
    """Audit files; a second worker with the same arguments shares the parts."""
    families.WORKERS = 1  # threads that sketch, on a core that is the worker's only one
    find_sources(paths, shards=out)


def of_frames(place: Path) -> dict[str, float]:
    """Return seconds and bytes a frame: audited and answered on one worker and on two."""
    paths, model = planted.archive(place / "frames", MEASURED), place / "model"
    answering.served("iustnet", model)
    found, few = {}, paths[: MEASURED // 4]
    for number in (1, 2):
        with workers(number) as client:
            addresses = list(client.scheduler_info()["workers"])

            def on_each(work: Callable, *given, to=client, at=addresses) -> None:
                to.gather([to.submit(work, *given, pure=False, workers=[address]) for address in at])

            for name, work, files, *more in (("audit", audit, paths), ("answer", archive.answer, few, model)):
                on_each(work, files[:5], *more, place / f"try of {name} {number}")  # it imports what it needs
                task = partial(on_each, work, files, *more, place / f"{name} {number}")
                found[f"{name}_{number}"] = seconds(task) / len(files)
            used = client.run(resource.getrusage, resource.RUSAGE_SELF).values()
            found["memory"] = max(usage.ru_maxrss for usage in used) / 1024  # MB
    half = paths[: MEASURED // 2]
    find_sources(half, shards=place / "half")
    for name, files, kept in (("gather_half", half, "half"), ("gather", paths, "audit 1")):
        found[name] = seconds(partial(find_sources, files, shards=place / kept)) / len(files)
    for name, files in (("audit", paths), ("answer", few)):
        found[f"{name}_bytes"] = sum(path.stat().st_size for path in (place / f"{name} 1").iterdir()) / len(files)
    sketch = sketches.sketch(load(paths[0]))
    index = 12 * candidates.TABLES * len(sketch.points)  # a key and a number of a picture each
    return found | {
        "exemplar_bytes": float(sum(part.nbytes for part in (sketch.grey, sketch.points, sketch.descriptors)) + index)
    }


def fitted(seen: dict[str, float]) -> pd.DataFrame:
    """Return hours for 1, 2, 10, 100 and 1,000 workers: of RUNS demo runs and of FRAMES frames, answered and audited.

    Work divides by the workers, each ``share`` as fast as one alone, and waits for what does not divide: the scheduler,
    the shared disk, the last round of runs, the placing of an audit's pictures.
    """
    rows, disk = [], FRAMES * FRAME_BYTES / DISK
    for count in WORKERS:
        run, answer = (1 if count == 1 else min(1.0, seen[f"{name}_1"] / seen[f"{name}_2"] / 2)
                       for name in ("run", "answer"))  # fmt: skip
        runs = max(-(-RUNS // count) * seen["run_1"] / run, RUNS * seen["task"])
        answers = max(FRAMES * seen["answer_1"] / count / answer, disk)
        compared = max(FRAMES * (seen["audit_1"] - seen["gather"]) / count / answer, disk)
        rows.append((count, *(each / 3600 for each in (runs, answers, compared, FRAMES * seen["gather"]))))
    return pd.DataFrame(rows, columns=["workers", "runs", "answers", "comparisons", "placing"])


def block(measured: pd.DataFrame, busy: float = 0.0) -> str:
    """Return the tables of docs/scaling.md. ``busy``: per cent of the processors' time in use before."""
    seen, twice = measured.set_index("quantity").measured.to_dict(), []
    for name, words in (
        ("run", "a training of IustNet"),
        ("audit", "an audited frame"),
        ("answer", "an answered frame"),
    ):
        one, two = seen[f"{name}_1"], seen[f"{name}_2"]
        twice.append([f"{words}, s", f"{one:.3g}", f"{two:.3g}", f"{one / two:.2f}"])
    facts = {
        "the same training in process, s": "run_here",
        "an empty task of the scheduler, s": "task",
        "reading and placing of a frame whose parts are kept, s": "gather",
        f"the same among half of the {MEASURED:,} frames, s": "gather_half",
        "a frame of a part in its shard, bytes": "audit_bytes",
        "an answer in its shard, bytes": "answer_bytes",
        "memory of a source in the audit, bytes": "exemplar_bytes",
        f"most memory of a worker that audited {MEASURED:,} frames and answered a quarter of them, MB": "memory",
    }
    names = f"{RUNS:,} such trainings", f"{FRAMES:,} answers", "the comparisons of their audit", "placing them"
    hours = [
        [f"{row.workers:,}", f"{row.runs:.2g}", f"{row.answers:.3g}", f"{row.comparisons:.3g}", f"{row.placing:.3g}"]
        for row in fitted(seen).itertuples()
    ]
    parts = [
        markdown(["measured", "on 1 worker", "on 2 workers", "ratio"], twice),
        markdown(["measured", ""], [[words, f"{seen[name]:.3g}"] for words, name in facts.items()]),
        markdown(["fitted, hours on workers", *names], hours),
    ]
    if busy > QUIET:
        parts.insert(0, f"*Beside other work ({busy:.0f} % busy before): ratios mean nothing. Measure again.*")
    return "\n\n".join(parts)


def main() -> None:
    """Measure, fit, and write the table and the page."""
    arguments(__doc__)
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    busy = psutil.cpu_percent(3)
    with tempfile.TemporaryDirectory() as folder:
        seen = of_runs(Path(folder)) | of_frames(Path(folder))
    table = pd.DataFrame({"quantity": seen.keys(), "measured": seen.values()})
    publish("scaling", partial(block, busy=busy), scaling=table)


if __name__ == "__main__":
    main()
