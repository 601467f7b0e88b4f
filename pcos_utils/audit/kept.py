"""Sketch pictures ahead of their use, and keep the sketches in shards that a killed audit need not make again."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import numpy as np

from pcos_utils.audit.sketches import Sketch
from pcos_utils.data import shards
from pcos_utils.files import code
from pcos_utils.progress import bar


def ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable, window: int = 16) -> Iterator:
    """Yield the results in order with at most ``window`` waiting, so that memory does not grow with the folder."""
    items = iter(items)
    waiting = deque(pool.submit(function, item) for item in islice(items, window))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(function, item) for item in islice(items, 1))
        yield result


def keep(
    pictures: Sequence[str], folder: Path, sketch: Callable[[int], Sketch], way: str, pool: ThreadPoolExecutor
) -> Callable[[int], Sketch]:
    """Write the sketches that no shard holds, and return a function from a picture's number to its sketch.

    ``pictures``: the digest of each picture's pixels; ``way``: the name of what ``sketch`` does. A second process with
    the same arguments shares the work.
    """
    facts, places, busy = f"{way} {code('audit/sketches.py')}", [], []
    for numbers in bar(shards.parts(range(len(pictures))), "sketch", total=-(-len(pictures) // shards.SIZE)):
        places.append(folder / f"{len(places):06}.parquet")
        made_from = [facts, *(pictures[number] for number in numbers)]
        columns = partial(_columns, ahead(pool, sketch, numbers))
        make = partial(shards.ensure, places[-1], made_from, columns)
        if not make(wait=False):
            busy.append(make)
    for make in busy:
        make()

    @lru_cache(2)  # the pictures come in turn
    def read(place: int) -> list[Sketch]:
        """Return the sketches of a shard."""
        return [_sketch(**row) for row in shards.parquet()[1].read_table(places[place]).to_pylist()]

    return lambda number: read(number // shards.SIZE)[number % shards.SIZE]


def _columns(sketches: Iterable[Sketch]) -> dict:
    rows = [
        {
            "height": picture.grey.shape[0],
            "grey": picture.grey.tobytes(),
            "points": picture.points.tobytes(),
            "descriptors": picture.descriptors.tobytes(),
            "enlarged": float(picture.enlarged),
        }
        for picture in sketches
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _sketch(height: int, grey: bytes, points: bytes, descriptors: bytes, enlarged: float) -> Sketch:
    return Sketch(
        np.frombuffer(grey, np.uint8).reshape(height, -1),
        np.frombuffer(points, np.float32).reshape(-1, 2),
        np.frombuffer(descriptors, np.uint8).reshape(-1, 128),
        enlarged,
    )
