"""Index keypoints, so that a new picture is compared with a few candidates instead of all known pictures.

The index uses locality-sensitive hashing by random planes (Charikar 2002, doi:10.1145/509907.509965). Similar
descriptors lie on the same side of most planes, so they often share a key, and a picture that shares many rare keys
is a candidate. The cost of a query depends on the new picture's keypoints and hardly on the number of known pictures.
"""

from collections import defaultdict
from functools import cache
from heapq import nsmallest

import cv2
import numpy as np

from pcos_utils.audit.matching import MIRROR, root, sketch

TABLES = 8  # chances for a descriptor to meet a similar one
BITS = 32  # planes behind a key, one bit each
PARTS = 24  # principal components that the planes cut; the others are mostly noise
CROWD = 64  # most pictures behind a key that counts; a key with more stands for screen layout or plain edges
LEAST_VOTES = 1.0  # about one key that no other picture has


class Index:
    """The pictures known so far, by number, to be searched with the descriptors of a new one."""

    def __init__(self):
        self._pictures = defaultdict(list)  # key -> numbers of pictures

    def add(self, number: int, descriptors: np.ndarray) -> None:
        """Add a picture with its descriptors, uint8 (n, 128)."""
        for key in _keys(descriptors):
            self._pictures[key].append(number)

    def candidates(self, descriptors: np.ndarray, most: int) -> list[tuple[int, bool, float]]:
        """Return at most ``most`` candidates (picture, mirrored, votes), the likeliest first.

        ``descriptors`` is uint8 (n, 128). Each key has one vote, which the pictures behind it share.
        """
        votes = defaultdict(float)
        for mirrored in (False, True):
            for key in _keys(descriptors[:, MIRROR] if mirrored else descriptors):
                behind = self._pictures.get(key, ())
                if len(behind) <= CROWD:
                    for number in behind:
                        votes[number, mirrored] += 1 / len(behind)
        ranked = nsmallest(most, votes.items(), key=lambda vote: (-vote[1], vote[0]))
        return [(*candidate, total) for candidate, total in ranked if total >= LEAST_VOTES]


def _keys(descriptors: np.ndarray) -> list[int]:
    """Return the distinct keys of a picture; each key contains the number of its table."""
    centre, planes = _planes()
    sides = ((root(descriptors) - centre) @ planes > 0).reshape(len(descriptors), TABLES, BITS)
    packed = np.packbits(sides, axis=2).view(np.uint32)[..., 0].astype(np.int64)
    return np.unique(packed + (np.arange(TABLES, dtype=np.int64) << BITS)).tolist()


@cache
def _planes() -> tuple[np.ndarray, np.ndarray]:
    """Return a centre (128,) and planes (128, TABLES * BITS) that fit the descriptors of speckle of several sizes.

    Planes drawn for arbitrary vectors would leave most descriptors of ultrasound on one side. These halve them.
    """
    rng, descriptors = np.random.default_rng(0), []
    for size in (0.8, 1.2, 1.8, 2.5, 3.5, 5):
        speckle = cv2.GaussianBlur(rng.rayleigh(1, (200, 200)).astype(np.float32), (0, 0), size)
        descriptors.append(sketch(cv2.normalize(speckle, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)).descriptors)
    values = root(np.concatenate(descriptors))
    centre = values.mean(axis=0)
    _, parts = np.linalg.eigh(np.cov((values - centre).T))  # ascending: the last columns vary most
    planes = parts[:, -PARTS:] @ rng.standard_normal((PARTS, TABLES * BITS))
    return centre, planes.astype(np.float32)
