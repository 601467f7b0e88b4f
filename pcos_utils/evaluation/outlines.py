"""What the follicle network outlines, as sheets to look at: the answer that a doctor can check."""

from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils.config import CLASS_NAMES, Study
from pcos_utils.data import images
from pcos_utils.data.shards import shrink
from pcos_utils.evaluation import report
from pcos_utils.evaluation.figures_follicles import outline_sheet
from pcos_utils.evaluation.readings import many, number
from pcos_utils.models import counts, follicles

SHOWN = 4  # sources of each class on a sheet
READING = "follicle_reading.csv"


def truth_sheet(truth: pd.DataFrame, folder: Path) -> tuple[plt.Figure, str]:
    """Phantoms with the true outlines of their visible follicles, and a sentence that reads the sheet.

    ``truth``: rows of truth.csv, whose images and masks lie in ``folder``.
    """
    frames = np.stack([images.load(folder / name)[..., 0] for name in truth["image"]])
    masks = [cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for name in truth["mask"]]
    titles = [
        f"{CLASS_NAMES[row.label]}: {row.FNPS} in the section, {row.FNPO} in the ovary" for row in truth.itertuples()
    ]
    means = truth.groupby("label").FNPS.mean()
    reading = (
        f"Phantoms with what the simulator knows: of the {many(len(truth), 'section')} shown, the normal ones hold "
        f"{means[0]:.1f} visible follicles on average and the polycystic ones {means[1]:.1f}."
    )
    return outline_sheet(frames, masks, titles), reading


def found_sheet(study: Study, counted: pd.DataFrame) -> tuple[plt.Figure, str]:
    """Frames of some sources of each class with the follicles that were found, and a sentence that reads the sheet.

    Drawn at random by the study's seed. Of phantoms the truth stands above. ``counted``: path, source, label, count.
    """
    firsts = counted.drop_duplicates("source")
    drawn = firsts.groupby("label").sample(min(SHOWN, firsts.label.value_counts().min()), random_state=study.seed)
    frames, found = outlined(study, drawn.path)
    titles = [
        f"{CLASS_NAMES[row.label]}: {int(part.max())} found"
        for row, part in zip(drawn.itertuples(), found, strict=True)
    ]
    truth, told = None, f"{many(len(drawn), 'frame')} drawn at random, with the follicles that were found."
    if study.synthetic:
        masks = [
            cv2.imread(str(study.data_dir / "masks" / Path(path).name), cv2.IMREAD_UNCHANGED) for path in drawn.path
        ]
        truth = [cv2.resize(mask, frames.shape[:0:-1], interpolation=cv2.INTER_NEAREST) for mask in masks]
        missed = [int(mask.max()) - int(part.max()) for mask, part in zip(masks, found, strict=True)]
        told += (
            f" Blue: the truth; yellow: found. Found less the truth: {number(-float(np.mean(missed)))} follicles on "
            f"average, from {-max(missed)} to {-min(missed)}."
        )
    return outline_sheet(frames, found, titles, truth=truth), told


def outlined(study: Study, paths: pd.Series) -> tuple[np.ndarray, list[np.ndarray]]:
    """The frames, grey uint8 (n, 128, 192), and for each its follicles numbered, by the first network that counts."""
    grey = [images.load(study.image_dir / path).mean(axis=2).astype(np.uint8) for path in paths]
    frames = np.stack([shrink(image) for image in grey])
    maps = follicles.predict_maps(counts.load(counts.networks(study)[0]), frames)
    return frames, [follicles.instances(part) for part in maps]


def count_sentence(counted: pd.DataFrame) -> str:
    """How many follicles were found in each class, by source."""
    per = counted.groupby("source")[["label", "count"]].mean().groupby("label")["count"]
    text = "; ".join(
        f"{CLASS_NAMES[int(label)]}: median {values.median():.1f}, middle half {values.quantile(0.25):.1f} to "
        f"{values.quantile(0.75):.1f}, n = {len(values)}"
        for label, values in per
    )
    return f"Follicles found in each source. {text}."


def checked_sentence(study: Study, resamples: int = 2000) -> str:
    """What a person who looked at every outline wrote down, in follicle_reading.csv beside the plan; "" without it.

    Its columns: frame, found, false, missed, merged. The intervals are bootstraps over the frames' sources.
    """
    path = study.report_dir / READING
    if not path.exists():
        return ""
    sources = report.read_table(study, "sources").set_index("path").source
    read = pd.read_csv(path)
    per = read.groupby(read.frame.map(sources))[["found", "false", "missed", "merged"]].sum()
    draws = np.random.default_rng(study.seed).integers(len(per), size=(resamples, len(per)))
    sums = per.to_numpy()[draws].sum(axis=1)  # (resamples, 4)
    false, seen = sums[:, 1] / sums[:, 0], (sums[:, 0] - sums[:, 1]) / (sums[:, [0, 2, 3]].sum(axis=1) - sums[:, 1])
    found, wrong, missed, merged = per.sum()
    right = found - wrong
    share = right / (right + missed + merged)
    return (
        f"One person, no physician, who was not shown the labels looked at the outlines on {many(len(read), 'frame')} "
        f"({many(len(per), 'source')}): of {found} found, {wrong} are no follicle ({_share(wrong / found, false)}), "
        f"{merged} hold two, and {missed} were missed; {_share(share, seen)} of what "
        "that person saw was found."
    )


def _share(value: float, draws: np.ndarray) -> str:
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{value:.0%} [{low:.0%}, {high:.0%}]"
