"""The images of a study, on disk: phantoms are made, registered sets fetched, a user's own folder used as it is."""

import shutil
from pathlib import Path

import gdown
import pandas as pd
from gdown.exceptions import DownloadError

from pcos_utils.config import Study, StudyError
from pcos_utils.data import datasets, manifest, phantom
from pcos_utils.files import write_csv

TIMEOUT = 30  # seconds without a byte before Drive counts as unreachable
RETRIES = 3


def prepare(study: Study) -> pd.DataFrame:
    """The manifest of the study's images, which lie under ``study.image_dir`` afterwards; also written as CSV.

    Raises StudyError with the manual steps when a registered data set cannot be fetched.
    """
    if study.synthetic:
        phantom.generate(study.image_dir, study.phantoms_per_class, seed=study.seed)
    elif study.folder is None and not _holds_files(study.image_dir):
        fetch(study.data, study.image_dir)
    table = manifest.scan(study.image_dir)
    write_csv(study.data_dir / "manifest.csv", table)
    return table


def fetch(name: str, target: Path) -> None:
    """The registered data set's Drive folder as ``target``, which appears only when every file has arrived."""
    drive_id = datasets.REGISTRY[name].drive_id
    partial = target.with_name(target.name + ".partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        # The partial folder stays after a failure, so that the next try resumes instead of starting again.
        gdown.download_folder(id=drive_id, output=str(partial), resume=True, timeout=TIMEOUT, retries=RETRIES)
    except (DownloadError, OSError) as error:
        raise StudyError(manual_steps(name, target, error)) from error
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def manual_steps(name: str, target: Path, error: Exception) -> str:
    """One sentence with the numbered steps that put the data in place by hand."""
    address = datasets.DRIVE_FOLDER + datasets.REGISTRY[name].drive_id
    return (
        f"{name} could not be downloaded ({type(error).__name__}); either (1) open {address} in a browser, "
        f"(2) choose 'Download all' and unpack it, (3) move the class folders to {target}, (4) run the same command "
        "again; or name a folder that you have with DATA=FOLDER."
    )


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() and path.name != "manifest.csv" for path in folder.rglob("*"))
