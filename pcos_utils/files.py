"""Files that appear whole or not at all: every result is written under a temporary name and renamed."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pcos_utils.config import StudyError


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends well and removed when it does not.

    Raises StudyError where the folder cannot be written.
    """
    # The process number keeps two studies that write the same name apart; the suffix stays last because savers
    # such as matplotlib choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except PermissionError as error:
        raise StudyError(
            f"Cannot write {path.name}: the folder {path.parent} is not writable; "
            "give yourself write permission there, or set PCOS_HOME to another folder."
        ) from error
    except OSError as error:
        if error.errno not in (28, 30):  # disk full, read-only file system
            raise
        raise StudyError(f"Cannot write {path}: {error.strerror.lower()}; make room or set PCOS_HOME.") from error
    finally:
        temporary.unlink(missing_ok=True)


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
