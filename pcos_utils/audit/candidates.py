"""Index keypoints, so that a new picture is compared with a few candidates instead of all known pictures.

The index uses locality-sensitive hashing by random planes (Charikar 2002, doi:10.1145/509907.509965). Similar
descriptors lie on the same side of most planes, so they often share a key, and a picture that shares many rare keys
is a candidate. The cost of a query depends on the new picture's keypoints and hardly on the number of known pictures.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from pcos_utils.audit.sketches import UPRIGHT, View, root, sketch

TABLES = 8  # chances for a descriptor to meet a similar one
BITS = 32  # planes behind a key, one bit each
PARTS = 24  # principal components that the planes cut; the others are mostly noise
CROWD = 64  # most pictures behind a key that counts; a key with more stands for screen layout or plain edges
LEAST_VOTES = 2.0  # about two keys that no other picture has


class Index:
    """The pictures known so far, by number, to be searched with the descriptors of a new one."""

    def __init__(self):
        # Keys in ascending order, and the picture behind each; a block has more than four times the keys of the next.
        self._blocks: list[tuple[np.ndarray, np.ndarray]] = []
        self._end = 1  # above the greatest number of a picture

    def add(self, number: int, descriptors: np.ndarray) -> None:
        """Add a picture with its descriptors, uint8 (n, 128)."""
        self._end = max(self._end, number + 1)
        keys = _keys(root(descriptors))
        pictures = np.full(len(keys), number, np.int32)
        while self._blocks and len(self._blocks[-1][0]) <= 4 * len(keys):
            earlier = self._blocks.pop()
            keys, pictures = np.concatenate([earlier[0], keys]), np.concatenate([earlier[1], pictures])
        order = np.argsort(keys, kind="stable")
        self._blocks.append((keys[order], pictures[order]))

    def candidates(
        self, descriptors: np.ndarray, most: int, views: Sequence[View] = UPRIGHT
    ) -> list[tuple[int, View, float]]:
        """Return at most ``most`` (picture, view, votes) of like descriptors, uint8 (n, 128), the likeliest first."""
        values = root(descriptors)
        keys = [_keys(values[:, view.order]) for view in views]
        size = self._end
        offset = np.repeat(np.arange(len(views)), list(map(len, keys))) * size
        numbers, votes = self._votes(np.concatenate(keys), offset)
        view, number = np.divmod(numbers, size)
        enough = np.flatnonzero(votes >= LEAST_VOTES)
        best = enough[np.lexsort((view[enough], number[enough], -votes[enough]))[:most]]
        return [(int(number[place]), views[view[place]], float(votes[place])) for place in best]

    def _votes(self, keys: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the pictures behind the keys plus each key's offset, each once, and their votes."""
        behind, pictures = [np.zeros(0, int)], [np.zeros(0, np.int32)]
        for known, numbers in self._blocks:
            start = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            hit = np.flatnonzero(known[start] == keys)
            start, size = start[hit], np.searchsorted(known, keys[hit], "right") - start[hit]
            place = np.repeat(start - np.cumsum(size) + size, size) + np.arange(size.sum())
            behind.append(np.repeat(hit, size))
            pictures.append(numbers[place])
        behind, pictures = np.concatenate(behind), np.concatenate(pictures)
        crowd = np.bincount(behind, minlength=1)[behind]
        told = crowd <= CROWD
        numbers, which = np.unique(pictures[told] + offset[behind[told]], return_inverse=True)
        return numbers, np.bincount(which, 1 / crowd[told], minlength=len(numbers))


def _keys(values: np.ndarray) -> np.ndarray:
    """Return the distinct keys of RootSIFT descriptors in ascending order; each contains the number of its table."""
    centre, parts, planes = _planes()
    sides = ((values - centre) @ parts @ planes > 0).reshape(len(values), TABLES, BITS)
    packed = np.packbits(sides, axis=2).view(np.uint32)[..., 0].astype(np.int64)
    keys = np.sort(packed + (np.arange(TABLES, dtype=np.int64) << BITS), axis=None)
    return keys[np.diff(keys, prepend=-1) > 0]


@cache
def _planes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what fits descriptors of speckle: centre (128,), components (128, PARTS), planes (PARTS, TABLES * BITS).

    Planes drawn for arbitrary vectors would leave most descriptors of ultrasound on one side. These halve them.
    """
    rng, descriptors = np.random.default_rng(0), []
    for size in (0.8, 1.2, 1.8, 2.5, 3.5, 5):
        speckle = cv2.GaussianBlur(rng.rayleigh(1, (200, 200)).astype(np.float32), (0, 0), size)
        descriptors.append(sketch(cv2.normalize(speckle, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)).descriptors)
    values = root(np.concatenate(descriptors))
    centre = values.mean(axis=0)
    _, parts = np.linalg.eigh(np.cov((values - centre).T))  # ascending: the last columns vary most
    planes = rng.standard_normal((PARTS, TABLES * BITS))
    return centre, parts[:, -PARTS:].astype(np.float32), planes.astype(np.float32)
