"""Bring the images of a study to the disk: make phantoms, fetch a registered set, or use a user's folder as it is.

Beside the folder of a fetched entry lies ``<name>.sha256``, the digests of its files as ``sha256sum`` writes them.
With PCOS_MIRROR=http://host/place every entry comes from that place, laid out in the same way: whoever serves a data
folder (``python -m http.server -d data``) is a mirror. A later process goes on with the files that arrived whole.
"""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import gdown
import pandas as pd
import pooch
import requests
from gdown.exceptions import DownloadError, FileURLRetrievalError

from pcos_utils.config import Study, StudyError, from_root, home
from pcos_utils.data import datasets, manifest, unpack
from pcos_utils.data.unpack import ARCHIVE_NAME, UnpackError
from pcos_utils.files import alone_in, sha256, write_csv, write_text
from pcos_utils.phantom import simulator
from pcos_utils.progress import bar, plain

ZENODO_API = "https://zenodo.org/api/records/"
RETRIES, DRIVE = 3, dict(use_cookies=False, timeout=30)  # seconds without a byte; pooch's default too


def prepare(study: Study) -> pd.DataFrame:
    """Return the manifest of the study's images, which lie under ``study.image_dir`` afterwards; write it as CSV too.

    Raise StudyError with the manual steps when a registered set cannot be fetched, and with the names of changed files.
    """
    folder = study.image_dir
    if study.synthetic:
        simulator.generate(folder, study.phantoms_per_class, seed=study.seed)
    elif study.folder is None and not _files(folder):
        fetch(study.data, folder)
    table = manifest.scan(folder, study.labels_path)
    if study.folder is None and record(folder).is_file():
        scanned = dict(zip(table.path, table.sha256.fillna(""), strict=True))
        recorded = _digests(record(folder)).items()
        # Files outside the class folders are not in the manifest, and matter only if they are gone.
        _need_same(folder, {p: d for p, d in recorded if p in scanned or not (folder / p).exists()}, scanned)
    write_csv(study.data_dir / "manifest.csv", table)
    return table


def place(name: str, folder: Path | None = None) -> Path:
    """Return where a data set lies: under ``folder``, PCOS_DATA_DIR or the study's data folder. Raises StudyError."""
    known = [entry for entry, facts in datasets.REGISTRY.items() if facts.address]
    if name not in known:
        raise StudyError(f"There is no download named {name!r}; use one of: {', '.join(known)}.")
    elsewhere = os.environ.get("PCOS_DATA_DIR")
    return (folder or (from_root(elsewhere) if elsewhere else home() / "data")) / name


def record(folder: Path) -> Path:
    """Return the path of a folder's list of digests: beside the folder, so that it outlives the folder's removal."""
    return folder.with_name(folder.name + ".sha256")


def fetch(name: str, target: Path) -> str:
    """Fetch a data set to ``target``, and return a sentence: how many files, and what differs from the published ones.

    Files that lie there are verified and never fetched again. New ones are gathered in ``<target>.partial``, which the
    next call continues after a failure, and renamed when all have come and agree with the digests recorded earlier.
    Raise StudyError; ``target`` is then as it was.
    """
    staging = target.with_name(target.name + ".partial")

    def busy() -> None:
        """Refuse at once, because two processes would write the same files."""
        raise StudyError(f"Another process is writing {staging}; wait until it has ended.")

    try:
        if _files(target):
            _verify(target, target)
        else:
            with alone_in(staging, busy):
                _gather(name, staging)
                _land(staging, target)
    except UnpackError as error:
        raise StudyError(_manual_steps(name, target, str(error))) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StudyError(f"Cannot write {target}: {reason}; make room there, or set PCOS_DATA_DIR.") from error
    files = _files(target)
    clauses = [f"{name}: {len(files):,} files in {target}, their digests in {record(target).name}"]
    if wrong := datasets.differences(name, files):
        clauses.append("the counts differ from the published ones (" + "; ".join(wrong) + ")")
    if empty := [path for path in files if (target / path).stat().st_size == 0]:
        clauses.append(f"{len(empty):,} files are empty (such as {', '.join(empty[:5])})")
    return "; ".join(clauses) + "."


def _manual_steps(name: str, target: Path, reason: str) -> str:
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


def _gather(name: str, staging: Path) -> None:
    """Bring every file of a data set to staging/files, and unpack archives there."""
    files, archives = staging / "files", staging / "archives"
    pooch.get_logger().setLevel("WARNING")  # it says a line for every file
    try:
        listed = _listing(name, staging)
        folders = {path: files / ARCHIVE_NAME.sub("", path) for path in listed if ARCHIVE_NAME.search(path)}
        for path in set(_files(files)) - (listed.keys() - folders.keys()):
            (files / path).unlink()  # no longer in the list, begun by a process that was killed, or unpacked anew below
        for path in bar(listed, name, hidden=len(listed) == 1):
            _bring(archives if path in folders else files, path, *listed[path], shown=len(listed) == 1)
    except FileURLRetrievalError as error:
        raise UnpackError("Google Drive refuses it: too many downloads today, or no longer shared") from error
    except (LookupError, TypeError, AssertionError, json.JSONDecodeError) as error:
        raise UnpackError("what came is neither the list of its files nor one of them") from error
    except (requests.HTTPError, DownloadError, ValueError) as error:  # ValueError: no address, or another digest
        raise UnpackError(re.split(r"\.\s|\n", str(error))[0]) from error
    except requests.RequestException as error:
        raise UnpackError(f"the connection was refused or broke off ({type(error).__name__})") from error
    for path, folder in folders.items():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            unpack.unpack(archives / path, folder)
        except UnpackError as error:
            (archives / path).unlink()
            raise UnpackError(f"{path} is refused: {error}") from error


