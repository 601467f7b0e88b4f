"""The real images, where this workplace has them: counted, read, and the bad files named. None is ever committed."""

import pytest

from pcos_utils import config
from pcos_utils.data import audit, manifest, splits

SHARED = config.ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the real images (../shared/data) are not on this machine")


def test_dataset_b_is_read_and_split():
    folder = SHARED / "dataset-b"
    table = audit.find_sources(manifest.scan(folder))
    assert table.groupby("label").size().to_dict() == {0: 32, 1: 13} and table.status.eq("ok").all()
    drawn = splits.draw(table, config.study(data=str(folder)))
    for fold in range(3):
        assert splits.guard(splits.roles(drawn, "grouped", 0, fold, 0), "grouped") == 0


def test_dataset_a_names_its_four_empty_files_and_its_folders_overlap():
    table = audit.find_sources(manifest.scan(SHARED / "dataset-a"))
    empty = table[table.status == "empty"]
    assert len(table) == 3850 and len(empty) == 4 and empty.path.str.startswith("test/notinfected/").all()
    count = audit.summary(table).set_index("fact")["count"]
    assert count["sources in both the train and the test folder"] > 1600
