"""Sheets of images to look at: samples, source pictures, outlines, saliency, and every source called wrong."""

from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils.audit import summary
from pcos_utils.audit.sources import places
from pcos_utils.config import CLASS_NAMES, Study
from pcos_utils.data import images
from pcos_utils.evaluation.predictions import read_table
from pcos_utils.follicles import counting, kept, locator
from pcos_utils.follicles import network as follicle_network
from pcos_utils.phantom import sector
from pcos_utils.reporting import sentences_data
from pcos_utils.reporting.text import TITLES, many, number

OUTLINE, TRUTH = "#F0E442", "#56B4E9"  # of Okabe and Ito's colours those that stand out from grey
SOURCES = 96  # source pictures on a contact sheet, at most
COLUMNS = 4
SHOWN = 4  # sources of each class on a sheet of outlines
ACROSS, TILE = 16, (60, 40)  # pictures in a row of a sheet of errors; width and height of one, px
WRONG = {1: "missed", 0: "called polycystic"}  # by the true label


def _grid(rows: int, columns: int, size: tuple[float, float]) -> tuple[plt.Figure, np.ndarray]:
    """Return a figure of panels without axes. ``size``: of one panel, in inches."""
    figure, axes = plt.subplots(rows, columns, figsize=(size[0] * columns, size[1] * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    return figure, axes


def _draw(ax: plt.Axes, image: np.ndarray, title: str) -> None:
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_title(title, fontsize="small")


def pictures(pixels: list[np.ndarray], titles: list[str], *, columns: int = COLUMNS) -> plt.Figure:
    """Return a sheet of images with their titles, row by row."""
    height = 1.9 + 0.25 * max((title.count("\n") for title in titles), default=0)
    figure, axes = _grid(-(-len(pixels) // columns), columns, (2.4, height))
    for ax, image, title in zip(axes.flat, pixels, titles, strict=False):
        _draw(ax, image, title)
    return figure


def contact(sources: pd.DataFrame, folder: Path | dict[str, Path]) -> plt.Figure:
    """Return a sheet of the source pictures, the most copied first, each with class, copies and folders."""
    counted = summary.copies(sources).head(SOURCES)
    first = sources[sources.status == "ok"].drop_duplicates("source").set_index("source").loc[counted.source]
    pixels, titles = [images.load(path) for path in places(first, folder)], []
    for row in counted.to_dict("records"):
        label = " and ".join(name for name in ("polycystic", "normal") if row[name]) or "no label"
        where = ", ".join(f"{name} {row[name]:,}" for name in ("train", "test") if row[name])
        titles.append(f"{label}: {many(row['images'], 'image')}" + (f"\n{where}" if where else ""))
    return pictures(pixels, titles, columns=min(8, max(2, len(pixels) // 2)))


def saliency(pixels: np.ndarray, maps: np.ndarray, titles: list[str]) -> plt.Figure:
    """Return images, and below each the same image with its saliency laid over it."""
    figure, axes = _grid(2 * -(-len(pixels) // COLUMNS), COLUMNS, (2.2, 2.3))
    for i, title in enumerate(titles):
        above, below = axes[2 * (i // COLUMNS) :, i % COLUMNS][:2]
        _draw(above, pixels[i], title)
        below.imshow(pixels[i])
        below.imshow(maps[i], cmap="inferno", alpha=0.5, vmin=0, vmax=1)
    return figure


def outlines(frames: np.ndarray, masks: list, titles: list[str], *, truth: list | None = None) -> plt.Figure:
    """Return frames with the outlines of numbered masks; with ``truth``, the same frames with the true ones above."""
    layers = [(truth, TRUTH, [f"truth: {mask.max()}" for mask in truth])] if truth else []
    layers.append((masks, OUTLINE, titles))
    figure, axes = _grid(len(layers) * -(-len(frames) // COLUMNS), COLUMNS, (2.6, 2.05))
    for layer, (numbered, colour, words) in enumerate(layers):
        for i, (image, mask, title) in enumerate(zip(frames, numbered, words, strict=True)):
            ax = axes[i // COLUMNS * len(layers) + layer, i % COLUMNS]
            _draw(ax, image, title)
            for follicle in range(1, int(mask.max()) + 1):
                ax.contour(mask == follicle, [0.5], colors=[colour], linewidths=1)
    return figure


def taught(truth: pd.DataFrame, folder: Path) -> tuple[plt.Figure, str]:
    """Return phantoms of truth.csv with the true outlines of their visible follicles, and a sentence that reads it."""
    frames = [images.load(folder / name)[..., 0] for name in truth["image"]]
    masks = [cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for name in truth["mask"]]
    titles = [f"{CLASS_NAMES[row.label]}: {row.FNPS} of {row.FNPO}" for row in truth.itertuples()]
    means = truth.groupby("label").FNPS.mean()
    hold = f"the normal ones hold {means[0]:.1f} visible follicles on average and the polycystic ones {means[1]:.1f}"
    known = "Visible of all follicles in the ovary, as the simulator knows them."
    return outlines(frames, masks, titles), f"{known} Of {many(len(truth), 'section')} {hold}."


def sectors(seeds: list[int]) -> tuple[plt.Figure, str]:
    """Return whole-sector phantoms with their truth and what the locator finds, and a sentence that reads the sheet."""
    made, hits, ovaries, others = [sector.simulate(seed) for seed in seeds], 0, 0, 0
    figure, axes = _grid(-(-len(made) // COLUMNS), COLUMNS, (2.4, 2.6))
    for ax, each in zip(axes.flat, made, strict=False):
        found, there = locator.locate(each.image), locator.outlined(each.ovary)
        _draw(ax, each.image, f"{each.truth['view']}, {each.truth['depth']:.0f} mm deep")
        for mask in filter(np.any, (each.ovary, each.follicles)):
            ax.contour(mask > 0, [0.5], colors=[TRUTH], linewidths=1)
        for (x0, y0, x1, y1), score in found:
            ax.add_patch(plt.Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=OUTLINE))
            ax.text(x0 + 3, y0 + 3, f"{score:.2f}", color=OUTLINE, fontsize=8, va="top")
        right = locator.matched(found, there)
        hits, ovaries, others = hits + right, ovaries + len(there), others + len(found) - right
    shown = f"{many(len(made), 'phantom')} of whole sectors. Blue: the true outlines; yellow: boxes with scores."
    counted = f"The locator finds {hits} of {ovaries} ovaries and draws {many(others, 'other box', 'other boxes')}."
    return figure, f"{shown} {counted} {sentences_data.located()}"


def found(study: Study, counted: pd.DataFrame) -> tuple[plt.Figure, str]:
    """Return frames of some sources of each class, which the seed draws, with what was found, and a reading."""
    firsts = counted.drop_duplicates("source")
    drawn = firsts.groupby("label").sample(min(SHOWN, firsts.label.value_counts().min()), random_state=study.seed)
    frames = np.stack([images.grey(images.load(study.image_dir / path)) for path in drawn.path])
    maps = follicle_network.predict_maps(follicle_network.load(kept.networks(study)[0]), frames)
    masks = [counting.instances(each) for each in maps]
    titles = [f"{CLASS_NAMES[label]}: {mask.max()} found" for label, mask in zip(drawn.label, masks, strict=True)]
    truth, reading = None, f"{many(len(drawn), 'frame')} drawn at random, with the follicles that were found."
    if study.synthetic:
        folder = study.data_dir / "masks"
        whole = [cv2.imread(str(folder / Path(path).name), cv2.IMREAD_UNCHANGED) for path in drawn.path]
        truth = [images.shrink(mask, cv2.INTER_NEAREST) for mask in whole]
        excess = [int(mask.max()) - int(true.max()) for true, mask in zip(whole, masks, strict=True)]
        mean = f"{number(float(np.mean(excess)))} follicles on average, from {min(excess)} to {max(excess)}"
        reading += f" Blue: the truth; yellow: found. Found minus true: {mean}."
    return outlines(frames, masks, titles, truth=truth), reading


def errors(study: Study, answers: pd.DataFrame, counted: pd.DataFrame | None) -> tuple[plt.Figure, str]:
    """Return every source that a method calls wrong as a small picture, and the sentence that reads the sheet.

    ``answers``: of one method. A source is wrong where at least half of its networks are; the most often wrong come
    first. Shown is its first image, with the true number of a phantom's follicles, or else that found (``counted``).
    """
    table = read_table(study, "sources")
    first = table[table.used == "yes"].drop_duplicates("source").set_index("source").path
    counts, words = None, ""
    if study.synthetic:
        counts, words = pd.read_csv(study.data_dir / "truth.csv").set_index("image").FNPS, "visible follicles"
    elif counted is not None:
        counts, words = counted.set_index("path")["count"], "follicles found"
    wrong = answers.assign(share=(answers.called - answers.label).abs(), path=answers.source.map(first))
    wrong = wrong[wrong.share >= 0.5].sort_values(["share", "source"], ascending=[False, True], kind="stable")
    wrong["follicles"] = np.nan if counts is None else wrong.path.map(counts)
    groups = {name: wrong[wrong.label == label] for label, name in WRONG.items()}
    kinds = f"{len(groups['missed'])} missed, {len(groups['called polycystic'])} normal ones called polycystic"
    name, sources = TITLES[answers.model.iloc[0]], many(len(answers), "source")
    reading = f"{name} calls {len(wrong)} of {sources} wrong: {kinds}."
    if counts is not None and len(wrong):
        medians = [f"{name}: {rows.follicles.median():g}" for name, rows in groups.items() if len(rows)]
        reading += f" Median number of {words}, {'; '.join(medians)}."
    return _board(groups, study.image_dir), reading


def _tile(pixels: np.ndarray) -> np.ndarray:
    """Return a picture in grey, as large as fits into a tile, in the middle of it."""
    grey, tile = pixels.mean(axis=2).astype(np.uint8), np.zeros(TILE[::-1], np.uint8)
    scale = min(TILE[0] / grey.shape[1], TILE[1] / grey.shape[0])
    width, height = (max(round(size * scale), 1) for size in grey.shape[::-1])
    top, left = (TILE[1] - height) // 2, (TILE[0] - width) // 2
    tile[top : top + height, left : left + width] = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return tile


def _board(groups: dict[str, pd.DataFrame], folder: Path) -> plt.Figure:
    """Return a panel of tiles for each group of sources. Columns: path, follicles."""
    heights = [max(-(-len(rows) // ACROSS), 1) for rows in groups.values()]
    size = 14, 14 / ACROSS * TILE[1] / TILE[0] * sum(heights) + 0.4 * len(groups)
    figure, axes = plt.subplots(len(groups), figsize=size, height_ratios=heights)
    for ax, height, (name, rows) in zip(axes, heights, groups.items(), strict=True):
        board = np.full((height * (TILE[1] + 2), ACROSS * (TILE[0] + 2)), 255, np.uint8)
        for place, row in enumerate(rows.itertuples()):
            top, left = place // ACROSS * (TILE[1] + 2), place % ACROSS * (TILE[0] + 2)
            board[top : top + TILE[1], left : left + TILE[0]] = _tile(images.load(folder / row.path))
            if pd.notna(row.follicles):
                ax.text(left + 2, top + 2, f"{row.follicles:.0f}", color=OUTLINE, fontsize=8, va="top", weight="bold")
        ax.imshow(board, cmap="gray", vmin=0, vmax=255)
        ax.set_title(f"{len(rows)} {name}", fontsize="medium", loc="left")
        ax.axis("off")
    return figure
