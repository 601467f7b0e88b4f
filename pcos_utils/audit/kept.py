"""Keep what an audit's processes find in shards, so that an audit that was killed does not look for it again."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from pcos_utils.audit.gathering import Gathering
from pcos_utils.audit.matching import Link
from pcos_utils.audit.parallel import each, split, stored, worked
from pcos_utils.audit.sketches import Sketch, View
from pcos_utils.data import shards
from pcos_utils.files import code

CODE = [f"audit/{name}.py" for name in ("sketches", "candidates", "matching", "gathering", "families", "parallel")]
SKETCH = ("height", "grey", "points", "descriptors", "enlarged")  # the columns of a sketch; arrays are bytes


def keep(pictures: Sequence[str], folder: Path) -> Callable:
    """Return what ``parallel.share`` is, but each part of the work is kept in a shard, and none is done twice.

    ``pictures``: the digest of each picture's pixels. A second process with the same arguments shares the work.
    """
    # Digested once, since each of many parts is compared with it and sent to a process.
    made_from = [code(*CODE), hashlib.sha256("\n".join(pictures).encode()).hexdigest()]
    numbered = count()

    def share(gathering: Gathering, work: Callable, numbers: list[int]) -> Iterator[tuple[list[int], dict]]:
        """Yield parts of the numbers, and what ``work`` adds to ``made`` for each."""
        parts = split(numbers)
        places = [folder / f"{next(numbered):06}.parquet" for _ in parts]
        with stored(gathering, work) as stored_work:

            def write(place: Path, part: list[int], wait: bool = False) -> bool:
                """Return whether a part has its shard; else another process is at it."""
                return shards.ensure(place, made_from, lambda: _columns(worked(stored_work, part)), wait=wait)

            missing = [pair for pair in zip(places, parts, strict=True) if not (pair[0].exists() and write(*pair))]
            there = list(each(lambda pair: write(*pair), missing))  # before it waits for any that others are at
            for pair in [pair for pair, done in zip(missing, there, strict=True) if not done]:
                write(*pair, wait=True)
        for place, part in zip(places, parts, strict=True):
            yield part, _made(shards.parquet()[1].read_table(place).to_pylist())

    return share


def _columns(made: dict) -> dict[str, list]:
    """Return the columns of a table with one row per entry: its key, and a sketch or another value as JSON."""
    columns = {name: [] for name in ("key", "value", *SKETCH)}
    for key, value in made.items():
        parts = [None] * len(SKETCH)
        if isinstance(value, Sketch):
            arrays = [array.tobytes() for array in (value.grey, value.points, value.descriptors)]
            parts, value = [len(value.grey), *arrays, float(value.enlarged)], None
        cells = [json.dumps(key), json.dumps(value, default=lambda array: array.tolist()), *parts]
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    return columns


def _made(rows: list[dict]) -> dict:
    """Return the entries of a table."""
    made = {}
    for row in rows:
        number, second, *more = json.loads(row["key"])
        value = json.loads(row["value"])
        if more:  # a link between two pictures
            link = value and Link(*value)
            link = link and link._replace(matrix=np.array(link.matrix), view=View(*link.view))
            made[number, second, View(*more[0]), more[1]] = link
        elif second == "detailed":
            grey, descriptors = (np.frombuffer(row[name], np.uint8) for name in ("grey", "descriptors"))
            points = np.frombuffer(row["points"], np.float32).reshape(-1, 2)
            arrays = grey.reshape(row["height"], -1), points, descriptors.reshape(-1, 128)
            made[number, second] = Sketch(*arrays, row["enlarged"])
        else:
            made[number, second] = [(other, View(*view), votes) for other, view, votes in value]
    return made
