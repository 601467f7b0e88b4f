"""Files appear whole or not at all."""

import os
import threading

import pytest

from pcos_utils import files
from pcos_utils.files import alone_in, appearing, cached, meaning, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "new" / "table.csv"
    write_text(target, "older")
    write_text(target, "old")
    with pytest.raises(RuntimeError), appearing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and len(list(target.parent.iterdir())) == 1


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    done = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: (done.append(os.fstat(handle).st_size), sync(handle)))
    monkeypatch.setattr(files.os, "replace", lambda *names: (done.append("renamed"), rename(*names)))
    write_text(tmp_path / "table.csv", "four")
    assert done == [4, "renamed"]


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
    assert done == ["first", "second"] and {path.name for path in (tmp_path / "run").iterdir()} <= {".lock"}


def test_without_locks_on_the_file_system_nobody_waits_and_nothing_is_removed(tmp_path, monkeypatch):
    left = tmp_path / ".table.12.csv"
    left.write_text("perhaps another process is writing it")

    def refuse(*_, **__):
        raise OSError(files.errno.ENOLCK, "no locks here")

    monkeypatch.setattr(files.FileLock, "acquire", refuse)
    with alone_in(tmp_path, lambda: pytest.fail("waited")):
        assert left.exists()


def test_what_a_killed_process_left_is_removed_and_other_hidden_files_stay(tmp_path):
    for name in (".weights.12.safetensors", ".run.12.json", ".gitkeep", ".hidden.txt", "table.12.csv"):
        (tmp_path / name).write_text("x")
    with alone_in(tmp_path, lambda: None):
        left = {path.name for path in tmp_path.iterdir()} - {".lock"}
        assert left == {".gitkeep", ".hidden.txt", "table.12.csv"}


def test_a_folder_is_made_again_when_a_fact_or_a_file_changes_and_what_fails_leaves_no_record(tmp_path):
    folder, calls = tmp_path / "run", []

    def make() -> dict:
        calls.append(1)
        write_text(folder / "table.csv", f"{len(calls)}")
        return {"number": len(calls)}

    assert cached(folder, {"seed": 0}, make)[1] and not cached(folder, {"seed": 0}, make)[1]
    record, now = cached(folder, {"seed": 1}, make)
    assert now and record["number"] == 2 and record["seed"] == 1
    for name, text in (("table.csv", "edited"), ("table.csv", None), ("run.json", "{"), ("run.json", "[]")):
        (folder / name).unlink() if text is None else write_text(folder / name, text)
        assert cached(folder, {"seed": 1}, make)[1]
    assert cached(folder, {"seed": 1, "effects": "none"}, make)[1] and cached(folder, {"seed": 1}, make)[1]
    with pytest.raises(ZeroDivisionError):
        cached(folder, {"seed": 0}, lambda: 1 / 0)
    assert not (folder / files.RECORD).exists()


def test_words_about_the_code_do_not_change_what_it_says():
    bare = "def f(x):\n    return x + 1\n"
    said = '"""A room."""\n\n\ndef f(x):\n    """One more."""\n    return x + 1  # why\n'
    assert meaning(bare) == meaning(said) != meaning(bare.replace("1", "2"))


def test_a_folder_that_may_not_be_listed_is_not_missed(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a.png").touch()
    scan = os.scandir

    def refuse(place):
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    assert [*files.files_below(tmp_path)] == [tmp_path / "open" / "a.png", tmp_path / "closed"]
