"""An audit reads what is a scan, wherever it lies, and sets the rest apart by name."""

import os

import numpy as np
import pytest
from PIL import Image

from pcos_utils.config import StudyError
from pcos_utils.data import images, manifest
from pcos_utils.data.survey import survey


def noise(seed=0, shape=(150, 200)) -> Image.Image:
    """Return a picture of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8))


def mask(levels=(255,)) -> Image.Image:
    """Return discs of so many grey levels on black."""
    values = np.zeros((150, 200), np.uint8)
    for place, level in enumerate(levels):
        values[40:70, 10 + 30 * place : 30 + 30 * place] = level
    return Image.fromarray(values)


def put(folder, **pictures):
    """Save pictures at paths below a folder; two underscores stand for a slash, one more for the suffix."""
    for name, picture in pictures.items():
        path = folder / (name.replace("__", "/").replace("_JPG", ".jpg") + ("" if name.endswith("_JPG") else ".png"))
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


def statuses(folder, **options) -> dict:
    """Return the status of each image."""
    return survey(folder, **options).set_index("path").status.to_dict()


def test_masks_plain_pictures_thumbnails_and_litter_are_set_apart(tmp_path):
    put(
        tmp_path, benign__a=noise(), benign__a_mask=mask(), benign__a_mask_1=mask(range(20, 240, 40)),
        benign__b=noise(1), benign__b_segmentation=noise(9), normal__c=noise(2),
        normal__c_mask=Image.new("L", (200, 150)),
        masks__d=mask(range(20, 240, 60)), normal__drawn_JPG=mask(), normal__black=Image.new("RGB", (200, 150)),
        normal__grey_JPG=Image.new("L", (200, 150), 90), benign__thumb_a=noise(3, (40, 50)),
        benign__icon=noise(4, (30, 30)), with_mask__e=noise(5), benign__frame_mask=noise(6),
        # A scan is no mask and no thumbnail by its name alone.
        alone__a=noise(7), alone__a_roi=noise(8), alone__a_gt=mask(), alone__a_thumb=noise(10), alone__b=noise(11),
        alone__b_lesion=noise(12), alone__b_mask=noise(13),
    )  # fmt: skip
    for name in (
        ".DS_Store",
        "Thumbs.db",
        ".hidden/x.png",
        "__MACOSX/._a.png",
        "LICENSE",
        "labels.csv",
        "more.zip",
        "b.tar.gz",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    (tmp_path / "benign" / "page.jpg").write_text("<html>")
    (tmp_path / "benign" / "scan").write_text("a file without a suffix may be a scan")
    found = statuses(tmp_path)
    assert {name: status for name, status in found.items() if status != "ok"} == {
        "benign/a_mask.png": "mask", "benign/a_mask_1.png": "mask", "benign/b_segmentation.png": "mask",
        "normal/c_mask.png": "mask", "masks/d.png": "mask", "normal/drawn.jpg": "mask",
        "normal/black.png": "plain", "normal/grey.jpg": "plain",
        "benign/thumb_a.png": "thumbnail", "benign/icon.png": "thumbnail",
        "alone/a_gt.png": "mask", "alone/b_mask.png": "mask",
        ".DS_Store": "litter", "Thumbs.db": "litter", ".hidden": "litter", "__MACOSX": "litter",
        "LICENSE": "other file", "labels.csv": "other file", "more.zip": "archive", "b.tar.gz": "archive",
        "benign/page.jpg": "not an image", "benign/scan": "not an image",
    }  # fmt: skip
    small = tmp_path / "small"
    put(small, a__x=noise(1, (28, 28)), b__y=noise(2, (28, 28)))
    assert set(statuses(small).values()) == {"ok"}  # icons only beside larger pictures


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
    put(tmp_path / "set", train__a=noise())
    put(tmp_path / "elsewhere", b=noise(1))
    os.symlink(tmp_path / "elsewhere", tmp_path / "set" / "test")
    os.symlink(tmp_path / "set", tmp_path / "set" / "train" / "loop")
    os.symlink(tmp_path / "elsewhere", tmp_path / "set" / "train" / "again")
    os.symlink(tmp_path / "set" / "train" / "a.png", tmp_path / "set" / "test" / "link.png")
    table = survey(tmp_path / "set").set_index("path")
    assert table.status.to_dict() == {
        "test/b.png": "ok", "test/link.png": "ok", "train/a.png": "ok", "train/again/b.png": "ok",
        "train/again/link.png": "ok", "train/loop": "not a file",
    }  # fmt: skip
    assert table.folder_split[["test/b.png", "train/a.png"]].tolist() == ["test", "train"]


def test_folders_that_link_to_one_another_end(tmp_path):
    names = "abcdefgh"
    for number, name in enumerate(names):
        put(tmp_path, **{f"{name}__x": noise(number)})
        for other in set(names) - {name}:
            os.symlink(tmp_path / other, tmp_path / name / other)
    found = list(statuses(tmp_path).values())
    assert 8 < found.count("ok") < 8 + 8 * manifest.MOST_LINKS + 1


def test_a_table_or_an_expression_gives_what_folders_do_not(tmp_path):
    put(tmp_path / "set", x__pt07_visit1=noise(), x__pt07_visit2=noise(1), y__pt08_visit1=noise(2))
    (tmp_path / "t.csv").write_text(
        "file,diagnosis,patient,split\npt07_visit1,benign,A,Train\npt08_visit1,cyst,B,dev\n"
    )
    table = survey(tmp_path / "set", tmp_path / "t.csv")
    assert table["class"].tolist() == ["benign", "", "cyst"] and table.folder_split.tolist() == ["train", "", "val"]
    assert table.group.tolist() == ["A", "", "B"] and table.label.isna().all()
    (tmp_path / "t.csv").write_text("file,patient\npt07_visit1,A\npt07_visit2,A\n")
    table = survey(tmp_path / "set", tmp_path / "t.csv")
    assert table["class"].tolist() == ["x", "x", "y"] and table.group.tolist() == ["A", "A", ""]
    assert survey(tmp_path / "set", group_by=r"(pt\d+)").group.tolist() == ["pt07", "pt07", "pt08"]
    with pytest.raises(StudyError, match="is no regular expression"):
        survey(tmp_path / "set", group_by="(")
    with pytest.raises(StudyError, match="t.csv names patients or clips, and so does --group-by; leave one of them"):
        survey(tmp_path / "set", tmp_path / "t.csv", group_by="(.)")


def test_a_table_may_name_frames(tmp_path):
    pictures = [noise(seed) for seed in range(3)]
    pictures[0].save(tmp_path / "pages.tif", save_all=True, append_images=pictures[1:])
    put(tmp_path, single=noise(4))
    table = tmp_path / "labels.csv"
    table.write_text("image,label,patient\npages.tif#2,malignant,p2\npages.tif,benign,p1\nsingle,benign,p3\n")
    found = survey(tmp_path, table).query("status == 'ok'").set_index("path")
    assert found["class"].tolist() == ["benign", "malignant", "benign", "benign"]
    assert found.group.tolist() == ["p1", "p2", "p1", "p3"]
    table.write_text("image,label\npages.tif#4,benign\n")
    with pytest.raises(StudyError, match="row 2 names 'pages.tif#4'"):
        survey(tmp_path, table)


@pytest.mark.parametrize(
    ("folders", "labels", "against"),
    [
        (("pco", "normal"), ("normal", "polycystic"), "all"),
        (("pcos", "healthy"), ("0", "1"), "all"),
        (("benign", "malignant"), ("malignant", "benign"), "all"),
        (("pco", "normal"), ("1", "0"), []),
        (("benign", "malignant"), ("B", "M"), []),  # other words
        (("left", "right"), ("pco", "normal"), []),  # folders that are no classes of the table
        (("pco", "pco"), ("1", "0"), []),  # one folder
        (("pco", "normal"), ("1", "1"), ["normal/b.png", "normal/d.png"]),
        (("benign", "malignant"), ("benign", "benign"), []),  # which of the table's words the folder is, is not known
    ],
)
def test_a_table_that_contradicts_the_folders_is_told(tmp_path, folders, labels, against):
    put(tmp_path, **{f"{folder}__{name}": noise(ord(name)) for folder, name in zip(folders * 2, "abcd", strict=True)})
    lines = [f"{folder}/{name},{label}" for folder, label, name in zip(folders * 2, labels * 2, "abcd", strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *lines]))
    if against == "all":
        for read in (survey, manifest.listing) if labels != ("malignant", "benign") else (survey,):
            with pytest.raises(StudyError, match="labels.csv contradicts the folders of all 4 images, such as"):
                read(tmp_path, tmp_path / "labels.csv")
    else:
        found = survey(tmp_path, tmp_path / "labels.csv").query("status == 'ok'")
        assert (
            sorted(found.path[found.reason != ""]) == against
            and found.reason[found.reason != ""].eq("its folder says normal").all()
        )


@pytest.mark.parametrize(
    ("column", "cells", "unread"),
    [("set", ["hospital A"] * 4, ["set"]), ("fold", ["0", "1", "", ""], ["fold"]), ("split", ["train"] * 4, ["split"]),
     ("split", ["train", "test", "", ""], []), ("group", ["train", "train", "train", "test"], [])],
)  # fmt: skip
def test_a_tables_splits_count_beside_folders_of_splits_only_where_they_are_splits(tmp_path, column, cells, unread):
    put(tmp_path / "f", train__a=noise(1), train__b=noise(2), test__c=noise(3), test__d=noise(4))
    rows = [f"{name},{cell}" for name, cell in zip("abcd", cells, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([f"image,{column}", *rows]))
    found = survey(tmp_path / "f", tmp_path / "t.csv").set_index("path")
    own = dict(zip(["train/a.png", "train/b.png", "test/c.png", "test/d.png"], cells, strict=True))
    folders = {path: path.split("/")[0] for path in own}
    told = folders if unread else {path: cell or folders[path] for path, cell in own.items()}
    assert found.folder_split.to_dict() == told and found.attrs["unread"] == unread
    against = {path for path in own if told[path] != folders[path]}
    assert set(found.index[found.reason.str.startswith("its folder says")]) == against
