"""Copies of one picture become one source; what follows, what was kept, and whom signatures know again."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from pcos_utils.audit import families, parallel, signatures, summary
from pcos_utils.audit import sources as audited
from pcos_utils.audit.gathering import Gathering
from pcos_utils.audit.sources import find_sources
from pcos_utils.data import manifest
from pcos_utils.data.survey import survey
from pcos_utils.phantom import simulator
from tests.conftest import refused
from tests.serving.test_confirm import put, turned


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


def test_names_are_compared_and_decide_nothing_and_the_effective_size_lies_between_sources_and_images():
    paths = ["pco/pco_1.jpg", "pco/3_pco_1.jpg", "pco/4_pco_2.jpg", "normal/normal_7.jpg", "normal/scan.jpg"]
    table = pd.DataFrame({"path": paths, "source": list("abacd"), "status": "ok"})
    assert summary.against_names(table).to_dict() == {"images": 4, "frames": 3, "joined": 1, "parted": 1}
    table = pd.DataFrame({"source": ["a"] * 10 + ["b"] * 10, "status": "ok"})
    sizes = [summary.effective_size(table, r) for r in (0, 0.25, 0.5, 0.75, 1)]
    assert sizes == sorted(sizes, reverse=True) and sizes[::2] == pytest.approx([20, 20 / 5.5, 2])


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
    alone = "montage.png has no one source: it shows .*; leave it out"  # where sources are groups of GroupKFold
    refused(alone, find_sources, sorted((tmp_path / "pco").iterdir()))


def test_what_was_kept_gives_the_same_sources_and_is_not_looked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr(families, "SMALL", 2)
    monkeypatch.setattr(families, "FIRST", 2)
    scans = [simulator.simulate(seed, 0).image for seed in range(4)]
    scans += [np.ascontiguousarray(scans[0][:, ::-1]), scans[1][10:-10, 10:-10]]
    paths = [tmp_path / f"{number}.png" for number in range(len(scans))]
    for path, pixels in zip(paths, scans, strict=True):
        Image.fromarray(pixels).save(path)
    fresh = find_sources(paths)
    assert fresh.source.nunique() == 4 and find_sources(paths, shards=tmp_path / "kept").equals(fresh)
    names = ["000000.parquet", "000001.parquet", "decoded-000000.parquet"]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == names
    monkeypatch.setattr(manifest, "_rows", None)  # nothing is decoded again
    read, load = [], audited.load
    monkeypatch.setattr(audited, "load", lambda path: read.append(path) or load(path))
    assert find_sources(paths, shards=tmp_path / "kept").equals(fresh)
    assert len(read) == 2  # those of the first round
    refused("made from other images", find_sources, paths[1:], shards=tmp_path / "kept")


def test_known_pictures_are_in_memory_once_and_used_without_a_copy():
    gathering = Gathering(3)
    gathering.index._blocks = [(np.arange(n), np.arange(n, dtype=np.int32)) for n in (7, 3)]
    with parallel.stored(gathering, print):
        arrays = [array for block in gathering.index._blocks for array in block]
    assert [len(array) for array in arrays] == [7, 7, 3, 3]
    assert all(array.flags.aligned and not array.flags.owndata for array in arrays)  # else each search copies them


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The signatures of six phantoms, one of them with a copy, written and read again."""
    folder = tmp_path_factory.mktemp("known")
    for seed in range(6):
        put(folder, f"{seed}.png", seed % 2, simulator.simulate(4_000_003_000 + seed, seed % 2).image)
    put(folder, "again.png", 0, turned(simulator.simulate(4_000_003_000, 0).image))
    kept = signatures.sign(find_sources(survey(folder), folder), folder)
    signatures.save(kept, folder / "kept.npz")
    return signatures.read(folder / "kept.npz")


@pytest.mark.parametrize("change", [
    turned, lambda x: 255 - x, lambda x: x[:, ::-1], lambda x: x[50:150, 75:225], lambda x: x[::2, ::2],
], ids=["turned", "inverted", "mirrored", "a quarter", "half the size"])  # fmt: skip
def test_changed_copies_are_recognised(known, change):
    pictures = [change(simulator.simulate(4_000_003_000 + seed, seed % 2).image) for seed in range(6)]
    found = signatures.recognised([*map(np.ascontiguousarray, pictures)], known)
    assert 6 <= len(known) <= 7  # a copy adds no signature unless it shows more
    assert sum(inliers > 0 for inliers, _ in found) >= 5 and all(part <= 1 for _, part in found)


@pytest.mark.slow
def test_strangers_and_plain_pictures_are_not(known):
    pictures = [simulator.simulate(4_000_004_000 + seed, seed % 2).image for seed in range(12)]
    assert signatures.recognised([*pictures, np.zeros((90, 90), np.uint8)], known) == [(0, 0.0)] * 13
