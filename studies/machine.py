"""Measure memory of a process, its workers, and time."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def seconds(work: Callable) -> float:
    """Return the seconds that the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def peak_memory(process: subprocess.Popen) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the most memory, MiB, that a process and its workers had up to the block's end."""
    sums = [0.0]

    def watch() -> None:
        """Sum the memory twice a second; each sum takes milliseconds from what is measured."""
        while process.poll() is None:
            sums.append(sum(pss(each) for each in tree(process.pid)))
            time.sleep(0.5)

    thread = threading.Thread(target=watch)
    thread.start()
    yield lambda: max(sums)
    thread.join()


def tree(process: int) -> list[int]:
    """Return the numbers of a process and of all processes that it started."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return [process]
    return [process] + [each for child in children for each in tree(int(child))]


def pss(process: int) -> float:
    """Return the memory of a process in MiB; each user of shared memory counts a part, so that sums count it once."""
    try:
        return next(
            int(line.split()[1]) / 1024
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            if line.startswith("Pss:")
        )
    except (OSError, StopIteration):
        return 0.0
