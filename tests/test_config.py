"""Settings are checked before anything runs, and a mistake is one sentence."""

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
    assert studies[2].name == "local-my-scans-demo"


def test_a_study_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        config.study().seed = 3


def test_models_may_be_a_list_with_commas():
    assert config.study(models="iustnet,densenet201").models == ("iustnet", "densenet201")


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
