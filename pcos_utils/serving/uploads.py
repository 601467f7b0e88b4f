"""Limit what a visitor may send to the page, and hold it in memory until it is answered.

Size, number and address of an upload are checked here; whether a picture is a usable scan is checked in scan_check.py.
"""

import asyncio
import base64
import io
import json
import re
import secrets
import tempfile
from contextlib import suppress

from PIL import Image
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from pcos_utils.data.images import FORMATS, ImageError

MAX_FILE, MAX_FILES = 10_000_000, 50  # bytes of one file, where a frame has less than one million; files in one batch
# Bytes of a request with files, and of any other: a frame is sent again, as text, when its map is requested.
MAX_UPLOAD, MAX_BODY = 64_000_000, 14_000_000
MAX_HELD, SECONDS = 256_000_000, 180  # bytes of all that wait for an answer, and for how long they may wait
MAX_PIXELS, MAX_SIDE = 12_000_000, 8_192  # tighter than the image loader's limits, because anybody can send to a page
# Where Gradio believes the uploads to be. Nothing is written there, and nobody can guess the name.
FOLDER = f"{tempfile.gettempdir()}/pcos-page-{secrets.token_hex(8)}"
UPLOADED = re.compile(re.escape(FOLDER) + "/([0-9a-f]{32})")
UPLOAD, PROGRESS, FILE = "/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/file="
# The addresses that the page and gradio_client use; Gradio has many more, which are answered with 404.
OPEN = re.compile(
    "/((assets|static|svelte)/.+|config|theme.css|favicon.ico|manifest.json|robots.txt|gradio_api/((heartbeat|call)/.+|"
    "queue/join|queue/data|cancel|info|app_id|startup-events|openapi.json))?/?"
)
# No script may reach an outside address. Gradio's own scripts need the two unsafe words.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob:; "
POLICY += "object-src 'none'; base-uri 'self'; form-action 'self'"


class Uploads:
    """The files that wait for their answers, by names that cannot be guessed."""

    def __init__(self):
        self.files: dict[str, bytes] = {}

    async def gate(self, request: Request, call_next) -> Response:
        """Answer, as a middleware, each request about files, so that Gradio touches none, and refuse the forbidden."""
        path, length = request.scope["path"], request.headers.get("content-length", "0")
        limit = MAX_UPLOAD if path == UPLOAD else MAX_BODY
        try:
            if "transfer-encoding" in request.headers or not length.isdigit() or int(length) > limit:
                raise HTTPException(413, f"The request is larger than {limit // 1_000_000} MB, or states no size.")
            if path == UPLOAD:
                response = JSONResponse(await self._receive(request))
            elif path == PROGRESS:
                response = Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")
            elif path.startswith(FILE):  # what the page shows until the answer is there
                content = self.files.get(path.rpartition("/")[2], b"")
                response = Response(content, 200 if content else 204, media_type="application/octet-stream")
            elif not OPEN.fullmatch(path):
                raise HTTPException(404, "There is nothing at this address.")
            elif names_other_file(await request.body()):
                raise HTTPException(400, "Only a file that was uploaded to this page is read.")
            else:
                response = await call_next(request)
        except HTTPException as error:
            response = Response(error.detail, error.status_code, media_type="text/plain")
        except ClientDisconnect:
            response = Response(status_code=400)
        response.headers.update({"content-security-policy": POLICY, "x-content-type-options": "nosniff"})
        return response

    async def _receive(self, request: Request) -> list[str]:
        # Starlette keeps what is above a megabyte in a file without a name, which ends with the request or the page.
        paths = []
        async with request.form(max_files=MAX_FILES) as form:
            for file in form.getlist("files"):
                if not isinstance(file, UploadFile) or file.size > MAX_FILE:
                    raise HTTPException(413, f"A file is larger than {MAX_FILE // 1_000_000} MB.")
                if file.size + sum(map(len, self.files.values())) > MAX_HELD:
                    raise HTTPException(503, "Too many files wait for their answers; send yours again a little later.")
                name = secrets.token_hex(16)
                self.files[name] = await file.read()
                asyncio.get_running_loop().call_later(SECONDS, self.files.pop, name, None)
                paths.append(f"{FOLDER}/{name}")
        return paths

    def take(self, upload: dict | None) -> bytes:
        """Return the bytes of the file that a request names, and forget them. Raises ImageError where none is read."""
        if not upload:
            raise ImageError("empty", "", "No image has arrived; drop one or paste it.")
        name, (start, _, text) = UPLOADED.fullmatch(upload.get("path") or ""), (upload.get("url") or "").partition(",")
        content = self.files.pop(name[1], None) if name else None
        if not name and start.startswith("data:image/") and start.endswith(";base64"):
            with suppress(ValueError):
                content = base64.b64decode(text)
        if content is None:
            raise ImageError("unreadable", "", "Only a file that was uploaded to this page is read; send it again.")
        width, height = 0, 0
        with suppress(Exception), Image.open(io.BytesIO(content), formats=FORMATS) as image:  # the header alone
            width, height = image.size
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            reason = f"The picture has {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} are answered here."
            raise ImageError("too large", "", reason)
        return content


def names_other_file(body: bytes) -> bool:
    """Return whether a request is no JSON, or names a file that is no upload and that Gradio would open or fetch."""
    paths = []
    try:
        json.loads(body or "null", object_hook=lambda value: paths.append(value.get("path")))
    except (ValueError, RecursionError):
        return True
    return any(isinstance(path, str) and not UPLOADED.fullmatch(path) for path in paths)
