"""Keep the families of each part of an audit in a shard, so that an audit that was killed need not find them again."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pcos_utils.audit.gathering import Gathering
from pcos_utils.audit.matching import Link
from pcos_utils.audit.parallel import each_part
from pcos_utils.audit.sketches import Sketch, View
from pcos_utils.data import shards
from pcos_utils.files import code

CODE = [f"audit/{name}.py" for name in ("sketches", "candidates", "matching", "gathering")]
FACTS = ("parent", "size", "inliers", "plain", "unsure")
SKETCHED = {
    "height": lambda picture: picture.grey.shape[0],
    "grey": lambda picture: picture.grey.tobytes(),
    "points": lambda picture: picture.points.tobytes(),
    "descriptors": lambda picture: picture.descriptors.tobytes(),
    "enlarged": lambda picture: float(picture.enlarged),
}


def keep(
    pictures: Sequence[str],
    folder: Path,
    way: str,
    find: Callable[[range], Gathering],
    parts: list[range],
    progress: Callable[[Iterable], Iterable],
) -> Iterator[Gathering]:
    """Write what ``find`` finds in each part that no shard holds, then yield each part.

    ``pictures``: the digest of each picture's pixels; ``way``: the name of how they are sketched. A second
    process with the same arguments shares the work.
    """
    facts, busy = f"{way} {code(*CODE)}", []
    places = {part: folder / f"{number:06}.parquet" for number, part in enumerate(parts)}

    def write(part: range, wait: bool = False) -> bool:
        """Return whether the part has its shard; else another process is at it."""
        made_from = [facts, *(pictures[number] for number in part)]
        return shards.ensure(places[part], made_from, lambda: _columns(find(part)), wait=wait)

    def written() -> Iterator[int]:
        """Write the parts, and yield the number of each picture."""
        for part, there in zip(parts, each_part(write, parts), strict=True):
            busy.extend([] if there else [part])
            yield from part

    deque(progress(written()), maxlen=0)
    for part in busy:
        write(part, wait=True)
    for part in parts:
        yield _gathering(shards.parquet()[1].read_table(places[part]).to_pydict())


def _columns(part: Gathering) -> dict[str, list]:
    """Return the columns of a part's table, one row per picture; the first row also holds all links."""
    pictures = [part.exemplars.get(number) for number in range(len(part.parent))]
    columns = {name: np.asarray(getattr(part, name)).tolist() for name in FACTS}
    columns |= {name: [tell(each) if each else None for each in pictures] for name, tell in SKETCHED.items()}
    links = [part.joined_by.items(), part.refused, part.neighbours, part.panels, list(part.unlike)]
    text = json.dumps([list(each) for each in links], default=lambda value: value.tolist())
    return columns | {"links": [text] + [None] * (len(pictures) - 1)}


def _gathering(columns: dict[str, list]) -> Gathering:
    """Return the part whose table has these columns."""
    part = Gathering(len(columns["parent"]))
    for name in FACTS:
        getattr(part, name)[:] = columns[name]
    rows = zip(*(columns[name] for name in SKETCHED), strict=True)
    part.exemplars = {number: _sketch(*row) for number, row in enumerate(rows) if row[0]}
    joined_by, part.refused, part.neighbours, panels, unlike = json.loads(columns["links"][0])
    part.joined_by = {number: (other, _link(*link)) for number, (other, link) in joined_by}
    part.panels = [(whole, shown, _link(*link)) for whole, shown, link in panels]
    part.unlike = {(left, right, View(*view)) for left, right, view in unlike}
    return part


def _sketch(height: int, grey: bytes, points: bytes, descriptors: bytes, enlarged: float) -> Sketch:
    return Sketch(
        np.frombuffer(grey, np.uint8).reshape(height, -1),
        np.frombuffer(points, np.float32).reshape(-1, 2),
        np.frombuffer(descriptors, np.uint8).reshape(-1, 128),
        enlarged,
    )


def _link(*facts) -> Link:
    link = Link(*facts)
    return link._replace(matrix=np.array(link.matrix), view=View(*link.view))
