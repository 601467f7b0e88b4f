"""Work through long lists in shards: Parquet files that appear whole, so that a job that was killed continues.

A shard holds a digest of what it was made from. Several processes, on this machine or on others that see the folder,
may work on one list: each makes the shards that no other is making.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

from filelock import FileLock, Timeout

from pcos_utils.config import StudyError
from pcos_utils.data import images
from pcos_utils.data.manifest import litter
from pcos_utils.files import appearing, code, files_below
from pcos_utils.progress import bar

SIZE = 200  # items of a shard; so many are in memory, and so many at most are made again after a kill
MADE_FROM = b"made_from"
CODE = (*images.CODE, "data/manifest.py", "data/survey.py", "data/words.py")  # decides what a file is found to be


def parquet():
    """Return pyarrow and its module for Parquet. Raises StudyError where they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise StudyError("Parquet needs pyarrow; install it with: pip install 'pcos-utils[cluster]'.") from None
    return pyarrow, pyarrow.parquet


def listed(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield image files one by one, in an order that stays: files, those below folders, and those that lists name.

    A list is a .txt of one path a line, or a .parquet with a column ``path``. It is not read at once.
    """
    for path in paths:
        if path.is_dir():
            yield from (each for each in files_below(path) if not litter(each.relative_to(path).as_posix()))
        elif path.suffix == ".txt":
            with open(path, encoding="utf-8-sig", errors="surrogateescape") as lines:
                for line in filter(str.strip, lines):
                    if "\0" in line:
                        raise StudyError(
                            f"{path} is no text of one path a line: it holds a zero byte; save it as UTF-8."
                        )
                    yield Path(line.rstrip("\r\n"))
        elif path.suffix == ".parquet":
            pyarrow, tables = parquet()
            try:
                for batch in tables.ParquetFile(path).iter_batches(SIZE, columns=["path"]):
                    yield from map(Path, batch["path"].to_pylist())
            except (pyarrow.ArrowException, KeyError, TypeError):
                raise StudyError(f"{path} is no Parquet file with a column 'path' of text; mend it.") from None
        else:
            yield path


def parts(items: Iterable) -> Iterator[list]:
    """Yield the items in lists of SIZE."""
    items = iter(items)
    while part := list(islice(items, SIZE)):
        yield part


def ensure(path: Path, made_from: Iterable[str], make: Callable[[], dict], *, wait: bool = True) -> bool:
    """Write a shard unless it is there, and return True; False if another process is at it and ``wait`` is not set.

    ``make`` returns the columns. Raises StudyError if the shard that is there was made from something else.
    """
    pyarrow, tables = parquet()
    digest = hashlib.sha256("\n".join(made_from).encode("utf-8", "surrogateescape")).hexdigest().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.stem}.lock"), timeout=-1 if wait else 0)
    with suppress(Timeout), lock:
        if not path.exists():
            for left_over in path.parent.glob(f".{path.stem}.*{path.suffix}"):
                left_over.unlink()
            table = pyarrow.table(make()).replace_schema_metadata({MADE_FROM: digest})
            with appearing(path) as temporary:
                tables.write_table(table, temporary, compression="zstd")
        elif _made_from(path) != digest:
            raise StudyError(f"{path} was made from other images, another model or other code; name an empty folder.")
        with suppress(OSError):
            Path(lock.lock_file).unlink()  # whoever takes it now finds the shard
        return True
    return False


def together(jobs: Iterable[Callable[..., bool]]) -> None:
    """Call each job, a partial ``ensure``: first those that no other process is at, then those of killed processes."""
    busy = [job for job in jobs if not job(wait=False)]
    for job in busy:
        job(wait=True)


def kept(folder: Path, files: list[tuple[Path, str]], make: Callable[[list], list]) -> Iterator[list[dict]]:
    """Yield the rows of each file, (place, name), that ``make`` returns for a part; keep them as ``ensure`` does."""
    names = hashlib.sha256("\n".join(name for _, name in files).encode("utf-8", "surrogateescape")).hexdigest()
    made_from, jobs, paths = [code(*CODE), names], [], []

    def columns(part: list) -> dict[str, list[str]]:
        """Return the rows of some files as JSON."""
        return {"rows": [json.dumps(rows) for rows in make(part)]}

    for number, part in enumerate(parts(files)):
        paths.append(folder / f"decoded-{number:06}.parquet")
        facts = [*made_from, *(state(place) for place, _ in part)]
        jobs.append(partial(ensure, paths[-1], facts, partial(columns, part)))
    together(bar(jobs, f"decode in shards of {SIZE}"))
    for path in paths:
        yield from map(json.loads, parquet()[1].read_table(path)["rows"].to_pylist())


def state(path: Path) -> str:
    """Return a file's name, size and time."""
    try:
        found = path.stat()
    except OSError:
        return str(path)
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def _made_from(path: Path) -> bytes | None:
    pyarrow, tables = parquet()
    try:
        return (tables.read_schema(path).metadata or {}).get(MADE_FROM)
    except (pyarrow.ArrowException, OSError):
        raise StudyError(f"{path} cannot be read as Parquet; move it away, and it is made again.") from None
