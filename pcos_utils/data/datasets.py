"""Register each data set: where it is, how many images it should hold, and what is known to be wrong with it.

The facts come from the published study's README and notebooks (github.com/haidary99/PCOS_classification, read as a
paper) and, for PCOSGen, from the README of github.com/elucidator8918/Benchmarking-Codes-of-the-PCOSGen.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from pcos_utils.data import layout

DRIVE_FOLDER = "https://drive.google.com/drive/folders/"
DRIVE_FILE = "https://drive.google.com/file/d/"
ZENODO_RECORD = "https://zenodo.org/records/"

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


class Dataset(NamedTuple):
    """The facts about one data set; one without class folders can be downloaded but not studied as it is."""

    title: str
    address: str | None = None  # the authors' page: a Drive folder, a Drive file or a Zenodo record
    images: int | None = None  # published number of image files
    folders: dict[str, int] = {}  # class folder -> published number of image files in it
    licence: str = "unknown: do not redistribute"
    citation: str = "as its owner states"
    known_problems: str = "Nothing is known beyond what the audit finds."


def _weights(network: str, drive_id: str) -> Dataset:
    return Dataset(
        title=f"The published study's trained {network}",
        address=f"{DRIVE_FILE}{drive_id}/view",
        citation="Alsibai & Heydari 2023; github.com/haidary99/PCOS_classification",
        known_problems="A whole pickled module, not a state dict: to load it plainly runs whatever code it holds, and "
        "it loads only beside the library versions of its day; the network was chosen and judged on the same 16 "
        "frames.",
    )


def _pcosgen(part: str, number: str, images: int) -> Dataset:
    return Dataset(
        title=f"PCOSGen, the {part} frames of the Auto-PCOS challenge",
        address=ZENODO_RECORD + number,
        images=images,
        licence="CC BY-NC, as its authors state; the frames come from YouTube, ultrasoundcases.info and Kaggle",
        citation=f"Auto-PCOS Classification Challenge 2023, doi:10.5281/zenodo.{number}",
        known_problems="Labels stand in a spreadsheet, not in class folders, and its 'unhealthy' frames include other "
        "conditions (endometrioma, dermoid, cystadenoma, torsion); frames of one video stand side by side; a user's "
        "listing holds names of the Telkom images (normal_15.jpg, pco_5.jpg), so it is no independent test of a model "
        "trained on those.",
    )


REGISTRY = {
    "phantom": Dataset(
        title="Synthetic B-mode phantoms with known truth",
        licence="MIT, like the code that makes them",
        citation="pcos_utils/phantom/simulator.py",
        known_problems="Synthetic: it tests the method and supports no clinical number.",
    ),
    "dataset-a": Dataset(
        title="Dataset A, the public Kaggle set",
        address=DRIVE_FOLDER + "1qPZkE1gftaioks28DPixCuQZ-lqCjMEJ",
        images=781 + 1143 + 787 + 1145,
        folders={"train/infected": 781, "train/notinfected": 1143, "test/infected": 787, "test/notinfected": 1145},
        citation="kaggle.com/datasets/anaghachoudhari/pcos-detection-using-ultrasound-images",
        known_problems="Erroneous and misleading, say the authors of the published study, who used it. Our audit finds "
        "eight pictures behind all of it, four a class, each in both folders: no model can be evaluated on it.",
    ),
    "dataset-b": Dataset(
        title="Dataset B, 54 frames from Telkom University",
        address=DRIVE_FOLDER + "1VqDvcmG3UuQFhyO8LWoa7iLssnO8aUEN",
        images=54,
        folders={"pco": 14, "normal": 40},
        licence="non-commercial: do not redistribute",
        citation="Telkom University Dataverse, doi:10.34820/FK2/QVCP6V",
        known_problems="14 polycystic frames in all; no patient identifiers; labels follow the Rotterdam 2003 rule. Of "
        "45 frames audited normal 23, 29 and 40 are one picture; so are normal 28 and pco 12, which has both labels.",
    ),
    "dataset-b-modified": Dataset(
        title="Dataset B modified, the published study's augmented copies",
        address=DRIVE_FOLDER + "1EIEZz6wjhcxYBjtS6W-ngT6vyR35PmY2",
        images=608 + 252,
        folders={"train/pco": 300, "train/normal": 308, "validation/pco": 120, "validation/normal": 132},
        licence="non-commercial: do not redistribute",
        citation="Alsibai & Heydari 2023; made from doi:10.34820/FK2/QVCP6V",
        known_problems="860 images of 54 frames; the 252 validation images are copies of 16 frames.",
    ),
    "weights-densenet201": _weights("DenseNet201", "13wckgFIl6i1FMjUyfVLdkRkDNBHTrnKQ"),
    "weights-densenet121d": _weights("DenseNet121d", "1_TmP-vqdl7JvvxaNlhTynvTmbbZnN8PF"),
    "weights-iustnet": _weights("IustNet", "1-0P-C66B3gg5SLZi2BOHHHqLLGIqjgFm"),
    "pcosgen-train": _pcosgen("training", "10430727", 3200),
    "pcosgen-test": _pcosgen("test", "10960327", 1468),
}


def facts(name: str) -> Dataset:
    """Return the facts about the named data set; for a user's own folder they say that nothing is known."""
    return REGISTRY.get(name, Dataset(f"The folder {name.removeprefix('local-')}"))


def class_counts(paths: Iterable[str]) -> Counter[tuple[str, int]]:
    """Count visible files in class folders by (split, label), as by ("train", 1). Paths are relative, with slashes."""
    counts = Counter()
    for path in map(PurePosixPath, paths):
        label = layout.signed(path.parts[:-1])
        if label is not None and not path.name.startswith("."):
            counts[layout.train_or_test(path.parts[:-1]), label] += 1
    return counts


def differences(name: str, paths: Iterable[str]) -> list[str]:
    """Return a clause such as "normal: 32 files, 40 published" for each number of files that differs."""
    entry = facts(name)
    if not entry.folders:
        visible = (path for path in map(PurePosixPath, paths) if not path.name.startswith("."))
        images = sum(path.suffix.lower() in IMAGE_SUFFIXES for path in visible)
        return [] if entry.images in (None, images) else [f"images: {images:,} files, {entry.images:,} published"]
    counts, clauses = class_counts(paths), []
    for folder, published in entry.folders.items():
        files = counts.pop(next(iter(class_counts([f"{folder}/x"]))), 0)
        if files != published:
            clauses.append(f"{folder}: {files:,} files, {published:,} published")
    return clauses + ([f"other class folders: {counts.total():,} files, none published"] if counts else [])


def listing() -> str:
    """Return readable text that lists every entry, with each known fact on a line of its own."""
    lines = []
    for name, entry in REGISTRY.items():
        folders = ", ".join(f"{folder} {count:,}" for folder, count in entry.folders.items())
        images = f"{entry.images:,}" if entry.images else "no published count"
        lines += [
            f"{name}: {entry.title}",
            f"  address    {entry.address or 'made on this machine, nothing to download'}",
            f"  images     {images}" + (f" ({folders})" if folders else ""),
            f"  licence    {entry.licence}",
            f"  citation   {entry.citation}",
            f"  problems   {entry.known_problems}",
            "",
        ]
    return "\n".join(lines).rstrip()
