"""The page: uploads at its desk, and real servers on this machine through gradio_client."""

import http.client
import subprocess
import sys
import threading
import time
from multiprocessing.pool import ThreadPool
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from pcos_utils.data.images import grey
from pcos_utils.serving import app, page
from pcos_utils.serving.model import DECISIONS, Answer, Served
from tests.serving.made import crowded, frame, page_running, png

FRAME = png(frame())
EVIL = "<img src=x onerror=alert(1)>.png"
VISITORS = 8


@pytest.fixture(scope="module")
def desk(served):
    return app.Desk(Served(served))


def sent(desk, content: bytes, name: str = "a.png") -> dict:
    desk.uploads.files["0" * 32] = content
    return {"path": f"{app.FOLDER}/{'0' * 32}", "orig_name": name}


@pytest.mark.parametrize(("name", "content", "refusal"), [
    ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not an image"),
    ("a.png", FRAME + b"<script>alert(1)</script>", None),  # a polyglot is the picture that it starts with
    (EVIL, FRAME, None),
    (EVIL, FRAME[:300], "damaged"),
])  # fmt: skip
def test_hostile_uploads_at_the_desk(desk, name, content, refusal):
    answer = desk.answer(sent(desk, content, name))
    assert answer.decision in DECISIONS and refusal in (None, answer.refusal)
    shown = "".join(desk.show(sent(desk, content, name))[1:3]) + page.batch([answer])
    assert not [bad for bad in ("<script", "<img src=x", "Traceback") if bad in shown] and desk.uploads.files == {}


def test_a_failure_is_told_and_the_log_holds_no_name(desk, caplog, monkeypatch):
    with caplog.at_level("INFO", "pcos.page"):
        desk.answer(sent(desk, FRAME, "Jane Doe.png"))
        monkeypatch.setattr(desk.model, "answer", lambda *_, **__: 1 / 0)
        answer = desk.answer(sent(desk, FRAME, "Jane Doe.png"))
    assert answer.refusal == "failed" and "division" not in answer.reasons[0]
    assert "answered" in caplog.text and "Jane" not in caplog.text
    assert desk.answer(None).refusal == "empty" and desk.answer({"path": "/etc/hostname"}).refusal == "unreadable"


def test_a_map_lies_over_the_outlines_and_a_count_shows_where_it_counted(desk, monkeypatch):
    steps = list(desk.explain(sent(desk, FRAME)))
    assert len(steps) == 9 and "class='heat'" in steps[-1] and "class='heat'" not in desk.show(sent(desk, FRAME))[2]
    pixels = desk.model.answer(FRAME, "a.png").pixels
    monkeypatch.setattr(desk.model, "counts", True)
    assert np.array_equal(next(app.maps.rests_on(desk.model, pixels)), desk.model.maps(grey(pixels))[0])
    assert "surer the counting network" in next(desk.explain(sent(desk, FRAME)))
    assert desk.show(sent(desk, FRAME))[4]["visible"]


@pytest.mark.slow
def test_maps_keep_nobody_waiting_and_stop_when_their_visitor_has_gone(served, tmp_path):
    log = tmp_path / "log.txt"
    (tmp_path / "a.png").write_bytes(FRAME)
    code = (
        "import time\nfrom pcos_utils.serving.model import Served\nlogits = Served.logits\n"
        "def slow(self, pixels):\n if len(pixels) > 1: print('row', flush=True); time.sleep(0.5)\n"
        " return logits(self, pixels)\nServed.logits = slow"
    )
    with page_running(served, log, code) as address:
        config = httpx.get(f"{address}/config").json()
        (why,) = (each["id"] for each in config["components"] if each["props"].get("elem_id") == "why")
        (event,) = (each["id"] for each in config["dependencies"] if [why, "click"] in each["targets"])
        client = Client(address, verbose=False)
        data, queue = {"data": [{"url": page.data_url(FRAME, "image/png")}, ""], "fn_index": event}, "gradio_api/queue"
        for visitor in ("one", "two"):
            httpx.post(f"{address}/{queue}/join", json=data | {"session_hash": visitor}).raise_for_status()
        with httpx.stream("GET", f"{address}/{queue}/data?session_hash=one", timeout=60) as events:
            next(line for line in events.iter_lines() if "process_generating" in line)
            started = time.monotonic()
            assert client.predict(image=handle_file(tmp_path / "a.png"), api_name="/predict")["model"] == "iustnet"
            assert time.monotonic() - started < 3  # a map takes four seconds, and two are asked for
        with httpx.stream("GET", f"{address}/{queue}/data?session_hash=two", timeout=60) as events:
            assert any("process_completed" in line for line in events.iter_lines())
        assert 8 < log.read_text().count("row") < 16  # the first map was not finished


