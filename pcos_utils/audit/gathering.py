"""Place pictures into families one by one, by comparing each with candidates from an index.

Only *exemplars* are kept: the first image of a family, and each later image that shows a good part not yet seen.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import combinations, groupby, product
from operator import itemgetter

import numpy as np
from joblib import cpu_count

from pcos_utils.audit import matching, sketches
from pcos_utils.audit.candidates import Index
from pcos_utils.audit.matching import Link
from pcos_utils.audit.parallel import each_part, one_thread
from pcos_utils.audit.sketches import INVERTED, UPRIGHT, Sketch, View

CANDIDATES = 6  # most pictures that a new one is compared with
GLANCES = 2  # the same at a first look
FAINT = 0.1  # share of a confirmed relative's votes; candidates with fewer votes are not compared
KNOWN = 0.5  # share of an image's detail; if its family has shown this much of it, the image adds nothing new
PART = 2.0  # a picture that has so many times fewer pixels a side than another may be a part of it
STRETCHES = (1.5, 1 / 1.5)  # for a second look-up of a picture that found no relative
FEW_EXEMPLARS, MANY_EXEMPLARS = 100, 5_000  # between them, processes look again: it takes seconds, and 2 GB at most


class Gathering:
    """So many pictures, numbered from 0, and what is known of their families."""

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
        self.made: dict | None = None  # candidates and links that ``look_again`` has looked for

    def place(self, number: int, picture: Sketch) -> None:
        """Put a picture into its family, and make it an exemplar if it shows something new."""
        links = []
        if len(picture.points) <= sketches.GLANCE_KEYPOINTS:
            links = self.links(number, picture, self.candidates(picture, GLANCES), GLANCES)
            if not links or links[0][1].coverage < KNOWN:
                picture, links = sketches.detailed(picture), []
        if len(picture.points) < matching.LEAST_INLIERS:
            self.plain[number] = True
            return
        links = links or self.links(number, picture, self.candidates(picture))
        if self.join(number, links):
            self.exemplars[number] = picture
            self.index.add(number, picture.descriptors)

    def join(self, number: int, links: list[tuple[int, Link]]) -> bool:
        """Join a picture's family with those that it matches, and return whether it shows something new."""
        links = sorted(links, key=lambda link: -link[1].inliers)
        new = not links or max(link.coverage for _, link in links) < KNOWN
        if links and number not in self.joined_by:
            other, link = links[0]
            self.union(number, other, link.inliers)
            if new:
                self.joined_by[number] = links[0]
        first = self.joined_by.get(number, *links[:1])
        for link in links:
            self.bridge(number, first, link)
        return new

    def absorb(self, part: "Gathering", start: int) -> None:
        """Take over the families of a part, whose pictures are numbered from ``start`` on, and join them with these.

        Its exemplars are compared with these. One that shows nothing new is given up, unless another joined by it.
        """
        here = slice(start, start + len(part.parent))
        self.parent[here] = [start + parent for parent in part.parent]
        self.size[here] = part.size
        for name in ("inliers", "plain", "unsure"):
            getattr(self, name)[here] = getattr(part, name)
        self.refused += [(number + start, left + start, right + start) for number, left, right in part.refused]
        self.neighbours += [(left + start, right + start) for left, right in part.neighbours]
        self.panels += [(whole + start, shown + start, link) for whole, shown, link in part.panels]
        self.unlike |= {(left + start, right + start, view) for left, right, view in part.unlike}
        self.joined_by |= {number + start: (other + start, link) for number, (other, link) in part.joined_by.items()}
        exemplars = {number + start: picture for number, picture in part.exemplars.items()}
        # All are looked up before one is added, so that those of one part do not crowd out one another's candidates.
        known = bool(self.exemplars)
        met = {
            number: self.links(number, each, self.candidates(each)) if known else []
            for number, each in exemplars.items()
        }
        needed = {other + start for other, _ in part.joined_by.values()}
        self.exemplars |= exemplars
        for number, picture in exemplars.items():
            if self.join(number, met[number]):
                self.index.add(number, picture.descriptors)
            elif number not in needed:
                del self.exemplars[number]

    def links(
        self, number: int, picture: Sketch, candidates: Iterable[tuple[int, View, float]], most: int = CANDIDATES
    ) -> list[tuple[int, Link]]:
        """Return (exemplar, link) for each other family, of the candidates, that shows the same tissue."""
        links, enough = [], 0.0
        reached = {self.root(number)}
        for other, view, votes in candidates:
            pair = (min(number, other), max(number, other), view)
            if votes < enough or self.root(other) in reached or pair in self.unlike:
                continue
            link = self.once((other, number, view), partial(_relate, self.exemplars[other], picture, view, most))
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

    def candidates(self, picture: Sketch, most: int = CANDIDATES) -> list[tuple[int, View, float]]:
        """Return the candidates for a new picture, seen as it is and in a mirror."""
        return self.index.candidates(picture.descriptors, most, UPRIGHT)

    def once(self, key: tuple, make: Callable):
        """Return what was made for a key, and keep it during ``look_again``, while the index stays as it is."""
        if self.made is None:
            return make()
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def look_again(self) -> None:
        """Look up exemplars again, now that later relatives are known, and inverted; the lonely ones also stretched.

        Several processes share the work. What they see decides nothing: it is put together here, in the order of the
        pictures, so that the number of processes changes no family.
        """
        self.made, numbers = {}, list(self.exemplars)
        if FEW_EXEMPLARS < len(numbers) < MANY_EXEMPLARS:
            shares = [numbers[share :: cpu_count()] for share in range(cpu_count())]
            for made in each_part(partial(_looks, self), shares):
                self.made |= made
        self.look_at(numbers)
        self.made = None

    def look_at(self, numbers: list[int]) -> None:
        """Look up these exemplars again."""
        for number in numbers:
            descriptors = self.exemplars[number].descriptors
            self.connect(number, "upright", UPRIGHT, lambda descriptors=descriptors: descriptors)
            if self.root(number) == number:
                self.connect(number, "inverted", INVERTED, lambda descriptors=descriptors: descriptors)
        alone = [number for number in numbers if self.size[self.root(number)] == 1]
        for number, factor in product(alone, STRETCHES):
            self.connect(number, factor, UPRIGHT, partial(sketches.stretched, self.exemplars[number], factor))

    def connect(self, number: int, look: str | float, views: Sequence[View], descriptors: Callable) -> None:
        """Join an exemplar's family with each that it matches, through ``bridge`` if either exemplar joined another."""
        candidates = self.once((number, look), lambda: self.index.candidates(descriptors(), CANDIDATES, views))
        for other, link in self.links(number, self.exemplars[number], candidates):
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
                if self.root(part) != self.root(other) and sketches.overlap(link.box, also.box):  # one panel
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


def _relate(known: Sketch, picture: Sketch, view: View, most: int) -> Link | None:
    """Return the link between an exemplar and a picture, which may be a small part of it."""
    if most > GLANCES and picture.enlarged > PART * known.enlarged:
        known = sketches.detailed(known, sketches.DENSE_KEYPOINTS)
    return matching.relate(known, picture, view)


def _looks(gathering: Gathering, numbers: list[int]) -> dict:
    """Return the candidates and links that some exemplars' second look needs."""
    gathering.made = {}
    with one_thread():
        gathering.look_at(numbers)
    return gathering.made
