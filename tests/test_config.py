"""Settings are checked before anything runs, and a mistake is one sentence."""

import re

import pytest

from pcos_utils import config
from tests.conftest import refused


@pytest.mark.parametrize(("settings", "named"), [
    ({"preset": "huge"}, "PRESET=huge"), ({"data": "dataset-z"}, "DATA=dataset-z"),
    ({"epoch": 3}, "'epoch' is unknown"), ({"models": "resnet"}, "MODELS=resnet"), ({"seed": -1}, "seed=-1"),
    ({"epochs": 0}, "epochs=0"), ({"folds": "three"}, "folds='three'"),
])  # fmt: skip
def test_a_wrong_setting_is_one_sentence_that_names_it(settings, named):
    refused(rf"\A.*{named}.*\.\Z", config.study, **settings)


def test_presets_and_data_sets_never_share_a_folder(home):
    (folder := home / "my scans").mkdir()
    studies = [config.study(p, d) for p in ("demo", "full") for d in ("phantom", "dataset-b", str(folder))]
    assert len({study.report_dir for study in studies}) == 6
    assert re.fullmatch(r"local-my-scans-[0-9a-f]{4}-demo", studies[2].name)
    for study in studies:  # what can be computed again lies in the cache and never among the user's images
        assert study.cache_dir.parent == home / "cache" and not study.cache_dir.is_relative_to(study.image_dir)


@pytest.mark.parametrize("names", [
    ("a/scans", "b/scans"), ("患者", "正常"), ("Яичник", "яичник"), ("my scans", "my-scans"),
])  # fmt: skip
def test_two_folders_never_share_a_name(home, names):
    for name in names:
        (home / name).mkdir(parents=True)
    studies = {config.study(data=str(home / name)).name for name in names}
    assert len(studies) == 2 and not any(name.startswith("local--") for name in studies)
    (home / "link").symlink_to(home / names[0])
    assert config.study(data=str(home / "link")).name in studies  # the same folder, however it is reached


def test_none_is_the_default_and_a_table_of_labels_goes_with_a_folder_and_counts_from_the_repository(home, monkeypatch):
    with pytest.raises(ValueError, match="frozen"):
        config.study().seed = 3
    assert config.study(models="iustnet,densenet201").models == ("iustnet", "densenet201")
    assert config.study(models="", epochs=None, folds=None) == config.study() and config.study().labels_path is None
    (folder := home / "scans").mkdir()
    (labels := home / "labels.csv").write_text("image,label\n")
    refused("DATA=FOLDER", config.study, labels=str(labels))
    refused(r"nothing\.csv is no file", config.study, data=str(folder), labels="nothing.csv")
    assert config.study(data=str(folder), labels=str(labels)).labels_path == labels
    monkeypatch.chdir(home)
    assert config.study(data=str(home), labels="pyproject.toml").labels_path == config.ROOT / "pyproject.toml"
