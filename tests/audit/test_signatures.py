"""Pictures are recognised by keypoints alone, and strangers are not."""

import numpy as np
import pytest

from pcos_utils.audit import signatures
from pcos_utils.audit.sources import find_sources
from pcos_utils.data.survey import survey
from pcos_utils.phantom.simulator import simulate
from tests.serving.test_confirm import put, turned


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The signatures of six phantoms, one of them with a copy, written and read again."""
    folder = tmp_path_factory.mktemp("known")
    for seed in range(6):
        put(folder, f"{seed}.png", seed % 2, simulate(4_000_003_000 + seed, seed % 2).image)
    put(folder, "again.png", 0, turned(simulate(4_000_003_000, 0).image))
    kept = signatures.sign(find_sources(survey(folder), folder), folder)
    signatures.save(kept, folder / "kept.npz")
    return signatures.read(folder / "kept.npz")


def test_a_copy_of_a_source_adds_no_signature_unless_it_shows_more(known):
    assert 6 <= len(known) <= 7


@pytest.mark.parametrize(
    "change",
    [turned, lambda x: 255 - x, lambda x: x[:, ::-1], lambda x: x[50:150, 75:225], lambda x: x[::2, ::2]],
    ids=["turned", "inverted", "mirrored", "a quarter", "half the size"],
)
def test_changed_copies_are_recognised(known, change):
    pictures = [np.ascontiguousarray(change(simulate(4_000_003_000 + seed, seed % 2).image)) for seed in range(6)]
    found = signatures.recognised(pictures, known)
    assert sum(inliers > 0 for inliers, _ in found) >= 5 and all(part <= 1 for _, part in found)


@pytest.mark.slow
def test_strangers_and_plain_pictures_are_not(known):
    pictures = [simulate(4_000_004_000 + seed, seed % 2).image for seed in range(12)]
    assert signatures.recognised([*pictures, np.zeros((90, 90), np.uint8)], known) == [(0, 0.0)] * 13
