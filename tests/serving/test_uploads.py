"""What may be sent: the gate before Gradio, at a small stand-in for it, and uploads that lie in memory alone."""

import tempfile

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pcos_utils.data.images import ImageError
from pcos_utils.serving import uploads
from pcos_utils.serving.page import picture
from tests.serving.made import frame, png

JOIN = "/gradio_api/queue/join"
FRAME = png(frame())


@pytest.fixture
def held():
    return uploads.Uploads()


def ask(held, method: str, path: str, **request) -> httpx.Response:
    """Return what the gate, or what stands behind it, answers to one request."""

    async def behind(request):
        return PlainTextResponse(b"behind " + await request.body())

    gate = Middleware(BaseHTTPMiddleware, dispatch=held.gate)
    page = Starlette(routes=[Route("/{path:path}", behind, methods=["GET", "POST"])], middleware=[gate])
    return TestClient(page, base_url="http://page").request(method, path, **request)


def test_an_upload_is_held_in_memory_shown_and_taken_once(held, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    large = FRAME + bytes(3_000_000)  # more than Starlette keeps in memory
    sent = [("files", ("a.png", each)) for each in (FRAME, large)]
    first, second = ask(held, "POST", uploads.UPLOAD, files=sent).json()
    assert first != second and all(uploads.UPLOADED.fullmatch(path) for path in (first, second))
    assert list(tmp_path.iterdir()) == [] and ask(held, "GET", uploads.FILE + first).content == FRAME
    assert ask(held, "POST", JOIN, json={"data": [{"path": first}]}).text.startswith("behind {")
    assert held.take({"path": first}) == FRAME and held.take({"path": second}) == large and held.files == {}
    with pytest.raises(ImageError, match="send it again"):
        held.take({"path": first})
    assert ask(held, "GET", uploads.FILE + first).status_code == 204


@pytest.mark.parametrize(("limit", "value", "status"), [
    ("MAX_UPLOAD", 1000, 413), ("MAX_FILE", 1000, 413), ("MAX_FILES", 1, 400), ("MAX_HELD", 1000, 503),
    ("SECONDS", 0, 200),  # what nobody asks about is forgotten
])  # fmt: skip
def test_what_is_too_much_is_refused_and_not_held(held, monkeypatch, limit, value, status):
    monkeypatch.setattr(uploads, limit, value)
    response = ask(held, "POST", uploads.UPLOAD, files=[("files", ("a.png", FRAME))] * 2)
    assert response.status_code == status and held.files == {} and (status == 200 or response.text.endswith("."))


def test_a_body_that_does_not_say_its_length_is_not_read_and_one_that_is_no_json_refused(held):
    def endless():
        while True:
            yield bytes(1_000_000)
            pytest.fail("it was read")

    assert ask(held, "POST", JOIN, content=endless(), headers={"transfer-encoding": "chunked"}).status_code == 413
    for content in (b"{", b"\xff", b"[" * 100_000):
        assert ask(held, "POST", JOIN, content=content).status_code == 400


@pytest.mark.parametrize("path", [__file__, "http://127.0.0.1:9/a.png", f"{uploads.FOLDER}/../../etc/hostname"],
                         ids=["a file", "an address", "a way out"])  # fmt: skip
def test_no_file_or_address_of_the_callers_choice_is_passed_on(held, path):
    for values in ({"data": [{"path": path}]}, [{"a": [{"b": {"path": path, "meta": {}}}]}]):
        response = ask(held, "POST", JOIN, json=values)
        assert response.status_code == 400 and "Only a file that was uploaded" in response.text
    with pytest.raises(ImageError, match="unreadable"):
        held.take({"path": path, "url": path})


def test_other_addresses_are_closed_and_none_leads_outside(held):
    for path in ("/gradio_api/vibe-code", "/gradio_api/proxy=http://127.0.0.1:9/", "/monitoring", "/docs"):
        assert ask(held, "GET", path).status_code == 404
    start = ask(held, "GET", "/")
    assert start.text == "behind " and "default-src 'self'" in start.headers["content-security-policy"]


def test_a_picture_is_read_from_its_data_url_within_limits(held):
    assert held.take({"path": None, "url": picture(frame())}).startswith(b"\x89PNG")
    held.files["0" * 32] = png(np.zeros((1, uploads.MAX_SIDE + 1), np.uint8))
    for status, refused in (
        ("unreadable", {"url": "data:image/png;base64,a"}), ("unreadable", {"url": "data:image/png;base64,\u00e9"}),
        ("too large", {"path": f"{uploads.FOLDER}/{'0' * 32}"}), ("empty", None),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=status):
            held.take(refused)
