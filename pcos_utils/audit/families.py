"""Gather images into families of one source picture.

Families of frames that share anatomy but no speckle form clips. A collage shows one picture in each of its panels; it
stands apart, and no family grows through it.

In a large folder several processes compare pictures with those placed before; this one then places them in order. So
the number of processes changes no family.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, groupby, pairwise
from multiprocessing.pool import ThreadPool
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from pcos_utils.audit import sketches
from pcos_utils.audit.gathering import Gathering
from pcos_utils.audit.parallel import one_thread, share
from pcos_utils.audit.sketches import Sketch

WORKERS = 2  # threads that read and sketch ahead
FEW = 300  # pictures; in a smaller folder every picture is sketched in full at once, since time matters little
SMALL = 1024  # pictures; a smaller folder is looked at by one process
FIRST = 16  # pictures of the first round


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
    share: Callable = share,
) -> Families:
    """Gather ``count`` pictures into families; ``read(i)`` returns the pixels of picture i, 8-bit, grey or RGB.

    ``share`` may keep what the processes find, as ``kept.keep`` does; otherwise it is that of ``parallel``.
    """
    gathering, (first, *rounds) = Gathering(count), _rounds(count)
    look = sketches.glance if rounds or count > FEW else sketches.sketch

    def sketch(number: int) -> Sketch:
        """Return the sketch of a picture."""
        return look(read(number))

    def look_at(gathering: Gathering, numbers: list[int]) -> None:
        """Look for relatives of pictures among those placed so far."""
        for number in numbers:
            gathering.look(number, sketch(number))

    def placed() -> Iterator[int]:
        """Place all pictures, and yield their numbers."""
        with ThreadPool(WORKERS) as pool:
            for number, picture in zip(first, pool.imap(sketch, first), strict=True):  # few, so all may wait
                gathering.place(number, picture)
                yield number
        for numbers in rounds:
            gathering.learn()
            for part, made in share(gathering, look_at, numbers):
                gathering.made = made
                for number in part:
                    gathering.place(number, None)
                    yield number
            gathering.made = None

    with one_thread():
        deque(progress(placed()), maxlen=0)
        gathering.look_again(share)
    collages = _settle(gathering)
    family = [gathering.root(number) for number in range(count)]
    apart = {(number, *sorted((family[left], family[right]))) for number, left, right in gathering.refused}
    refused = sorted(join for join in apart if join[1] != join[2])
    shows = {number: sorted(collages[home]) for number, home in enumerate(family) if home in collages}
    facts = gathering.inliers, gathering.plain, refused, gathering.unsure
    for pair in gathering.neighbours:  # last, because these make clips and no families
        if not shows.keys() & pair:
            gathering.union(*pair)
    clip = [gathering.root(number) for number in range(count)]
    return Families(np.array(family, int), *facts, np.array(clip, int), shows)


def _rounds(count: int) -> list[list[int]]:
    """Return the numbers of the pictures of each round; a small folder has one round, in order.

    In a large folder each round has as many pictures as all before it, in random order, so that most pictures have
    relatives in earlier rounds. The rounds depend on the number of pictures alone.
    """
    if count < SMALL:
        return [list(range(count))]
    numbers = np.random.default_rng(0).permutation(count).tolist()
    ends = [0, *(end for power in range(64) if (end := FIRST << power) < count), count]
    return [numbers[start:end] for start, end in pairwise(ends)]


def _settle(gathering: Gathering) -> dict[int, set[int]]:
    """Join each picture whose panels show one family with that, and return the others: {collage: its families}."""
    root, all_panels = gathering.root, gathering.panels
    for _, panels in groupby(sorted(all_panels, key=itemgetter(0)), itemgetter(0)):
        for (_, part, link), (_, other, also) in combinations(panels, 2):
            if root(part) != root(other) and sketches.overlap(link.box, also.box):  # one panel
                gathering.union(part, other, min(link.inliers, also.inliers))
    while True:
        shown = {root(whole): set() for whole, _, _ in all_panels}
        for whole, part, _ in all_panels:
            shown[root(whole)] |= {root(part)} - {root(whole)}
        single = [panel for panel in all_panels if len(shown[root(panel[0])]) == 1]
        if not single:
            return {whole: families for whole, families in shown.items() if families}
        for whole, part, link in single:
            gathering.union(whole, part, link.inliers)
