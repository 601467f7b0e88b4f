"""Shards repeat their bytes, are made once, and hold masks that agree at the network's size."""

import cv2
import numpy as np
import pytest

from pcos_utils.follicles import training_set
from pcos_utils.phantom import simulator
from pcos_utils.phantom.anatomy import Effects
from tests.phantom.test_simulator import assert_apart


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(training_set, "SHARD", 4)


@pytest.mark.slow
def test_workers_change_no_byte_and_a_second_call_makes_nothing(small, tmp_path):
    one, two = (training_set.shards(tmp_path / str(number), 5, processes=number) for number in (1, 2))
    assert [(path.name, path.read_bytes()) for path in one] == [(path.name, path.read_bytes()) for path in two]
    assert len(one) == 3 == len(list((tmp_path / "1").iterdir()))
    before = [path.stat().st_mtime_ns for path in one]
    assert training_set.shards(tmp_path / "1", 5) == one and training_set.shards(tmp_path / "1", 4) == one[:2]  # nested
    assert [path.stat().st_mtime_ns for path in one] == before


def test_a_torn_or_stale_shard_is_made_again_and_an_impossible_size_refused(small, tmp_path, monkeypatch):
    (path,) = training_set.shards(tmp_path, 2, processes=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    training_set.shards(tmp_path, 2, processes=1)
    assert path.read_bytes() == whole
    with pytest.raises(ValueError, match="per_class"):
        training_set.shards(tmp_path, 0)
    monkeypatch.setattr(simulator, "VERSION", "0")
    start = training_set.FIRST_SEED
    assert training_set._settings_in(path) != training_set._settings(start, start + 4, Effects())


def test_a_shard_holds_the_phantoms_of_its_seeds(small, tmp_path):
    assert training_set.FIRST_SEED > 999 * 1_000_000  # the seeds of a study begin at a million times its own
    effects = Effects(faint=False)
    table = training_set.load(training_set.shards(tmp_path, 4, seed=1, effects=effects, processes=1))
    assert table["images"].shape == table["cores"].shape == (8, 128, 192)
    assert all(table[name].dtype == np.uint8 for name in ("images", "follicles", "cores", "ovary"))
    assert table["label"].tolist() == [0, 1] * 4
    assert table["seed"].tolist() == list(range(1_001_000_000, 1_001_000_008))
    one = simulator.simulate(1_001_000_003, 1, effects=effects)
    np.testing.assert_array_equal(table["images"][3], cv2.resize(one.image, (192, 128), interpolation=cv2.INTER_AREA))
    for number in range(8):
        follicles, cores = table["follicles"][number], table["cores"][number]
        assert follicles.max() == table["FNPS"][number]
        assert_apart(cores, follicles)
