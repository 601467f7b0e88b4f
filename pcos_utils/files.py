"""Write files that appear complete or not at all, and records that say whether a folder is finished."""

import ast
import errno
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pcos_utils.config import Study, StudyError

PACKAGE = Path(__file__).parent
RECORD = "run.json"  # of a folder: what it was made from, and the digest of each file; written last
CHECKPOINT = "checkpoint.pt"  # beside a folder's files, but not part of its result
LEFT_OVER = re.compile(r"\.[\w-]+\.\d+\.\w+")  # the temporary names of ``appearing``
IN_THE_WAY = "a file stands where a folder should be, or a folder where the file should be; move it away"
PROBLEMS = dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), IN_THE_WAY)
PROBLEMS |= dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS), "{}; make room")
DENIED = "its folder is not writable; give yourself write permission there"
PROBLEMS |= dict.fromkeys((errno.EACCES, errno.EPERM), DENIED)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds, else remove it.

    The content is flushed to the disk before the renaming, so that even a power cut leaves either the old file or the
    new one. Raises StudyError where the folder cannot be written.
    """
    # The process number keeps apart two studies that write the same file. The suffix stays last because savers such
    # as matplotlib choose the format by it.
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
def alone_in(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock on a folder while the block runs; the folder is created where it is missing.

    A second process calls ``waiting`` and waits. The system releases the lock when its process ends, however it dies,
    and the temporary files that it left are removed. Raises StudyError where the folder cannot be made.
    """
    with in_a_sentence(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # of a file system that takes no folders, such as /proc
            raise StudyError(f"{folder} cannot be made there; set PCOS_HOME to another folder.") from None
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()
    except (OSError, NotImplementedError):  # this file system has no locks; each file is still complete
        yield
        return
    try:
        remove_left_over(folder)
        yield
    finally:
        lock.release()


def remove_left_over(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder."""
    for path in folder.glob(".*"):
        if LEFT_OVER.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


@contextmanager
def in_a_sentence(path: Path) -> Iterator[None]:
    """Turn the system's error about writing ``path`` into a StudyError."""
    try:
        yield
    except StudyError:
        raise
    except Exception as error:
        # Savers written in Rust raise exceptions of their own, with the system's error number in the text.
        told = re.search(r"\(os error (\d+)\)", str(error))
        number = int(told[1]) if told else getattr(error, "errno", None)
        if number not in PROBLEMS:
            raise
        problem = PROBLEMS[number].format(os.strerror(number).lower())
        raise StudyError(f"Cannot write {path}: {problem}, or set PCOS_HOME to another folder.") from error


def write_text(path: Path, text: str) -> None:
    """Write the text to a file that appears complete or not at all."""
    with appearing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write the value as indented JSON to a file that appears complete or not at all."""
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """Return the value as indented JSON."""
    return json.dumps(value, indent=2, default=str) + "\n"


def csv_text(table) -> str:
    """Return the table as CSV without its index, at six significant digits."""
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def write_csv(path: Path, table) -> None:
    """Write ``csv_text`` of the table to a file that appears complete or not at all."""
    write_text(path, csv_text(table))


def fingerprint(study: Study) -> str:
    """Return the study's settings and the state of its files as text. Equal texts mean: nothing new to compute.

    The table of labels and the starting weights count by digest, images by size and time. Links are followed.
    """
    lines = [study.model_dump_json()]
    lines += [f"{path} {sha256(path)}" for path in (study.labels_path, Path(study.weights)) if path and path.is_file()]
    for path in sorted(files_below(study.folder)) if study.folder else []:
        with suppress(OSError):
            state = path.stat()
            lines.append(f"{path} {state.st_size} {state.st_mtime_ns}")
    return "\n".join(lines) + "\n"


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder, in an order that stays. Links are followed, and each folder is read once.

    A folder that may not be listed is yielded itself, at the end, so that it is not missed.
    """
    seen, closed = set(), []
    walked = os.walk(folder, followlinks=True, onerror=lambda error: closed.append(Path(error.filename)))
    for root, subfolders, names in walked:
        if os.path.realpath(root) in seen:  # a link back to a folder that was read
            subfolders.clear()
            continue
        seen.add(os.path.realpath(root))
        subfolders.sort()
        yield from (Path(root, name) for name in sorted(names))
    yield from closed


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(text: str) -> str:
    """Return the SHA-256 of a text, in which a file's name need not be valid UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def cached(
    folder: Path, facts: dict, make: Callable[[], dict], *, waiting: Callable[[], None] = lambda: None
) -> tuple[dict, bool]:
    """Make the content of a folder unless it is finished; return the folder's record, and whether it was made now.

    This alone decides whether a folder is finished: its record holds the same ``facts`` (plain values that determine
    the content), and every file still has its recorded digest. Otherwise the record is removed first, so that a
    half-made folder never passes for a finished one; then ``make`` writes the files and returns what else to record.
    ``waiting`` is called if another process is at work there. Raises StudyError where nothing can be written.
    """
    facts = json.loads(json.dumps(facts, default=str))
    wanted = digest(json.dumps(facts, sort_keys=True))
    with alone_in(folder, waiting):
        record = read_record(folder)
        if record.get("facts_sha256") == wanted and record["files"] == _digests(folder):
            return record, False
        with in_a_sentence(folder / RECORD):
            (folder / RECORD).unlink(missing_ok=True)
        record = facts | make() | {"facts_sha256": wanted, "files": _digests(folder)}
        write_json(folder / RECORD, record)
    return json.loads(json.dumps(record, default=str)), True


def read_record(folder: Path) -> dict:
    """Return the record of a folder that ``cached`` made, or an empty dict where none can be read."""
    try:
        record = json.loads((folder / RECORD).read_text())
        return record if isinstance(record, dict) and isinstance(record.get("files"), dict) else {}
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    return {path.name: sha256(path) for path in files if path.name not in (RECORD, CHECKPOINT)}


@functools.cache
def code(*modules: str) -> str:
    """Return a digest of modules' code, without comments and docstrings. ``modules``: paths below the package."""
    return digest("".join(meaning((PACKAGE / module).read_text(encoding="utf-8")) for module in modules))


def meaning(text: str) -> str:
    """Return a module's syntax tree as text, without its comments and docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant()), *rest]:
                node.body = rest
    return ast.dump(tree).replace(", type_params=[]", "")  # Python 3.12 names them, 3.11 does not


def need_writable(folder: Path) -> None:
    """Raise StudyError where nothing can be written under a folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise StudyError(f"{existing} is a file, and results go to a folder; name another place.")
    if not os.access(existing, os.W_OK):
        remedy = "give yourself permission there, or set PCOS_HOME to another folder"
        raise StudyError(f"{existing} is not writable; {remedy}.")
