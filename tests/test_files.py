"""Files appear whole or not at all."""

import pytest

from pcos_utils.files import appearing, write_text


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
