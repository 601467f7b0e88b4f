"""The registry holds what is known, agrees with itself, and can be read by a person."""

import pytest

from pcos_utils import config
from pcos_utils.data import datasets


def test_every_study_set_is_registered_and_only_phantoms_have_no_address():
    assert set(config.DATASETS) <= set(datasets.REGISTRY)
    assert [name for name, entry in datasets.REGISTRY.items() if entry.address is None] == ["phantom"]
    places = (datasets.DRIVE_FOLDER, datasets.DRIVE_FILE, datasets.ZENODO_RECORD)
    assert all(entry.address.startswith(places) for entry in datasets.REGISTRY.values() if entry.address)


@pytest.mark.parametrize("name", datasets.REGISTRY)
def test_an_entry_is_complete_with_its_warnings_and_its_counts_agree(name):
    entry, nothing = datasets.REGISTRY[name], datasets.facts("local-scans")
    assert entry.title and entry.licence and entry.citation != nothing.citation
    assert entry.known_problems.endswith(".") and entry.known_problems != nothing.known_problems
    assert ("runs whatever code" in entry.known_problems) == name.startswith("weights-")
    assert ("other conditions" in entry.known_problems) == name.startswith("pcosgen-")
    listed = (f"{name}: {entry.title}", entry.known_problems, entry.licence, "train/infected 781")
    assert all(text in datasets.listing() for text in listed)
    if entry.folders:
        assert sum(entry.folders.values()) == entry.images
        assert {label for folder in entry.folders for _, label in datasets.class_counts([f"{folder}/x"])} == {0, 1}


def test_counts_follow_the_folder_names_and_differences_from_the_published_ones_are_said():
    paths = ["Train/PCO/a.png", "validation/normal/b.png", "test/healthy/c.png", "pco/.hidden", "d.png", "x/pcom/y/e"]
    assert datasets.class_counts(paths) == {("train", 1): 1, ("test", 0): 2, ("", 1): 1}
    right = [f"pco/{i}.jpg" for i in range(14)] + [f"normal/{i}.jpg" for i in range(40)]
    assert datasets.differences("dataset-b", right) == []
    said = ["pco: 13 files, 14 published", "other class folders: 1 files, none published"]
    assert datasets.differences("dataset-b", right[1:] + ["train/pco/new.jpg"]) == said
    frames = [f"images/{i}.jpg" for i in range(3199)] + ["class_label.xlsx", "images/._1.jpg"]
    assert datasets.differences("pcosgen-train", frames) == ["images: 3,199 files, 3,200 published"]
    assert datasets.differences("pcosgen-train", [*frames, "images/x.PNG"]) == []
    assert datasets.differences("phantom", right) == datasets.differences("weights-iustnet", ["iustnet.pth"]) == []


def test_a_folder_of_ones_own_admits_to_knowing_nothing():
    entry = datasets.facts("local-scans")
    assert entry.title == "The folder scans" and entry.images is None and "Nothing is known" in entry.known_problems
