"""What a study cannot say: the report's limitations, with its own numbers where it has any."""

import numpy as np
import pandas as pd

from pcos_utils.config import Study
from pcos_utils.evaluation import headline, relabelled
from pcos_utils.evaluation.readings import many, number
from pcos_utils.evaluation.report import read_table
from pcos_utils.evaluation.results import TITLES, main_rows
from pcos_utils.evaluation.uncertainty import FEW


def told(study: Study, metrics: pd.DataFrame | None, comparisons: pd.DataFrame | None) -> list[str]:
    """What this study cannot say, with its own numbers where it has any."""
    made = [
        "An image shows morphology. The syndrome needs clinic and laboratory too.",
        "No patient identifiers exist for the public sets: sources may share a woman, so the number of independent "
        "units may be smaller than it seems, and no group of women can be looked at apart.",
        "Labels are taken as published; how far raters agree on these pictures is not known.",
        "There is no external test: no other set with the same definition, and free of shared pictures, is at hand.",
    ]
    if metrics is not None:
        per_class = used_sources(study)
        made.append(
            f"With {many(per_class[1], 'polycystic source')} and {per_class[0]:,} normal ones an AUC below "
            f"{number(smallest(per_class[1], per_class[0]))} cannot be told from a coin."
        )
        made.append("The intervals cover the sampling of test sources, not of training sources, seeds or scanners.")
        if comparisons is not None:
            made.append(headline.looks_sentence(metrics, comparisons))
        if main_rows(metrics).few_sources.any():
            made.append(f"A class has fewer than {FEW} sources: every bootstrap interval here is too narrow.")
    if study.synthetic:
        made.append(
            "The pictures are phantoms. A reader that one simulator taught and the same simulator judges has an "
            "advantage that no real frame will give it."
        )
    return made


def used_sources(study: Study) -> dict[int, int]:
    """How many sources of each label are used."""
    table = read_table(study, "sources")
    return table[table.used == "yes"].groupby("label").source.nunique().to_dict()


def doubted(flips: pd.DataFrame) -> list[str]:
    """What the AUCs would be if labels were wrong: a sentence for each reader in ``flips``."""
    return [relabelled.flip_sentence(rows, TITLES[name]) for name, rows in flips.groupby("model", sort=False)]


def smallest(polycystic: int, normal: int) -> float:
    """The AUC that so many sources of each class can just tell from a coin: two-sided 5 %, by the variance under none
    (Mann and Whitney 1947)."""
    return 0.5 + 1.96 * float(np.sqrt((polycystic + normal + 1) / (12 * polycystic * normal)))
