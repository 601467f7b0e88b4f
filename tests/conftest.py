"""What several tests share: a small study on phantoms, in a folder of its own."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from pcos_utils import config
from pcos_utils.data import audit, download, splits
from pcos_utils.files import write_csv, write_json


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty place for data, runs and reports."""
    monkeypatch.setenv("PCOS_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def untouched(tmp_path_factory) -> tuple[config.Study, pd.DataFrame, Path]:
    """A study of 24 phantoms at 32 pixels with its drawn table, and its folder, which no test may write to."""
    place = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(place))
        study = config.study(phantoms_per_class=12, image_side=32, folds=2, resamples=100, epochs=2, weights="none")
        table = splits.draw(audit.find_sources(download.prepare(study), study.image_dir), study)
        write_csv(study.report_dir / "sources.csv", table)
        write_json(study.plan_path, {"supersedes": []})
    return study, table, place


@pytest.fixture(scope="module")
def small(untouched, tmp_path_factory) -> tuple[config.Study, pd.DataFrame, Path]:
    """The small study in a folder of each module's own, which PCOS_HOME must name: no module sees another's plan."""
    study, table, place = untouched
    return study, table, shutil.copytree(place, tmp_path_factory.mktemp("small") / "home")
