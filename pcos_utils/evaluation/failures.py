"""Every source that a reader called wrongly, and what these have in common."""

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils.config import Study
from pcos_utils.data import images
from pcos_utils.evaluation import figures_stress, report, results
from pcos_utils.evaluation.readings import many
from pcos_utils.models import counts

FALSE = {1: "false negative", 0: "false positive"}  # by the true label
SEEN, FOUND = "visible follicles in the section", "follicles that the network found"
TILE = (60, 40)  # px, width and height of one picture on the sheet


def table(judged: pd.DataFrame) -> pd.DataFrame:
    """The sources that were called wrongly, false negatives first, in each kind the surest first.

    ``judged``: as of ``calibration.by_source``. Its columns come back, with ``outcome``.
    """
    wrong = judged[judged.called != (judged.label == 1)]
    wrong = wrong.assign(outcome=wrong.label.map(FALSE), sure=-wrong.margin.abs())
    wrong = wrong.sort_values(["label", "sure", "source"], ascending=[False, True, True])
    return wrong.drop(columns="sure").reset_index(drop=True)


def fact(study: Study) -> tuple[str, pd.Series] | None:
    """What may explain a failure: its name and, by source, its number; of phantoms the truth, else the count if any."""
    sources = report.read_table(study, "sources")
    used = sources[sources.used == "yes"]
    if study.synthetic:
        truth = pd.read_csv(study.data_dir / "truth.csv").set_index("image")
        return SEEN, truth.FNPS.reindex(used.path).groupby(used.source.to_numpy()).mean()
    if counts.NAME in study.models:
        return FOUND, results.counted(study).groupby("source")["count"].mean()
    return None


def sheet(study: Study, name: str) -> tuple[plt.Figure, str]:
    """Every wrongly called source of one reader as a small picture, and the sentence that reads the sheet.

    Each shows the first image of its source. The figure shows pixels: of anything but phantoms it is for local eyes.
    """
    judged, known = results.by_source(study, name), fact(study)
    wrong, sources = table(judged), report.read_table(study, "sources")
    place = sources[sources.used == "yes"].drop_duplicates("source").set_index("source").path
    tiles, words = {}, {}
    for outcome in FALSE.values():
        rows = wrong[wrong.outcome == outcome]
        tiles[outcome] = [tile(images.load(study.image_dir / place[source])) for source in rows.source]
        words[outcome] = [f"{known[1][source]:.0f}" if known else "" for source in rows.source]
    return figures_stress.failure_sheet(tiles, words), sentence(judged, results.TITLES[name], known)


def tile(pixels: np.ndarray) -> np.ndarray:
    """The picture in grey, uint8 (TILE), whole and undistorted on black."""
    grey = pixels.mean(axis=2).astype(np.uint8)
    scale = min(TILE[0] / grey.shape[1], TILE[1] / grey.shape[0])
    width, height = (max(round(size * scale), 1) for size in grey.shape[::-1])
    framed = np.zeros(TILE[::-1], np.uint8)
    top, left = (TILE[1] - height) // 2, (TILE[0] - width) // 2
    framed[top : top + height, left : left + width] = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return framed


def sentence(judged: pd.DataFrame, name: str, known: tuple[str, pd.Series] | None = None) -> str:
    """How many sources of each class are called wrongly, and how they differ from the others of their class.

    ``known``: as of ``fact``.
    """
    wrong = table(judged)
    missed, alarmed = (wrong[wrong.outcome == outcome] for outcome in FALSE.values())
    text = (
        f"{name} calls {len(wrong)} of {many(len(judged), 'source')} wrongly: {many(len(missed), 'false negative')} "
        f"and {many(len(alarmed), 'false positive')}."
    )
    if known is None:
        return text
    title, values = known
    told = []
    for outcome, rows, label, right in (
        ("false negative", missed, 1, "polycystic source that is found"),
        ("false positive", alarmed, 0, "normal source that is passed"),
    ):
        others = judged[(judged.label == label) & ~judged.source.isin(rows.source)]
        if len(rows) and len(others):
            own, rest = values[rows.source].median(), values[others.source].median()
            told.append(f"the median {outcome} has {own:g}, the median {right} {rest:g}")
    return f"{text} Of {title}, {'; '.join(told)}." if told else text
