"""Sentences of notebooks 3 to 5, about training. Every number comes from a table."""

import numpy as np
import pandas as pd

from pcos_utils.config import Study
from pcos_utils.reporting.text import listed, many, number, percent


def started(study: Study, runs: pd.DataFrame) -> str:
    """Return which weights the networks started from, with a warning where those of ImageNet were missing."""
    starts = sorted(set(runs.start))
    if any("unreachable" in start for start in starts):
        why = "They could not be fetched, so DenseNet201 ran on frozen *random* features."
        return f"> ⚠️ **Without ImageNet weights.** {why} It is a control here, and says nothing of fine-tuning."
    if study.synthetic and starts == ["imagenet"]:
        return "DenseNet201 started from ImageNet weights; the committed demo ran without them."
    return f"Started from: {listed(starts)}."


def epochs(histories: pd.DataFrame, name: str) -> str:
    """Return which epochs were kept, and their selection losses beside a coin's."""
    chosen = histories[histories.chosen]
    first, last = chosen.epoch.min(), chosen.epoch.max()
    span = f"lies between {first} and {last}" if first < last else f"is {first}"
    losses = [number(edge, 3) for edge in (chosen.selection_loss.min(), chosen.selection_loss.max())]
    kept = f"{name}: the epoch kept {span} of {histories.epoch.max()}, in {many(len(chosen), 'run')}"
    loss = f"{' to '.join(dict.fromkeys(losses))} (a coin's: {number(np.log(2), 3)}), which the choice flatters"
    lowest = f"the lowest training loss is {number(histories.train_loss.min())}"
    return f"{kept}. Its selection loss is {loss}; {lowest}."


def saliency(maps: np.ndarray, name: str) -> str:
    """Return which share of a picture holds half of its saliency. ``maps``: (n, height, width), of ``surest``."""
    strongest_first = np.sort(maps.reshape(len(maps), -1), axis=1)[:, ::-1].cumsum(axis=1)
    cover = (strongest_first < strongest_first[:, -1:] / 2).mean(axis=1)
    where = f"{percent(np.median(cover))} of the median picture (a uniform map would need {percent(0.5)})"
    return f"{name}, fold 0: the surest decisions of each outcome. Half of the saliency lies on {where}."
