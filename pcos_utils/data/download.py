"""The images of a study, on disk: phantoms are made, registered sets fetched, a user's own folder used as it is.

Beside the folder of a fetched entry lies ``<name>.sha256``, the digests of its files as ``sha256sum`` writes them.
With PCOS_MIRROR=http://host/place every entry comes from that place, laid out in the same way: whoever serves a
data folder (``python -m http.server -d data``) is a mirror.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import requests

from pcos_utils.config import Study, StudyError, home
from pcos_utils.data import datasets, manifest, phantom, remote, unpack
from pcos_utils.data.transfer import TransferError, bar
from pcos_utils.files import alone_in, sha256, write_csv


def prepare(study: Study) -> pd.DataFrame:
    """The manifest of the study's images, which lie under ``study.image_dir`` afterwards; also written as CSV.

    Raises StudyError with the manual steps when a registered data set cannot be fetched, and with the names of the
    files when those on the disk are no longer the ones that were fetched.
    """
    folder = study.image_dir
    if study.synthetic:
        phantom.generate(folder, study.phantoms_per_class, seed=study.seed)
    elif study.folder is None and not _files(folder):
        fetch(study.data, folder)
    table = manifest.scan(folder, study.labels_path)
    if study.folder is None and record(folder).is_file():
        scanned = dict(zip(table.path, table.sha256.fillna(""), strict=True))
        recorded = _recorded(folder).items()
        # Files outside the class folders are not in the manifest, and matter only if they are gone.
        _same(folder, {p: d for p, d in recorded if p in scanned or not (folder / p).exists()}, scanned)
    write_csv(study.data_dir / "manifest.csv", table)
    return table


def place(name: str, folder: Path | None = None) -> Path:
    """Where the entry lies: under the folder given, else under PCOS_DATA_DIR, else under the study's own data/.

    Raises StudyError for a name that is not registered or has nothing to download.
    """
    known = [entry for entry, facts in datasets.REGISTRY.items() if facts.address]
    if name not in known:
        raise StudyError(f"There is no download named {name!r}; use one of: {', '.join(known)}.")
    return Path(folder or os.environ.get("PCOS_DATA_DIR") or home() / "data") / name


def record(folder: Path) -> Path:
    """The list of digests that belongs to a folder: beside it, so that it outlives the folder's removal."""
    return folder.with_name(folder.name + ".sha256")


def fetch(name: str, target: Path, *, sleep: Callable[[float], None] = time.sleep) -> str:
    """One sentence on the entry's files, which lie under ``target`` afterwards: how many, and what differs from the
    published counts.

    Files that lie there already are verified and never fetched again. New ones are gathered in
    ``<target>.partial``, which stays after a failure so that the next call goes on, and is renamed when all have
    arrived and agree with the digests recorded earlier. Raises StudyError; ``target`` is then as it was.
    """
    try:
        if _files(target):
            _adopt(target)
        else:
            with _alone(target.with_name(target.name + ".partial")) as staging:
                _gather(name, staging, sleep)
                _land(staging, target)
    except (TransferError, unpack.UnpackError) as error:
        raise StudyError(manual_steps(name, target, str(error))) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StudyError(f"Cannot write {target}: {reason}; make room there, or set PCOS_DATA_DIR.") from error
    return summary(name, target)


def summary(name: str, target: Path) -> str:
    """One sentence on the entry's files on the disk: how many there are, and what differs from what was published."""
    files = _files(target)
    said = [f"{name}: {len(files):,} files in {target}, their digests in {record(target).name}"]
    if wrong := datasets.differences(name, files):
        said.append("the counts differ from the published ones (" + "; ".join(wrong) + ")")
    if empty := [path for path in files if (target / path).stat().st_size == 0]:
        said.append(f"{len(empty):,} files are empty ({_some(empty)})")
    return "; ".join(said) + "."


def manual_steps(name: str, target: Path, reason: str) -> str:
    """One sentence with the reason and the numbered steps that put the data in place by hand."""
    entry = datasets.REGISTRY[name]
    if entry.address.startswith(datasets.DRIVE_FILE):
        steps = f"(2) choose 'Download', (3) move the file to {target / name.removeprefix('weights-')}.pth"
    elif entry.folders:
        folders = sorted({folder.split("/")[0] for folder in entry.folders})
        steps = f"(2) choose 'Download all' and unpack it, (3) move its folders {' and '.join(folders)} to {target}"
    else:
        steps = f"(2) download and unpack its archive, (3) move what it holds to {target}"
    return (
        f"{name} could not be downloaded: {reason}; what has arrived is kept, so try again later, or "
        f"(1) open {entry.address} in a browser, {steps}, (4) run 'pcos download {name} --to {target.parent}', which "
        f"checks and counts the files; or name a place that has them: PCOS_DATA_DIR=FOLDER where FOLDER/{name} lies, "
        "PCOS_MIRROR=http://... that serves such a folder, or for class folders of your own DATA=FOLDER."
    )


