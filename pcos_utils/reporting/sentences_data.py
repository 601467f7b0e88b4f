"""Sentences of notebooks 1 and 2 and of `pcos audit`, in their order. Every number comes from a table."""

import numpy as np
import pandas as pd

from pcos_utils.audit import summary
from pcos_utils.audit.summary import BOTH_LABELS, COPIED_SOURCES, CROSSING, NEW_SOURCES, SOURCES
from pcos_utils.config import CLASS_NAMES, ROOT, Study
from pcos_utils.data.datasets import facts
from pcos_utils.data.splits import FEWEST_SOURCES, source_labels
from pcos_utils.evaluation import auc, comparison
from pcos_utils.evaluation.intervals import resample
from pcos_utils.reporting.text import ends, interval, many, number, percent


def files(table: pd.DataFrame, differ: list[str], published: int | None, outside: int) -> str:
    """Return how many files there are, how many can be read, and whether their number is the published one."""
    counts = "; ".join(differ) if differ else "as published" if published else "no count was published"
    there = f"{many(len(table), 'file')} in class folders, {int((table.status == 'ok').sum()):,} readable"
    return f"**{there}.** Counts: {counts}. Files outside the class folders, which are not read: {outside:,}."


def verdict(counted: pd.DataFrame) -> str:
    """Return one sentence on what the images of a study allow, from ``summary.totals``."""
    count = counted.set_index("fact")["count"]
    images, plain = count["readable images"], count["images too plain to compare"]
    parts = [f"{many(images, 'readable image shows', 'readable images show')} {many(count[SOURCES], 'picture')}"]
    if plain:
        parts.append(f"{many(plain, 'of them is', 'of them are')} too plain to compare and may be copies unseen")
    test = count["images in the test folder"]
    if test and not count[NEW_SOURCES]:
        parts.append("the test folder holds no picture that the train folder lacks, so no model can be evaluated on it")
    elif count[CROSSING]:
        copied = count[COPIED_SOURCES]
        old = "a picture that the train folder holds too, so a score on the test folder is no score on new pictures"
        parts.append(f"{copied:,} of {many(test, 'test image')} {'shows' if copied == 1 else 'show'} {old}")
    elif test and count["images in the train folder"]:
        parts.append("the train and the test folder share no picture")
    if count[BOTH_LABELS]:
        parts.append(f"{many(count[BOTH_LABELS], 'picture carries', 'pictures carry')} both labels")
    of_class = [count[f"{name} sources"] for name in ("polycystic", "normal")]
    if not min(of_class) and max(of_class):
        parts.append(f"every label is {'normal' if of_class[1] else 'polycystic'}, so nothing can be told apart")
    elif 0 < min(of_class) < FEWEST_SOURCES:
        sizes = f"{many(of_class[0], 'polycystic picture')} and {many(of_class[1], 'normal picture')}"
        parts.append(f"with {sizes} even a faultless score in the smaller class could not be told from a coin")
    return "; ".join(parts) + "."


def data(study: Study, counted: pd.DataFrame) -> str:
    """Return what the images show, how many source pictures there are, and what is wrong with the files."""
    count = counted.set_index("fact")["count"]
    kind = "synthetic phantoms, not patients" if study.synthetic else facts(study.data_name).title
    text = (
        f"{count['readable images']:,} readable images ({kind}) show {many(count[SOURCES], 'source picture')}: "
        f"{count['polycystic sources']:,} polycystic and {count['normal sources']:,} normal"
    ) + (f" ({count[BOTH_LABELS]:,} of them both)." if count[BOTH_LABELS] else ".")
    if count["unreadable files"]:
        text += f" {many(count['unreadable files'], 'file')} could not be read."
    if count[CROSSING]:
        across = many(count[CROSSING], "source stands", "sources stand")
        text += f" **{across} in the train folder and in the test folder.**"
    return text


def copies(sources: pd.DataFrame) -> str:
    """Return how many images show how many source pictures, and how many independent images they are worth."""
    counted = summary.copies(sources)
    images, most = int(counted.images.sum()), int(counted.images.iloc[0])
    plain = int((sources.evidence == "too plain").sum())
    if most == 1 and plain:
        return f"No copy was found among {many(images, 'image')}, of which {plain:,} could not be compared."
    if images == 1:
        return "1 image, which cannot have a copy."
    if most == 1:
        return f"Every one of the {len(counted):,} source pictures is there once: {many(images, 'image')}, no copy."
    worth = summary.effective_size(sources, 0.5), summary.effective_size(sources, 1.0)
    pictures = f"{many(images, 'image shows', 'images show')} {many(len(counted), 'source picture')}"
    independent = f"the images are worth {worth[0]:,.1f} independent ones; at 1, {worth[1]:,.1f}."
    most_copied = f"the most copied one is there {many(most, 'time')}"
    return f"{pictures}; {most_copied}. If copies of a picture correlate at .5, {independent}"


def conflicts(sources: pd.DataFrame) -> str:
    """Return which source pictures carry both labels, and how many images carry which."""
    both = summary.conflicts(sources)
    if both.empty:
        return "No source picture carries both labels."
    named = "; ".join(
        f"`{row.source}` ({many(row.polycystic, 'image')} as polycystic, {row.normal:,} as normal)"
        for row in both.head(5).itertuples()
    )
    more = f"; and {len(both) - 5:,} more" if len(both) > 5 else ""
    return f"**{many(len(both), 'source picture carries', 'source pictures carry')} both labels**: {named}{more}."


