"""Files appear whole or not at all."""

import os
import threading

import pytest

from pcos_utils import files
from pcos_utils.files import alone_in, appearing, cached, meaning, write_text


def test_bytes_are_on_the_disk_before_the_name_is_and_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    target, done = tmp_path / "new" / "table.csv", []
    write_text(target, "older")
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: (done.append(os.fstat(handle).st_size), sync(handle)))
    monkeypatch.setattr(files.os, "replace", lambda *names: (done.append("renamed"), rename(*names)))
    write_text(target, "four")
    assert done == [4, "renamed"]
    with pytest.raises(RuntimeError), appearing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "four" and [*target.parent.iterdir()] == [target]


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


def test_what_a_killed_process_left_is_removed_but_not_where_the_file_system_has_no_locks(tmp_path, monkeypatch):
    names = {".weights.12.safetensors", ".run.12.json", ".gitkeep", ".hidden.txt", "table.12.csv"}
    for name in names:
        (tmp_path / name).write_text("x")

    def refuse(*_, **__):
        raise OSError(files.errno.ENOLCK, "no locks here")

    with monkeypatch.context() as patch:
        patch.setattr(files.FileLock, "acquire", refuse)
        with alone_in(tmp_path, lambda: pytest.fail("waited")):
            assert {path.name for path in tmp_path.iterdir()} - {".lock"} == names
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
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
    (tmp_path / "open" / "a.png").touch()
    scan = os.scandir

    def refuse(place):
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    assert [*files.files_below(tmp_path)] == [tmp_path / "open" / "a.png", tmp_path / "closed"]
