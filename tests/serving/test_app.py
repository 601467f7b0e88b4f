"""The page: hostile uploads at its function, and a real server on this machine through gradio_client."""

import asyncio
import io
import json
import os
import socket
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest
from gradio.data_classes import FileData
from gradio_client import Client, handle_file
from PIL import Image

from pcos_utils.data import phantom
from pcos_utils.data.grey import grey
from pcos_utils.serving import app, gate, page
from pcos_utils.serving.predict import Answer, Served
from pcos_utils.serving.upload import Upload, take


def png(pixels: np.ndarray) -> bytes:
    """The image as a file's bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


FRAME = png(phantom.simulate(3_000_000_000, 0).image)
EVIL = "<img src=x onerror=alert(1)>.png"


@pytest.fixture(scope="module")
def desk(served):
    """The page's function behind a served model."""
    return app.Desk(Served(served))


@pytest.mark.parametrize(
    ("upload", "refusal"),
    [
        (None, "empty"),
        (Upload("a.png", b"", "Only a file that was uploaded to this page is read."), "unreadable"),
        (Upload("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"), "not an image"),
        (Upload("a.png", png(np.zeros((5_000, 5_000), np.uint8))), "too large"),  # above the page's limit alone
        (Upload("a.png", FRAME + b"<script>alert(1)</script>"), None),  # a polyglot is the picture that it starts with
        (Upload(EVIL, FRAME), None),
        (Upload(EVIL, FRAME[:300]), "damaged"),
    ],
)
def test_hostile_uploads_at_the_pages_function(desk, upload, refusal):
    made = desk.answer(upload)
    assert made.decision in ("polycystic", "not polycystic", "cannot say")
    assert refusal is None or made.refusal == refusal
    shown = "".join(part for part in desk.show(upload)[1:3]) + page.batch([made])
    assert "<script" not in shown and "<img src=x" not in shown and "Traceback" not in shown


def test_a_frame_that_takes_too_long_or_fails_is_told_so(desk, monkeypatch):
    monkeypatch.setattr(app, "PATIENCE", 0.05)
    monkeypatch.setattr(desk.model, "answer", lambda *_: time.sleep(0.5))
    assert desk.answer(Upload("a.png", FRAME)).refusal == "too slow"
    monkeypatch.setattr(app, "PATIENCE", 5)
    monkeypatch.setattr(desk.model, "answer", lambda *_: 1 / 0)
    made = desk.answer(Upload("a.png", FRAME))
    assert made.refusal == "failed" and "division" not in made.reasons[0]


def test_a_map_or_a_batch_that_takes_too_long_is_told_so(desk, monkeypatch):
    monkeypatch.setattr(app, "BATCH_PATIENCE", 0)
    assert desk.several([Upload("a.png", FRAME)] * 2).count("The batch took more than 0 s") == 2
    plain = desk.explain(Upload("a.png", FRAME))
    for broken in (lambda *_: time.sleep(1), lambda *_: 1 / 0):
        monkeypatch.setattr(app, "PATIENCE", 0.5)
        monkeypatch.setattr(app.saliency, "occlusion", broken)
        told = desk.explain(Upload("a.png", FRAME))
        assert "class='heat'" in plain and "class='heat'" not in told
        assert "could not be drawn in time" in told and "polygon" in plain and "division" not in told


def test_a_count_shows_where_it_counted(desk):
    made = desk.model.answer(FRAME, "a.png")
    desk.model.counts = True
    try:
        found = app.saliency.rests_on(desk.model, made.pixels)
        assert np.array_equal(found, desk.model.maps(grey(made.pixels))[0])
        assert "surer the counting network" in desk.explain(Upload("a.png", FRAME))
        assert desk.show(Upload("a.png", FRAME))[3]["visible"]
    finally:
        desk.model.counts = False


def test_the_log_holds_no_name(desk, caplog):
    with caplog.at_level("INFO", "pcos.page"):
        desk.answer(Upload("Jane Doe.png", FRAME))
    assert "answered" in caplog.text and "Jane" not in caplog.text


def test_no_cell_of_the_table_is_a_formula():
    made = Answer(
        "=HYPERLINK(1)",
        "cannot say",
        refusal="empty",
        reasons=["x"],
        facts=dict.fromkeys(["model", "data", "run"], "x"),
    )
    assert "\n'=HYPERLINK" in page.table([made.row()])


def test_the_gate_counts_what_is_not_declared():
    sent = []

    async def reads_all(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    async def receive():
        return {"type": "http.request", "body": bytes(1_000_000), "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/gradio_api/queue/join", "headers": []}
    asyncio.run(gate.Gate(reads_all)(scope, receive, send))
    assert sent[0]["status"] == 413


@pytest.fixture(scope="module")
def address(served):
    """The running page's address; its place for uploads is in GRADIO_TEMP_DIR."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    before = dict(os.environ)
    running = app.run(served, port=port, wait=False)
    yield f"http://127.0.0.1:{port}"
    running[0].get_blocks().close()
    os.environ.clear()
    os.environ.update(before)


def test_the_named_address_answers_and_keeps_nothing(address, tmp_path):
    (tmp_path / "a.png").write_bytes(FRAME)
    (tmp_path / "b.png").write_bytes(FRAME[:200])
    client = Client(address, verbose=False)
    record = client.predict(handle_file(tmp_path / "a.png"), api_name="/predict")
    assert record["model"] == "iustnet" and "Research only" in record["use"]
    assert client.predict(handle_file(tmp_path / "b.png"), api_name="/predict")["refusal"] == "damaged"
    assert [path for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()] == []
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/predict"]


def test_the_same_file_from_many_visitors_is_answered_to_each(address, tmp_path):
    (tmp_path / "a.png").write_bytes(FRAME)

    def ask(_):
        return Client(address, verbose=False).predict(handle_file(tmp_path / "a.png"), api_name="/predict")

    with ThreadPoolExecutor(6) as pool:
        records = list(pool.map(ask, range(24)))
    assert len({(record["probability"], record["refusal"]) for record in records}) == 1
    assert records[0]["refusal"] != "unreadable"


@pytest.mark.parametrize("path", ["/etc/hostname", "http://127.0.0.1:9/a.png"])
def test_no_file_or_address_of_the_callers_choice_is_read(address, path):
    body = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    request = urllib.request.Request(
        f"{address}/gradio_api/call/predict", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    event = json.load(urllib.request.urlopen(request, timeout=20))["event_id"]
    told = urllib.request.urlopen(f"{address}/gradio_api/call/predict/{event}", timeout=20).read().decode()
    assert "event: error" in told or "Only a file that was uploaded" in told
    assert "Traceback" not in told and 'probability": 0' not in told


def test_there_is_no_other_route_and_no_outside_address(address):
    for path in ("/gradio_api/vibe-code", "/gradio_api/proxy=http://127.0.0.1:9/", "/monitoring", "/gradio_api/runs"):
        with pytest.raises(HTTPError, match="404"):
            urllib.request.urlopen(address + path, timeout=20)
    answer = urllib.request.urlopen(address, timeout=20)
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", [__file__, "http://127.0.0.1:9/a.png", "../a.png"])
def test_what_lies_outside_the_place_for_uploads_is_neither_read_nor_deleted(path, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    taken = take(FileData(path=path))
    assert taken.content == b"" and "uploaded to this page" in taken.problem and Path(__file__).exists()
