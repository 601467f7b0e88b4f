"""Settings are checked before anything runs, and a mistake is one sentence."""

import re

import pytest

from pcos_utils import config


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"preset": "huge"}, "PRESET=huge"),
        ({"data": "dataset-z"}, "DATA=dataset-z"),
        ({"epoch": 3}, "'epoch' is unknown"),
        ({"models": "resnet"}, "MODELS=resnet"),
        ({"seed": -1}, "seed=-1"),
        ({"epochs": 0}, "epochs=0"),
        ({"folds": "three"}, "folds='three'"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(settings, named):
    with pytest.raises(config.StudyError) as caught:
        config.study(**settings)
    text = str(caught.value)
    assert named in text and text.endswith(".") and "\n" not in text


def test_presets_and_data_sets_never_share_a_folder(home):
    folder = home / "my scans"
    folder.mkdir()
    studies = [config.study(p, d) for p in ("demo", "full") for d in ("phantom", "dataset-b", str(folder))]
    assert len({study.report_dir for study in studies}) == 6
    assert re.fullmatch(r"local-my-scans-[0-9a-f]{4}-demo", studies[2].name)


@pytest.mark.parametrize(
    "names", [("a/scans", "b/scans"), ("患者", "正常"), ("Яичник", "яичник"), ("my scans", "my-scans")]
)
def test_two_folders_never_share_a_name(home, names):
    for name in names:
        (home / name).mkdir(parents=True)
    studies = {config.study(data=str(home / name)).name for name in names}
    assert len(studies) == 2 and not any(name.startswith("local--") for name in studies)
    (home / "link").symlink_to(home / names[0])
    assert config.study(data=str(home / "link")).name in studies  # the same folder, however it is reached


def test_what_can_be_computed_again_lies_in_the_cache_and_never_among_the_users_images(home):
    (home / "scans").mkdir()
    for data in ("phantom", "dataset-b", str(home / "scans")):
        study = config.study(data=data)
        assert study.cache_dir.parent == home / "cache" and not study.cache_dir.is_relative_to(study.image_dir)


def test_a_study_cannot_be_changed_and_none_is_the_default():
    with pytest.raises(ValueError, match="frozen"):
        config.study().seed = 3
    assert config.study(models="iustnet,densenet201").models == ("iustnet", "densenet201")
    assert config.study(models="", epochs=None, folds=None) == config.study()


def test_a_table_of_labels_goes_with_a_folder_and_counts_from_the_repository(home, monkeypatch):
    (home / "scans").mkdir()
    (home / "labels.csv").write_text("image,label\n")
    with pytest.raises(config.StudyError, match="DATA=FOLDER"):
        config.study(labels=str(home / "labels.csv"))
    with pytest.raises(config.StudyError, match=r"nothing\.csv is no file"):
        config.study(data=str(home / "scans"), labels="nothing.csv")
    assert config.study(data=str(home / "scans"), labels=str(home / "labels.csv")).labels_path == home / "labels.csv"
    monkeypatch.chdir(home)
    assert config.study(data=str(home), labels="pyproject.toml").labels_path == config.ROOT / "pyproject.toml"
    assert config.study().labels_path is None
