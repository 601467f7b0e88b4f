"""Use all cores: threads that work ahead, and a process for each part of the work."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice

import cv2
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from pcos_utils.config import StudyError


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep libraries to one thread, because threads inside each small product would wait for one another."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(threads)


def ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable, window: int = 16) -> Iterator:
    """Yield the results in order with at most ``window`` waiting, so that memory does not grow with the folder."""
    items = iter(items)
    waiting = deque(pool.submit(function, item) for item in islice(items, window))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(function, item) for item in islice(items, 1))
        yield result


def each_part(function: Callable, parts: list) -> Iterator:
    """Yield a function's result for each part, in order, computed in as many processes as there are cores.

    Raises StudyError if a process was killed.
    """
    alone = len(parts) == 1 or multiprocessing.current_process().daemon  # as are dask's workers: it may start none
    pool = Parallel(1 if alone else -1, return_as="generator", idle_worker_timeout=10)
    try:
        yield from pool(map(delayed(function), parts))
    except BrokenProcessPool:
        raise StudyError("A process of the audit was killed, perhaps for memory; close other programs.") from None
