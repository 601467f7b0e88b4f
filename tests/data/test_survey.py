"""An audit reads what is a scan, wherever it lies, and sets the rest apart by name."""

import os
from itertools import permutations

import numpy as np
import pytest
from PIL import Image

from pcos_utils.config import StudyError
from pcos_utils.data import images, manifest
from pcos_utils.data.survey import survey
from tests.data.made import noise, put


def mask(levels=(255,)) -> Image.Image:
    """Return discs of so many grey levels on black."""
    values = np.zeros((150, 200), np.uint8)
    for place, level in enumerate(levels):
        values[40:70, 10 + 30 * place : 30 + 30 * place] = level
    return Image.fromarray(values)


def statuses(folder, **options) -> dict:
    return survey(folder, **options).set_index("path").status.to_dict()


def test_masks_plain_pictures_thumbnails_and_litter_are_set_apart(tmp_path):
    put(
        tmp_path, "benign/a", "benign/b", "benign/b_segmentation", "normal/c", "with_mask/e", "benign/frame_mask",
        # A scan is no mask and no thumbnail by its name alone.
        "alone/a", "alone/a_roi", "alone/a_thumb", "alone/b", "alone/b_lesion", "alone/b_mask", alone__a_gt=mask(),
        benign__a_mask=mask(), benign__a_mask_1=mask(range(20, 240, 40)), normal__c_mask=Image.new("L", (200, 150)),
        masks__d=mask(range(20, 240, 60)), normal__drawn_JPG=mask(), normal__black=Image.new("RGB", (200, 150)),
        normal__grey_JPG=Image.new("L", (200, 150), 90), benign__thumb_a=noise(13, (40, 50)),
        benign__icon=noise(14, (30, 30)),
    )  # fmt: skip
    litter = [".DS_Store", "Thumbs.db", ".hidden/x.png", "__MACOSX/._a.png"]
    for name in [*litter, "LICENSE", "labels.csv", "more.zip", "b.tar.gz"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "benign" / "page.jpg").write_text("<html>")
    (tmp_path / "benign" / "scan").write_text("a file without a suffix may be a scan")
    found = statuses(tmp_path)
    assert {name: status for name, status in found.items() if status != "ok"} == {
        "benign/a_mask.png": "mask", "benign/a_mask_1.png": "mask", "benign/b_segmentation.png": "mask",
        "normal/c_mask.png": "mask", "masks/d.png": "mask", "normal/drawn.jpg": "mask", "alone/a_gt.png": "mask",
        "alone/b_mask.png": "mask", "normal/black.png": "plain", "normal/grey.jpg": "plain",
        "benign/thumb_a.png": "thumbnail", "benign/icon.png": "thumbnail", ".DS_Store": "litter", "Thumbs.db": "litter",
        ".hidden": "litter", "__MACOSX": "litter", "LICENSE": "other file", "labels.csv": "other file",
        "more.zip": "archive", "b.tar.gz": "archive", "benign/page.jpg": "not an image", "benign/scan": "not an image",
    }  # fmt: skip
    put(tmp_path / "small", a__x=noise(1, (28, 28)), b__y=noise(2, (28, 28)))
    assert set(statuses(tmp_path / "small").values()) == {"ok"}  # icons only beside larger pictures


@pytest.mark.parametrize("kind", ["tif", "gif", "webp", "mpo"])
def test_every_frame_of_a_file_is_an_image(tmp_path, kind, monkeypatch):
    pictures = [noise(seed).convert("L" if kind in ("tif", "gif") else "RGB") for seed in range(3)]
    options = {"lossless": True} if kind == "webp" else {}
    pictures[0].save(tmp_path / f"pages.{kind}", save_all=True, append_images=pictures[1:], **options)
    table = survey(tmp_path)
    assert table.path.tolist() == [f"pages.{kind}#{number}" for number in (1, 2, 3)] and table.status.eq("ok").all()
    assert table.pixel_sha256.nunique() == 3 and table.sha256.nunique() == 1
    for path, picture in zip(table.path, pictures, strict=True):
        loaded = images.load(tmp_path / path)[..., 0].astype(float)
        assert np.abs(loaded - np.asarray(picture.convert("L"))).mean() < (25 if kind == "mpo" else 3)
    monkeypatch.setattr(images, "MAX_FRAMES", 2)
    assert survey(tmp_path).reason.tolist()[2].startswith("3 frames; the first 2 are read")


def test_links_are_followed_once_and_loops_are_named(tmp_path):
    put(tmp_path, "set/train/a", "elsewhere/b")
    links = {"test": "elsewhere", "train/loop": "set", "train/again": "elsewhere", "test/link.png": "set/train/a.png"}
    for link, place in links.items():
        os.symlink(tmp_path / place, tmp_path / "set" / link)
    table = survey(tmp_path / "set").set_index("path")
    assert table.status.to_dict() == {
        "test/b.png": "ok", "test/link.png": "ok", "train/a.png": "ok", "train/again/b.png": "ok",
        "train/again/link.png": "ok", "train/loop": "not a file",
    }  # fmt: skip
    assert table.folder_split[["test/b.png", "train/a.png"]].tolist() == ["test", "train"]


