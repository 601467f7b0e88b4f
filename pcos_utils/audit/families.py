"""Gather images into families of one source picture.

Families of frames that share anatomy but no speckle form clips. A collage shows one picture in each of its panels; it
stands apart, and no family grows through it.

A large folder is gathered in parts, each in a process; then the families of the parts are joined. How many parts there
are depends on the number of pictures alone, so that every machine finds the same families.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pcos_utils.audit import sketches
from pcos_utils.audit.gathering import Gathering
from pcos_utils.audit.parallel import ahead, each_part, one_thread

WORKERS = 2  # threads that read and sketch ahead
FEW = 300  # pictures; in a smaller folder every picture is sketched in full at once, since time matters little
SMALL = 512  # pictures of a part at least; a part has up to twice as many


class Families(NamedTuple):
    """The families of n pictures."""

    family: np.ndarray  # (n,) number of the family's first picture
    inliers: np.ndarray  # (n,) keypoints shared with the picture through which it joined; 0 for a family's first
    plain: np.ndarray  # (n,) bool, whether it has too few keypoints to be compared
    refused: list[tuple[int, int, int]]  # (picture, family, family): families that it matched but that stay apart
    unsure: np.ndarray  # (n,) bool, whether it matched, but with too little speckle to tell a copy from a twin
    clip: np.ndarray  # (n,) number of the first picture of all families that are probably of one clip
    collages: dict[int, list[int]]  # picture -> the families that it shows, each in a panel of its own


def gather(
    read: Callable[[int], np.ndarray],
    count: int,
    progress: Callable[[Iterable], Iterable] = iter,
    keep: Callable | None = None,
) -> Families:
    """Gather ``count`` pictures into families; ``read(i)`` returns the pixels of picture i, 8-bit, grey or RGB.

    ``keep`` may keep what is found in each part, as ``kept.keep`` does.
    """
    look = sketches.glance if count > FEW else sketches.sketch
    gathering, parts = Gathering(count), _parts(count)
    inside = progress if len(parts) == 1 and not keep else iter

    def find(numbers: range) -> Gathering:
        """Return the families of a part."""
        return _of_part(numbers, lambda number: look(read(number)), inside)

    def absorbed(found: Iterable[Gathering]) -> Iterator[int]:
        """Join the families of the parts, and yield the number of each picture."""
        for numbers, part in zip(parts, found, strict=True):
            gathering.absorb(part, numbers.start)
            yield from numbers

    if keep:
        absorbing = absorbed(keep(look.__name__, find, parts, progress))
    else:
        absorbing = absorbed(each_part(find, parts))
        absorbing = progress(absorbing) if len(parts) > 1 else absorbing
    deque(absorbing, maxlen=0)
    with one_thread():
        gathering.look_again()
    collages = gathering.settle()
    family = [gathering.root(number) for number in range(count)]
    apart = {(number, *sorted((family[left], family[right]))) for number, left, right in gathering.refused}
    refused = sorted(join for join in apart if join[1] != join[2])
    shows = {number: sorted(collages[home]) for number, home in enumerate(family) if home in collages}
    neighbours = [pair for pair in gathering.neighbours if not shows.keys() & pair]
    facts = gathering.inliers, gathering.plain, refused, gathering.unsure
    return Families(np.array(family, int), *facts, _clips(family, neighbours), shows)


def _parts(count: int) -> list[range]:
    """Return the numbers of the pictures of each part; the number of parts is a power of two, to suit any cores."""
    parts = 1 << max(0, (count // SMALL).bit_length() - 1)
    ends = [count * part // parts for part in range(parts + 1)]
    return list(map(range, ends[:-1], ends[1:]))


def _of_part(numbers: range, sketch: Callable, progress: Callable[[Iterable], Iterable]) -> Gathering:
    """Return the families of the pictures of a part, numbered from 0."""
    gathering = Gathering(len(numbers))
    with one_thread(), ThreadPoolExecutor(WORKERS) as pool:
        for number, picture in enumerate(progress(ahead(pool, sketch, numbers))):
            gathering.place(number, picture)
    return gathering


def _clips(family: list[int], neighbours: list[tuple[int, int]]) -> np.ndarray:
    """Return the first picture of each picture's clip: families of which ``neighbours`` are linked, each a pair."""
    left, right = np.array(neighbours, int).reshape(-1, 2).T
    numbers, count = np.arange(len(family)), len(family)
    links = np.append(left, numbers), np.append(right, family)
    clip = connected_components(coo_array((np.ones(len(links[0])), links), shape=(count, count)), directed=False)[1]
    return numbers[np.unique(clip, return_index=True)[1]][clip]
