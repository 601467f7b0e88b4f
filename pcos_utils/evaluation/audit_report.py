"""What an audit says in plain words, and the folder that ``pcos audit`` writes."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils.config import StudyError
from pcos_utils.data import audit
from pcos_utils.data.audit import BOTH_LABELS, COPIED_SOURCES, CROSSING, NEW_SOURCES, SOURCES
from pcos_utils.data.images import load
from pcos_utils.data.splits import FEWEST_SOURCES
from pcos_utils.evaluation import figures, shortcuts
from pcos_utils.evaluation.readings import interval, many, number
from pcos_utils.files import appearing, write_csv, write_json

RESAMPLES = 1000
SHEET = 96  # source pictures on a contact sheet, at most
NOTICE = "May show images that are not yours to pass on: for this machine only."


def verdict(facts: pd.DataFrame, pairs: pd.DataFrame | None = None) -> str:
    """One sentence on what the images allow, from ``audit.summary`` and, for several data sets, ``audit.between``."""
    count = facts.set_index("fact")["count"]
    images, plain = count["readable images"], count["images too plain to compare"]
    parts = [f"{many(images, 'readable image')} {_show(images)} {many(count[SOURCES], 'picture')}"]
    if plain:
        parts.append(f"{plain:,} of them {'is' if plain == 1 else 'are'} too plain to compare and may be copies unseen")
    test = count["images in the test folder"]
    if test and not count[NEW_SOURCES]:
        parts.append("the test folder holds no picture that the train folder lacks, so no model can be evaluated on it")
    elif count[CROSSING]:
        parts.append(
            f"{count[COPIED_SOURCES]:,} of {many(test, 'test image')} {_show(count[COPIED_SOURCES])} a picture that "
            "the train folder holds too, so a score on the test folder is no score on new pictures"
        )
    elif test and count["images in the train folder"]:
        parts.append("the train and the test folder share no picture")
    if count[BOTH_LABELS]:
        parts.append(f"{many(count[BOTH_LABELS], 'picture')} {_carry(count[BOTH_LABELS])} both labels")
    if pairs is not None:
        for row in pairs.itertuples():
            shared = "no picture" if not row.shared_sources else many(row.shared_sources, "picture")
            parts.append(f"{row.first} and {row.second} share {shared}")
    of_class = [count[f"{name} sources"] for name in ("polycystic", "normal")]
    if not min(of_class) and max(of_class):
        parts.append(f"every label is {'normal' if of_class[1] else 'polycystic'}, so nothing can be told apart")
    elif 0 < min(of_class) < FEWEST_SOURCES:
        parts.append(
            f"with {many(of_class[0], 'polycystic picture')} and {many(of_class[1], 'normal picture')} even a "
            "faultless score in the smaller class could not be told from a coin"
        )
    return "; ".join(parts) + "."


def found(facts: pd.DataFrame, pairs: pd.DataFrame | None = None) -> bool:
    """Whether leaks or conflicts were found: pictures in train and test, with two labels, or in two data sets."""
    count = facts.set_index("fact")["count"]
    shared = 0 if pairs is None else pairs.shared_sources.sum()
    return bool(count[CROSSING] or count[BOTH_LABELS] or shared)


def copies_sentence(sources: pd.DataFrame) -> str:
    """How the images are spread over the source pictures, and what they are worth."""
    counted = audit.copies(sources)
    images, most = int(counted.images.sum()), int(counted.images.iloc[0])
    plain = int((sources.evidence == "too plain").sum())
    if most == 1 and plain:
        return f"No copy was found among {many(images, 'image')}, of which {plain:,} could not be compared."
    if images == 1:
        return "1 image, which cannot have a copy."
    if most == 1:
        return f"Every one of the {len(counted):,} source pictures is there once: {many(images, 'image')}, no copy."
    worth = audit.effective_size(sources, 0.5), audit.effective_size(sources, 1.0)
    return (
        f"{many(images, 'image')} {_show(images)} {many(len(counted), 'source picture')}; the most copied one is there "
        f"{most:,} times. If copies of a picture correlate at .5 they are worth {worth[0]:,.1f} independent images, "
        f"at 1 they are worth {worth[1]:,.1f}."
    )


def conflicts_sentence(sources: pd.DataFrame) -> str:
    """Which source pictures carry both labels, with how many images each way."""
    both = audit.conflicts(sources)
    if both.empty:
        return "No source picture carries both labels."
    named = "; ".join(
        f"`{row.source}` ({many(row.polycystic, 'image')} as polycystic, {row.normal:,} as normal)"
        for row in both.head(5).itertuples()
    )
    more = f"; and {len(both) - 5:,} more" if len(both) > 5 else ""
    return f"**{many(len(both), 'source picture')} {_carry(len(both))} both labels**: {named}{more}."


def names_sentence(sources: pd.DataFrame) -> str:
    """Whether the audit agrees with what file names say about frames; empty where the names say nothing."""
    count = audit.against_names(sources)
    if not count.images:
        return ""
    text = f"File names claim {many(count.frames, 'frame')} behind {many(count.images, 'image')}. "
    if not count.joined and not count.parted:
        return text + "The audit, which reads pixels alone, finds the same."
    return text + (
        f"The audit, which reads pixels alone, finds {many(count.joined, 'picture')} under several names and "
        f"{many(count.parted, 'name')} over several pictures."
    )


def shortcuts_sentence(table: pd.DataFrame) -> str:
    """The strongest shortcut under each split, from ``shortcuts.separation``."""
    aucs = table[(table.metric == "auc")].dropna(subset=["value"])
    texts = []
    for split, words in (("random", "images drawn at random"), ("source", "whole sources drawn")):
        rows = aucs[aucs.split == split]
        if rows.empty:
            texts.append(f"with {words} nothing can be tested, because a class has a single picture")
            continue
        best = rows.loc[rows.value.idxmax()]
        beats = "above a coin" if best.low_of_all > 0.5 else "not shown to be above a coin"
        if best.few_sources:
            beats = "from so few pictures that the interval is too narrow"
        texts.append(f"with {words} the best of {len(rows)} is **{best.shortcut}**, AUC {interval(best)}, {beats}")
    text = "Of what shows no single follicle, " + "; ".join(texts) + "."
    nearest = aucs[aucs.shortcut == "nearest thumbnail"].set_index("split")
    if {"random", "source"} <= set(nearest.index) and nearest.low["random"] > nearest.high["source"]:
        text += (
            f" A nearest neighbour among thumbnails falls from {number(nearest.value['random'])} to "
            f"{number(nearest.value['source'])} when copies may no longer stand on both sides: that much was memory."
        )
    return text


def contact_sheet(sources: pd.DataFrame, folder: Path | dict[str, Path]) -> plt.Figure:
    """A sheet of the source pictures, the most copied first, each with class, copies and folders."""
    counted = audit.copies(sources).head(SHEET)
    first = sources[sources.status == "ok"].drop_duplicates("source").set_index("source").loc[counted.source]
    pictures, titles = [load(path) for path in audit.places(first, folder)], []
    for row in counted.itertuples():
        label = " and ".join(name for name in ("polycystic", "normal") if getattr(row, name)) or "no label"
        where = ", ".join(f"{name} {getattr(row, name):,}" for name in ("train", "test") if getattr(row, name))
        titles.append(f"{label}: {many(row.images, 'image')}" + (f"\n{where}" if where else ""))
    return figures.sample_sheet(pictures, titles, columns=min(8, max(2, len(pictures) // 2)))


def write(sources: pd.DataFrame, folders: dict[str, Path], out: Path) -> dict:
    """The content of audit.json, after it, sources.csv and the local contact sheet were written under ``out``."""
    several = len(folders) > 1
    where = folders if several else next(iter(folders.values()))
    facts = audit.summary(sources)
    pairs = audit.between(sources) if several else None
    labelled = sources[sources.label.notna()]
    tested = pd.DataFrame()
    if labelled.label[labelled.status == "ok"].nunique() == 2:
        tested = shortcuts.separation(shortcuts.measure(labelled, where), resamples=RESAMPLES)
    content = {
        "verdict": verdict(facts, pairs),
        "leaks_or_conflicts": found(facts, pairs),
        "summary": dict(zip(facts.fact, facts["count"].tolist(), strict=True)),
        "copies": audit.copies(sources).to_dict("records"),
        "two_labels": audit.conflicts(sources).to_dict("records"),
        "between": [] if pairs is None else pairs.to_dict("records"),
        "effective_size": {str(r): round(audit.effective_size(sources, r), 2) for r in (0.1, 0.5, 0.9, 1.0)},
        "unreadable": sources[sources.status != "ok"][["path", "status"]].to_dict("records"),
        "shortcuts": tested.replace({np.nan: None}).to_dict("records"),
        "reading": [copies_sentence(sources), conflicts_sentence(sources)]
        + ([shortcuts_sentence(tested)] if len(tested) else []),
    }
    write_csv(out / "sources.csv", sources)
    write_json(out / "audit.json", content)
    figure = contact_sheet(sources, where)
    figure.text(0.5, 1.0, NOTICE, ha="center", va="bottom", fontsize="small")
    with appearing(out / "local" / "contact_sheet.png") as path:
        figure.savefig(path, bbox_inches="tight", dpi=80)
    plt.close(figure)
    return content


def _show(count: int) -> str:
    return "shows" if count == 1 else "show"


def _carry(count: int) -> str:
    return "carries" if count == 1 else "carry"


def short_names(folders: list[Path]) -> dict[str, Path]:
    """The last parts of the paths, as many as tell them apart."""
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < len(places):
        raise StudyError("The same folder is named twice; name each once.")
    for inner in places:
        for outer in set(places) & set(inner.parents):
            raise StudyError(f"{inner} lies inside {outer}, so its images would be read twice; name one of the two.")
    depth = 1
    while len({place.parts[-depth:] for place in places}) < len(places):
        depth += 1
    return {"/".join(place.parts[-depth:]): place for place in places}
