"""A real HTTP server on loopback that misbehaves as it is told, and a look at everything on the disk around it."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest


class Loopback(ThreadingHTTPServer):
    """Files by path, and for each path a list of moods, one a request; without a mood a request is served well.

    A mood is a dict: ``status``, ``body``, ``etag``, ``modified``, ``length`` (announced), ``cut`` (bytes sent before
    the connection breaks), ``ranges`` ("ignored", "refused", "wrong"), ``wait`` (seconds before the body), ``headers``.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.moods: dict[str, list[dict]] = {}
        self.always: dict = {}
        self.hold = 0  # seconds for which a connection that will break stays open first
        self.release = threading.Event()
        self.asked: list[tuple[str, str | None, int]] = []  # path, Range, status
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Nothing: a client that hangs up is part of the play."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        """Nothing on the terminal."""

    def do_GET(self):
        """The file as the mood has it."""
        path = unquote(self.path).lstrip("/")
        moods = self.server.moods.get(path, [])
        mood = self.server.always | (moods.pop(0) if moods else {})
        body = mood.get("body", self.server.files.get(path))
        status = mood.get("status", 404 if body is None else 200)
        etag, ranges = mood.get("etag", '"one"'), mood.get("ranges")
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        body, headers = body or b"", {}
        if etag:
            headers["ETag"] = etag
        if "modified" in mood:
            headers["Last-Modified"] = mood["modified"]
        current = condition in (None, etag, mood.get("modified"))
        if status == 200 and wanted and ranges == "refused":
            status, body = 416, b""
        elif status == 200 and wanted and ranges != "ignored" and current:
            start, whole = int(wanted.removeprefix("bytes=").rstrip("-")), len(body)
            end = whole
            if ranges == "wrong":  # other bytes than the ones asked for, but as many
                start, end = start - 3, whole - 3
            if start >= whole:
                status, body, headers["Content-Range"] = 416, b"", f"bytes */{whole}"
            else:
                status, body = 206, body[start:end]
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{whole}"
        headers["Content-Length"] = str(mood.get("length", len(body)))
        headers |= mood.get("headers", {})
        self.server.asked.append((path, wanted, status))
        self.send_response(status)
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        time.sleep(mood.get("wait", 0))
        sent = body[: mood["cut"]] if "cut" in mood else body
        self.wfile.write(sent)
        if len(sent) < len(body):
            self.wfile.flush()
            self.server.release.wait(self.server.hold)
        if len(sent) < len(body) or "length" in mood or headers["Content-Length"] is None:
            self.close_connection = True


@pytest.fixture
def server(monkeypatch) -> Loopback:
    """The server, serving in a thread of its own until the test ends."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PCOS_PLAIN", "1")
    loopback = Loopback()
    thread = threading.Thread(target=loopback.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield loopback
    loopback.release.set()
    loopback.shutdown()
    loopback.server_close()


@pytest.fixture
def snapshot():
    """A function that gives every file (with its bytes), link and folder under a folder."""

    def look(folder) -> dict[str, bytes | None]:
        found = {}
        for path in folder.rglob("*"):
            plain = path.is_file() and not path.is_symlink()
            found[path.relative_to(folder).as_posix()] = path.read_bytes() if plain else None
        return found

    return look
