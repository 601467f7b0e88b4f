"""Copies of one picture become one source; the counts, conflicts and overlaps that follow are right."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from pcos_utils.audit import summary
from pcos_utils.audit.sources import find_sources
from pcos_utils.config import StudyError
from pcos_utils.data import manifest
from pcos_utils.data.survey import survey
from pcos_utils.phantom import simulator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six phantoms with three copies each, one file twice, one frame under both labels, one empty file."""
    place = tmp_path_factory.mktemp("audited")
    for name in ("train/pco", "train/normal", "test/pco"):
        (place / name).mkdir(parents=True)
    for seed in range(6):
        image = Image.fromarray(simulator.simulate(seed, seed % 2).image)
        home = place / "train" / ("pco" if seed % 2 else "normal")
        image.save(home / f"{seed}_original.png")
        image.save(home / f"{seed}_jpeg.jpg", quality=60)
        image.rotate(30).save(home / f"{seed}_turned.png")
        ImageEnhance.Brightness(image.resize((210, 140))).enhance(1.15).save(home / f"{seed}_bright.png")
    original = place / "train" / "pco" / "1_original.png"
    (place / "test" / "pco" / "1_copy.png").write_bytes(original.read_bytes())
    Image.open(original).save(place / "test" / "pco" / "1_pixels.bmp")
    Image.fromarray(simulator.simulate(2, 0).image[20:, 30:]).save(place / "test" / "pco" / "2_crop.png")
    (place / "test" / "pco" / "empty.png").touch()
    return place


@pytest.fixture(scope="module")
def sources(folder):
    """The audited manifest of the folder."""
    return find_sources(manifest.scan(folder), folder)


def test_every_family_is_one_source_and_says_how_it_was_joined(sources):
    readable = sources[sources.status == "ok"]
    family = readable.path.str.extract(r"/(\d)_")[0]
    assert pd.crosstab(family, readable.source).gt(0).sum(axis=1).eq(1).all() and readable.source.nunique() == 6
    evidence = readable.set_index("path").evidence
    assert evidence["train/pco/1_original.png"] == evidence["test/pco/1_pixels.bmp"] == "same pixels"
    assert evidence["test/pco/1_copy.png"] == "first" and evidence["test/pco/2_crop.png"] == "first"
    assert (readable.inliers.isna() == readable.evidence.eq("first")).sum() >= 25
    assert pd.isna(readable.set_index("path").inliers["test/pco/1_copy.png"])
    turned = readable[readable.path.str.contains("turned")]
    assert (turned.evidence == "keypoints").all() and (turned.inliers > 50).all()
    bad = sources[sources.status != "ok"].iloc[0]
    assert (bad.source, bad.evidence) == ("", "") and pd.isna(bad.inliers)


def test_the_summary_counts_copies_leaks_and_conflicts(sources):
    count = summary.totals(sources).set_index("fact")["count"]
    assert count["unreadable files"] == 1 and count["readable images"] == 27
    assert count["distinct files (SHA-256)"] == 26 and count["distinct pictures by pixels"] == 25
    assert count[summary.SOURCES] == 6 and count[summary.BOTH_LABELS] == 1
    assert count["images in the test folder"] == count[summary.COPIED_SOURCES] == 3
    assert count[summary.COPIED_BYTES] == 1 and count[summary.CROSSING] == 2 and count[summary.NEW_SOURCES] == 0
    both = summary.conflicts(sources)
    assert both[["images", "polycystic", "normal"]].values.tolist() == [[5, 1, 4]]
    assert summary.copies(sources).images.tolist() == [6, 5, 4, 4, 4, 4]


@pytest.mark.slow
def test_two_data_sets_share_what_they_share(folder, tmp_path):
    (tmp_path / "pco").mkdir()
    Image.fromarray(simulator.simulate(3, 1).image[:, ::-1]).save(tmp_path / "pco" / "mirrored.png")
    Image.fromarray(simulator.simulate(99, 1).image).save(tmp_path / "pco" / "new.png")
    places = {"here": folder, "there": tmp_path}
    tables = [survey(place).assign(dataset=name) for name, place in places.items()]
    joined = find_sources(pd.concat(tables, ignore_index=True), places)
    assert summary.between(joined).values.tolist() == [["here", "there", 1, 4, 1]]
    assert joined.set_index("path").source["pco/mirrored.png"].startswith("here/train/pco/3_")


def test_names_are_compared_and_decide_nothing():
    paths = ["pco/pco_1.jpg", "pco/3_pco_1.jpg", "pco/4_pco_2.jpg", "normal/normal_7.jpg", "normal/scan.jpg"]
    table = pd.DataFrame({"path": paths, "source": list("abacd"), "status": "ok"})
    assert summary.against_names(table).to_dict() == {"images": 4, "frames": 3, "joined": 1, "parted": 1}


def test_the_effective_size_lies_between_sources_and_images():
    table = pd.DataFrame({"source": ["a"] * 10 + ["b"] * 10, "status": "ok"})
    assert summary.effective_size(table, 0) == 20 and summary.effective_size(table, 1) == pytest.approx(2)
    assert summary.effective_size(table, 0.5) == pytest.approx(20 / 5.5)
    sizes = [summary.effective_size(table, r) for r in np.linspace(0, 1, 5)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_collage_is_set_apart_and_says_what_it_shows(tmp_path):
    (tmp_path / "pco").mkdir()
    pictures = [simulator.simulate(seed, 1).image for seed in (5, 7)]
    for name, picture in enumerate(pictures):
        for i in range(4):
            Image.fromarray(picture[20 * i : 180 + i, 10 * i : 260 + 10 * i]).save(tmp_path / "pco" / f"{name}{i}.png")
    Image.fromarray(np.hstack(pictures)).save(tmp_path / "pco" / "montage.png")
    table = find_sources(survey(tmp_path), tmp_path)
    montage = table.set_index("path").loc["pco/montage.png"]
    assert table.source[table.status == "ok"].nunique() == 2 and (montage.status, montage.source) == ("collage", "")
    assert montage.reason == "it shows pco/00.png, pco/10.png"
    with pytest.raises(StudyError, match="montage.png has no one source: it shows .*; leave it out"):
        find_sources(sorted((tmp_path / "pco").iterdir()))  # whose sources are groups of GroupKFold
