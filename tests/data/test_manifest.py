"""Every file in a class folder gets a row, and a folder that cannot be studied says why."""

import numpy as np
import pytest
from PIL import Image

from pcos_utils.config import StudyError
from pcos_utils.data import manifest
from tests.data.made import noise, put


def test_layouts_class_names_and_splits(tmp_path):
    labels = {"test/NotInfected/b.png": 0, "train/Infected/a.png": 1, "validation/pcos/deeper/c d.png": 1}
    put(tmp_path, *labels, "elsewhere/e.png")
    table = manifest.scan(tmp_path).set_index("path")
    assert table.label.to_dict() == labels and list(table.folder_split) == ["test", "train", "test"]
    outside = [manifest.outside(tmp_path, own=own) for own in (None, tmp_path)]
    (tmp_path / "manifest.csv").touch()  # what a study keeps is not counted
    outside += [manifest.outside(tmp_path, own=own) for own in (None, tmp_path)]
    assert list(table.width) == [200] * 3 and outside == [1, 1, 2, 1]


def test_bad_files_keep_a_row_and_a_manifest_reads_back_as_it_was(tmp_path):
    put(tmp_path, "pco/good.png", "normal/NA.png")
    (tmp_path / "pco" / "empty.jpg").touch()
    (tmp_path / "normal" / "page.jpg").write_text("<html>")
    links = {"dangling.png": tmp_path / "nowhere.png", "self.png": "self.png", "a.png": "b.png", "b.png": "a.png"}
    for name, place in (links | {"loop": tmp_path}).items():
        (tmp_path / "normal" / name).symlink_to(place)
    assert {"self.png", "a.png", "b.png"} < {path.name for path in manifest.walk(tmp_path, follow=True)}
    scanned = manifest.scan(tmp_path)
    table = scanned.set_index("path")
    assert table.status.to_dict() == {f"normal/{name}": "unreadable" for name in links} | {
        "pco/good.png": "ok", "normal/NA.png": "ok", "pco/empty.jpg": "empty", "normal/page.jpg": "not an image",
        "normal/loop": "not a file",
    }  # fmt: skip
    assert table.reason[table.status == "ok"].eq("").all() and table.reason[table.status != "ok"].str.len().gt(5).all()
    assert "JPEG" in table.reason["normal/page.jpg"] and "link to a folder" in table.reason["normal/loop"]
    assert table.sha256["pco/empty.jpg"].startswith("e3b0c442")
    scanned.to_csv(tmp_path / "manifest.csv", index=False)
    again = manifest.read(tmp_path / "manifest.csv").set_index("path")
    assert again.width[["pco/good.png", "normal/NA.png"]].eq(200).all() and again.width.isna().sum() == 7
    assert again.pixel_sha256.tolist() == table.pixel_sha256.fillna("").tolist() and again.folder_split.eq("").all()
    (tmp_path / "manifest.csv").write_text("path,pixel_sha256\na.png,0012\nb.png,\n")  # a digest of digits alone
    assert manifest.read(tmp_path / "manifest.csv").pixel_sha256.tolist() == ["0012", ""]


def test_a_folder_without_a_study_in_it(tmp_path):
    def refused(text, folder=tmp_path):
        with pytest.raises(StudyError, match=text):
            manifest.scan(folder)

    refused("cannot be listed", tmp_path / "nowhere")
    refused("no class folders")
    put(tmp_path, "other/a.png")
    refused("no class folders")
    for name in ("pco", "normal"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_text("not a picture")
    refused("None of the 2 files")
    put(tmp_path, "pco/a.png")
    refused(r"one class only \(polycystic\); add the other class's folder")


def test_the_pixel_digest_sees_through_formats_and_not_through_shapes(tmp_path):
    put(tmp_path, "pco/a.png", "normal/a.png")
    noise().save(tmp_path / "pco" / "a.bmp")
    Image.fromarray(np.asarray(noise()).reshape(200, 150)).save(tmp_path / "pco" / "turned.png")
    table = manifest.scan(tmp_path).set_index("path")
    pixels = table.pixel_sha256
    assert table.sha256.nunique() == 4 and pixels.str.fullmatch("[0-9a-f]{64}").all()
    assert pixels["pco/a.png"] == pixels["pco/a.bmp"] and pixels.nunique() == 3


@pytest.mark.parametrize(
    ("path", "frame"),
    [("pco/22_pco_1.jpg", "pco_1"), ("pco_1.jpg", "pco_1"), ("a/b/0_Normal_17.PNG", "normal_17"), ("22_pco_1", ""),
     ("3_notinfected_4.jpeg", "notinfected_4"), ("pco.jpg", ""), ("22_ovary_1.jpg", ""), ("22_pco_1_crop.jpg", ""),
     ("x22_pco_1.jpg", ""), ("1_22_pco_1.jpg", ""), ("22_pco_1.jpg/scan.jpg", "")],
)  # fmt: skip
def test_the_frame_that_a_name_says_it_shows(path, frame):
    assert manifest.named_frame(path) == frame
