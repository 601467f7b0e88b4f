"""Sentences of `pcos audit`, for any classes and splits. Every number comes from a table."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import pandas as pd

from pcos_utils.audit.summary import SOURCES
from pcos_utils.data import survey
from pcos_utils.data.splits import FEWEST_SOURCES
from pcos_utils.reporting.text import listed, many

SHOWN = 6  # classes, folders or pairs named in one sentence
WORDS = {"mask": "mask", "plain": "plain picture", "thumbnail": "thumbnail", "collage": "collage", "archive": "archive"}
# Names that often carry a patient or a clip. They are offered and decide nothing by themselves.
SUGGESTED = (
    r"(?i)(?:^|[/_-])((?:pt|pat|patient|subj|subject|case)[-_ ]?\d+)",
    r"(?i)(?:^|/)(?:\d+_)?([a-z]+_\d+)\.\w+$",
    r"(?i)^(.*?)[-_ ]?(?:frame|slice)[-_ ]?\d+\.\w+$",
)
LIKELY = 0.8  # share of the images whose names fit


def verdict(sources: pd.DataFrame, count: dict[str, int], pairs: pd.DataFrame, between: pd.DataFrame) -> str:
    """Return one sentence on what the images allow; it says of labels and splits only what was read."""
    images = sources[sources.status == "ok"]
    parts = [f"{many(len(images), 'readable image shows', 'readable images show')} {many(count[SOURCES], 'picture')}"]
    if plain := count["images too plain to compare"]:
        parts.append(f"{plain:,} of them {'is' if plain == 1 else 'are'} too plain to compare and may be copies unseen")
    apart = {word: count.get(f"set apart: {status}", 0) for status, word in WORDS.items()}
    if collages := apart.pop("collage"):
        which = "which shows several pictures, is" if collages == 1 else "which show several pictures, are"
        parts.append(f"{many(collages, 'collage')}, {which} not counted as one")
    if any(apart.values()):
        named = listed([many(number, word) for word, number in apart.items() if number])
        parts.append(f"{named} {'is' if sum(apart.values()) == 1 else 'are'} set apart and part of no comparison")
    parts += _splits(images, pairs) + _classes(images)
    for row in between.itertuples():
        shared = "no picture" if not row.shared_sources else many(row.shared_sources, "picture")
        parts.append(f"{row.first} and {row.second} share {shared}")
    return "; ".join(parts) + "."


def _splits(images: pd.DataFrame, pairs: pd.DataFrame) -> list[str]:
    parts, copied, grouped, near = [], *(pairs[pairs[part] > 0] for part in ("copied", "group", "clip"))
    for row in copied.head(SHOWN).itertuples():
        if row.new:
            old = f"a picture that `{row.there}` holds too, so a score on `{row.here}` is no score on new pictures"
            show = f"{many(row.images, f'`{row.here}` image')} {'shows' if row.copied == 1 else 'show'}"
            parts.append(f"{row.copied:,} of {show} {old}")
        else:
            lacks = f"holds no picture that `{row.there}` lacks, so no model can be evaluated on it"
            parts.append(f"`{row.here}` ({many(row.images, 'image')}) {lacks}")
    for row in grouped.head(SHOWN).itertuples():
        are = "is of a patient or clip" if row.group == 1 else "are of patients or clips"
        parts.append(f"{row.group:,} of {many(row.images, f'`{row.here}` image')} {are} that `{row.there}` has, too")
    for row in near.head(SHOWN).itertuples():
        are = "is no copy but is probably of a clip" if row.clip == 1 else "are no copies but are probably of clips"
        parts.append(f"{row.clip:,} of {many(row.images, f'`{row.here}` image')} {are} that `{row.there}` has")
    if len(copied) > SHOWN:
        parts.append(f"{many(len(copied) - SHOWN, 'more pair')} of splits share pictures")
    if len(pairs) and copied.empty and grouped.empty:
        names = pd.unique(pd.concat([pairs.there, pairs.here]))
        folds = {name.rpartition("/")[0] for name in names if "/" in name}
        by_fold = f"in none of {len(folds)} folds do its parts share a picture; folds were not compared"
        parts.append(by_fold if len(folds) > 1 else f"{listed(_quoted(names))} share no picture")
    outside, named = images[images.folder_split == ""], pd.unique(images.folder_split[images.folder_split != ""])
    if len(named) == 1 and len(outside):
        parts.append(f"`{named[0]}` is the only split that was recognised, so splits were not compared")
    if len(named) and len(outside):
        known = outside.source.isin(images.source[images.folder_split != ""]).sum()
        belong = many(len(outside), f"image in {_folders(outside)} belongs", f"images in {_folders(outside)} belong")
        show = many(known, "of them shows", "of them show")
        parts.append(f"{belong} to no split; {show} a picture that a split holds")
    return parts


def _classes(images: pd.DataFrame) -> list[str]:
    labelled, without = images[images["class"] != ""], images[images["class"] == ""]
    parts = []
    if two := (labelled.groupby("source")["class"].nunique() > 1).sum():
        parts.append(f"{many(two, 'picture stands', 'pictures stand')} in two classes or more")
    sizes = labelled.groupby("class").agg(images=("path", "size"), sources=("source", "nunique"))
    if len(sizes) == 1:
        parts.append(f"every label is `{sizes.index[0]}`, so nothing can be told apart")
    elif len(sizes):
        named = ", ".join(f"`{name}` {count:,}" for name, count in sizes.images.head(SHOWN).items())
        named += f" and {len(sizes) - SHOWN:,} more" if len(sizes) > SHOWN else ""
        parts.append(f"labels were compared for {many(len(labelled), 'image')} of {len(sizes)} classes ({named})")
        few = sizes.index[sizes.sources < FEWEST_SOURCES]
        if len(few):
            named = listed(_quoted(few)) if len(few) <= SHOWN else f"{len(few)} of the classes"
            coin = "even a faultless score in such a class could not be told from a coin"
            parts.append(f"with fewer than {FEWEST_SOURCES} pictures of {named} {coin}")
    neither = sorted(set(labelled["class"][labelled.label.isna()]))
    if labelled.label.nunique() == 2 and neither:
        say = "says" if len(neither) == 1 else "say"
        parts.append(f"{listed(_quoted(neither))} {say} neither polycystic nor normal")
    if "group" in images and (nobody := (images.group == "").sum()):
        parts.append(f"{many(nobody, 'image names', 'images name')} no patient or clip")
    if len(without):
        place = _folders(without)
        parts.append(f"{many(len(without), f'image in {place} carries', f'images in {place} carry')} no label")
    return parts


def _quoted(names: Iterable[str]) -> list[str]:
    return [f"`{name}`" for name in names]


def _folders(images: pd.DataFrame) -> str:
    """Return where images lie, the folders with most of them first."""
    names = images.path.map(lambda path: PurePosixPath(path).parent.as_posix()).value_counts().index
    return _some([f"`{name}`" if name != "." else "the folder itself" for name in names])


def classes(found: pd.DataFrame) -> str:
    """Return which source pictures are in several classes."""
    rows = found[found.finding == "class"]
    if rows.empty:
        return "No source picture is in two classes."
    named = []
    for source, family in rows.groupby("source", sort=False):
        counted = ", ".join(f"{count} in {name}" for name, count in family.here.value_counts().items())
        named.append(f"`{source}` ({counted})")
    more = [f"and {len(named) - SHOWN:,} more"] * (len(named) > SHOWN)
    are = many(len(named), "source picture is", "source pictures are")
    return f"**{are} in several classes**: {'; '.join(named[:SHOWN] + more)}."


def suggestion(sources: pd.DataFrame) -> str:
    """Return the option that would read patients or clips out of the file names, or "" where no names look like it."""
    paths = sources[sources.status == "ok"].path
    for pattern in SUGGESTED if "group" not in sources else ():
        groups = survey.groups(paths, pattern)
        groups = groups[groups != ""]
        if len(groups) >= LIKELY * len(paths) and 1 < groups.nunique() < len(groups):
            why = "File names look as if they carried a patient or a clip; nothing was read from them."
            such = f"{many(groups.nunique(), 'group')}, such as `{re.sub('`', '', groups.iloc[0])}`"
            return f"{why} With --group-by '{pattern}' {len(groups):,} images would be of {such}."
    return ""


def unread(columns: Sequence[str]) -> str:
    """Return which columns of a table of labels were not read, or "" where all were."""
    read = "one column of each kind is read: classes (`label`), patients or clips (`patient`), splits (`split`)"
    return f"Of the table these columns were not read: {_some(_quoted(columns))}; {read}." if columns else ""


def named(sources: pd.DataFrame) -> list[str]:
    """Return what is to be told of single files: archives, and images whose table and folder contradict each other."""
    packed, against = sources[sources.status == "archive"], sources[(sources.status == "ok") & (sources.reason != "")]
    told = [f"Not looked into, unpack: {_some(_quoted(packed.path))}."] if len(packed) else []
    if len(against):
        images = many((sources.status == "ok").sum(), "image")
        which = f"{len(against):,} of {images}: {_some(_quoted(against.path))}"
        told.append(f"**Table and folder contradict each other** for {which}; the table was used.")
    return told


def _some(words: list[str]) -> str:
    """Return the first words, and how many more there are."""
    return listed(words[:SHOWN] + [f"{len(words) - SHOWN:,} more"] * (len(words) > SHOWN))
