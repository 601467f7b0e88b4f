"""Side studies: each script answers one question and writes its tables."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.config import ROOT, Study
from pcos_utils.data import images, manifest
from pcos_utils.evaluation import auc
from pcos_utils.files import write_csv

OUT = ROOT / "reports" / "studies"


def arguments(text: str, *places: str, **options) -> argparse.Namespace:
    """Return the arguments of the command line.

    ``text``: what --help says. ``places``: the names of required arguments. ``options``: the names of options with
    their defaults, whose types they keep.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in places:
        parser.add_argument(name)
    for name, default in options.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help="default: %(default)s")
    return parser.parse_args()


def publish(name: str, block: Callable[..., str], tables: dict[Path, pd.DataFrame]) -> None:
    """Write each table to its file, and put what ``block`` says of the written tables between the marks of a name."""
    from pcos_utils.reporting.readme import write_block  # here, so that no measured process carries matplotlib

    for path, table in tables.items():
        write_csv(path, table)
    write_block(name, block(*map(pd.read_csv, tables)))


def frames(study: Study) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the used rows of a study's sources.csv, and their images as the counting network reads them, uint8."""
    used = manifest.used(study)
    return used, np.stack([images.grey(images.load(study.image_dir / path)) for path in used.path])


def source_pairs(rows: pd.DataFrame, scores: np.ndarray) -> auc.Pairs:
    """Return the pairs of sources by the mean score of each. ``rows``: source and label of each scored image."""
    return auc.pairs(auc.by_source(rows, scores))
