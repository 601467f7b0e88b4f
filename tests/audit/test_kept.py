"""What was kept gives the families of fresh ones, and only the first pictures are read again."""

import numpy as np
import pytest
from PIL import Image

from pcos_utils.audit import families, sources
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
