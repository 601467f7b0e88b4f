"""Files that appear whole or not at all: every result is written under a temporary name and renamed."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pcos_utils.config import StudyError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends well and removed when it does not.

    The bytes are on the disk before the name is: a power cut, too, leaves the old file or the new one. Raises
    StudyError where the folder cannot be written.
    """
    # The process number keeps two studies that write the same name apart; the suffix stays last because savers
    # such as matplotlib choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with in_a_sentence(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb+") as stream:
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Nothing, while no other process is in such a block for the same folder, which is made where it is missing.

    A process that comes second calls ``waiting`` and waits; the system ends a lock with the process that holds it,
    however it dies, and what such a process left half written is removed. Where there are no such locks (Windows,
    some network drives) nobody waits: two processes then do the same work, and every file of theirs is still whole.
    Raises StudyError where the folder cannot be made.
    """
    with in_a_sentence(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = _lock(folder, waiting)
    try:
        if handle is not None:
            for path in folder.glob(".*"):
                if LEFT_OVER.fullmatch(path.name):
                    with suppress(OSError):
                        path.unlink()
        yield
    finally:
        if handle is not None:
            os.close(handle)


LEFT_OVER = re.compile(r"\.[\w-]+\.\d+\.\w+")  # the temporary names of ``appearing``


def _lock(folder: Path, waiting: Callable[[], None]) -> int | None:
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)  # the folder itself is the lock: nothing is left behind
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:  # this file system has no locks
        os.close(handle)
        return None
    except BaseException:  # interrupted while it waited
        os.close(handle)
        raise
    return handle


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


@contextmanager
def in_a_sentence(path: Path) -> Iterator[None]:
    """Nothing; what the system says against writing ``path`` becomes a StudyError."""
    try:
        yield
    except StudyError:
        raise
    except Exception as error:
        # Savers written in Rust have exceptions of their own, which carry the system's number in their text.
        told = re.search(r"\(os error (\d+)\)", str(error))
        number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
        if number in (errno.EACCES, errno.EPERM):
            raise StudyError(
                f"Cannot write {path.name}: the folder {path.parent} is not writable; "
                "give yourself write permission there, or set PCOS_HOME to another folder."
            ) from error
        if number in NO_ROOM:
            reason = os.strerror(number).lower()
            raise StudyError(f"Cannot write {path}: {reason}; make room or set PCOS_HOME.") from error
        if number in IN_THE_WAY:
            raise StudyError(
                f"Cannot write {path}: a file stands where a folder should be, or a folder where the file should "
                "be; move it away or set PCOS_HOME to another folder."
            ) from error
        raise


def write_text(path: Path, text: str) -> None:
    """The text, in a file that appears whole."""
    with appearing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """The value as indented JSON, in a file that appears whole."""
    write_text(path, json.dumps(value, indent=2, default=str) + "\n")


def write_csv(path: Path, table) -> None:
    """The table without its index, numbers at six significant digits, in a file that appears whole."""
    with appearing(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def sha256(path: Path) -> str:
    """SHA-256 of the file's bytes, hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