def _listing(name: str, staging: Path) -> dict[str, tuple[str, str | None]]:
    """Return the address and the published digest ("sha256:...", "md5:...") of every file by its checked path."""
    address, mirror, listed = datasets.REGISTRY[name].address, os.environ.get("PCOS_MIRROR", "").rstrip("/"), {}
    if "PCOS_OFFLINE" in os.environ:
        raise UnpackError("PCOS_OFFLINE is set")
    with tempfile.TemporaryDirectory(dir=staging) as scratch:
        if mirror:
            digests = _digests(_bring(Path(scratch), f"{name}.sha256", f"{mirror}/{name}.sha256"), mirror)
            listed = {path: (f"{mirror}/{name}/{quote(path)}", f"sha256:{digests[path]}") for path in digests}
        elif address.startswith(datasets.ZENODO_RECORD):
            api = ZENODO_API + address.removeprefix(datasets.ZENODO_RECORD)
            files = json.loads(_bring(Path(scratch), "the list of its files", api).read_bytes())["files"]
            listed = {f["key"]: (f"{api}/files/{quote(f['key'])}/content", str(f["checksum"])) for f in files}
        elif address.startswith(datasets.DRIVE_FOLDER):
            for file in gdown.download_folder(url=address, skip_download=True, quiet=True, **DRIVE):
                path = Path(file.path)
                # Drive allows two files of one name in a folder.
                path = path.with_stem(f"{path.stem}-{file.id}") if path.as_posix() in listed else path
                listed[path.as_posix()] = (f"{datasets.DRIVE_FILE}{file.id}/view", None)
        else:
            listed = {name.removeprefix("weights-") + ".pth": (address, None)}
    unpack.check(ARCHIVE_NAME.sub("", path) for path in listed)
    if not listed:
        raise UnpackError("the list of its files is empty")
    return listed


def _bring(folder: Path, path: str, url: str, digest: str | None = None, *, shown: bool = False) -> Path:
    """Download one file to folder/path, and return that place; ``shown`` shows its progress."""

    def receive(url: str, temporary: str, _: pooch.Pooch) -> None:
        """Bring one file to a temporary place, from Google Drive or by HTTP, as pooch asks its downloaders."""
        if url.startswith(datasets.DRIVE_FILE):
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:  # where gdown leaves what it has
                part = gdown.download(url=url, output=f"{scratch}/part", quiet=hidden, retries=RETRIES, **DRIVE)
                os.replace(part, temporary)
        else:
            pooch.HTTPDownloader(progressbar=not hidden)(url, temporary, None)
        unpack.accept(path, Path(temporary))  # before pooch gives the file its name

    hidden = plain() or not shown
    files = pooch.create(folder, "", registry={path: digest}, urls={path: url}, retry_if_failed=RETRIES)
    return Path(files.fetch(path, downloader=receive))


def _land(staging: Path, target: Path) -> None:
    try:
        _verify(staging / "files", target)
    except StudyError:
        shutil.rmtree(staging)  # or the next try would find the same files and not look again
        raise
    (target / "manifest.csv").unlink(missing_ok=True)  # an old one and empty folders are all that can lie there
    for folder, _, _ in os.walk(target, topdown=False):
        os.rmdir(folder)
    os.rename(staging / "files", target)
    shutil.rmtree(staging)


def _verify(folder: Path, target: Path) -> None:
    """Raise StudyError unless the folder holds the files recorded for ``target``; record them if none were."""
    digests = {path: sha256(folder / path) for path in _files(folder)}
    if record(target).is_file():
        return _need_same(target, _digests(record(target)), digests)
    for path in digests if folder == target else ():  # brought by hand
        try:
            unpack.accept(path, target / path)
        except UnpackError as error:
            raise StudyError(f"{error} (in {target}); remove that file and put the real one there.") from error
    write_text(record(target), "".join(f"{digest}  {path}\n" for path, digest in digests.items()))


def _digests(path: Path, place: object = None) -> dict[str, str]:
    """Read the SHA-256 of each path from a list as ``sha256sum`` writes it."""
    lines = path.read_text("utf-8", "replace").splitlines()
    matches = [re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)", line) for line in lines]
    if None in matches:
        where = f"Line {matches.index(None) + 1} of the list of digests {place or path}"
        raise StudyError(f"{where} cannot be read; delete that list and run the same command again.")
    return {match[2]: match[1].lower() for match in matches}


def _need_same(target: Path, recorded: dict[str, str], present: dict[str, str]) -> None:
    """Raise StudyError, which names the files, unless the present digests are the recorded ones."""
    named = [f"{path} (missing)" for path in recorded.keys() - present.keys()]
    named += [f"{path} (new)" for path in present.keys() - recorded.keys()]
    named += [f"{path} (changed)" for path in recorded.keys() & present.keys() if recorded[path] != present[path]]
    if named:
        listed = f"{len(named):,} files: {', '.join(sorted(named)[:5])}{', ...' if len(named) > 5 else ''}"
        raise StudyError(
            f"{target.name} is not what was first downloaded ({listed}); if the files of today are the right ones, "
            f"delete {record(target)}, else remove {target}, and run the same command again."
        )


def _files(folder: Path) -> list[str]:
    """Return the sorted relative paths of all files but the study's manifest and lock, which may lie among them."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if path not in ("manifest.csv", ".lock"))
