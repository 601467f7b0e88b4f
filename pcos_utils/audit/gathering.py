"""Place pictures into families one by one, by comparing each with candidates from an index.

Only *exemplars* are kept: the first image of a family, and each later image that shows a good part not yet seen.
Families are joined by union-find (Tarjan 1975, doi:10.1145/321879.321884).
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import partial
from itertools import product

import numpy as np

from pcos_utils.audit import matching, sketches
from pcos_utils.audit.candidates import Index
from pcos_utils.audit.matching import Link
from pcos_utils.audit.sketches import INVERTED, UPRIGHT, Sketch, View

CANDIDATES = 4  # most pictures that a new one is compared with
GLANCES = 2  # the same at a first look
FAINT = 0.1  # share of a confirmed relative's votes; candidates with fewer votes are not compared
KNOWN = 0.5  # share of an image's detail; if its family has shown this much of it, the image adds nothing new
PART = 2.0  # a picture that has so many times fewer pixels a side than another may be a part of it
STRETCHES = (1.5, 1 / 1.5)  # for a second look-up of a picture that found no relative
FEW_EXEMPLARS = 100  # no more are looked at again in this process alone, since it takes less than seconds


class Gathering:
    """So many pictures, numbered from 0, each a family of its own at first, and what is known of their families."""

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
        self.shown: dict[int, dict[int, View]] = {}  # exemplar -> what its panels show, by exemplar, and in which view
        self.learnt = 0  # panels that are noted there
        self.firsts: set[int] = set()  # of each family the first exemplar, which is looked up inverted for all
        self.made: dict | None = None  # what other processes have looked up and compared

    def place(self, number: int, picture: Sketch | None) -> None:
        """Put a picture, None where ``made`` tells of it, into its family, as an exemplar if it shows something new."""
        if self.made is None:
            self.learn()
        picture, links = self.look(number, picture)
        if links is None:
            self.plain[number] = True
            return
        links = sorted(links, key=lambda link: -link[1].inliers)
        if links:
            self.union(number, links[0][0], links[0][1].inliers)
            for second in links[1:]:
                self.bridge(number, links[0], second)
        if not links or max(link.coverage for _, link in links) < KNOWN:
            self.exemplars[number] = picture
            self.index.add(number, picture.descriptors)
            if links:
                self.joined_by[number] = links[0]

    def look(self, number: int, picture: Sketch | None) -> tuple[Sketch | None, list[tuple[int, Link]] | None]:
        """Return a picture, perhaps in detail, and (exemplar, link) of each family that it matches; None if plain."""
        if picture is None or len(picture.points) <= sketches.GLANCE_KEYPOINTS:
            candidates = self.once((number, "glance"), lambda: self.index.candidates(picture.descriptors, GLANCES))
            links = self.links(number, picture, candidates, GLANCES)
            if links and links[0][1].coverage >= KNOWN:
                return picture, links
            picture = self.once((number, "detailed"), lambda: sketches.detailed(picture))
        if len(picture.points) < matching.LEAST_INLIERS:
            return picture, None
        return picture, self.links(number, picture, self.index.candidates(picture.descriptors, CANDIDATES))

    def links(
        self, number: int, picture: Sketch, candidates: Iterable[tuple[int, View, float]], most: int = CANDIDATES
    ) -> list[tuple[int, Link]]:
        """Return (exemplar, link) for each other family, of the candidates, that shows the same tissue."""
        links, enough, tried, reached = [], 0.0, set(), {self.root(number)}
        # One that shows others in its panels comes last: it says no more of a picture that is a relative of these, and
        # where it shows the picture they are likely relatives, so they join the queue.
        queue = deque(sorted(candidates, key=lambda candidate: candidate[0] in self.shown))
        while queue:
            other, view, votes = queue.popleft()
            pair = (min(number, other), max(number, other), view)
            shown = self.shown.get(other, {})
            if votes < enough or self.root(other) in reached or pair in tried or pair in self.unlike:
                continue
            if links and any(self.root(part) in reached for part in shown):
                continue
            tried.add(pair)
            key = (number, other, view, most)
            if picture is None and key not in self.made:  # another process saw no need
                continue
            link = self.once(key, partial(_relate, self.exemplars[other], picture, view, most))
            copy = link and link.copy and link.sure
            if copy and link.whole is None:
                links.append((other, link))
                reached.add(self.root(other))
                enough = max(enough, FAINT * votes)
            elif copy:
                self.panels.append((*((number, other) if link.whole else (other, number)), link))
                if not link.whole:
                    queue += [(part, view.after(seen), votes) for part, seen in shown.items()]
            elif link and most > GLANCES:
                self.neighbours.append((other, number))
                self.unsure[[number, other]] |= link.copy
            if most > GLANCES and not (copy and link.whole is None):
                self.unlike.add(pair)
        return links

    def learn(self) -> None:
        """Note what the panels of exemplars show, for pictures to come: of each family the first exemplar."""
        for whole, part, link in self.panels[self.learnt :]:
            if whole in self.exemplars and part in self.exemplars:
                parts = self.shown.setdefault(whole, {})
                if not any(self.root(part) == self.root(known) for known in parts):
                    parts[part] = link.view
        self.learnt = len(self.panels)

    def once(self, key: tuple, make: Callable):
        """Return what was made for a key, here or in another process."""
        made = {} if self.made is None else self.made
        if key not in made:
            made[key] = make()
        return made[key]

    def look_again(self, share: Callable) -> None:
        """Look up exemplars again, now that later relatives are known, and inverted; the lonely ones also stretched."""
        self.learn()
        numbers, self.made = list(self.exemplars), {}
        self.firsts = set({self.root(number): number for number in reversed(numbers)}.values())
        if len(numbers) > FEW_EXEMPLARS:
            for _, made in share(self, Gathering.look_at, numbers):
                self.made |= made
        self.look_at(numbers)
        self.made = None

    def snapshot(self) -> "Gathering":
        """Return a copy that may look things up and join families without changing this one."""
        other = copy(self)
        vars(other).update({name: copy(value) for name, value in vars(self).items()}, made={})
        return other

    def look_at(self, numbers: list[int]) -> None:
        """Look up these exemplars again."""
        for number in numbers:
            descriptors = self.exemplars[number].descriptors
            self.connect(number, "upright", UPRIGHT, lambda descriptors=descriptors: descriptors)
            if number in self.firsts:
                self.connect(number, "inverted", INVERTED, lambda descriptors=descriptors: descriptors)
        alone = [number for number in numbers if self.size[self.root(number)] == 1]
        for number, factor in product(alone, STRETCHES):
            self.connect(number, factor, UPRIGHT, partial(sketches.stretched, self.exemplars[number], factor))

    def connect(self, number: int, look: str | float, views: Sequence[View], descriptors: Callable) -> None:
        """Join an exemplar's family with each that it matches; another exemplar of one that stays apart may join it."""
        most = CANDIDATES + len(views)  # it is in the index itself, once in each view
        candidates = self.once((number, look), lambda: self.index.candidates(descriptors(), most, views))
        candidates = [candidate for candidate in candidates if candidate[0] != number][:CANDIDATES]
        while links := self.links(number, self.exemplars[number], candidates):
            for other, link in links:
                self.attach(number, other, link)
            if all(self.root(number) == self.root(other) for other, _ in links):
                return
            candidates = [candidate for candidate in candidates if candidate[0] not in dict(links)]

    def attach(self, number: int, other: int, link: Link) -> None:
        """Join the families of two exemplars that match, through ``bridge`` if either joined another before."""
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


def _relate(known: Sketch, picture: Sketch, view: View, most: int) -> Link | None:
    """Return the link between an exemplar and a picture, of which one may be a small part of the other."""
    if most > GLANCES and picture.enlarged > PART * known.enlarged:
        known = sketches.dense(known)
    elif most > GLANCES and known.enlarged > PART * picture.enlarged:
        picture = sketches.dense(picture)
    return matching.relate(known, picture, view)
