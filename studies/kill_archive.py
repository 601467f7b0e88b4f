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
from studies import arguments, peak_memory, planted

KILLS = 3
# The command line, with shards of another size.
COMMAND = """import sys; from pcos_utils.cli import main; from pcos_utils.audit import families
from pcos_utils.data import shards
shards.SIZE, families.SMALL = int(sys.argv.pop(1)), 100; main()"""


def until_end(command: list[str], processes: int, shards: Path, kill_at: list[int]) -> tuple[float, float]:
    """Run a command in so many processes to its end; return its seconds, and the most memory of a process in MiB.

    ``kill_at``: numbers of shards in their folder at each of which all are killed and started again.
    """
    began, most, name = time.perf_counter(), 0.0, command[1]
    for limit in [*kill_at, None]:
        with ExitStack() as stack:
            words = [sys.executable, "-c", COMMAND, *command]
            started = [subprocess.Popen(words, stdout=subprocess.DEVNULL) for _ in range(processes)]
            peaks = [stack.enter_context(peak_memory(process.pid)) for process in started]
            while limit and len([*shards.glob("[!.]*.parquet")]) < limit and started[0].poll() is None:
                time.sleep(0.05)
            for process in started if limit else []:
                process.kill()
            codes = {process.wait() for process in started}
            most = max(most, *(peak() for peak in peaks))
        if limit and codes & {0, 3}:
            raise SystemExit(f"{name} ended before it could be killed at {limit} shards")
        if not limit and not codes <= {0, 3}:
            raise SystemExit(f"{name} failed; see above")
    return time.perf_counter() - began, most


def compare(name: str, words: list[str], size: int, processes: int, place: Path) -> list[str]:
    """Run a command undisturbed and killed, print the row of the table and return it."""
    taken, found, steps = [], [], []
    for way in ("whole", "killed"):
        out = place / f"{name} {way}"
        out.mkdir()
        command = [str(size), name, *words, "--shards", str(out / "shards")]
        command += ["--out", str(out)] if name == "audit" else []
        taken.append(until_end(command, processes, out / "shards", steps))
        files = (path for path in out.rglob("*") if path.suffix in (".parquet", ".csv"))
        found.append({path.relative_to(out): sha256(path) for path in files})
        steps = [len(found[0]) * kill // (KILLS + 1) for kill in range(1, KILLS + 1)]
    minutes = [f"{seconds / 60:.1f}" for seconds, _ in taken]
    same = "the same bytes" if found[0] == found[1] else "DIFFERENT"
    row = [name, *minutes, f"{max(most for _, most in taken):,.0f}", f"{len(found[0]):,}", same]
    print(" | ".join(row), flush=True)
    return row


def main() -> None:
    """Compare the audit and the answers in a temporary folder, and write the table of 50,000 frames and more."""
    options = arguments(__doc__, "model", frames=50_000, size=200)
    os.environ["PCOS_PLAIN"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        place, frames = Path(temporary), str(Path(temporary) / "frames")
        planted.archive(Path(frames), options.frames)
        rows = [
            compare("audit", [frames], options.size, 1, place),
            compare("predict", [frames, "--model", options.model], options.size, 2, place),
        ]
    if options.frames >= 50_000:
        head = [f"of {options.frames:,} frames", "minutes", f"killed {KILLS} times", "MiB", "files", "after the kills"]
        write_block("kill_archive", markdown(head, rows))
    raise SystemExit(0 if all(row[-1] == "the same bytes" for row in rows) else 1)


if __name__ == "__main__":
    main()
