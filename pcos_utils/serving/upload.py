"""What a visitor sends: read once, within limits, and deleted at once. No address is fetched for anybody."""

import base64
import binascii
import io
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import gradio as gr
from gradio import route_utils
from gradio.data_classes import FileData, ImageData, ListFiles
from gradio.utils import get_upload_folder
from PIL import Image

from pcos_utils.data.images import FORMATS

MAX_FILE = 10_000_000  # bytes; a frame has less than one million
MAX_FILES = 50  # in one batch


class Upload(NamedTuple):
    """One file: its name as the visitor has it, and its bytes, or the reason why they were not read."""

    name: str
    content: bytes
    problem: str = ""


# Gradio writes a stub file beside the source of every class that is made of a component, so these are components with
# other functions and not other classes.
def frame(**settings) -> gr.Image:
    """An image that reaches its function as an `Upload`, unseen by Pillow, and is shown from a data address."""
    made = gr.Image(type="filepath", image_mode=None, **settings)
    made.preprocess = lambda payload: None if payload is None else take(payload)
    made.postprocess = lambda value: None if value is None else ImageData(path=None, url=value)
    made.async_move_resource_to_block_cache = _as_it_is
    return made


def frames(**settings) -> gr.File:
    """Several files that reach their function as a list of `Upload`; those beyond MAX_FILES are deleted unread."""
    made = gr.File(file_count="multiple", **settings)
    made.preprocess = _several
    made.async_move_resource_to_block_cache = _as_it_is
    return made


async def _as_it_is(url_or_file_path) -> str | None:
    # Gradio copies uploads, and fetches addresses, before a function is called; neither is wanted here.
    return None if url_or_file_path is None else str(url_or_file_path)


def _several(payload: ListFiles | FileData | None) -> list[Upload]:
    found = [] if payload is None else payload.root if isinstance(payload, ListFiles) else [payload]
    return [take(one, keep=number < MAX_FILES) for number, one in enumerate(found)]


def keep_apart() -> None:
    """Nothing; from here on two uploads of the same bytes lie in two places, so that deleting one leaves the other.

    Gradio names an upload's folder by a digest of its content; the digest now begins with random bytes.
    """
    begin = route_utils.GradioUploadFile.__init__
    if begin.__module__ == __name__:
        return

    def salted(self, *given, **named) -> None:
        """As Gradio's own, with random bytes before the content."""
        begin(self, *given, **named)
        self.sha.update(os.urandom(16))

    route_utils.GradioUploadFile.__init__ = salted


def take(payload: ImageData | FileData, keep: bool = True) -> Upload:
    """The file's content; on the disk it is gone afterwards."""
    name = "".join(letter for letter in payload.orig_name or "image" if letter.isprintable())[-80:] or "image"
    address = payload.url or ""
    if not payload.path:
        return _from_address(name, address)
    place, own = Path(payload.path).resolve(), Path(get_upload_folder()).resolve()
    if not place.is_relative_to(own) or place == own or not place.is_file():
        return Upload(name, b"", "Only a file that was uploaded to this page is read.")
    try:
        if not keep:
            return Upload(name, b"", f"Only {MAX_FILES} files are answered at a time.")
        if place.stat().st_size > MAX_FILE:
            return Upload(name, b"", f"The file is larger than {MAX_FILE // 1_000_000} MB.")
        return Upload(name, place.read_bytes())
    finally:
        place.unlink(missing_ok=True)
        if place.parent != own:
            shutil.rmtree(place.parent, ignore_errors=True)


def _from_address(name: str, address: str) -> Upload:
    start, _, text = address.partition(",")
    if not (start.startswith("data:image/") and start.endswith(";base64")) or len(text) > MAX_FILE * 4 // 3 + 4:
        return Upload(name, b"", "Only a file that was uploaded to this page is read.")
    try:
        return Upload(name, base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return Upload(name, b"", "The image did not arrive whole; send it again.")


def size_of(content: bytes) -> tuple[int, int] | None:
    """Width and height that an image's header states, nothing being decoded; None where there is no such header."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.size
    except Exception:  # what is wrong with it, ``images.load`` says
        return None
