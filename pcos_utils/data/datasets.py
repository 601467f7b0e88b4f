"""The facts about each data set, as data: where it lies, what it should hold, and what is known to be wrong with it.

Facts follow the published study's README and notebooks (github.com/haidary99/PCOS_classification, read as a paper).
"""

from typing import NamedTuple

DRIVE_FOLDER = "https://drive.google.com/drive/folders/"

# Folder names that carry a class, compared without regard to case.
LABEL_OF_FOLDER = dict.fromkeys(("infected", "pco", "pcos", "pcom", "abnormal"), 1) | dict.fromkeys(
    ("notinfected", "normal", "healthy", "control"), 0
)
# Folder names that carry a split, and the split they mean.
SPLIT_OF_FOLDER = {"train": "train", "val": "test", "validation": "test", "test": "test"}


class Dataset(NamedTuple):
    """Facts about one registered data set."""

    title: str
    drive_id: str | None  # of the Google Drive folder
    images: int | None  # published count of image files
    licence: str
    citation: str
    known_problems: str


REGISTRY = {
    "phantom": Dataset(
        title="Synthetic B-mode phantoms with known truth",
        drive_id=None,
        images=None,
        licence="MIT, like the code that makes them",
        citation="pcos_utils/data/phantom.py",
        known_problems="Synthetic: it tests the method and supports no clinical number.",
    ),
    "dataset-a": Dataset(
        title="Dataset A, the public Kaggle set",
        drive_id="1qPZkE1gftaioks28DPixCuQZ-lqCjMEJ",
        images=781 + 1143 + 787 + 1145,
        licence="unknown: do not redistribute",
        citation="kaggle.com/datasets/anaghachoudhari/pcos-detection-using-ultrasound-images",
        known_problems="Its re-users call it erroneous and misleading; its two folders hold near-copies of each other.",
    ),
    "dataset-b": Dataset(
        title="Dataset B, 54 frames from Telkom University",
        drive_id="1VqDvcmG3UuQFhyO8LWoa7iLssnO8aUEN",
        images=54,
        licence="non-commercial: do not redistribute",
        citation="Telkom University Dataverse, doi:10.34820/FK2/QVCP6V",
        known_problems="14 polycystic frames in all; no patient identifiers; labels follow the Rotterdam 2003 rule.",
    ),
    "dataset-b-modified": Dataset(
        title="Dataset B modified, the published study's augmented copies",
        drive_id="1EIEZz6wjhcxYBjtS6W-ngT6vyR35PmY2",
        images=608 + 252,
        licence="non-commercial: do not redistribute",
        citation="Alsibai & Heydari 2023; made from doi:10.34820/FK2/QVCP6V",
        known_problems="860 images of 54 frames; the 252 validation images are copies of 16 frames.",
    ),
}


def facts(name: str) -> Dataset:
    """The facts about the named data set; for a folder of the user's own, facts that admit to knowing nothing."""
    return REGISTRY.get(
        name,
        Dataset(
            title=f"The folder {name.removeprefix('local-')}",
            drive_id=None,
            images=None,
            licence="unknown: do not redistribute",
            citation="as its owner states",
            known_problems="Nothing is known beyond what the audit finds.",
        ),
    )
