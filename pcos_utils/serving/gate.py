"""The door of the web page: which addresses exist, how large a request may be, and that nothing is fetched elsewhere.

An ASGI middleware in front of Gradio, which has many more routes than this page needs.
"""

import json

# What the page and gradio_client use. Everything else is not found.
OPEN = ("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt", "/gradio_api/info")
OPEN += ("/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/queue/join", "/gradio_api/queue/data")
OPEN += ("/gradio_api/cancel", "/gradio_api/startup-events", "/gradio_api/app_id", "/gradio_api/openapi.json")
BELOW = ("/assets/", "/static/", "/svelte/", "/gradio_api/file=", "/gradio_api/heartbeat/", "/gradio_api/call/")
UPLOAD = "/gradio_api/upload"
MAX_UPLOAD = 64_000_000  # bytes of one request with files; a single file may have less, as the page says
MAX_BODY = 14_000_000  # bytes of any other request; an answered frame comes back as text when its map is asked for
# No outside address, whatever a script asks; Gradio's own scripts need the two unsafe words.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]


class TooLong(Exception):
    """A request is longer than it may be."""


class Gate:
    """The application behind the gate."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        """As ASGI has it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        path = scope["path"].rstrip("/") or "/"
        if path not in OPEN and not scope["path"].startswith(BELOW):
            return await _say(send, 404, "There is nothing at this address.")
        most = MAX_UPLOAD if path == UPLOAD else MAX_BODY
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > most:
            return await _say(send, 413, f"The request is larger than {most // 1_000_000} MB.")
        started, read = False, 0

        async def counted():
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise TooLong
            return message

        async def marked(message):
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                known = {name for name, _ in message.get("headers", [])}
                added = [pair for pair in HEADERS if pair[0] not in known]
                message = message | {"headers": [*message.get("headers", []), *added]}
            await send(message)

        try:
            await self.app(scope, counted, marked)
        except TooLong:
            if not started:
                await _say(send, 413, f"The request is larger than {most // 1_000_000} MB.")


async def _say(send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
