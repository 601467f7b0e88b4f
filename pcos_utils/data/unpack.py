"""Handle untrusted files safely: recognise them by their first bytes, check their names and unpack archives."""

import errno
import lzma
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

MAX_FILES = 50_000  # more than ten times the largest registered set
MAX_BYTES = 4 * 2**30  # unpacked; the registered sets are well under one gibibyte
ARCHIVE_NAME = re.compile(r"(?<=[^/])\.(zip|tar|tgz|tbz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
KINDS = re.compile(
    rb"(?s)(?P<web_page>(?:\xef\xbb\xbf)?\s*<(?i:!doctype|html|head|title|\?xml|!--))|(?P<jpeg>\xff\xd8\xff)"
    rb"|(?P<bmp>BM)|(?P<png>\x89PNG\r\n\x1a\n)|(?P<gif>GIF8)|(?P<tiff>II\*\0|MM\0\*)|(?P<webp>RIFF.{4}WEBP)"
    rb"|(?P<gzip>\x1f\x8b)|(?P<zip>PK\x03\x04|PK\x05\x06)|(?P<bzip2>BZh)|(?P<xz>\xfd7zXZ\0)|(?P<tar>.{257}ustar)"
    rb"|(?P<pickle>\x80\x02)|(?P<empty>\Z)|(?P<unknown>)",  # pickle: torch.save before version 1.6
)
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError)
DAMAGE += (NotImplementedError, ValueError, OverflowError)


class UnpackError(Exception):
    """The reason, as a clause, why an untrusted file is refused."""


def kind(path: Path) -> str:
    """Return what the file is by its first bytes: "jpeg", "zip", ..., "web page", "empty" or "unknown"."""
    with open(path, "rb") as stream:
        return KINDS.match(stream.read(1024)).lastgroup.replace("_", " ")


def accept(name: str, path: Path) -> None:
    """Raise UnpackError if a web page came instead of the file, or if weights are not whole.

    A damaged image passes, because the manifest will name it.
    """
    content, suffix = kind(path), PurePosixPath(name).suffix.lower()
    if content == "web page" and suffix not in (".html", ".htm", ".xml", ".svg"):
        with open(path, "rb") as stream:
            title = re.search(rb"(?i)<title[^>]*>([^<]*)", stream.read(2**16))
        text = title[1].decode("utf-8", "replace") if title else "without a title"
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        raise UnpackError(f"a web page ({' '.join(text.split())[:80]}) came instead of {name}")
    if suffix == ".pth" and not (content == "pickle" or (content == "zip" and zipfile.is_zipfile(path))):
        raise UnpackError(f"{name} is no whole file of weights; its content is {content}")  # a cut zip has no directory


def check(names: Iterable[str]) -> None:
    """Raise UnpackError unless relative paths lie inside their folder and can lie side by side on every system."""
    seen = set()
    for name in names:
        parts = PurePosixPath(name).parts
        odd = not parts or name.startswith("/") or ".." in parts or re.search(r"\\|[\x00-\x1f\x7f]|^[A-Za-z]:", name)
        if odd or any(len(part.encode("utf-8", "surrogateescape")) > 200 for part in parts) or len(name) > 1000:
            raise UnpackError(f"the name {name[:80]!r} is not a plain relative path")
        folded = unicodedata.normalize("NFC", str(PurePosixPath(name))).casefold()  # as some disks see it
        if folded in seen:
            raise UnpackError(f"the name {name[:80]!r} occurs twice")
        seen.add(folded)
    if both := seen & {str(folder) for name in seen for folder in PurePosixPath(name).parents}:
        raise UnpackError(f"the name {min(both)[:80]!r} is both a file and a folder")


def unpack(archive: Path, target: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> int:
    """Return the number of files unpacked into ``target``, which must not exist and appears only when all are out.

    Raise UnpackError, with nothing left behind, for what is no archive or a damaged one, for members that are links,
    devices or encrypted or would lie outside, and for more members or bytes than stated (in the headers, which bind).
    """
    form, temporary = kind(archive), target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    try:
        temporary.mkdir(parents=True)
        with (zipfile.ZipFile if form == "zip" else tarfile.open)(archive) as opened:
            files = _files(opened, max_bytes, max_files)
            opened.extractall(temporary, files, **({} if form == "zip" else {"filter": "data"}))
        temporary.rename(target)
        return len(files)
    except (*DAMAGE, OSError) as error:
        # The disk's own errors have a number; those of gzip and bzip2 have none, and EINVAL is a seek to nowhere.
        if getattr(error, "errno", None) not in (None, errno.EINVAL):
            raise
        raise UnpackError(f"it is no archive, or damaged ({form}: {' '.join(str(error).split())[:80]})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _files(archive: zipfile.ZipFile | tarfile.TarFile, max_bytes: int, max_files: int) -> list:
    """Return the members that are files; each is checked before the next, for a bomb of headers never ends."""
    zipped, files, total = isinstance(archive, zipfile.ZipFile), {}, 0
    for number, member in enumerate(archive.infolist() if zipped else archive, start=1):
        if zipped:  # zipfile itself ends a name at a zero byte; only Unix writes a type into the mode
            name, size, folder = member.orig_filename, member.file_size, member.orig_filename.endswith("/")
            plain = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
        else:
            name, size, folder = member.name, member.size, member.isdir()
            plain = folder or (member.isreg() and not member.issparse())
        total += abs(size)
        if number > max_files or total > max_bytes:
            raise UnpackError(f"it holds more than {max_files:,} members or {max_bytes:,} bytes")
        if not plain or (zipped and member.flag_bits & 1):
            raise UnpackError(f"its member {name[:80]!r} is {'encrypted' if plain else 'a link, a device or sparse'}")
        if not folder:
            files[member] = name
    check(files.values())
    return list(files)
