"""An archive is answered in shards that appear whole: a killed job, a second process and a list in any form."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from pcos_utils.config import ROOT
from pcos_utils.data import shards
from pcos_utils.serving import archive
from tests.conftest import refused
from tests.serving.made import frame, png


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """120 files: copies of two frames, and two of three are no picture."""
    place, content = tmp_path_factory.mktemp("archive") / "frames", [png(frame(seed)) for seed in (1, 2)]
    for number in range(120):
        path = place / f"day {number // 50}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[number % 2] if number % 3 == 1 else b"no picture")
    return place


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(shards, "SIZE", 25)


def test_folder_list_and_parquet_give_the_same_answers_once(folder, served, tmp_path, monkeypatch):
    out, files = tmp_path / "out", sorted(folder.rglob("*.png"))
    assert archive.answer([folder], served, out) == (120, 80, 5)
    table = pd.read_parquet(out).sort_values("image", ignore_index=True)
    assert table.image.tolist() == [str(path) for path in files] and (table.refusal == "not an image").sum() == 80
    wanted, columns = archive.Served(served).answer(files[1]).row(), ["image", "decision", "refusal", "reasons", "run"]
    assert table.loc[1, columns].to_dict() == {name: wanted[name] for name in columns}
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in files))
    pd.DataFrame({"path": map(str, files), "more": 1}).to_parquet(tmp_path / "list.parquet")
    monkeypatch.setattr(archive.Served, "answer", None)  # whatever is there is not made again
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert {path.suffix for path in before} == {".parquet"}
    for given in ([folder], [tmp_path / "list.txt"], [tmp_path / "list.parquet"]):
        assert archive.answer(given, served, out) == (120, 80, 5)
        assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_what_does_not_belong_together_is_a_sentence(folder, served, tmp_path):
    files, out = sorted(folder.rglob("*.png"))[:50], tmp_path / "out"
    bad, empty = tmp_path / "bad.parquet", tmp_path / "empty.txt"
    archive.answer(files, served, out)
    bad.write_bytes(b"no parquet")
    empty.write_text("\n")
    for words, given, place in (
        ("000000.parquet was made from other images", files[1:], out),
        ("000001.parquet belongs to a longer list", files[:25], out),
        ("lies inside", [folder], folder / "out"),
        ("no Parquet file with a column 'path'", [bad], tmp_path / "bad"),
        ("no image to answer", [empty], tmp_path / "empty"),
    ):
        refused(words, archive.answer, given, served, place)
    (out / "000001.parquet").write_bytes(b"half")
    refused("000001.parquet cannot be read", archive.answer, files, served, out)


def test_a_shard_that_another_process_makes_is_left_to_it(tmp_path):
    path = tmp_path / "000000.parquet"
    with FileLock(tmp_path / ".000000.lock"):
        assert not shards.ensure(path, ["a"], lambda: {"x": [1]}, wait=False)
    (tmp_path / ".000000.4711.parquet").write_text("left by a killed process")
    assert shards.ensure(path, ["a"], lambda: {"x": [1]}, wait=False) and [*tmp_path.iterdir()] == [path]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills need a POSIX system")
def test_killed_three_times_predict_and_audit_end_like_undisturbed_ones(served):
    command = [sys.executable, "-m", "studies.kill_archive", str(served), "--frames", "240", "--size", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    files = [line.split(" | ", 4)[4] for line in done.stdout.splitlines()]
    assert files == ["38 | the same bytes", "12 | the same bytes"]
