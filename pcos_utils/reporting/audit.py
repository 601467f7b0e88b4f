"""Write what `pcos audit` finds: sources.csv, audit.json with its schema, and audit.html, one page without a network.

The page shows the images. It stays where the user had it written.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.audit import summary
from pcos_utils.audit.findings import NEEDED, counts, findings, ordered, pairs, unknown
from pcos_utils.audit.sources import find_sources
from pcos_utils.config import StudyError
from pcos_utils.data import manifest
from pcos_utils.data.shards import kept
from pcos_utils.data.splits import source_labels
from pcos_utils.data.survey import APART, survey
from pcos_utils.evaluation import shortcuts
from pcos_utils.files import appearing, csv_text, json_text
from pcos_utils.reporting import audit_page, sentences_audit, sentences_data
from pcos_utils.reporting.text import TEXTS, many

SCHEMA = "audit.schema.json"
FORMAT = 3  # raise it whenever audit.json changes its shape


def run(
    folders: list[Path], out: Path, labels: Path | None = None, baseline: Path | None = None, group_by: str = "",
    level: str = "source", shards: Path | None = None,
) -> dict:  # fmt: skip
    """Audit one folder, or several against each other, and return what ``write`` does.

    ``baseline``: an earlier sources.csv, whose findings are known; else as ``survey``, ``findings``, ``find_sources``.
    """
    try:
        earlier = manifest.read(baseline) if baseline else None
    except ValueError:  # what pandas raises on an empty file, on no text and on rows of different lengths
        earlier = pd.DataFrame()
    if earlier is not None and not set(earlier.columns) >= NEEDED:
        raise StudyError(f"{baseline} is no sources.csv of an audit; name the one that the earlier audit wrote.")
    if len(folders) == 1:
        where, table = folders[0], survey(folders[0], labels, group_by, shards and partial(kept, shards))
    else:
        where, tables = short_names(folders), []
        for name, folder in where.items():
            table = survey(folder, labels, group_by, shards and partial(kept, shards / name))
            tables.append(table.assign(dataset=name))
        table = pd.concat(tables, ignore_index=True)
    return write(find_sources(table, where, shards), where, out, earlier, level, table.attrs.get("unread", ()))


def write(
    sources: pd.DataFrame, where: Path | dict[str, Path], out: Path, earlier: pd.DataFrame | None = None,
    level: str = "source", unread: Sequence[str] = (),
) -> dict:  # fmt: skip
    """Write the files of an audit under ``out``, and return the content of audit.json. ``where``: as in find_sources.

    ``earlier``: the baseline's sources, for which findings are not new; ``unread``: columns of the table of labels.
    """
    found, count, splits = findings(sources, level), counts(sources, APART), pairs(sources)
    between = summary.between(sources) if isinstance(where, dict) else pd.DataFrame()
    new = found if earlier is None else unknown(found, sources, earlier)
    measured = shortcuts.measure(sources, where)
    tested, told_apart = _shortcuts(measured)
    readable = sources[sources.status == "ok"]
    reading = [sentences_data.copies(sources), sentences_audit.classes(found), sentences_audit.suggestion(sources)]
    reading += [told_apart, *sentences_audit.named(sources), sentences_audit.unread(unread)]
    if earlier is not None:
        reading.append(f"{many(len(found), 'finding')}, of which {many(len(new), 'is', 'are')} new since the baseline.")
    content = {
        "$schema": SCHEMA,
        "format": FORMAT,
        "version": version("pcos-utils"),
        "verdict": sentences_audit.verdict(sources, count, splits, between),
        "leaks_or_conflicts": bool(len(new)),
        "summary": count,
        "classes": _classes(readable),
        "splits": splits.to_dict("records"),
        "between": between.to_dict("records"),
        "findings": found.assign(new=found.index.isin(new.index)).to_dict("records"),
        "copies": _families(readable),
        "clips": _clips(readable),
        "effective_size": {str(r): round(summary.effective_size(sources, r), 2) for r in (0.1, 0.5, 0.9, 1.0)},
        "apart": _named(sources[sources.status.isin(APART)]),
        "unreadable": _named(sources[~sources.status.isin(["ok", *APART])]),
        "near_misses": audit_page.near_misses(measured),
        "shortcuts": tested.replace({np.nan: None}).to_dict("records"),
        "reading": [sentence for sentence in reading if sentence],
    }
    texts = {
        "audit.json": json_text(content),
        SCHEMA: (TEXTS / SCHEMA).read_text(encoding="utf-8"),
        "audit.html": audit_page.build(content, sources, where),
        "sources.csv": csv_text(sources),
    }
    with ExitStack() as all_or_none:
        for name, text in texts.items():
            all_or_none.enter_context(appearing(out / name)).write_text(text, encoding="utf-8")
    return content


def _shortcuts(measured: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the shortcuts between two classes, or between the largest class and the rest, and the sentence on them."""
    labelled, words = measured[measured.label.notna()], ""
    if labelled.label.nunique() < 2:
        labelled = measured[measured["class"] != ""]
        largest, *others = labelled["class"].value_counts().index.tolist() or [""]
        labelled = labelled.assign(label=(labelled["class"] == largest).astype(int))
        rest = "all other classes" if len(others) > 1 else f"`{''.join(others)}`"
        words = f"Told apart: `{largest}` from {rest}. "
    if source_labels(labelled).nunique() < 2:  # no two classes, or every picture of one is in the other, too
        return pd.DataFrame(), ""
    tested = shortcuts.separation(labelled)
    # The study's sentence, of any organ.
    sentence = sentences_data.shortcuts(tested).replace("shows no single follicle", "shows no anatomy")
    return tested, words + sentence if tested.value.notna().any() else ""


