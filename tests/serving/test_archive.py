"""An archive is answered in shards that appear whole: a killed job, a second process and a list in any form."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from pcos_utils.config import ROOT, StudyError
from pcos_utils.data import shards
from pcos_utils.files import sha256
from pcos_utils.serving import archive
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


def digests(place: Path) -> dict:
    assert not [path for path in place.iterdir() if path.suffix != ".parquet"]
    return {path.name: sha256(path) for path in place.iterdir()}


def test_folder_list_and_parquet_give_the_same_answers_once(folder, served, tmp_path, monkeypatch):
    out, files = tmp_path / "out", sorted(folder.rglob("*.png"))
    assert archive.answer([folder], served, out) == (120, 80, 5)
    table = pd.read_parquet(out).sort_values("image", ignore_index=True)
    assert table.image.tolist() == [str(path) for path in files] and (table.refusal == "not an image").sum() == 80
    wanted = served_answer(served, files[1])
    assert table.loc[1, list(wanted)].to_dict() == wanted
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in files))
    pd.DataFrame({"path": map(str, files), "more": 1}).to_parquet(tmp_path / "list.parquet")
    monkeypatch.setattr(archive.Served, "answer", None)  # whatever is there is not made again
    before = digests(out)
    for given in ([folder], [tmp_path / "list.txt"], [tmp_path / "list.parquet"]):
        assert archive.answer(given, served, out) == (120, 80, 5) and digests(out) == before


def served_answer(model: Path, path: Path) -> dict:
    row = archive.Served(model).answer(path).row()
    return {name: row[name] for name in ("image", "decision", "refusal", "reasons", "run")}


def test_what_does_not_belong_together_is_a_sentence(folder, served, tmp_path):
    def refused(words: str, given: list[Path], out: Path = tmp_path / "out") -> None:
        with pytest.raises(StudyError, match=words):
            archive.answer(given, served, out)

    files = sorted(folder.rglob("*.png"))[:50]
    archive.answer(files, served, tmp_path / "out")
    refused("000000.parquet was made from other images", files[1:])
    refused("000001.parquet belongs to a longer list", files[:25])
    refused("lies inside", [folder], folder / "out")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    refused("no Parquet file with a column 'path'", [tmp_path / "bad.parquet"], tmp_path / "bad")
    (tmp_path / "empty.txt").write_text("\n")
    refused("no image to answer", [tmp_path / "empty.txt"], tmp_path / "empty")
    (tmp_path / "out" / "000001.parquet").write_bytes(b"half")
    refused("000001.parquet cannot be read", files)


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
