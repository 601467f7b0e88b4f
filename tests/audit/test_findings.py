"""Folders of any classes and splits: what is wrong is found, and what is right raises no finding."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcos_utils.audit import find_sources
from pcos_utils.audit.findings import counts, findings, pairs, unknown
from pcos_utils.data.survey import APART, survey
from pcos_utils.phantom import simulator
from tests.conftest import refused


@pytest.fixture(scope="module")
def pictures():
    return [Image.fromarray(simulator.simulate(2000 + seed, seed % 2).image) for seed in range(16)]


@pytest.fixture
def audited(tmp_path, pictures):
    """Return a function that writes phantoms (number, or number and degrees) at paths, and audits the folder."""

    def audit(files, folder=tmp_path / "set"):
        for path, what in files.items():
            number, degrees = what if isinstance(what, tuple) else (what, 0)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            pictures[number].rotate(degrees).save(folder / path)
        return find_sources(survey(folder), folder)

    return audit


def told(sources) -> list[tuple]:
    """Return the pairs of splits with their numbers of images and of copies, and the number of double classes."""
    table = pairs(sources)
    found = [(row.there, row.here, row.images, row.copied) for row in table[table.copied > 0].itertuples()]
    two = findings(sources).query("finding == 'class'").source.nunique()
    return found + ([two] if two else [])


def each(folder, numbers, degrees=0, kind="png"):
    return {f"{folder}/{number}.{kind}": (number, degrees) for number in numbers}


@pytest.mark.parametrize(("files", "found"), [
    # a validation folder of copies, beside a good test folder
    (each("train/pco", range(4)) | each("valid/pco", range(1, 4), 12, "jpg") | each("test/pco", [8, 9]),
     [("train", "val", 3, 3)]),
    # test images that copy validation images
    (each("train/pco", [0, 1]) | each("val/pco", [2, 3, 4]) | each("test/pco", [2, 3, 5], 5),
     [("val", "test", 3, 2)]),
    (each("infected", [1, 3, 5]) | each("noninfected", [0, 2]) | each("noninfected", [1, 3], 4), [2]),
    (each("benign", [1, 3]) | each("malignant", [5, 7]) | each("normal", [0, 2]) | each("malignant", [3], 8), [1]),
    (each("PCOS/PCOS", [1, 3]) | each("PCOS/Non-PCOS", [0, 2]), []),
    (each("pco/Training", [1, 3]) | each("pco/HoldOut", [3], 6), [("train", "test", 1, 1)]),
    (each("fold1/a", [1, 3]) | each("fold2/a", [5]) | each("fold3/a", [3], 6), [("fold 1", "fold 3", 1, 1)]),
    # the folds of a cross-validation share images by design
    (each("fold1/train/a", [1, 3]) | each("fold1/test/a", [5]) | each("fold2/train/a", [5]), []),
    (each("split_1/train/a", [1, 3]) | each("split_1/val/a", [5]) | each("split_2/train/a", [5, 3])
     | each("split_2/val/a", [1]), []),
    # but a test folder beside them is none of them
    (each("train/fold_1/a", [1, 3]) | each("train/fold_2/a", [5]) | each("test/a", [5], 6),
     [("fold 2", "test", 1, 1)]),
    (each("fold_1/train/a", [1]) | each("fold_1/val/a", [3]) | each("fold_2/train/a", [3])
     | each("fold_2/val/a", [1]) | each("test/a", [3, 7], 6),
     [("fold 2/train", "test", 2, 1), ("fold 1/val", "test", 2, 1)]),
    (each("train_augmented/a", [1, 3]) | each("train_v2/a", [1]) | each("test/a", [3], 6),
     [("train", "test", 1, 1)]),
    (each("PCOS+", [1, 3]) | each("PCOS-", [0]) | each("PCOS-", [3], 6), [1]),
    (each("infected", [1, 3]) | each("infected_aug", [1], 6) | each("normal", [0]), []),
])  # fmt: skip
def test_leaks_and_double_classes_of_any_layout(audited, files, found):
    assert told(audited(files)) == found


def test_what_is_no_scan_is_no_evidence(audited, tmp_path):
    audited(each("train/pco", [1, 3]) | each("test/normal", [0, 2]))
    disc = Image.fromarray((np.hypot(*np.ogrid[-100:100, -150:150]) < 50).astype(np.uint8) * 255)
    for place in ("train/pco/1", "test/normal/0"):
        disc.save(tmp_path / "set" / f"{place}_mask.png")
        Image.new("L", (300, 200)).save(tmp_path / "set" / f"{place}_black.png")
    count = counts(sources := audited({}), APART)
    assert told(sources) == [] and count["readable images"] == count["files"] - 4 == 4
    assert count["set apart: mask"] == count["set apart: plain"] == 2 and count["unreadable files"] == 0


def test_pages_and_linked_folders_are_searched(audited, tmp_path, pictures):
    folder = tmp_path / "set"
    (folder / "test" / "pco").mkdir(parents=True)
    pages = [pictures[number].rotate(3) for number in (1, 3, 5)]
    pictures[9].save(folder / "test" / "pco" / "pages.tif", save_all=True, append_images=pages)
    audited(each("pco", [1]), tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder / "val")
    sources = audited(each("train/pco", [1, 3, 5]))
    assert told(sources) == [("train", "val", 1, 1), ("train", "test", 4, 3), ("val", "test", 4, 1)]


def table(*rows):
    """Return an audited table from (path, class, split, source, patient) rows."""
    columns = pd.DataFrame(rows, columns=["path", "class", "folder_split", "source", "group"])
    return columns.assign(status="ok", sha256=columns.path, pixel_sha256=columns.path, evidence="first", label=pd.NA)


ROWS = [("a1", "x", "train", "a", "p"), ("a2", "x", "test", "a", "p"), ("b", "x", "test", "b", "p"),
        ("c", "y", "train", "c", ""), ("d", "y", "test", "d", "")]  # fmt: skip


def test_patients_in_two_splits_and_frames_of_one_clip_are_told_beside_pictures():
    found = findings(table(*ROWS))
    assert found[["finding", "path"]].values.tolist() == [["split", "a2"], ["group", "a2"], ["group", "b"]]
    assert pairs(table(*ROWS)).iloc[0].to_dict() == {
        "there": "train", "here": "test", "images": 3, "copied": 1, "same_bytes": 0, "clip": 0, "group": 2,
        "crossing": 1, "new": 2,
    }  # fmt: skip
    clips = table(*ROWS).assign(group="", clip=["a", "a", "a", "c", "a"])
    assert findings(clips).path.tolist() == ["a2"] and pairs(clips)["clip"].tolist() == [2]
    found = findings(clips, "clip")  # at their level
    assert found[["finding", "path"]].values.tolist()[:3] == [["split", "a2"], ["clip split", "b"], ["clip split", "d"]]
    assert found[found.finding == "clip class"].path.tolist() == ["a1", "a2", "b", "d"] and len(found) == 7
    assert unknown(found, clips, clips).empty and len(unknown(found, clips, table(*ROWS))) == 6


def test_a_baseline_knows_what_was_there():
    before, after = table(*ROWS), table(*ROWS, ("a3", "y", "test", "a", ""))
    assert unknown(findings(before), before, before).empty
    new = unknown(findings(after), after, before)
    assert (new.finding + " " + new.path).tolist() == ["split a3", "class a1", "class a2", "class a3"]
    old = before.drop(columns=["class", "group"])  # as an earlier version wrote it
    assert unknown(findings(old), old, old).empty and len(unknown(findings(before), before, old)) == 2  # the patient's
    other = before.assign(pixel_sha256=before.pixel_sha256.replace("a2", "another picture"))  # under the old path
    assert unknown(findings(other), other, before).path.tolist() == ["a2", "a2"]


def test_data_sets_are_held_against_each_other_and_each_against_its_own_splits():
    joined = table(*ROWS[:2], ("a4", "z", "", "a", "")).assign(dataset=["one", "two", "two"])
    found = findings(joined)
    wanted = [["folder", "two/a2", "two", "one"], ["folder", "two/a4", "two", "one"]]
    assert found[["finding", "path", "here", "there"]].values.tolist()[-2:] == wanted
    assert found.path[found.finding == "class"].tolist() == ["two/a2", "two/a4"] and pairs(joined).empty
    joined = table(("a", "x", "", "a", ""), ("b", "y", "", "b", ""), ("c", "y", "", "a", ""), ("d", "x", "", "d", ""))
    found = findings(joined.assign(dataset=["one", "one", "two", "two"]))  # which use the same words
    assert found.path[found.finding == "class"].tolist() == ["one/a", "two/c"]


def test_a_list_of_paths_gives_groups_in_their_order(tmp_path, pictures):
    paths = [tmp_path / f"{name}.png" for name in "cab"]
    for path, number in zip(paths, (1, 3, 1), strict=True):
        pictures[number].rotate(5 * (path.stem == "b")).save(path)
    found = find_sources([*paths])
    assert found.path.tolist() == [str(path) for path in paths]
    assert found.source.tolist() == [str(paths[place]) for place in (0, 1, 0)]
    paths[1].write_text("no image")
    refused(r"a\.png has no source: not an image .*mend it or leave it out", find_sources, paths)
