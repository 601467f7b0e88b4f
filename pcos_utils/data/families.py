"""Images gathered into families, each of one source picture: a new image is compared with candidates from an index.

Only *exemplars* are kept: the first image of a family, and each later one of which a good part was not yet seen.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from pcos_utils.data.index import Index
from pcos_utils.data.keypoints import (
    LEAST_AGREEMENT,
    LEAST_INLIERS,
    Link,
    Sketch,
    agree,
    compare,
    sketch,
    stretched,
)

CANDIDATES = 8  # pictures that a new one is compared with, at most
FAINT = 0.1  # of the votes for a picture that proved a copy; candidates below are not tried as well
KNOWN = 0.6  # share of an image's detail from which it shows nothing that its family has not shown
STRETCHES = (1.5, 1 / 1.5)  # in which a picture that found no relative is looked up again
WORKERS = 2  # threads that read and sketch ahead


class Families(NamedTuple):
    """What was found for n pictures."""

    family: np.ndarray  # (n,) the number of the family's first picture
    inliers: np.ndarray  # (n,) keypoints shared with the picture through which it joined; 0 for a family's first
    plain: np.ndarray  # (n,) bool: too few keypoints to be compared at all
    refused: list[tuple[int, int, int]]  # (picture, family, family) that it seemed to join, and was not let to


def gather(read: Callable[[int], np.ndarray], count: int, progress: Callable[[Iterable], Iterable] = iter) -> Families:
    """The families of ``count`` pictures; ``read(i)`` gives the pixels of picture i, 8-bit, grey or RGB."""
    gathering = _Gathering(count)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        # The pool is the parallelism: threads within each small product would only wait for one another.
        with threadpool_limits(1), ThreadPoolExecutor(WORKERS) as pool:
            sketches = _ahead(pool, lambda number: sketch(read(number)), range(count))
            for number, picture in enumerate(progress(sketches)):
                gathering.place(number, picture)
            gathering.look_back()
            gathering.look_again(pool)
    finally:
        cv2.setNumThreads(threads)
    return gathering.result()


class _Gathering:
    def __init__(self, count: int):
        self.parent = list(range(count))
        self.size = [1] * count
        self.inliers = np.zeros(count, int)
        self.plain = np.zeros(count, bool)
        self.exemplars: dict[int, Sketch] = {}
        self.joined_by: dict[int, tuple[int, Link]] = {}  # exemplar -> how it came into its family
        self.index = Index()
        self.refused: list[tuple[int, int, int]] = []  # (picture, exemplar, exemplar) of families that it did not join

    def place(self, number: int, picture: Sketch) -> None:
        """Nothing: the picture is in its family, and an exemplar of it where it shows something new."""
        if len(picture.points) < LEAST_INLIERS:
            self.plain[number] = True
            return
        links = self.links(number, picture)
        if links:
            links.sort(key=lambda found: -found[1].inliers)
            other, link = links[0]
            self.inliers[number] = link.inliers
            self.union(number, other)
            for second, found in links[1:]:
                self.bridge(number, (other, link), (second, found))
        if not links or max(link.coverage for _, link in links) < KNOWN:
            self.exemplars[number] = picture
            self.index.add(number, picture.descriptors)
            if links:
                self.joined_by[number] = links[0]

    def links(self, number: int, picture: Sketch, looked_up: np.ndarray | None = None) -> list[tuple[int, Link]]:
        """(exemplar, link) of each family, other than the picture's own, that shows the same tissue.

        Candidates are looked up by the descriptors ``looked_up``, the picture's own unless given.
        """
        looked_up = picture.descriptors if looked_up is None else looked_up
        found, enough = [], 0.0
        reached = {self.root(number)}
        for other, mirrored, votes in self.index.candidates(looked_up, CANDIDATES):
            if votes < enough or self.root(other) in reached:
                continue
            link = compare(self.exemplars[other], picture, mirrored)
            if link:
                found.append((other, link))
                reached.add(self.root(other))
                enough = max(enough, FAINT * votes)
        return found

    def look_back(self) -> None:
        """Nothing: exemplars that came before their relatives were known have been compared with these."""
        for number, picture in self.exemplars.items():
            for other, link in self.links(number, picture):
                self.connect(number, other, link)

    def look_again(self, pool: ThreadPoolExecutor) -> None:
        """Nothing: pictures that found no relative have been looked up once more, stretched each way."""
        alone = [number for number in self.exemplars if self.size[self.root(number)] == 1]
        looks = _ahead(pool, lambda number: [stretched(self.exemplars[number], by) for by in STRETCHES], alone)
        for number, descriptors in zip(alone, looks, strict=True):
            for looked_up in descriptors:
                for other, link in self.links(number, self.exemplars[number], looked_up):
                    self.connect(number, other, link)

    def connect(self, number: int, other: int, link: Link) -> None:
        """Nothing: the families of two exemplars that match are joined, unless one of the two is a mere bridge."""
        if number in self.joined_by:
            self.bridge(number, self.joined_by[number], (other, link))
        elif other in self.joined_by:
            back = link._replace(matrix=cv2.invertAffineTransform(link.matrix))
            self.bridge(other, self.joined_by[other], (number, back))
        else:
            self.union(number, other)
        if self.root(number) == self.root(other):
            later = max(number, other)
            self.inliers[later] = self.inliers[later] or link.inliers

    def bridge(self, number: int, first: tuple[int, Link], second: tuple[int, Link]) -> None:
        """Nothing: the two families that one picture matches are joined, unless that would be chaining.

        Where both families show the same part of the picture they must agree with each other there. Where they show
        separate parts it may be a collage: then a second picture has to say the same.
        """
        (one, link), (two, other) = first, second
        if self.root(one) == self.root(two):
            return
        between = cv2.invertAffineTransform(other.matrix) @ np.vstack([link.matrix, [0, 0, 1]])
        agreement, _ = agree(self.exemplars[one], self.exemplars[two], between)
        self.refused.append((number, one, two))
        here = {self.root(one), self.root(two)}
        # Families grow together between two witnesses, so that they are known by their exemplars and not by number.
        witnesses = {witness for witness, a, b in self.refused if {self.root(a), self.root(b)} == here}
        if agreement >= LEAST_AGREEMENT or len(witnesses) > 1:
            self.union(one, two)

    def root(self, number: int) -> int:
        """The number of the first picture of a picture's family."""
        while self.parent[number] != number:
            self.parent[number] = number = self.parent[self.parent[number]]
        return number

    def union(self, one: int, two: int) -> None:
        """Nothing: the two families are one."""
        first, last = sorted((self.root(one), self.root(two)))
        if first != last:
            self.parent[last] = first
            self.size[first] += self.size[last]

    def result(self) -> Families:
        """What was found; of the refused joins those that stayed so."""
        family = np.array([self.root(number) for number in range(len(self.parent))], int)
        apart = {(number, *sorted((self.root(one), self.root(two)))) for number, one, two in self.refused}
        refused = sorted(join for join in apart if join[1] != join[2])
        return Families(family, self.inliers, self.plain, refused)


def _ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable, window: int = 16) -> Iterator:
    """The results in order, with no more than ``window`` of them waiting: memory does not grow with the folder."""
    items = iter(items)
    waiting = deque(pool.submit(function, item) for item in islice(items, window))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(function, item) for item in islice(items, 1))
        yield result
