"""Parts that were kept give the families of fresh ones, and no picture is read again."""

import numpy as np
import pytest
from PIL import Image

from pcos_utils.audit import families, sources
from pcos_utils.config import StudyError
from pcos_utils.phantom import simulator


def test_kept_parts_give_the_same_sources_without_a_second_look(tmp_path, monkeypatch):
    monkeypatch.setattr(families, "SMALL", 2)
    scans = [simulator.simulate(seed, 0).image for seed in range(4)]
    scans += [np.ascontiguousarray(scans[0][:, ::-1]), scans[1][10:-10, 10:-10]]
    paths = [tmp_path / f"{number}.png" for number in range(len(scans))]
    for path, pixels in zip(paths, scans, strict=True):
        Image.fromarray(pixels).save(path)
    fresh = sources.find_sources(paths)
    assert fresh.source.nunique() == 4
    assert sources.find_sources(paths, shards=tmp_path / "kept").equals(fresh)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["000000.parquet", "000001.parquet"]
    monkeypatch.setattr(sources, "load", None)
    assert sources.find_sources(paths, shards=tmp_path / "kept").equals(fresh)
    with pytest.raises(StudyError, match="made from other images"):
        sources.find_sources(paths[1:], shards=tmp_path / "kept")