def frame_names(sources: pd.DataFrame) -> str:
    """Return whether the audit agrees with what file names say about frames; empty where the names say nothing."""
    count = summary.against_names(sources)
    if not count.images:
        return ""
    found, names = "the same", f"{many(count.frames, 'frame')} behind {many(count.images, 'image')}"
    if count.joined or count.parted:
        joined, parted = many(count.joined, "picture"), many(count.parted, "name")
        found = f"{joined} under several names and {parted} over several pictures"
    return f"File names claim {names}. The audit, which reads pixels alone, finds {found}."


def samples(pixels: list[np.ndarray], labels: list[int]) -> str:
    """Return how much of the shown pictures of each class is nearly black."""
    dark = pd.Series([(image < 40).mean() for image in pixels]).groupby(labels)
    words = "{} of the pixels of these {} {} pictures"
    each = [words.format(percent(shares.mean()), len(shares), CLASS_NAMES[label]) for label, shares in dark]
    return f"Nearly black are {' and '.join(each)}."


def shortcuts(table: pd.DataFrame) -> str:
    """Return the strongest shortcut under each split, from ``shortcuts.separation``."""
    known, parts = table.dropna(subset=["value"]), []
    for split, words in (("random", "images drawn at random"), ("source", "whole sources drawn")):
        rows = known[known.split == split]
        if rows.empty:
            parts.append(f"with {words} nothing can be tested, because a class has too few pictures of its own")
            continue
        best = rows.loc[rows.value.idxmax()]
        few = ", from so few pictures that the interval is too narrow" if best.few_sources else ""
        parts.append(f"with {words} the best of {len(rows)} is **{best.shortcut}**, AUC {interval(best)}{few}")
    flattered = "The best is picked after the fact, which flatters it."
    text = f"Of what shows no single follicle, {'; '.join(parts)}. {flattered}"
    nearest = known[known.shortcut == "nearest thumbnail"].set_index("split")
    if {"random", "source"} <= set(nearest.index) and nearest.low["random"] > nearest.high["source"]:
        falls = f"falls from {number(nearest.value['random'])} to {number(nearest.value['source'])}"
        memory = "when copies may no longer stand on both sides: that much was memory."
        text += f" A nearest neighbour among thumbnails {falls} {memory}"
    return text


def ceiling(truth: pd.DataFrame) -> str:
    """Return the AUC of the section's true number of follicles: what a perfect counter reaches on phantoms."""
    medians = truth.groupby("label").FNPS.median()
    pairs = auc.pairs(truth.assign(source=range(len(truth)), logit=truth.FNPS)[["source", "label", "logit"]])
    perfect = auc.interval(pairs, resample(pairs.label))
    shows = f"{medians[1]:.0f} follicles in the median polycystic phantom and {medians[0]:.0f} in the median normal one"
    reached = f"{number(perfect.value)} {ends(perfect.low, perfect.high)} on these {len(truth)} sources"
    counted = f"Counting them without error gives an AUC of {reached}: what a perfect counter reaches."
    return f"The section shows {shows}. {counted}"


def located() -> str:
    """Return what the locator finds in real whole frames, as the side study measured it."""
    table = pd.read_csv(ROOT / "reports" / "studies" / "locate_frames.csv").set_index(["question", "part"])
    clips = table.loc["ovaries found"].drop("all")
    found = " and ".join(f"{row.value * row.n:.0f} of {row.n:.0f}" for row in clips.itertuples())
    others, counts = table.loc[("false boxes in a frame without an ovary", "all")], table.loc["follicles counted"]
    return (
        f"In {counts.frames.iloc[0]:.0f} real frames, none of which taught it, it finds {found} ovaries of two clips "
        "(each one source, so without an interval). In a frame without an ovary it draws "
        f"{number(others.value)} boxes. The count in its boxes has a rank correlation of "
        f"{number(counts.value['suggested box'])} with that of two annotators, theirs with each other one of "
        f"{number(counts.value['the annotators with each other'])}."
    )


def use(table: pd.DataFrame) -> str:
    """Return how many sources and images the study uses, and how many are left out for which reason."""
    used = table[table.used == "yes"]
    reasons = table.used[table.used != "yes"].value_counts()
    left = ", ".join(f"{many(count, 'image')} ({reason})" for reason, count in reasons.items())
    text = f"The study uses {many(len(used), 'image')} of {many(used.source.nunique(), 'source')}; "
    return text + (f"left out: {left}." if left else "nothing is left out.")


def power(sources: pd.DataFrame) -> str:
    """Return which AUCs and differences so many sources can show. ``sources``: any table with source and label."""
    label = source_labels(sources)
    sizes = int((label == 1).sum()), int((label == 0).sum())
    parts = [
        f"{number(auc)} in {percent(comparison.power(auc, *sizes, trained=False))} of studies where nothing was fitted "
        f"to labels and in {percent(comparison.power(auc, *sizes))} where a method was trained"
        for auc in (0.7, 0.8)
    ]
    known = f"With {sizes[0]} polycystic and {sizes[1]} normal sources a true AUC is shown to be above chance"
    gain = percent(comparison.power_of_difference(0.90, 0.85, *sizes))
    return f"{known}: {', '.join(parts)}. That an AUC of .90 is above one of .85 is shown in {gain}."
