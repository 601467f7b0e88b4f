"""Provide a real HTTP server on loopback that misbehaves as a test wants."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest


class Loopback(ThreadingHTTPServer):
    """Serve files by path, each with a list of moods, one for each request; without a mood a request is served well.

    A mood is a dict: ``status``, ``body``, ``cut`` (bytes sent before the connection breaks), ``headers``.
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
        """Stay silent, because clients may hang up."""


class Handler(BaseHTTPRequestHandler):
    """Answer one request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        """Write nothing on the terminal."""

    def do_GET(self):
        """Send the file as the mood has it."""
        path = unquote(self.path).lstrip("/")
        moods = self.server.moods.get(path, [])
        mood = self.server.always | (moods.pop(0) if moods else {})
        body = mood.get("body", self.server.files.get(path))
        status = mood.get("status", 404 if body is None else 200)
        body, wanted, headers = body or b"", self.headers.get("Range"), {"ETag": '"one"'}
        if status == 200 and wanted:
            start, whole = int(wanted.removeprefix("bytes=").rstrip("-")), len(body)
            status, body = 206, body[start:]
            headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
        headers |= {"Content-Length": str(len(body))} | mood.get("headers", {})
        self.server.asked.append((path, wanted, status))
        self.send_response(status)
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[: mood.get("cut")])
        if mood.get("cut", len(body)) < len(body):
            self.wfile.flush()
            self.server.release.wait(self.server.hold)
            self.close_connection = True


@pytest.fixture
def server(monkeypatch) -> Loopback:
    """Run the server in a thread of its own until the test ends."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PCOS_PLAIN", "1")
    loopback = Loopback()
    thread = threading.Thread(target=loopback.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield loopback
    loopback.release.set()
    loopback.shutdown()
    loopback.server_close()
