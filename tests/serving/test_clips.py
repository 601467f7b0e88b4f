"""A clip or a DICOM file is answered frame by frame, its row shows the range, and an upload lies in memory alone."""

import csv
import io
import json
import tempfile

import cv2
import numpy as np
import pytest
from PIL import Image

from pcos_utils.serving import app, clips, model, page
from pcos_utils.serving.model import Answer, Served
from tests.data.test_clinic import dicom
from tests.serving.made import frame

ROWS = ["cine.dcm#1", "cine.dcm#6", "cine.dcm", "clip.avi#1", "clip.avi#6", "clip.avi", "single.dcm"]
SCANS = np.array([frame(seed) for seed in range(3_000_000_000, 3_000_000_006)])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A DICOM file of six frames, of which two are read, one of a single frame, and a clip of six."""
    folder = tmp_path_factory.mktemp("clips")
    dicom(folder / "cine.dcm", SCANS)
    dicom(folder / "single.dcm", SCANS[:1])
    clip = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (300, 200))
    for scan in SCANS:
        clip.write(np.repeat(scan[..., None], 3, axis=2))
    clip.release()
    return folder


def test_the_command_answers_each_frame_and_then_the_clip(served, files, pcos):
    code, out, _ = pcos("predict", files, "--model", served, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["image"].rpartition("/")[2] for row in rows] == ROWS
    one = Served(served).answer(files / "single.dcm", rows[0]["image"]).record()
    assert rows[0] | {"seconds": 0} == one | {"seconds": 0} and "2 of 2 frames decided: " in rows[2]["reasons"][0]
    assert rows[2]["follicles"] == min(row["follicles"] for row in rows[:2])  # the lower median of two


@pytest.mark.parametrize(("said", "decision", "refusal"), [
    (["polycystic", "cannot say", "polycystic"], "polycystic", ""),
    (["polycystic", "not polycystic"], "cannot say", "frames differ"),
    (["cannot say", "cannot say"], "cannot say", model.BOTH),
])  # fmt: skip
def test_a_clip_is_called_what_no_frame_contradicts(said, decision, refusal):
    last, found = len(said) + 1, []
    for n, word in enumerate(said, start=2):
        found.append(Answer("a", word, 0.1 * n, [0.0, 0.2 + n / 10], n, 200, model.BOTH * (word == "cannot say")))
    answer = clips.summary("a.mp4", found)
    assert (answer.decision, answer.refusal, answer.interval) == (decision, refusal, [0.0, 0.2 + last / 10])
    assert f"2 to {last} follicles" in answer.reasons[0]


def test_a_clip_without_an_answered_frame_is_refused_as_its_frames_are():
    refused = clips.summary("a.mp4", [Answer("a", "cannot say", refusal="too blurred", reasons=["It is blurred."])] * 2)
    assert refused.refusal == "too blurred" and refused.value is None and "None of 2 frames" in refused.reasons[0]


def test_the_page_answers_clips_in_a_batch_and_keeps_no_file(served, files, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(page, "data_url", lambda content, kind: content.decode())
    desk, sent = app.Desk(Served(served)), []
    first, *rest = map(Image.fromarray, SCANS[:3])
    first.save(files / "three.tif", save_all=True, append_images=rest)
    for number, name in enumerate(("cine.dcm", "clip.avi", "single.dcm", "three.tif", "cut.avi")):
        content = (files / name.replace("cut", "clip")).read_bytes()
        desk.uploads.files[f"{number:032x}"] = content[:200] if name.startswith("cut") else content
        sent.append({"path": f"{app.FOLDER}/{number:032x}", "orig_name": name})
    *_, table = desk.batch(sent)
    rows = list(csv.DictReader(io.StringIO(table[table.index("image,box") : table.index("'>Save as CSV")])))
    frames = ["three.tif#1", "three.tif#2", "three.tif#3", "three.tif"]
    assert [row["image"] for row in rows] == [*ROWS, *frames, "cut.avi"]
    assert rows[-1]["refusal"] == "damaged" and rows[2]["value"] and desk.uploads.files == {}
    assert list(tmp_path.iterdir()) == [] and "Doe" not in table
    desk.uploads.files["a" * 32] = (files / "three.tif").read_bytes()
    one = desk.answer({"path": f"{app.FOLDER}/{'a' * 32}", "orig_name": "three.tif"})
    assert one.reasons[-1] == "This is the first of 3 frames; under Batch each is answered."
