"""The real images, where this workplace has them: counted, read, and the bad files named. None is ever committed."""

import base64
import io
import re
import subprocess

import cv2
import numpy as np
import pytest
from PIL import Image

from pcos_utils import config
from pcos_utils.audit import signatures, summary
from pcos_utils.audit.sources import find_sources
from pcos_utils.data import manifest, splits
from pcos_utils.data.images import load
from pcos_utils.data.survey import survey

SHARED = config.ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the real images (../shared/data) are not on this machine")


def test_dataset_b_holds_42_pictures_and_one_has_two_labels():
    folder = SHARED / "dataset-b"
    table = find_sources(manifest.scan(folder), folder)
    assert table.groupby("label").size().to_dict() == {0: 32, 1: 13} and table.status.eq("ok").all()
    families = table.groupby("source").path.apply(lambda paths: sorted(path.split("/")[1] for path in paths))
    several = [["normal_23.jpg", "normal_29.jpg", "normal_40.jpg"], ["normal_28.jpg", "pco_12.jpg"]]
    assert sorted(family for family in families if len(family) > 1) == several
    assert summary.against_names(table).to_dict() == {"images": 45, "frames": 45, "joined": 2, "parted": 0}
    drawn = splits.draw(table, config.study(data=str(folder)))
    assert (drawn.used == "two labels").sum() == 2
    for fold in range(3):
        assert splits.guard(splits.roles(drawn, "grouped", 0, fold, 0), "grouped") == 0


@pytest.mark.slow
def test_dataset_a_names_its_four_empty_files_and_shows_eight_pictures_in_both_folders():
    folder = SHARED / "dataset-a"
    table = find_sources(manifest.scan(folder), folder)
    empty = table[table.status == "empty"]
    assert len(table) == 3850 and len(empty) == 4 and empty.path.str.startswith("test/notinfected/").all()
    count = summary.totals(table).set_index("fact")["count"]
    assert count[summary.SOURCES] == count[summary.CROSSING] == 8 and count[summary.NEW_SOURCES] == 0
    assert count[summary.COPIED_BYTES] == 1922 and count[summary.BOTH_LABELS] == 0
    assert not splits.enough(splits.draw(table, config.study(data=str(folder))), config.study(data=str(folder)))


@pytest.mark.slow
def test_no_real_image_is_committed_neither_as_a_file_nor_within_a_figure():
    known = []
    for folder in sorted(SHARED.iterdir()):
        images = survey(folder)
        table = find_sources(images[:: 1 + len(images) // 200].reset_index(drop=True), folder)  # of 3,846 copies a few
        known += signatures.sign(table[table.source != ""].drop_duplicates("source"), folder)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=config.ROOT, capture_output=True, text=True, check=True)
    tracked = [config.ROOT / name for name in listed.stdout.split("\0") if name]
    pictures = {str(path): path.read_bytes() for path in tracked if path.suffix in (".png", ".jpg")}
    for path in (path for path in tracked if path.suffix in (".ipynb", ".html", ".svg")):
        coded = re.findall(r"iVBORw0KGgo[\w+/=]+|/9j/[\w+/=]+", re.sub(r"\\n|\n", "", path.read_text("utf-8")))
        pictures |= {f"{path} {number}": base64.b64decode(text) for number, text in enumerate(coded)}
    decoded = [np.array(Image.open(io.BytesIO(content)).convert("L")) for content in pictures.values()]
    assert len(decoded) > 30 and len(known) > 90
    shown = signatures.recognised(decoded, known)
    assert [name for name, (keypoints, _) in zip(pictures, shown, strict=True) if keypoints] == []
    own = SHARED / "dataset-b" / "pco" / "pco_2.jpg"
    assert signatures.recognised([cv2.resize(load(own)[10:-20, 15:], None, fx=0.8, fy=0.8)], known)[0][0]
