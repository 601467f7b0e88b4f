"""Gather images into families of one source picture, by comparing each image with candidates from an index.

Families of frames that share anatomy but no speckle form clips. A collage shows one picture in each of its panels; it
stands apart, and no family grows through it.

Only *exemplars* are kept: the first image of a family, and each later image that shows a good part not yet seen.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, groupby
from operator import itemgetter
from typing import NamedTuple

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from pcos_utils.audit import matching, sketches
from pcos_utils.audit.candidates import Index
from pcos_utils.audit.kept import ahead
from pcos_utils.audit.matching import Link
from pcos_utils.audit.sketches import INVERTED, UPRIGHT, Sketch, View

CANDIDATES = 6  # most pictures that a new one is compared with
GLANCES = 2  # the same at a first look
FAINT = 0.1  # share of a confirmed relative's votes; candidates with fewer votes are not compared
KNOWN = 0.5  # share of an image's detail; if its family has shown this much of it, the image adds nothing new
PART = 2.0  # a picture that has so many times fewer pixels a side than another may be a part of it
STRETCHES = (1.5, 1 / 1.5)  # for a second look-up of a picture that found no relative
WORKERS = 2  # threads that read and sketch ahead
FEW = 300  # pictures; in a smaller folder every picture is sketched in full at once, since time matters little


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
    keep: Callable[..., Callable[[int], Sketch]] = lambda sketch, way, pool: sketch,
) -> Families:
    """Gather ``count`` pictures into families; ``read(i)`` returns the pixels of picture i, 8-bit, grey or RGB.

    ``keep`` may keep the sketches, as ``kept.keep`` does.
    """
    gathering = _Gathering(count)
    look = sketches.glance if count > FEW else sketches.sketch
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        # Only the pool runs in parallel, because threads inside each small product would wait for one another.
        with threadpool_limits(1), ThreadPoolExecutor(WORKERS) as pool:
            sketch = keep(lambda number: look(read(number)), look.__name__, pool)
            for number, picture in enumerate(progress(ahead(pool, sketch, range(count)))):
                gathering.place(number, picture)
            gathering.look_again(pool)
    finally:
        cv2.setNumThreads(threads)
    collages = gathering.settle()
    family = [gathering.root(number) for number in range(count)]
    apart = {(number, *sorted((family[left], family[right]))) for number, left, right in gathering.refused}
    refused = sorted(join for join in apart if join[1] != join[2])
    shows = {number: sorted(collages[home]) for number, home in enumerate(family) if home in collages}
    neighbours = [pair for pair in gathering.neighbours if not shows.keys() & pair]
    facts = gathering.inliers, gathering.plain, refused, gathering.unsure
    return Families(np.array(family, int), *facts, _clips(family, neighbours), shows)


class _Gathering:
    def __init__(self, count: int):
        self.parent = list(range(count))
        self.size = [1] * count
        self.inliers = np.zeros(count, int)
        self.plain = np.zeros(count, bool)
        self.unsure = np.zeros(count, bool)
        self.exemplars: dict[int, Sketch] = {}
        self.joined_by: dict[int, tuple[int, Link]] = {}  # exemplar -> the exemplar and link through which it joined
        self.index = Index()
        self.unlike: set[tuple[int, int, View]] = set()  # pairs that were compared in full, in vain
        self.refused: list[tuple[int, int, int]] = []  # (picture, exemplar, exemplar) of two families that it matched
        self.neighbours: list[tuple[int, int]] = []  # exemplars that are probably frames of one clip
        self.panels: list[tuple[int, int, Link]] = []  # (picture, what one of its panels shows, link)

    def place(self, number: int, picture: Sketch) -> None:
        """Put a picture into its family, and make it an exemplar if it shows something new."""
        links = []
        if len(picture.points) <= sketches.GLANCE_KEYPOINTS:
            links = self.links(number, picture, picture.descriptors, most=GLANCES)
            if not links or links[0][1].coverage < KNOWN:
                picture, links = sketches.detailed(picture), []
        if len(picture.points) < matching.LEAST_INLIERS:
            self.plain[number] = True
            return
        links = links or self.links(number, picture, picture.descriptors)
        if links:
            links.sort(key=lambda link: -link[1].inliers)
            self.inliers[number] = links[0][1].inliers
            self.union(number, links[0][0])
            for second in links[1:]:
                self.bridge(number, links[0], second)
        if not links or max(link.coverage for _, link in links) < KNOWN:
            self.exemplars[number] = picture
            self.index.add(number, picture.descriptors)
            if links:
                self.joined_by[number] = links[0]

    def links(
        self,
        number: int,
        picture: Sketch,
        descriptors: np.ndarray,
        views: Sequence[View] = UPRIGHT,
        most: int = CANDIDATES,
    ) -> list[tuple[int, Link]]:
        """Return (exemplar, link) for each other family that shows the same tissue; ``descriptors`` are looked up."""
        links, enough = [], 0.0
        reached = {self.root(number)}
        for other, view, votes in self.index.candidates(descriptors, most, views):
            pair = (min(number, other), max(number, other), view)
            if votes < enough or self.root(other) in reached or pair in self.unlike:
                continue
            known = self.exemplars[other]
            if most > GLANCES and picture.enlarged > PART * known.enlarged:
                known = sketches.detailed(known, sketches.DENSE_KEYPOINTS)
            link = matching.relate(known, picture, view)
            copy = link and link.copy and link.sure
            if copy and link.whole is None:
                links.append((other, link))
                reached.add(self.root(other))
                enough = max(enough, FAINT * votes)
            elif copy:
                self.panels.append((*((number, other) if link.whole else (other, number)), link))
            elif link and most > GLANCES:
                self.neighbours.append((other, number))
                self.unsure[[number, other]] |= link.copy
            if most > GLANCES and not (copy and link.whole is None):
                self.unlike.add(pair)
        return links

    def look_again(self, pool: ThreadPoolExecutor) -> None:
        """Look up exemplars again, now that later relatives are known, and inverted; the lonely ones also stretched."""
        for number, picture in self.exemplars.items():
            self.connect(number, picture.descriptors, UPRIGHT)
            if self.root(number) == number:
                self.connect(number, picture.descriptors, INVERTED)

        def stretch(number: int) -> list[np.ndarray]:
            """Return the descriptors of an exemplar stretched each way."""
            return [sketches.stretched(self.exemplars[number], factor) for factor in STRETCHES]

        alone = [number for number in self.exemplars if self.size[self.root(number)] == 1]
        for number, looks in zip(alone, ahead(pool, stretch, alone), strict=True):
            for descriptors in looks:
                self.connect(number, descriptors)

    def connect(self, number: int, descriptors: np.ndarray, views: Sequence[View] = UPRIGHT) -> None:
        """Join an exemplar's family with each that it matches, through ``bridge`` if either exemplar joined another."""
        for other, link in self.links(number, self.exemplars[number], descriptors, views):
            if number in self.joined_by:
                self.bridge(number, self.joined_by[number], (other, link))
            elif other in self.joined_by:
                back = link._replace(matrix=np.linalg.inv(link.matrix))
                self.bridge(other, self.joined_by[other], (number, back))
            else:
                self.union(number, other)
            if self.root(number) == self.root(other):
                later = max(number, other)
                self.inliers[later] = self.inliers[later] or link.inliers

    def bridge(self, number: int, first: tuple[int, Link], second: tuple[int, Link]) -> None:
        """Join the two families that one picture matches, unless that would be chaining.

        They are joined if their exemplars agree with each other on the part that both show, or if a second picture
        matches both families too. One picture alone may be a collage of two.
        """
        (left, to_left), (right, to_right) = first, second
        pair = {self.root(left), self.root(right)}
        if len(pair) == 1:
            return
        between = np.linalg.inv(to_right.matrix) @ to_left.matrix
        inverted = to_left.view.inverted != to_right.view.inverted
        agreement, _ = matching.agree(self.exemplars[left], self.exemplars[right], between / between[2, 2], inverted)
        self.refused.append((number, left, right))
        # Families may merge between two witnesses, so they are compared by the roots of their exemplars.
        witnesses = {witness for witness, a, b in self.refused if {self.root(a), self.root(b)} == pair}
        if agreement >= matching.LEAST_AGREEMENT or len(witnesses) > 1:
            self.union(left, right, min(to_left.inliers, to_right.inliers))

    def settle(self) -> dict[int, set[int]]:
        """Join each picture whose panels show one family with that, and return the others: {collage: its families}."""
        for _, panels in groupby(sorted(self.panels, key=itemgetter(0)), itemgetter(0)):
            for (_, part, link), (_, other, also) in combinations(panels, 2):
                if self.root(part) != self.root(other) and _overlap(link.box, also.box):  # one panel
                    self.union(part, other, min(link.inliers, also.inliers))
        while True:
            shown = {self.root(whole): set() for whole, _, _ in self.panels}
            for whole, part, _ in self.panels:
                shown[self.root(whole)] |= {self.root(part)} - {self.root(whole)}
            single = [panel for panel in self.panels if len(shown[self.root(panel[0])]) == 1]
            if not single:
                return {whole: families for whole, families in shown.items() if families}
            for whole, part, link in single:
                self.union(whole, part, link.inliers)

    def root(self, number: int) -> int:
        """Return the number of the first picture of a picture's family."""
        while self.parent[number] != number:
            self.parent[number] = number = self.parent[self.parent[number]]
        return number

    def union(self, left: int, right: int, inliers: int = 0) -> None:
        """Join the families of two pictures, which share so many ``inliers`` where that is not noted yet."""
        first, last = sorted((self.root(left), self.root(right)))
        if first != last:
            self.parent[last] = first
            self.size[first] += self.size[last]
            self.inliers[last] = self.inliers[last] or inliers


def _overlap(first: list[float], second: list[float]) -> bool:
    """Return whether two boxes, [left, top, right, bottom], share more than half of the smaller one."""
    width, height = (min(first[axis + 2], second[axis + 2]) - max(first[axis], second[axis]) for axis in (0, 1))
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return width > 0 and height > 0 and width * height > 0.5 * smaller


def _clips(family: list[int], neighbours: list[tuple[int, int]]) -> np.ndarray:
    """Return the first picture of each picture's clip: families of which ``neighbours`` are linked, each a pair."""
    left, right = np.array(neighbours, int).reshape(-1, 2).T
    numbers, count = np.arange(len(family)), len(family)
    links = np.append(left, numbers), np.append(right, family)
    clip = connected_components(coo_array((np.ones(len(links[0])), links), shape=(count, count)), directed=False)[1]
    return numbers[np.unique(clip, return_index=True)[1]][clip]
