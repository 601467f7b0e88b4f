"""Whether a training that is killed, again and again, ends as if nobody had touched it: digests of both, compared.

    python -m benchmarks.kill_training                         25 kills of DenseNet121d, 96 pixels, 12 epochs
    python -m benchmarks.kill_training --model iustnet --kills 5 --side 32 --epochs 5

The runs of two folds train undisturbed, one after the other. Then the same is started, killed (SIGKILL) and started
again: every other kill at a random moment, the others inside the write of a checkpoint, in turn half written, before
its renaming and after it. In the end two processes train the same at once. Exit code 1: something differs.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from pcos_utils import config
from pcos_utils.data import audit, download, splits
from pcos_utils.files import sha256, write_csv

# Workers that draw phantoms import this module, too, and must not wait for torch.
STAGES = ("half", "before", "after")


def forked(work) -> int:
    """The number of a process that does ``work()``. It starts at once: what is imported here is imported there."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        sys.stdout.flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def ended(pid: int) -> bool:
    """Whether the process ended by itself and well; False where it was killed."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise SystemExit("the training failed; see above")
    return status == 0


def prepare(study: config.Study) -> None:
    """Nothing; phantoms, their drawn table and the plan lie where the study looks for them."""
    from pcos_utils.evaluation import plan

    write_csv(
        study.report_dir / "sources.csv",
        splits.draw(audit.find_sources(download.prepare(study), study.image_dir), study),
    )
    if not study.plan_path.exists():
        plan.write(study)


def train(model: str, study: config.Study, log: Path, halt_at: str | None = None, told: int = -1) -> None:
    """Nothing; all grouped runs are finished. At a stage of a write it stops for good, after a byte to ``told``."""
    from pcos_utils.models import checkpoints, sweep

    def halt(stage: str) -> None:
        """Nothing; at the stage of this kill the parent is told, who strikes then."""
        if stage == halt_at:
            os.write(told, b"!")
            time.sleep(600)

    rename, write = os.replace, checkpoints._Stream.write

    def slow_rename(source, target):
        """As os.replace, which stops before and after a checkpoint appears."""
        aimed = Path(target).name == "checkpoint.pt"
        if aimed:
            halt("before")
        rename(source, target)
        if aimed:
            halt("after")

    def slow_write(stream, data):
        """As the stream's own write, which stops in the middle of a checkpoint."""
        if stream.tell() > 10_000:
            stream.flush()
            halt("half")
        return write(stream, data)

    os.replace, checkpoints._Stream.write = slow_rename, slow_write
    whole = sweep.plan
    sweep.plan = lambda *of: whole(*of).query("arm == 'ours'")
    os.environ["PCOS_PLAIN"] = "1"
    with open(log, "a") as sys.stdout:
        sweep.run(model, study)
    sys.stdout = sys.__stdout__


def attempt(work, rng: random.Random, longest: float, stage: str | None) -> bool:
    """Whether ``work(told)`` died by our hand: at a random moment or, with a stage, when it says that it is there."""
    reader, writer = os.pipe()
    pid = forked(lambda: work(writer))
    os.close(writer)
    if stage:
        os.read(reader, 1)  # empty where the process ended first
    else:
        time.sleep(rng.uniform(0, longest))
    os.close(reader)
    os.kill(pid, signal.SIGKILL)  # of a process that ended: harmless, it is not yet waited for
    return not ended(pid)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of all runs, and of the features that they share; run.json without its seconds."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.name == "run.json":
            record = json.loads(path.read_text())
            found[name] = {key: value for key, value in record.items() if key not in ("seconds", "images_per_second")}
        else:
            found[name] = sha256(path)[:16]
    return found


def main() -> None:
    """Kills, epochs resumed and digests, printed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="densenet121d", choices=config.MODELS)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--phantoms", type=int, default=18, help="per class")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--place", type=Path, help="folder for data and runs, instead of a temporary one")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        place = options.place or Path(temporary)
        os.environ["PCOS_HOME"] = str(place)
        study = config.study(
            phantoms_per_class=options.phantoms, image_side=options.side, epochs=options.epochs, folds=2, weights="none"
        )
        log = place / "log.txt"
        ended(forked(lambda: prepare(study)))
        from pcos_utils.models import sweep  # noqa: F401  # imported here, it is imported in every process to come

        begun = time.perf_counter()
        ended(forked(lambda: train(options.model, study, log)))
        seconds = time.perf_counter() - begun
        folder = study.runs_dir / options.model
        expected = digests(folder)
        shutil.rmtree(study.runs_dir)
        log.unlink()
        longest = 0.8 * seconds  # late enough that some kills fall into the second run

        kills = {"random": 0} | dict.fromkeys(STAGES, 0)
        ends = []  # of whole sweeps: one, or more where the kills came too late to keep the first from its end
        for turn in range(options.kills):
            stage = STAGES[turn // 2 % 3] if turn % 2 else None
            for _ in range(5):
                if attempt(lambda told: train(options.model, study, log, stage, told), rng, longest, stage):  # noqa: B023
                    break
                ends.append(digests(folder) == expected)
                shutil.rmtree(study.runs_dir)
            else:
                raise SystemExit(f"five runs ended before they could be killed ({stage or 'random'})")
            kills[stage or "random"] += 1
        ended(forked(lambda: train(options.model, study, log)))
        ends.append(digests(folder) == expected)
        resumed = [int(epoch) for epoch in re.findall(r"goes on after epoch (\d+)", log.read_text())]
        shutil.rmtree(study.runs_dir)

        for pid in [forked(lambda: train(options.model, study, log)) for _ in range(2)]:
            ended(pid)
        waited = log.read_text().count("waiting for it to end")
        together = digests(folder) == expected
    print(f"{options.model}: undisturbed {seconds:.1f} s for two runs of {options.epochs} epochs")
    print(f"kills: {sum(kills.values())} {kills}")
    print(f"went on {len(resumed)} times, after epochs {resumed}")
    for name, digest in expected.items():
        print(f"  {name:40} {digest if isinstance(digest, str) else 'compared without its seconds'}")
    print(f"killed, {len(ends)} whole sweep(s): " + ("the same" if all(ends) else "DIFFERENT"))
    print(f"two at once ({waited} waited): " + ("the same" if together else "DIFFERENT"))
    raise SystemExit(0 if all(ends) and together else 1)


if __name__ == "__main__":
    main()
