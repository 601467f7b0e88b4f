"""Files appear whole or not at all."""

import os
import threading

import pytest

from pcos_utils import files
from pcos_utils.files import alone_in, appearing, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    write_text(target, "old")
    with pytest.raises(RuntimeError), appearing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_good_write_replaces(tmp_path):
    target = tmp_path / "new" / "table.csv"
    write_text(target, "a")
    write_text(target, "b")
    assert target.read_text() == "b" and len(list(target.parent.iterdir())) == 1


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    done = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: (done.append(os.fstat(handle).st_size), sync(handle)))
    monkeypatch.setattr(files.os, "replace", lambda *names: (done.append("renamed"), rename(*names)))
    write_text(tmp_path / "table.csv", "four")
    assert done == [4, "renamed"]


@pytest.mark.skipif(files.fcntl is None, reason="this system has no such locks")
def test_the_second_waits_until_the_first_has_left(tmp_path):
    told, done = threading.Event(), []

    def second():
        with alone_in(tmp_path / "run", told.set):
            done.append("second")

    with alone_in(tmp_path / "run", lambda: done.append("the first waited")):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(30)
        done.append("first")
    thread.join(30)
    assert done == ["first", "second"] and list((tmp_path / "run").iterdir()) == []


@pytest.mark.skipif(files.fcntl is None, reason="this system has no such locks")
def test_without_locks_on_the_file_system_nobody_waits_and_nothing_is_removed(tmp_path, monkeypatch):
    left = tmp_path / ".table.12.csv"
    left.write_text("perhaps another process is writing it")

    def refuse(*_):
        raise OSError(files.errno.ENOLCK, "no locks here")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with alone_in(tmp_path, lambda: pytest.fail("waited")):
        assert left.exists()


@pytest.mark.skipif(files.fcntl is None, reason="this system has no such locks")
def test_what_a_killed_process_left_is_removed_and_other_hidden_files_stay(tmp_path):
    for name in (".weights.12.safetensors", ".run.12.json", ".gitkeep", ".hidden.txt", "table.12.csv"):
        (tmp_path / name).write_text("x")
    with alone_in(tmp_path, lambda: None):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".gitkeep", ".hidden.txt", "table.12.csv"]
