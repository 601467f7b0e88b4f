"""Where an entry's files lie and how one of them comes: a mirror, Google Drive (through gdown) or Zenodo."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import quote

import gdown
import requests
from gdown.exceptions import DownloadError, FileURLRetrievalError

from pcos_utils.data import datasets, transfer, unpack
from pcos_utils.data.transfer import TransferError, Transient, bar, patiently
from pcos_utils.data.unpack import folded
from pcos_utils.files import write_text

ZENODO_API = "https://zenodo.org/api/records/"
LISTING_BYTES = 2**25  # more than a list of any registered set can have


class Remote(NamedTuple):
    """One file of an entry: where it will lie (relative, forward slashes), its address, its published digest."""

    path: str
    url: str
    digest: str | None = None  # "sha256:..." or "md5:..."


def listing(name: str, session: requests.Session, scratch: Path, sleep: Callable = time.sleep) -> list[Remote]:
    """The files of a registered entry, with safe and distinct paths; at least one. ``scratch`` may be written to.

    Raises TransferError where the list cannot be had, UnpackError for a path that could lie elsewhere.
    """
    if "PCOS_OFFLINE" in os.environ:
        raise TransferError("PCOS_OFFLINE is set")
    address, mirror = datasets.REGISTRY[name].address, os.environ.get("PCOS_MIRROR")
    if mirror:
        found = _on_mirror(mirror.rstrip("/"), name, session, scratch, sleep)
    elif address.startswith(datasets.DRIVE_FOLDER):
        found = patiently(lambda: _in_drive_folder(address), sleep=sleep)
    elif address.startswith(datasets.DRIVE_FILE):
        found = [Remote(name.removeprefix("weights-") + ".pth", address)]
    else:
        found = _on_zenodo(address.removeprefix(datasets.ZENODO_RECORD), session, scratch, sleep)
    seen = set()
    for remote in found:
        unpack.safe(scratch, remote.path)
        if folded(remote.path) in seen:
            raise TransferError(f"the name {remote.path[:80]!r} occurs twice in the list of its files")
        seen.add(folded(remote.path))
    if not found:
        raise TransferError("the list of its files is empty")
    return found


def bring(
    remote: Remote, place: Path, scratch: Path, session: requests.Session, *, silent: bool, sleep: Callable = time.sleep
) -> None:
    """Nothing; ``place`` appears, whole and with the content that its name promises.

    ``scratch`` is a folder for this file alone; what it holds after an interruption is continued where that is safe.
    Raises TransferError with the reason, OSError where the disk refuses.
    """
    if remote.url.startswith(datasets.DRIVE_FILE):
        _from_drive(remote, place, scratch, silent, sleep)
    else:
        transfer.fetch(
            remote.url, place, scratch / "part", digest=remote.digest, session=session, silent=silent, sleep=sleep,
            accept=lambda path: accept(remote.path, path),
        )  # fmt: skip


def accept(name: str, path: Path) -> None:
    """Nothing. Raises TransferError where the content of ``path`` is not what the file name ``name`` promises.

    A damaged or an empty picture passes: its authors may have put it there, and the manifest names it.
    """
    found, suffix = unpack.kind(path), PurePosixPath(name).suffix.lower()
    if found == "web page" and suffix not in (".html", ".htm", ".xml", ".svg"):
        raise TransferError(f"a web page ({unpack.page_title(path) or 'without a title'}) came instead of {name}")
    weights, archive = suffix == ".pth", unpack.ARCHIVE_NAME.search(name)
    if (weights and found not in ("zip", "pickle")) or (archive and found not in unpack.ARCHIVES):
        raise TransferError(f"{name} is no {'file of weights' if weights else 'archive'}; its content is {found}")
    if (weights or archive) and not unpack.intact(path):
        raise TransferError(f"{name} is damaged: its own checksums do not agree")


def read_digests(path: Path) -> dict[str, str]:
    """SHA-256 of each file by its relative path, from a list as ``sha256sum`` writes it.

    Raises TransferError naming the first line that is none.
    """
    digests = {}
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1):
        found = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", line)
        if not found:
            raise TransferError(f"line {number} of the list of digests {path.name} cannot be read")
        digests[found[2].removeprefix("./")] = found[1].lower()
    return digests


def write_digests(path: Path, digests: dict[str, str]) -> None:
    """The list that ``read_digests`` reads and ``sha256sum -c`` checks, sorted by path."""
    write_text(path, "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)))


def _on_mirror(base: str, name: str, session, scratch: Path, sleep) -> list[Remote]:
    address, place = f"{base}/{name}.sha256", scratch / f"{name}.sha256"
    transfer.fetch(
        address, place, scratch / "listing.part", accept=lambda path: accept(place.name, path),
        session=session, max_bytes=LISTING_BYTES, sleep=sleep, silent=True,
    )  # fmt: skip
    digests = read_digests(place)
    return [Remote(path, f"{base}/{name}/{quote(path)}", f"sha256:{digests[path]}") for path in digests]


def _on_zenodo(number: str, session, scratch: Path, sleep) -> list[Remote]:
    place = scratch / "record.json"
    transfer.fetch(
        ZENODO_API + number, place, scratch / "listing.part",
        session=session, max_bytes=LISTING_BYTES, sleep=sleep, silent=True,
    )  # fmt: skip
    try:
        files = [(file["key"], file["checksum"]) for file in json.loads(place.read_text())["files"]]
        if not all(re.fullmatch(r"(md5|sha256):[0-9a-f]+", checksum) for _, checksum in files):
            raise ValueError("unknown kind of checksum")
    except (ValueError, KeyError, TypeError) as error:
        raise TransferError(f"Zenodo's list of the files of record {number} cannot be read") from error
    return [Remote(key, f"{ZENODO_API}{number}/files/{quote(key)}/content", checksum) for key, checksum in files]


def _in_drive_folder(address: str) -> list[Remote]:
    entries = _asked(
        lambda: gdown.download_folder(
            url=address, skip_download=True, quiet=True, use_cookies=False, timeout=transfer.TIMEOUT
        )
    )
    found, seen = [], set()
    for entry in entries:
        path = PurePosixPath(*Path(entry.path).parts)
        if folded(str(path)) in seen:  # Drive allows two files of one name in a folder; both are wanted
            path = path.with_stem(f"{path.stem}-{entry.id[:8]}")
        seen.add(folded(str(path)))
        found.append(Remote(str(path), f"{datasets.DRIVE_FILE}{entry.id}/view"))
    return found


def _from_drive(remote: Remote, place: Path, scratch: Path, silent: bool, sleep) -> None:
    # gdown continues a part without knowing which version began it. Only weights carry checksums that would show two
    # joined versions; anything else, smaller anyway, begins anew in each process.
    if PurePosixPath(remote.path).suffix != ".pth":
        shutil.rmtree(scratch, ignore_errors=True)
    part = scratch / "file"

    def once() -> None:
        """Nothing; the whole file lies in ``part``."""
        scratch.mkdir(parents=True, exist_ok=True)
        with bar(None, place.name, silent=silent) as shown:

            def progress(so_far: int, total: int | None) -> None:
                """Nothing; the bar stands at the bytes so far."""
                shown.total = total
                shown.update(so_far - shown.n)

            begun = _size(scratch)
            try:
                _asked(
                    lambda: gdown.download(
                        url=remote.url, output=str(part), quiet=True, use_cookies=False, resume=True,
                        timeout=transfer.TIMEOUT, progress=progress,
                    )
                )  # fmt: skip
            except Transient as error:
                # gdown says so, in words only, when a part cannot be continued: it must not be offered again.
                if isinstance(error.__cause__, DownloadError) and _size(scratch) <= begun:
                    shutil.rmtree(scratch)
                raise
            try:
                accept(remote.path, part)
            except TransferError as error:
                shutil.rmtree(scratch)
                raise Transient(str(error)) if begun else error from None  # perhaps two versions were joined

    patiently(once, sleep=sleep, arrived=lambda: _size(scratch))
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, place)


def _asked(request: Callable):
    # What gdown returns, its errors in our words.
    try:
        return request()
    except FileURLRetrievalError as error:
        raise TransferError("Google Drive refuses it: too many downloads today, or no longer shared") from error
    except requests.HTTPError as error:
        code = error.response.status_code
        kind = Transient if code in (408, 429) or code >= 500 else TransferError
        raise kind(f"Google Drive answered {code}") from error
    except (requests.RequestException, DownloadError) as error:
        raise Transient("the connection to Google Drive failed or was cut") from error
    except (LookupError, AssertionError) as error:  # gdown's way to meet a page that it does not know
        raise TransferError("Google Drive answered with a page that gdown cannot read") from error


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*"))