def test_a_batch_names_its_scale_and_no_cell_of_its_file_is_a_formula(desk, monkeypatch):
    monkeypatch.setattr(page, "data_url", lambda content, kind: content.decode())
    table = page.batch([desk.answer(sent(desk, FRAME, "=HYPERLINK(1)"))])
    assert "<th>share polycystic among phantoms</th>" in table and "probability" not in table
    assert "\n'=HYPERLINK" in table and "0 answers" in page.batch([])
    facts = dict.fromkeys(["model", "data", "run", "scale", "calibrated", "use"], "x")
    assert "cannot say" in page.batch([Answer("a", "cannot say", facts=facts)])


def test_the_named_address_answers_and_nothing_stays_on_disk_even_of_half_an_upload(served, tmp_path):
    whole, cut, log, place = (tmp_path / name for name in ("Jane.png", "cut.png", "log.txt", "temporary"))
    place.mkdir()
    whole.write_bytes(FRAME)
    cut.write_bytes(FRAME[:200])
    with page_running(served, log, TMPDIR=str(place)) as address:
        client = Client(address, verbose=False)
        for asked, box in ({}, None), ({"box": "10,20,250,190"}, (10, 20, 250, 190)):
            record = client.predict(image=handle_file(whole), **asked, api_name="/predict")
            expected = Served(served).answer(whole, "Jane.png", box=box).record()
            assert record | {"seconds": 0} == expected | {"seconds": 0} and record["box"] == asked.get("box", "")
        assert record["model"] == "iustnet" and record["image"] == "Jane.png" and "Research only" in record["use"]
        wrong = client.predict(image=handle_file(whole), box="10,20", api_name="/predict")
        assert wrong["refusal"] == "unusable box" and "give x0,y0,x1,y1" in wrong["reasons"][0]
        script = page.API.split("```sh\n")[1].split("```")[0].replace("http://127.0.0.1:7860", address)
        script = script.replace("frame.png", str(whole)).replace("120,80,420,280", "10,20,250,190")
        told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
        assert f'"value": {expected["value"]}' in told, told
        assert client.predict(handle_file(cut), api_name="/predict")["refusal"] == "damaged"
        assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/predict"]
        assert list(place.iterdir()) == []
        visitor = http.client.HTTPConnection(urlsplit(address).netloc)
        visitor.putrequest("POST", "/gradio_api/upload")
        visitor.putheader("content-type", "multipart/form-data; boundary=b")
        visitor.putheader("content-length", "9000000")
        visitor.endheaders(b'--b\r\ncontent-disposition: form-data; name="files"; filename="a.png"\r\n\r\n')
        visitor.send(bytes(8_000_000))
        client.predict(handle_file(cut), api_name="/predict")
        visitor.close()
    assert list(place.iterdir()) == []  # after SIGTERM
    assert "Traceback" not in log.read_text() and "Jane" not in log.read_text()


@pytest.mark.slow
def test_every_visitor_is_answered_and_who_is_turned_away_may_try_again(served, tmp_path):
    image = next((served / "examples").glob("*.png"))
    errors, ready = [], threading.Barrier(VISITORS)

    def visit(address: str) -> dict:
        client = Client(address, verbose=False)
        ready.wait()
        while True:
            try:
                return client.predict(handle_file(image), api_name="/predict")
            except QueueError as error:
                errors.append(str(error))
                time.sleep(0.2)

    with crowded(served, tmp_path / "log.txt", waiting=2, seconds=0.5) as address, ThreadPool(VISITORS) as pool:
        answers = pool.map_async(visit, [address] * VISITORS).get(180)
    assert len(answers) == VISITORS and len({(answer["value"], answer["refusal"]) for answer in answers}) == 1
    assert errors and all("Queue is full" in error for error in errors)
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


@pytest.mark.slow
def test_the_page_needs_no_proxy_and_a_used_port_is_one_sentence(served, tmp_path):
    proxies = dict.fromkeys(("ALL_PROXY", "http_proxy", "HTTPS_PROXY"), "socks5://127.0.0.1:9")
    with page_running(served, tmp_path / "log.txt", **proxies) as address:
        port = urlsplit(address).port
        command = [sys.executable, "-m", "pcos_utils.cli", "app", "--model", served, "--port", str(port)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.startswith(f"pcos: Port {port} cannot be used (address already in")
    assert f"the page is at {address}" in (tmp_path / "log.txt").read_text()
