"""One file over HTTP: retried with growing pauses, resumed where that is provably safe, verified, then renamed."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import requests
import urllib3
from tqdm.auto import tqdm

from pcos_utils.data import unpack
from pcos_utils.files import write_json

TIMEOUT = 30  # seconds without a byte before a server counts as silent
TRIES = 5  # in a row, each without a new byte
LONGEST_PAUSE = 60  # seconds
BLOCK = 2**18
Value = TypeVar("Value")


class TransferError(Exception):
    """The reason, as a clause, why a file did not arrive; trying again at once would not help."""


class Transient(TransferError):
    """A reason that may pass. ``pause``: seconds for which the server asked."""

    def __init__(self, reason: str, pause: float = 0):
        super().__init__(reason)
        self.pause = pause


def patiently(
    action: Callable[[], Value],
    *,
    tries: int = TRIES,
    sleep: Callable[[float], None] = time.sleep,
    arrived: Callable[[], int] = lambda: 0,
) -> Value:
    """What ``action`` returns, tried again after each Transient error with pauses of 1, 2, 4, ... seconds.

    ``arrived`` tells how many bytes are there: a try that brought more than any before starts the count anew.
    Raises the last error after ``tries`` tries in a row.
    """
    failures, most = 0, arrived()
    while True:
        try:
            return action()
        except Transient as error:
            now = arrived()
            failures = 1 if now > most else failures + 1
            most = max(most, now)
            if failures >= tries:
                raise
            sleep(min(max(2 ** (failures - 1), error.pause), LONGEST_PAUSE))


def fetch(
    url: str,
    target: Path,
    part: Path,
    *,
    digest: str | None = None,
    accept: Callable[[Path], None] = lambda path: None,
    session: requests.Session | None = None,
    max_bytes: int = unpack.MAX_BYTES,
    timeout: float = TIMEOUT,
    tries: int = TRIES,
    sleep: Callable[[float], None] = time.sleep,
    silent: bool = False,
) -> None:
    """Nothing; ``target`` appears when every byte has arrived in ``part`` and was verified, or not at all.

    ``digest`` is the published one, "sha256:..." or "md5:...". ``accept`` raises TransferError for a file whose
    content is not what its name says. After a failure ``part`` stays, and the next call continues it if the server
    proves by its validator (a strong ETag or a date), or at least by the length, that the file is still the same.
    Raises TransferError with the reason, OSError where the disk refuses.
    """
    part.parent.mkdir(parents=True, exist_ok=True)

    def once() -> None:
        """Nothing; one attempt, whose bytes a next one continues."""
        joined = _receive(url, part, session or requests, max_bytes, timeout, silent)
        try:
            accept(part)
            _verify(part, digest)
        except TransferError as error:
            _drop(part)
            if joined:  # perhaps two versions were joined: worth one try from the beginning
                raise Transient(str(error)) from error
            raise

    patiently(once, tries=tries, sleep=sleep, arrived=lambda: _size(part))
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, target)
    _notes(part).unlink(missing_ok=True)


def bar(total: int | None, name: str, start: int = 0, *, silent: bool = False, unit: str = "B") -> tqdm:
    """A progress bar in bytes, or in the unit given; silent where PCOS_PLAIN is set."""
    silent = silent or "PCOS_PLAIN" in os.environ
    return tqdm(total=total, initial=start, desc=name, unit=unit, unit_scale=unit == "B", disable=silent)


def _receive(url: str, part: Path, session, max_bytes: int, timeout: float, silent: bool) -> bool:
    # Whether the complete file in ``part`` came in more than one answer.
    start, note = _resumable(url, part)
    here = start
    if start and start == note["total"]:
        return note["joined"]  # the process ended after the last byte and before the file was verified
    headers = {"Accept-Encoding": "identity"}  # offsets must count the bytes on the disk
    if start:
        headers["Range"] = f"bytes={start}-"
        if note["validator"]:
            headers["If-Range"] = note["validator"]
    try:
        with session.get(url, headers=headers, stream=True, timeout=timeout) as answer:
            note = _agree(answer, url, start, note, part)
            if note["total"] and note["total"] > max_bytes:
                raise TransferError(f"the file is announced with {note['total']:,} bytes, more than {max_bytes:,}")
            if not note["joined"]:
                _drop(part)  # before the new note: old bytes beside a new validator would be continued after a kill
            write_json(_notes(part), note)
            here = _size(part)
            # read1 hands over what has arrived; a longer read would lose it when the connection breaks.
            with open(part, "ab") as stream, bar(note["total"], part.name, here, silent=silent) as shown:
                while block := answer.raw.read1(BLOCK, decode_content=True):
                    here += len(block)
                    if here > max_bytes:
                        raise TransferError(f"the file is longer than {max_bytes:,} bytes")
                    stream.write(block)
                    stream.flush()  # kill -9 must not cost what has arrived
                    shown.update(len(block))
    except (requests.exceptions.SSLError, requests.exceptions.InvalidURL) as error:
        raise TransferError(f"no connection to {url} can be made ({type(error).__name__})") from error
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise Transient(f"the server sent nothing for {timeout:g} seconds") from error
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        seen = f" after {here:,} of {note['total']:,} bytes" if here and note["total"] else ""
        raise Transient(f"the connection was refused or broke off{seen}") from error
    except requests.RequestException as error:
        raise TransferError(f"{url} cannot be read ({type(error).__name__})") from error
    if note["total"] is not None and here != note["total"]:
        raise Transient(f"the connection ended after {here:,} of {note['total']:,} bytes")
    return note["joined"]


def _agree(answer: requests.Response, url: str, start: int, note: dict, part: Path) -> dict:
    # The note on the answer's file, if the answer continues the part or begins anew; otherwise an error.
    if answer.status_code == 416 or (answer.status_code == 206 and not start):
        _drop(part)
        raise Transient("the server refused to continue the file")
    if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
        pause = answer.headers.get("Retry-After", "")
        raise Transient(f"the server answered {answer.status_code}", float(pause) if pause.isdecimal() else 0)
    if answer.status_code not in (200, 206):
        raise TransferError(f"the server answered {answer.status_code} for {url}")
    found = _described(answer, url)
    if answer.status_code == 200:  # ranges are ignored, or the file has changed: all of it comes again
        return found | {"joined": False}
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    total = int(span[2]) if span and span[2] != "*" else note["total"]
    same = not (found["validator"] and note["validator"]) or found["validator"] == note["validator"]
    if not span or int(span[1]) != start or not same or total is None or note["total"] not in (None, total):
        _drop(part)
        raise Transient("the server continued another file than the one begun")
    return note | {"total": total, "joined": True}


def _described(answer: requests.Response, url: str) -> dict:
    headers = answer.headers
    length, etag = headers.get("Content-Length", ""), headers.get("ETag", "")
    plain = headers.get("Content-Encoding", "identity").lower() in ("", "identity")
    chunked = "Transfer-Encoding" in headers
    if not chunked and not length.isdecimal():
        raise TransferError("the server does not say how long the file is, so that a cut one could not be told")
    return {
        "url": url,
        "total": int(length) if plain and not chunked and length.isdecimal() else None,
        # A weak ETag promises the same meaning, not the same bytes.
        "validator": (etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")) if plain else None,
    }


def _resumable(url: str, part: Path) -> tuple[int, dict]:
    empty = {"url": url, "total": None, "validator": None, "joined": False}
    try:
        note = empty | json.loads(_notes(part).read_text())
    except (OSError, ValueError, TypeError):
        return 0, empty
    here = _size(part)
    known = note["validator"] or note["total"] is not None
    if note["url"] != url or not known or (note["total"] is not None and here > note["total"]):
        return 0, empty
    return here, note


def _verify(path: Path, digest: str | None) -> None:
    if digest:
        method, published = digest.lower().split(":")
        with open(path, "rb") as stream:
            found = hashlib.file_digest(stream, method).hexdigest()
        if found != published:
            raise TransferError(f"its {method} is {found[:12]}..., not the published {published[:12]}...")


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)
