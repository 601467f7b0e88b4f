"""Test whether a training that is killed again and again ends with the same files as one left alone, by digests.

    python -m studies.kill_training                         25 kills of DenseNet121d, 96 pixels, 12 epochs
    python -m studies.kill_training --model iustnet --kills 5 --side 32 --epochs 5

First the runs of two folds train undisturbed, one after the other. Then the same training is started, killed (SIGKILL)
and started again. Every other kill comes at a random moment; the others come inside the write of a checkpoint, in turn
when it is half written, before its renaming and after it. In the end two processes train the same at once. Exit code 1:
something differs.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import tempfile
import time
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

from pcos_utils import config
from pcos_utils.audit.sources import find_sources
from pcos_utils.data import download, splits
from pcos_utils.files import sha256, write_csv
from studies import arguments, machine

# torch is imported inside functions: workers that draw phantoms import this module, too, and must not wait for it.
STAGES = ("half", "before", "after")


def started(work) -> multiprocessing.Process:
    """Return a process that runs ``work()``. It is a fork, which has our imports and so starts at once."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def finished(process: multiprocessing.Process) -> bool:
    """Wait for a process; return True if it ended well, False if it was killed. Raises SystemExit where it failed."""
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise SystemExit("the training failed; see above")
    return process.exitcode == 0


def prepare(study: config.Study) -> None:
    """Write phantoms, their table of sources and folds, and the plan to where the study looks for them."""
    from pcos_utils.evaluation import plan

    sources = splits.draw(find_sources(download.prepare(study), study.image_dir), study)
    write_csv(study.report_dir / "sources.csv", sources)
    if not study.plan_path.exists():
        plan.write(study)


def train(model: str, study: config.Study, log: Path, halt_at: str | None = None, writer: int = -1) -> None:
    """Finish all grouped runs. At the stage ``halt_at`` of a write, send a byte to ``writer`` and wait to be killed."""
    from pcos_utils.models import sweep

    rename, write = os.replace, Path.write_bytes

    def halt(stage: str, path: Path) -> None:
        """Tell the parent that the stage of this kill is reached, and wait to be killed."""
        if stage == halt_at and "checkpoint" in Path(path).name:
            os.write(writer, b"!")
            time.sleep(600)

    def slow_rename(source, target):
        halt("before", target)
        rename(source, target)
        halt("after", target)

    def slow_write(path, data):
        write(path, data[: len(data) // 2])
        halt("half", path)
        return write(path, data)

    os.replace, Path.write_bytes = slow_rename, slow_write
    os.environ["PCOS_PLAIN"] = "1"
    with open(log, "a") as stream, redirect_stdout(stream):
        sweep.run(model, study, arms=("ours",))


def killed(work, moment: float, stage: str | None) -> bool:
    """Start ``work(stage, writer)`` and return whether it was killed: at the stage it reports, else at the moment."""
    reader, writer = os.pipe()
    process = started(lambda: work(stage, writer))
    os.close(writer)
    if stage:
        os.read(reader, 1)  # empty where the process ended first
    else:
        time.sleep(moment)
    os.close(reader)
    process.kill()
    return not finished(process)


def digests(folder: Path) -> dict:
    """Return the SHA-256 of each file of all runs and of the features they share; run.json without its seconds."""
    contents = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = sha256(path)[:16]
        if path.name == "run.json":
            record = json.loads(path.read_text())
            content = {key: value for key, value in record.items() if key not in ("seconds", "images_per_second")}
        contents[str(path.relative_to(folder))] = content
    return contents


def compare(options: argparse.Namespace, place: str) -> bool:
    """Train undisturbed, killed and twice at once; print kills, epochs resumed and digests. Return if all agree."""
    rng = random.Random(options.seed)
    os.environ["PCOS_HOME"] = place
    study = config.study(
        phantoms_per_class=options.phantoms, image_side=options.side, epochs=options.epochs, folds=2, weights="none"
    )
    folder, log = study.runs_dir / options.model, Path(place, "log.txt")
    work = partial(train, options.model, study, log)
    finished(started(lambda: prepare(study)))
    from pcos_utils.models import sweep  # noqa: F401  # imported here, so that every fork has it

    seconds = machine.seconds(lambda: finished(started(work)))
    expected = digests(folder)
    shutil.rmtree(study.runs_dir)
    log.unlink()

    kills = {"random": 0} | dict.fromkeys(STAGES, 0)
    same = []  # one for each whole sweep; more than one where a kill came too late to stop it
    for turn in range(options.kills):
        stage = STAGES[turn // 2 % 3] if turn % 2 else None
        for _ in range(5):
            if killed(work, rng.uniform(0, 0.8 * seconds), stage):  # late enough that some hit the second run
                break
            same.append(digests(folder) == expected)
            shutil.rmtree(study.runs_dir)
        else:
            raise SystemExit(f"five runs ended before they could be killed ({stage or 'random'})")
        kills[stage or "random"] += 1
    finished(started(work))
    same.append(digests(folder) == expected)
    resumed = [int(epoch) for epoch in re.findall(r"goes on after epoch (\d+)", log.read_text())]
    shutil.rmtree(study.runs_dir)

    for process in [started(work), started(work)]:
        finished(process)
    waited, together = log.read_text().count("waiting for it to end"), digests(folder) == expected
    print(f"{options.model}: undisturbed {seconds:.1f} s for two runs of {options.epochs} epochs")
    print(f"kills: {sum(kills.values())} {kills}")
    print(f"went on {len(resumed)} times, after epochs {resumed}")
    print(f"{len(expected)} files compared, each run.json without its seconds")
    print(f"killed, {len(same)} whole sweep(s): " + ("the same" if all(same) else "DIFFERENT"))
    print(f"two at once ({waited} waited): " + ("the same" if together else "DIFFERENT"))
    return all(same) and together


def main() -> None:
    """Compare in a temporary folder, or in ``--place``."""
    options = arguments(__doc__, model="densenet121d", kills=25, side=96, epochs=12, phantoms=18, seed=0, place="")
    with tempfile.TemporaryDirectory() as temporary:
        same = compare(options, options.place or temporary)
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    main()
