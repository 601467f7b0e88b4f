"""Measure memory of a process, its workers, and time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil


def seconds(work: Callable) -> float:
    """Return the seconds that the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def peak_memory(process: int) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the most memory, MiB, that a process and its workers had up to the block's end."""
    sums, ended = [0.0], threading.Event()

    def watch() -> None:
        """Note the memory twice a second; each look takes milliseconds from what is measured."""
        while not ended.wait(0.5):
            sums.append(memory(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: max(sums)
    finally:
        ended.set()
        thread.join()


def memory(process: int) -> float:
    """Return the memory of a process and its workers in MiB, 0 where one has just ended.

    Each user of shared memory counts a part, so that the sum counts it once.
    """
    try:
        own = psutil.Process(process)
        return sum(each.memory_full_info().pss for each in (own, *own.children(recursive=True))) / 2**20
    except psutil.Error:
        return 0.0
