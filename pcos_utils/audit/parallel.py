"""Use all cores: a process for each part of the work."""

import mmap
import multiprocessing
import pickle
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
from joblib import Parallel, delayed, wrap_non_picklable_objects
from threadpoolctl import ThreadpoolController

from pcos_utils.audit import matching
from pcos_utils.config import StudyError

_read_last: dict[Path, tuple] = {}  # the file that ``worked`` read last, and its content
PART, MANY_PARTS = 10, 64  # pictures of a part at least; work is split into more parts only if they are larger
LARGE_PART = 1_000  # pictures
ALIGNED = 64  # bytes
libraries = cache(ThreadpoolController)  # those that have threads; finding them takes as long as comparing a picture


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep libraries to one thread, because threads inside each small product would wait for one another."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with libraries().limit(limits=1):
            yield
    finally:
        cv2.setNumThreads(threads)


def share(gathering, work: Callable, numbers: list[int]) -> Iterator[tuple[list[int], dict]]:
    """Yield some of the numbers after the other, and what processes add to ``made`` by ``work(gathering, these)``."""
    with stored(gathering, work) as place:
        parts = split(numbers)
        yield from zip(parts, each(partial(worked, place), parts), strict=True)


def split(numbers: list[int]) -> list[list[int]]:
    """Return parts of the numbers, of nearly equal size."""
    count = min(max(MANY_PARTS, len(numbers) // LARGE_PART), -(-len(numbers) // PART))
    ends = [len(numbers) * part // count for part in range(count + 1)]
    return [numbers[start:end] for start, end in pairwise(ends)]


@contextmanager
def stored(gathering, work: Callable) -> Iterator[Path]:
    """Yield a file of the gathering and the work, which processes read once and not with every part.

    The pictures that are known lie in a second file, which this process and the others have in memory once.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows keeps a file that somebody has in memory
        place = Path(folder, "gathering")
        with open(place.with_suffix(".arrays"), "wb") as arrays, open(place, "wb") as file:
            places = []

            def apart(buffer: pickle.PickleBuffer) -> None:
                """Write the bytes of an array to the second file, where numpy can use them without a copy."""
                arrays.write(bytes(-arrays.tell() % ALIGNED))
                places.append((arrays.tell(), arrays.write(buffer.raw())))

            whole = gathering, wrap_non_picklable_objects(work)
            content = pickle.dumps(whole, protocol=5, buffer_callback=apart)
            pickle.dump(places, file)
            file.write(content)
        known, _ = _read(place)
        gathering.exemplars, gathering.index = known.exemplars, known.index
        matching.forget()
        try:
            yield place
        finally:
            _read_last.clear()


def _read(place: Path) -> tuple:
    """Return the gathering and the work of a file; their arrays stay in the second file and cannot be changed."""
    with open(place.with_suffix(".arrays"), "rb") as arrays, open(place, "rb") as file:
        places = pickle.load(file)
        whole = memoryview(mmap.mmap(arrays.fileno(), 0, access=mmap.ACCESS_READ) if any(places) else b"")
        return pickle.load(file, buffers=[whole[start : start + length] for start, length in places])


def worked(place: Path, numbers: list[int]) -> dict:
    """Return what the work of a file adds to ``made``."""
    if place not in _read_last:
        _read_last.clear()  # first, since two of them might fill the memory
        matching.forget()
        _read_last[place] = _read(place)
    gathering, work = _read_last[place]
    gathering = gathering.snapshot()
    with one_thread():
        work(gathering, numbers)
    return gathering.made


def each(function: Callable, parts: list) -> Iterator:
    """Yield a function's result for each part, in order, from all cores. Raises StudyError if a process was killed."""
    # It is said where loky replaces a process whose memory has grown, as by pictures that all have in common.
    warnings.filterwarnings("ignore", message="A worker stopped while")
    alone = len(parts) < 2 or multiprocessing.current_process().daemon  # as are dask's workers: it may start none
    pool = Parallel(1 if alone else -1, return_as="generator", max_nbytes=None, idle_worker_timeout=60)
    try:
        yield from pool(map(delayed(function), parts))
    except BrokenProcessPool:
        raise StudyError("A process of the audit was killed, perhaps for memory; close other programs.") from None
