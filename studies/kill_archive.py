"""Test whether an archive that is killed again and again is audited and answered like one left alone, by digests.

    python -m studies.kill_archive MODEL                    50,000 frames, 3 kills each: an hour on two cores
    python -m studies.kill_archive MODEL --frames 400 --size 25

The frames are phantoms and copies of them, ten of each. ``pcos audit`` and two processes of ``pcos predict``, with the
served model MODEL, work through them in shards: first undisturbed, then killed (SIGKILL) whenever a further share of
the shards is there, and started again. Exit code 1: something differs.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from pcos_utils.files import sha256
from pcos_utils.reporting.readme import write_block
from pcos_utils.reporting.text import markdown
from studies import arguments, machine, planted

# The command line, with shards of another size.
COMMAND = """import sys; from pcos_utils.cli import main; from pcos_utils.audit import families
from pcos_utils.data import shards
shards.SIZE, families.SMALL = int(sys.argv.pop(1)), 100; main()"""


def until_end(command: list[str], size: int, processes: int, shards: Path, kill_at: list[int]) -> tuple[float, float]:
    """Run a command in so many processes to its end; return its seconds, and the most memory of a process in MiB.

    ``kill_at``: numbers of shards in their folder at each of which all are killed and started again.
    """
    began, most = time.perf_counter(), 0.0
    for limit in [*kill_at, None]:
        with ExitStack() as stack:
            words = [sys.executable, "-c", COMMAND, str(size), *command]
            started = [subprocess.Popen(words, stdout=subprocess.DEVNULL) for _ in range(processes)]
            peaks = [stack.enter_context(machine.peak_memory(process.pid)) for process in started]
            while limit and len([*shards.glob("[!.]*.parquet")]) < limit and started[0].poll() is None:
                time.sleep(0.05)
            for process in started if limit else []:
                process.kill()
            codes = {process.wait() for process in started}
            most = max(most, *(peak() for peak in peaks))
        if limit and codes & {0, 3}:
            raise SystemExit(f"{command[0]} ended before it could be killed at {limit} shards")
        if not limit and not codes <= {0, 3}:
            raise SystemExit(f"{command[0]} failed; see above")
    return time.perf_counter() - began, most


def compare(name: str, command: list[str], size: int, processes: int, place: Path, kills: int) -> list:
    """Run a command undisturbed and killed, print the row of the table and return it."""
    taken, found = {}, {}
    for way in ("whole", "killed"):
        out, shards = place / f"{name} {way}", place / f"{name} {way}" / "shards"
        out.mkdir()
        words = [*command, "--shards", str(shards), *(["--out", str(out)] if name == "audit" else [])]
        steps = [len(found["whole"]) * kill // (kills + 1) for kill in range(1, kills + 1)] if found else []
        taken[way] = until_end(words, size, processes, shards, steps)
        files = (path for path in out.rglob("*") if path.suffix in (".parquet", ".csv"))
        found[way] = {path.relative_to(out): sha256(path) for path in files}
    same = "the same bytes" if found["whole"] == found["killed"] else "DIFFERENT"
    cells = [f"{seconds / 60:.1f}" for seconds, _ in taken.values()]
    row = [name, *cells, f"{max(most for _, most in taken.values()):,.0f}", f"{len(found['whole']):,}", same]
    print(" | ".join(row), flush=True)
    return row


def main() -> None:
    """Compare the audit and the answers in a temporary folder, and write the table of 50,000 frames and more."""
    options = arguments(__doc__, "model", frames=50_000, kills=3, size=200)
    os.environ["PCOS_PLAIN"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        planted.archive(place / "frames", options.frames)
        given = str(place / "frames")
        rows = [
            compare("audit", ["audit", given], options.size, 1, place, options.kills),
            compare("predict", ["predict", given, "--model", options.model], options.size, 2, place, options.kills),
        ]
    if options.frames >= 50_000:
        head = [
            f"of {options.frames:,} frames",
            "minutes",
            f"killed {options.kills} times",
            "MiB",
            "files",
            "after the kills",
        ]
        write_block("kill_archive", markdown(head, rows))
    raise SystemExit(0 if all(row[-1] == "the same bytes" for row in rows) else 1)


if __name__ == "__main__":
    main()
