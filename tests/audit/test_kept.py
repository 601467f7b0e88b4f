"""What was kept gives the families of fresh ones, and only the first pictures are read again."""

import numpy as np
import pytest
from PIL import Image

from pcos_utils.audit import families, parallel, sources
from pcos_utils.audit.gathering import Gathering
from pcos_utils.config import StudyError
from pcos_utils.data import manifest
from pcos_utils.phantom import simulator


def test_what_was_kept_gives_the_same_sources_and_is_not_looked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr(families, "SMALL", 2)
    monkeypatch.setattr(families, "FIRST", 2)
    scans = [simulator.simulate(seed, 0).image for seed in range(4)]
    scans += [np.ascontiguousarray(scans[0][:, ::-1]), scans[1][10:-10, 10:-10]]
    paths = [tmp_path / f"{number}.png" for number in range(len(scans))]
    for path, pixels in zip(paths, scans, strict=True):
        Image.fromarray(pixels).save(path)
    fresh = sources.find_sources(paths)
    assert fresh.source.nunique() == 4
    assert sources.find_sources(paths, shards=tmp_path / "kept").equals(fresh)
    names = ["000000.parquet", "000001.parquet", "decoded-000000.parquet"]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == names
    monkeypatch.setattr(manifest, "_rows", None)  # nothing is decoded again
    read, load = [], sources.load
    monkeypatch.setattr(sources, "load", lambda path: read.append(path) or load(path))
    assert sources.find_sources(paths, shards=tmp_path / "kept").equals(fresh)
    assert len(read) == 2  # those of the first round
    with pytest.raises(StudyError, match="made from other images"):
        sources.find_sources(paths[1:], shards=tmp_path / "kept")


def test_known_pictures_are_in_memory_once_and_used_without_a_copy():
    gathering = Gathering(3)
    gathering.index._blocks = [
        (np.arange(7), np.arange(7, dtype=np.int32)),
        (np.arange(3), np.arange(3, dtype=np.int32)),
    ]
    with parallel.stored(gathering, print):
        arrays = [array for block in gathering.index._blocks for array in block]
    assert [len(array) for array in arrays] == [7, 7, 3, 3]
    assert all(array.flags.aligned and not array.flags.owndata for array in arrays)  # else each search copies them