def _classes(readable: pd.DataFrame) -> list[dict]:
    """Return each class with its numbers of images, of sources, and of images in each split."""
    rows = []
    for name, images in readable[readable["class"] != ""].groupby("class"):
        counted = images.folder_split.value_counts().to_dict()
        splits = {split: counted[split] for split in ordered(images.folder_split)}
        splits |= {"no split": counted[""]} if "" in counted else {}
        rows.append({"class": name, "images": len(images), "sources": images.source.nunique(), "splits": splits})
    return rows


def _families(readable: pd.DataFrame) -> list[dict]:
    """Return each source with several images, the most copied first, and where these stand."""
    rows = []
    for source, images in readable[readable.source.duplicated(keep=False)].groupby("source"):
        classes, splits = (images[of].replace("", "none").value_counts().to_dict() for of in ("class", "folder_split"))
        rows.append({"source": source, "images": len(images), "classes": classes, "splits": splits})
    return sorted(rows, key=lambda row: -row["images"])


def _clips(readable: pd.DataFrame) -> list[dict]:
    """Return each clip with several sources, the largest first."""
    counted = readable.groupby("clip").agg(sources=("source", "unique"), images=("path", "size"))
    several = counted[counted.sources.map(len) > 1].sort_values("images", ascending=False, kind="stable")
    return several.assign(sources=several.sources.map(list)).reset_index().to_dict("records")


def _named(rows: pd.DataFrame) -> list[dict]:
    return rows.filter(["dataset", "path", "status", "reason"]).to_dict("records")


def short_names(folders: list[Path]) -> dict[str, Path]:
    """Return the folders by the last parts that tell them apart. Raises StudyError for one twice or inside another."""
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < len(places):
        raise StudyError("The same folder is named twice; name each once.")
    for inner in places:
        for outer in set(places) & set(inner.parents):
            raise StudyError(f"{inner} lies inside {outer}, so its images would be read twice; name one of the two.")
    depth = 1
    while len({place.parts[-depth:] for place in places}) < len(places):
        depth += 1
    # A name that is no UTF-8 text is shown with escapes.
    return {os.fsencode("/".join(place.parts[-depth:])).decode("utf-8", "backslashreplace"): place for place in places}
