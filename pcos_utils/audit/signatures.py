"""Recognise the pictures that developed a method when only their keypoints are known, and no pixel of them.

Without pixels the speckle cannot be compared, which decides in ``matching``. So of the keypoints that two pictures
should share, the part that they do share decides. In trials copies that were turned and cropped shared half of them,
copies shrunk by a frame or by JPEG a quarter and more, other frames of one scanner's screen a fifth at most. A second
scan of the same ovary is sometimes taken for a copy, which leaves it out of a test, too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.audit import matching, sketches
from pcos_utils.audit.candidates import Index
from pcos_utils.audit.gathering import CANDIDATES, KNOWN, STRETCHES
from pcos_utils.audit.sketches import INVERTED, UPRIGHT, Sketch, View
from pcos_utils.audit.sources import places
from pcos_utils.data.images import load
from pcos_utils.files import appearing
from pcos_utils.progress import bar

LEAST_SHARED = 0.25  # of the keypoints that both pictures should show


@dataclass(frozen=True, eq=False)
class Signature:
    """What is kept of a picture: its keypoints."""

    points: np.ndarray  # float32 (n, 2), x and y in the sketched picture
    descriptors: np.ndarray  # uint8 (n, 128)
    shape: np.ndarray  # height and width of the sketched picture


def sign(sources: pd.DataFrame, folder: Path) -> list[Signature]:
    """Return the signatures of the sources behind a table of ``find_sources``, in an order that names no image.

    A source has one, and a further one for each image of it that shows a part not yet seen.
    """
    readable, signatures = sources[sources.status == "ok"].drop_duplicates("pixel_sha256"), []
    for _, images in bar(readable.groupby("source"), "sign", total=readable.source.nunique()):
        kept: list[Sketch] = []
        for place in places(images, folder):
            picture = sketches.sketch(load(place))
            links = (matching.compare(known, picture, view) for known in kept for view in UPRIGHT)
            if not any(link and link.coverage >= KNOWN for link in links):
                kept.append(picture)
        signatures += [_signature(picture) for picture in kept]
    return sorted(signatures, key=lambda signature: signature.descriptors.tobytes())


def _signature(picture: Sketch) -> Signature:
    return Signature(picture.points, picture.descriptors, np.array(picture.grey.shape))


def save(signatures: list[Signature], path: Path) -> None:
    """Write signatures to one .npz file."""
    points = np.concatenate([each.points for each in signatures]).astype(np.float16)  # to a quarter of a pixel
    descriptors = np.concatenate([each.descriptors for each in signatures])
    shapes, sizes = np.array([each.shape for each in signatures]), [len(each.points) for each in signatures]
    with appearing(path) as temporary:
        np.savez_compressed(temporary, points=points, descriptors=descriptors, shapes=shapes, sizes=sizes)


def read(path: Path) -> list[Signature]:
    """Read the signatures that ``save`` wrote."""
    with np.load(path) as stored:
        ends = stored["sizes"].cumsum()[:-1]
        points = np.split(stored["points"].astype(np.float32), ends)
        descriptors, shapes = np.split(stored["descriptors"], ends), stored["shapes"]
    return [Signature(*parts) for parts in zip(points, descriptors, shapes, strict=True)]


def recognised(pictures: Iterable[np.ndarray], known: list[Signature]) -> list[tuple[int, float]]:
    """Return the keypoints that each 8-bit picture shares with the known one it shows, and their part, or (0, 0.0)."""
    index = Index()
    for number, signature in enumerate(known):
        index.add(number, signature.descriptors)
    return [_recognised(sketches.sketch(pixels), known, index) for pixels in pictures]


def _recognised(picture: Sketch, known: list[Signature], index: Index) -> tuple[int, float]:
    def search(descriptors: np.ndarray, views: tuple[View, ...], of: Sketch = picture) -> tuple[int, float]:
        """Return the best of the candidates that descriptors look up."""
        candidates, seen = index.candidates(descriptors, CANDIDATES, views), _signature(of)
        return max((shared(known[number], seen, view) for number, view, _ in candidates), default=(0, 0.0))

    best = max(search(picture.descriptors, UPRIGHT), search(picture.descriptors, INVERTED))
    if not best[0]:  # a known picture may be a small part of this one, or this one may be stretched
        dense = sketches.dense(picture)
        best = max(search(dense.descriptors, UPRIGHT, dense), best)
        best = max(best, *(search(sketches.stretched(picture, factor), UPRIGHT) for factor in STRETCHES))
    return best


def shared(first: Signature, second: Signature, view: View) -> tuple[int, float]:
    """Return how many keypoints two pictures share, and which part of those they should; (0, 0.0) for too few."""
    fitted = matching.fit(first, second, view)
    if fitted is None:
        return 0, 0.0
    matrix, inlier = fitted[:2]
    inside = min(_inside(first, second, matrix), _inside(second, first, np.linalg.inv(matrix)))
    part = float(inlier.sum() / max(inside, 1))
    return (int(inlier.sum()), min(part, 1.0)) if part >= LEAST_SHARED else (0, 0.0)


def _inside(first: Signature, second: Signature, matrix: np.ndarray) -> int:
    """Return how many keypoints of the first picture lie within the second, by a map from one to the other."""
    moved = first.points @ matrix[:2, :2].T + matrix[:2, 2]
    return int(((moved >= 0) & (moved < second.shape[::-1])).all(axis=1).sum())
