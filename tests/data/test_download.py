"""A registered set that cannot be fetched says what to do by hand, and leaves nothing half-made."""

from pathlib import Path

import pytest
import requests
from PIL import Image

from pcos_utils import config
from pcos_utils.data import datasets, download


def test_a_refused_connection_gives_the_manual_steps(home, monkeypatch):
    def refuse(**options):
        raise requests.exceptions.ConnectionError("refused")

    monkeypatch.setattr(download.gdown, "download_folder", refuse)
    study = config.study(data="dataset-b")
    with pytest.raises(config.StudyError) as caught:
        download.prepare(study)
    text = str(caught.value)
    assert datasets.REGISTRY["dataset-b"].drive_id in text and "(4)" in text and "DATA=FOLDER" in text
    assert not study.image_dir.exists()


def test_a_fetched_folder_appears_whole_and_is_not_fetched_twice(home, monkeypatch):
    calls = []

    def fetch(*, id, output, resume, timeout, retries):
        calls.append(id)
        for folder, grey in (("pco", 10), ("normal", 200)):
            place = Path(output, folder)
            place.mkdir(parents=True)
            Image.linear_gradient("L").point(lambda v, g=grey: v ^ g).save(place / "a.png")

    monkeypatch.setattr(download.gdown, "download_folder", fetch)
    study = config.study(data="dataset-b")
    assert len(download.prepare(study)) == len(download.prepare(study)) == 2
    assert len(calls) == 1 and not study.image_dir.with_name("dataset-b.partial").exists()
