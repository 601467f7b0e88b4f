"""A study's networks put to the test: their answers under stress, and their maps against masks and broken networks.

Of each fold the network of the first repeat and the first inner fold answers, on test sources that it never saw.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pcos_utils.config import Study, StudyError
from pcos_utils.data.images import load, resize
from pcos_utils.evaluation import calibration, explain, report, robustness
from pcos_utils.evaluation import saliency_checks as checks
from pcos_utils.models import features


class Fold(NamedTuple):
    """One fold's network and some of its test images: ``rows`` has image, source, label, threshold and the like."""

    network: object
    rows: pd.DataFrame


def folds(study: Study, model: str, most: int | None = None) -> Iterator[Fold]:
    """The folds of the first repeat, with at most ``most`` test sources in all, of each class as many as its share.

    One image a source. Which sources is drawn by the study's seed, never by how they were answered.
    """
    every = report.predictions(study, model, "grouped", None)
    first = every[every.repeat == 0]
    rules = calibration.judged(first)[["source", "slope", "intercept", "threshold"]]
    test = (
        first[(first.role == "test") & (first.inner == 0)]
        .sort_values(["fold", "source", "image"])
        .drop_duplicates("source")
    )
    test = test.merge(rules, on="source", validate="one_to_one")
    if most is not None and most < len(test):
        turn = pd.Series(np.random.default_rng(study.seed).random(len(test)), index=test.index)
        place = turn.groupby(test.label).rank() / test.groupby("label").source.transform("size")
        test = test.loc[place.sort_values(kind="stable").index[:most]].sort_index()
    for _, rows in test.groupby("fold", sort=True):
        yield Fold(features.trained(model, study, folder_of(study, model, rows.iloc[0])), rows.reset_index(drop=True))


def folder_of(study: Study, model: str, row) -> Path:
    """The run folder of the first inner network that judged this row of predictions or of failures.outcomes."""
    inner = f"i{getattr(row, 'inner', 0)}" if study.inners > 1 else ""
    name = f"s{row.seed}r{row.repeat}f{row.fold}{inner}"
    found = sorted((study.runs_dir / model).glob(f"*/grouped/{name}"))
    if len(found) != 1:
        raise StudyError(f"{model} has {len(found)} runs named {name}, not one; run its notebook again.")
    return found[0]


def stress(study: Study, model: str, most: int | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of ``robustness.curves`` and ``robustness.slopes`` of one network of a study; both are saved.

    Decisions are made where each fold fixed it beforehand.
    """
    parts, sources = [], []
    for network, rows in folds(study, model, most):
        pictures = [load(study.image_dir / name) for name in rows.image]
        answered = robustness.answers(explain.answers(model, network), pictures, study.image_side, seed=study.seed)
        rule = rows.iloc[0]
        answered["logit"] = rule.slope * answered.logit + rule.intercept - rule.threshold  # 0 is where it decides
        parts.append(answered.assign(row=answered.row + sum(map(len, sources))))
        sources.append(rows[["source", "label"]])
    sources = pd.concat(sources, ignore_index=True)
    how = dict(resamples=study.resamples, seed=study.seed)
    made = [measure(pd.concat(parts), sources, **how) for measure in (robustness.curves, robustness.slopes)]
    for table, name in zip(made, ("stress", "stress_slopes"), strict=True):
        report.save_table(table.assign(model=model), study, f"{name}_{model}")
    return tuple(made)


class Saliency(NamedTuple):
    """Maps of one network for the class *polycystic*, and what the tests say about them."""

    pixels: np.ndarray
    maps: dict[str, np.ndarray]
    rows: pd.DataFrame
    masks: dict[str, np.ndarray] | None  # of phantoms
    checks: pd.DataFrame
    shares: pd.DataFrame | None  # of phantoms


def saliency(study: Study, model: str, most: int = 24, cascade: tuple[str, ...] = ("grad_cam",)) -> Saliency:
    """Maps by every method of ``most`` test sources of the first fold, tested; the tables are saved.

    Methods of ``cascade`` are tested at every stage, the others, which cost more, with all weights shuffled alone.
    """
    network, rows = next(folds(study, model, most * study.folds))
    rows = rows.head(most)
    pixels = np.stack([resize(load(study.image_dir / name), study.image_side) for name in rows.image])
    polycystic, how = np.ones(len(rows), int), dict(resamples=study.resamples, seed=study.seed)
    maps = {method: explain.saliency(method, model, network, pixels, polycystic) for method in explain.METHODS}
    tried = [
        checks.weight_check(
            method, model, network, pixels, polycystic, before=maps[method], cascade=method in cascade, seed=study.seed
        )
        for method in explain.METHODS
    ]
    checked = checks.check_table(pd.concat(tried), rows, **how)
    report.save_table(checked, study, f"saliency_checks_{model}")
    if not study.synthetic:
        return Saliency(pixels, maps, rows, None, checked, None)
    truth = pd.read_csv(study.data_dir / "truth.csv").set_index("image").loc[rows.image].reset_index()
    masks = checks.region_masks(truth, study.data_dir, study.image_side)
    shares = checks.share_table(maps, masks, rows, **how)
    report.save_table(shares, study, f"saliency_shares_{model}")
    return Saliency(pixels, maps, rows, masks, checked, shares)
