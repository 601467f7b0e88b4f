"""Bytes from strangers: what a file is by its first bytes, where a foreign name may lie, and archives opened safely."""

import errno
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

MAX_FILES = 50_000  # ten times the largest registered set
MAX_BYTES = 4 * 2**30  # unpacked; the registered sets are well under one gibibyte
BLOCK = 2**20

SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"GIF8", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),  # a zip without members
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x80\x02", "pickle"),  # torch.save before version 1.6
)
ARCHIVES = {"zip", "tar", "gzip", "bzip2", "xz"}
ARCHIVE_NAME = re.compile(r"(?<=[^/])\.(zip|tar|tgz|tbz|tar\.(gz|bz2|xz))$", re.IGNORECASE)

DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, ValueError, OverflowError),
)


class UnpackError(Exception):
    """The reason, as a clause, why a name or an archive is refused."""


def kind(path: Path) -> str:
    """What the file is by its first bytes: "jpeg", "zip", ..., "web page", "empty" or "unknown"."""
    with open(path, "rb") as stream:
        head = stream.read(1024)
    if not head:
        return "empty"
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|title|\?xml|!--)", head, re.IGNORECASE):
        return "web page"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[257:262] == b"ustar":
        return "tar"
    return next((name for signature, name in SIGNATURES if head.startswith(signature)), "unknown")


def page_title(path: Path) -> str:
    """The title of a web page, at most 80 printable characters; empty where it has none."""
    with open(path, "rb") as stream:
        found = re.search(rb"<title[^>]*>(.*?)</title>", stream.read(2**16), re.IGNORECASE | re.DOTALL)
    words = found[1].decode("utf-8", "replace") if found else ""
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())[:80]


def safe(folder: Path, name: str) -> Path:
    """The place under ``folder`` for a foreign relative name with forward slashes.

    Raises UnpackError for a name that could lie anywhere else, on any operating system.
    """
    parts = PurePosixPath(name).parts
    odd = not parts or name.startswith("/") or ".." in parts or re.search(r"\\|[\x00-\x1f\x7f]|^[A-Za-z]:", name)
    if odd or any(len(part.encode("utf-8", "surrogateescape")) > 200 for part in parts) or len(name) > 1000:
        raise UnpackError(f"the name {name[:80]!r} is not a plain relative path")
    return folder.joinpath(*parts)


def folded(name: str) -> str:
    """The name as a disk sees it that ignores case and the ways to write an accent; equal names are one file."""
    return unicodedata.normalize("NFC", str(PurePosixPath(name))).casefold()


def unpack(archive: Path, target: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> int:
    """Number of files unpacked into ``target``, which must not exist and appears only when all are out.

    Zip and tar (plain, gzip, bzip2, xz) are told apart by their bytes. Raises UnpackError, with nothing left behind,
    for damaged archives and for members that are links, devices or encrypted, that would lie outside, or that hold
    more bytes or files than stated; the bytes that come out are counted, not those that the archive declares.
    """
    found = kind(archive)
    if found not in ARCHIVES:
        title = f" ({page_title(archive)!r})" if found == "web page" else ""
        raise UnpackError(f"it is no archive but {found}{title}")
    members = _zip_members if found == "zip" else _tar_members
    temporary = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    try:
        temporary.mkdir(parents=True)
        files = _write(members(archive, max_files), temporary, max_bytes)
        os.rename(temporary, target)
    except DAMAGE as error:
        raise UnpackError(f"the archive is damaged ({error})") from error
    except OSError as error:
        # The disk's own errors have a number; those of gzip and bzip2 have none, and EINVAL is a seek to nowhere.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise UnpackError(f"the archive is damaged ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return files


def intact(path: Path) -> bool:
    """Whether every checksum inside a zip file agrees; True for files that carry none."""
    if kind(path) != "zip":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (*DAMAGE, OSError):
        return False


def _write(members: Iterator[tuple[str, BinaryIO]], folder: Path, max_bytes: int) -> int:
    seen, total = set(), 0
    for name, source in members:
        place = safe(folder, name)
        if folded(name) in seen:
            raise UnpackError(f"the name {name[:80]!r} occurs twice")
        seen.add(folded(name))
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            stream = open(place, "xb")  # noqa: SIM115 - closed below, apart from errors that mean a clash of names
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise UnpackError(f"the name {name[:80]!r} is both a file and a folder") from None
        with stream:
            while block := source.read(BLOCK):
                total += len(block)
                if total > max_bytes:
                    raise UnpackError(f"it unpacks to more than {max_bytes:,} bytes")
                stream.write(block)
    return len(seen)


def _zip_members(path: Path, max_files: int) -> Iterator[tuple[str, BinaryIO]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > max_files:
            raise UnpackError(f"it holds {len(members):,} members, more than {max_files:,}")
        for member in members:
            mode = member.external_attr >> 16  # of Unix; other systems write no file type
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UnpackError(f"its member {member.filename[:80]!r} is a link or a device")
            if member.flag_bits & 0x1:
                raise UnpackError(f"its member {member.filename[:80]!r} is encrypted")
            # zipfile reads names up to a zero byte and rewrites some; what the archive says must be safe as it stands.
            safe(path.parent, member.orig_filename)
            if not member.is_dir():
                with archive.open(member) as source:
                    yield member.filename, source


def _tar_members(path: Path, max_files: int) -> Iterator[tuple[str, BinaryIO]]:
    with tarfile.open(path) as archive:
        # One member after the other, not getmembers(): a bomb of headers must not be read to its end first.
        for number, member in enumerate(archive, start=1):
            if number > max_files:
                raise UnpackError(f"it holds more than {max_files:,} members")
            if member.name != ".":  # the folder itself, which tar names first
                safe(path.parent, member.name)
            if not (member.isreg() or member.isdir()):
                raise UnpackError(f"its member {member.name[:80]!r} is a link or a device")
            if member.isreg():
                with archive.extractfile(member) as source:
                    yield member.name, source
