"""Which known pictures could show the tissue of a new one: an index of keypoints, so that none is compared with all.

Locality-sensitive hashing by random planes (Charikar 2002, doi:10.1145/509907.509965): like descriptors lie on the
same side of most planes, so they often share a key, and a picture that shares many rare keys is a candidate. What a
query costs depends on the keypoints of the new picture, hardly on the number of pictures known.
"""

from collections import defaultdict
from functools import cache
from heapq import nsmallest

import cv2
import numpy as np

from pcos_utils.data.keypoints import MIRROR, root, sketch

TABLES = 8  # chances of each descriptor to meet its like
BITS = 32  # sides of planes in a key
PARTS = 24  # principal components that the planes cut; the others are mostly noise
CROWD = 64  # pictures behind one key from which it says nothing: screen furniture, or plain edges
LEAST_VOTES = 1.0  # about one key that no other picture has


class Index:
    """Pictures known so far, by number, and the way from a picture's descriptors to candidates among them."""

    def __init__(self):
        self._pictures = defaultdict(list)  # key -> numbers of pictures

    def add(self, number: int, descriptors: np.ndarray) -> None:
        """Nothing: the picture is known from now on. ``descriptors``: uint8 (n, 128)."""
        for key in _keys(descriptors):
            self._pictures[key].append(number)

    def candidates(self, descriptors: np.ndarray, most: int) -> list[tuple[int, bool, float]]:
        """(picture, mirrored, votes), at most ``most``, the likeliest first. ``descriptors``: uint8 (n, 128).

        A key votes for every picture behind it, and the fewer there are the more each vote weighs.
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
    """The distinct keys of a picture; the table's number is part of each."""
    centre, planes = _planes()
    sides = ((root(descriptors) - centre) @ planes > 0).reshape(len(descriptors), TABLES, BITS)
    packed = np.packbits(sides, axis=2).view(np.uint32)[..., 0].astype(np.int64)
    return np.unique(packed + (np.arange(TABLES, dtype=np.int64) << BITS)).tolist()


@cache
def _planes() -> tuple[np.ndarray, np.ndarray]:
    """Centre (128,) and planes (128, TABLES * BITS), laid through the descriptors of speckle of several sizes.

    Planes drawn for arbitrary vectors would put most descriptors of ultrasound on one side; these halve them.
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