def test_folders_that_link_to_one_another_end(tmp_path):
    names = "abcdefgh"
    put(tmp_path, *(f"{name}/x" for name in names))
    for name, other in permutations(names, 2):
        os.symlink(tmp_path / other, tmp_path / name / other)
    found = list(statuses(tmp_path).values())
    assert 8 < found.count("ok") < 8 + 8 * manifest.MOST_LINKS + 1


def test_a_table_or_an_expression_gives_what_folders_do_not(tmp_path):
    put(tmp_path / "set", "x/pt07_visit1", "x/pt07_visit2", "y/pt08_visit1")
    (given := tmp_path / "t.csv").write_text(
        "file,diagnosis,patient,split\npt07_visit1,benign,A,Train\npt08_visit1,cyst,B,dev\n"
    )
    table = survey(tmp_path / "set", given)
    assert table["class"].tolist() == ["benign", "", "cyst"] and table.folder_split.tolist() == ["train", "", "val"]
    assert table.group.tolist() == ["A", "", "B"] and table.label.isna().all()
    given.write_text("file,patient\npt07_visit1,A\npt07_visit2,A\n")
    table = survey(tmp_path / "set", given)
    assert table["class"].tolist() == ["x", "x", "y"] and table.group.tolist() == ["A", "A", ""]
    assert survey(tmp_path / "set", group_by=r"(pt\d+)").group.tolist() == ["pt07", "pt07", "pt08"]
    with pytest.raises(StudyError, match="is no regular expression"):
        survey(tmp_path / "set", group_by="(")
    with pytest.raises(StudyError, match="t.csv names patients or clips, and so does --group-by; leave one of them"):
        survey(tmp_path / "set", given, group_by="(.)")


def test_a_table_may_name_frames(tmp_path):
    pictures = [noise(seed) for seed in range(3)]
    pictures[0].save(tmp_path / "pages.tif", save_all=True, append_images=pictures[1:])
    put(tmp_path, single=noise(4))
    (table := tmp_path / "labels.csv").write_text(
        "image,label,patient\npages.tif#2,malignant,p2\npages.tif,benign,p1\nsingle,benign,p3\n"
    )
    found = survey(tmp_path, table).query("status == 'ok'").set_index("path")
    assert found["class"].tolist() == ["benign", "malignant", "benign", "benign"]
    assert found.group.tolist() == ["p1", "p2", "p1", "p3"]
    table.write_text("image,label\npages.tif#4,benign\n")
    with pytest.raises(StudyError, match="row 2 names 'pages.tif#4'"):
        survey(tmp_path, table)


@pytest.mark.parametrize(("folders", "labels", "against"), [
    (("pco", "normal"), ("normal", "polycystic"), (survey, manifest.listing)),  # all of them
    (("pcos", "healthy"), ("0", "1"), (survey, manifest.listing)),
    (("benign", "malignant"), ("malignant", "benign"), (survey,)),
    (("pco", "normal"), ("1", "0"), []),
    (("benign", "malignant"), ("B", "M"), []),  # other words
    (("left", "right"), ("pco", "normal"), []),  # folders that are no classes of the table
    (("pco", "pco"), ("1", "0"), []),  # one folder
    (("pco", "normal"), ("1", "1"), ["normal/b.png", "normal/d.png"]),
    (("benign", "malignant"), ("benign", "benign"), []),  # which of the table's words the folder is, is not known
])  # fmt: skip
def test_a_table_that_contradicts_the_folders_is_told(tmp_path, folders, labels, against):
    names = [f"{folder}/{name}" for folder, name in zip(folders * 2, "abcd", strict=True)]
    put(tmp_path, *names)
    rows = [f"{name},{label}" for name, label in zip(names, labels * 2, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *rows]))
    if isinstance(against, list):
        found = survey(tmp_path, tmp_path / "labels.csv").query("status == 'ok'").set_index("path").reason
        assert found[found != ""].to_dict() == dict.fromkeys(against, "its folder says normal")
        return
    for read in against:
        with pytest.raises(StudyError, match="labels.csv contradicts the folders of all 4 images, such as"):
            read(tmp_path, tmp_path / "labels.csv")


@pytest.mark.parametrize(("column", "cells", "unread"), [
    ("set", ["hospital A"] * 4, True), ("fold", ["0", "1", "", ""], True), ("split", ["train"] * 4, True),
    ("split", ["train", "test", "", ""], False), ("group", ["train", "train", "train", "test"], False),
])  # fmt: skip
def test_a_tables_splits_count_beside_folders_of_splits_only_where_they_are_splits(tmp_path, column, cells, unread):
    put(tmp_path / "f", "train/a", "train/b", "test/c", "test/d")
    rows = [f"{name},{cell}" for name, cell in zip("abcd", cells, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([f"image,{column}", *rows]))
    found = survey(tmp_path / "f", tmp_path / "t.csv").set_index("path").sort_values("path", key=lambda p: p.str[-5])
    folders = ["train", "train", "test", "test"]
    told = folders if unread else [cell or folder for cell, folder in zip(cells, folders, strict=True)]
    assert found.folder_split.tolist() == told and found.attrs["unread"] == [column] * unread
    against = [said != folder for said, folder in zip(told, folders, strict=True)]
    assert found.reason.str.startswith("its folder says").tolist() == against