def _gather(name: str, staging: Path, sleep: Callable[[float], None]) -> None:
    # Every file of the entry under staging/files, archives unpacked there too.
    files, archives, parts = staging / "files", staging / "archives", staging / "parts"
    files.mkdir(exist_ok=True)
    session = requests.Session()
    remotes = remote.listing(name, session, parts, sleep)
    unpacked = {r.path: unpack.ARCHIVE_NAME.sub("", r.path) for r in remotes if unpack.ARCHIVE_NAME.search(r.path)}
    plain = {r.path for r in remotes} - set(unpacked)
    for path in _files(files):
        if path not in plain and not any(path.startswith(folder + "/") for folder in unpacked.values()):
            (files / path).unlink()  # no longer in the list
    with bar(len(remotes), name, silent=len(remotes) == 1, unit=" files") as shown:
        for one in remotes:
            spot = unpack.safe(archives if one.path in unpacked else files, one.path)
            if not _arrived(spot, one.digest):
                scratch = parts / hashlib.sha256(one.path.encode()).hexdigest()[:16]
                remote.bring(one, spot, scratch, session, silent=len(remotes) > 1, sleep=sleep)
                if one.path in unpacked:
                    shutil.rmtree(files / unpacked[one.path], ignore_errors=True)
            if one.path in unpacked and not (files / unpacked[one.path]).exists():
                _unpacked(spot, files / unpacked[one.path])
            shown.update()


def _unpacked(archive: Path, folder: Path) -> None:
    try:
        unpack.unpack(archive, folder)
    except unpack.UnpackError as error:
        archive.unlink()
        raise unpack.UnpackError(f"{archive.name} is refused: {error}") from error


def _arrived(path: Path, digest: str | None) -> bool:
    if not path.is_file():
        return False
    method, published = (digest or ":").split(":")
    if not published:
        return True  # it got its name only after it was verified
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, method).hexdigest() == published


def _land(staging: Path, target: Path) -> None:
    files = staging / "files"
    digests = {path: sha256(files / path) for path in _files(files)}
    if record(target).is_file():
        try:
            _same(target, _recorded(target), digests)
        except StudyError:
            shutil.rmtree(staging)  # or the next try would find the same files and not look again
            raise
    remote.write_digests(record(target), digests)
    if target.is_dir():  # it holds no data: at most an old manifest and empty folders
        (target / "manifest.csv").unlink(missing_ok=True)
        for folder, _, _ in os.walk(target, topdown=False):
            os.rmdir(folder)
    os.rename(files, target)
    shutil.rmtree(staging)


def _adopt(target: Path) -> None:
    # Files that lie there: the recorded ones, or else brought by hand and recorded now.
    digests = {path: sha256(target / path) for path in _files(target)}
    if record(target).is_file():
        _same(target, _recorded(target), digests)
        return
    for path in digests:
        try:
            remote.accept(path, target / path)
        except TransferError as error:
            raise StudyError(f"{error} (in {target}); remove that file and put the real one there.") from error
    remote.write_digests(record(target), digests)


def _recorded(target: Path) -> dict[str, str]:
    try:
        return remote.read_digests(record(target))
    except TransferError as error:
        raise StudyError(f"{error}; delete {record(target)} and run the same command again.") from error


def _same(target: Path, recorded: dict[str, str], found: dict[str, str]) -> None:
    named = [f"{path} (missing)" for path in recorded.keys() - found.keys()]
    named += [f"{path} (new)" for path in found.keys() - recorded.keys()]
    named += [f"{path} (changed)" for path in recorded.keys() & found.keys() if recorded[path] != found[path]]
    if named:
        raise StudyError(
            f"{target.name} is not what was first downloaded: {_some(sorted(named))}; if the files of today are the "
            f"right ones, delete {record(target)}, else remove {target}, and run the same command again."
        )


def _files(folder: Path) -> list[str]:
    # Relative paths of all files, sorted; the study's own manifest may lie among them.
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if path != "manifest.csv")


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


@contextmanager
def _alone(staging: Path) -> Iterator[Path]:
    # The staging folder, for this process only: two that append to one part would spoil it.
    def busy() -> None:
        """Nothing; always raises StudyError."""
        raise StudyError(f"Another process is writing {staging}; wait until it has ended.")

    with alone_in(staging, busy):
        yield staging
