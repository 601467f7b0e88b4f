"""Find what is wrong with an audited data set of any classes: leaks between splits, double classes, shared groups."""

import re
from collections.abc import Iterator
from itertools import combinations

import pandas as pd

from pcos_utils.audit.sources import SHOWS, names
from pcos_utils.audit.summary import compared, distinct

KINDS = {
    "split": "the picture is in another split, too",
    "group": "another split has the same patient or clip",
    "class": "the picture is in another class, too",
    "folder": "the picture is in another data set, too",
    "clip split": "another split has a picture that is probably of one clip with it",
    "clip class": "another class has a picture that is probably of one clip with it",
    "clip folder": "another data set has a picture that is probably of one clip with it",
}
LEVELS = ("source", "clip")
COLUMNS = ["finding", "path", "here", "there", "source"]
PAIRS = ["there", "here", "images", "copied", "same_bytes", "clip", "group", "crossing", "new"]
NEEDED = {"path", "folder_split", "status", "source"}


def findings(sources: pd.DataFrame, level: str = "source") -> pd.DataFrame:
    """Return one row per image and finding: ``finding`` (a key of KINDS), ``path``, ``here``, ``there``, ``source``.

    ``sources`` is a table of ``find_sources``. ``here`` and ``there`` are the two splits, of which train comes first
    and test last, the two classes or the two data sets; the image is the one that is ``here``. At the ``level`` "clip"
    what pictures of one clip share is found too, beside what copies share.
    """
    images = _named(sources)
    groups = [_told("group", of[of.group.isin(set(first.group) - {""})], *two) for *two, first, of in _splits(images)]
    found = pd.concat([_shared(images, "source"), *groups]).drop_duplicates(COLUMNS[:4], ignore_index=True)
    if level == "source":
        return found
    # What is a copy is not said again.
    clips, keys = _shared(images, "clip"), ["finding", "path", "here", "there"]
    clips = clips[~pd.MultiIndex.from_frame(clips[keys]).isin(pd.MultiIndex.from_frame(found[keys]))]
    return pd.concat([found, clips.assign(finding="clip " + clips.finding)], ignore_index=True)


def _shared(images: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return the findings of splits, classes and data sets that share a source, or a clip."""
    parts = [_told("split", of[of[level].isin(first[level])], *two) for *two, first, of in _splits(images)]
    labelled = images[(images["class"] != "") & (images.status == "ok")]  # a collage may show several classes
    words = labelled.groupby("dataset")["class"].agg(frozenset)
    # The classes of two data sets are held against each other where both use the same words.
    scope = labelled.dataset if words.nunique() > 1 else pd.Series("", index=labelled.index)
    several = labelled.groupby([scope, level])["class"].transform("nunique") > 1
    for _, family in labelled[several].groupby([scope, level]):
        kinds = sorted(set(family["class"]))
        others = [", ".join(kind for kind in kinds if kind != own) for own in family["class"]]
        parts.append(_told("class", family, others, family["class"]))
    for there, here in combinations(images.dataset.unique(), 2):
        after = images[images.dataset == here]
        shared = after[level].isin(images[level][images.dataset == there])
        parts.append(_told("folder", after[shared], there, here))
    return pd.concat([pd.DataFrame(columns=COLUMNS, dtype=object), *parts], ignore_index=True)


def unknown(found: pd.DataFrame, sources: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Return the findings of ``sources`` that an earlier table of sources lacks, by kind, path, pixels and place."""

    def keys(of: pd.DataFrame, table: pd.DataFrame) -> pd.MultiIndex:
        """Return what a finding is known by; the pixels only where the earlier table tells them."""
        shown = _named(table).drop_duplicates("name").set_index("name").get("pixel_sha256")
        pixels = of.path.map(shown) if "pixel_sha256" in baseline else ""
        return pd.MultiIndex.from_frame(of[["finding", "path", "there"]].assign(pixels=pixels))

    return found[~keys(found, sources).isin(keys(findings(baseline, "clip"), baseline))]


def pairs(sources: pd.DataFrame) -> pd.DataFrame:
    """Return one row per pair of splits of a data set: ``there`` and ``here`` as in ``findings``, and counts.

    ``images`` of the split ``here``, collages among them; of these ``copied`` (their source is ``there``),
    ``same_bytes``, ``clip`` (no copies, but probably of one clip with a picture there) and ``group`` (their patient or
    clip is there by name); ``crossing`` sources; ``new`` sources, which ``there`` lacks.
    """
    rows = []
    for there, here, first, second in _splits(_named(sources)):
        crossing = set(first.source) & set(second.source)
        copied, same_bytes = second.source.isin(crossing), second.sha256.isin(first.sha256)
        copied |= second.path.isin(second.path[copied])  # of a collage that shows another picture, too
        group, clip = second.group.isin(set(first.group) - {""}), second["clip"].isin(first["clip"]) & ~copied
        told = [second.path[each].nunique() for each in (copied, same_bytes, clip, group)]
        new = second.source.nunique() - len(crossing)
        rows.append((there, here, second.path.nunique(), *told, len(crossing), new))
    return pd.DataFrame(rows, columns=PAIRS)


def counts(sources: pd.DataFrame, apart: dict[str, str]) -> dict[str, int]:
    """Return what a data set holds, by fact. ``apart``: the statuses of files that are no scans."""
    readable, status = sources[sources.status == "ok"], sources.status.value_counts()
    facts = {
        "files": names(sources).str.replace(r"#\d+$", "", regex=True).nunique(),
        "readable images": len(readable),
        **{f"set apart: {name}": int(status[name]) for name in apart if name in status},
        "unreadable files": int(status.drop(["ok", *apart], errors="ignore").sum()),
        **distinct(readable),
        **compared(readable),
        **({"probable clips": readable["clip"].nunique()} if "clip" in readable else {}),
        "classes": len(set(readable["class"]) - {""}),
        "images with a class": int((readable["class"] != "").sum()),
        **{f"images in {name}": int((readable.folder_split == name).sum()) for name in ordered(readable.folder_split)},
    }
    if "group" in readable:
        facts["groups (patients or clips)"] = len(set(readable.group) - {""})
    return facts


def ordered(splits: pd.Series) -> list[str]:
    """Return the names of the splits, train first and test last."""
    rank = {"train": 0, "val": 2, "test": 3}
    return sorted(set(splits) - {""}, key=lambda name: (rank.get(name.rpartition("/")[2].split(" ")[0], 1), name))


def _told(finding: str, images: pd.DataFrame, there: str | list[str], here: str | pd.Series) -> pd.DataFrame:
    return images.assign(finding=finding, path=images.name, here=here, there=there)[COLUMNS]


def _named(sources: pd.DataFrame) -> pd.DataFrame:
    """Return the readable images with ``name`` and all that is compared, and a row for each source of a collage."""
    images = pd.concat([sources[sources.status == "ok"], _shown(sources)], ignore_index=True)
    if "class" not in images:  # a table from before classes had names
        images["class"] = images["label"].astype(object).map(str).replace("nan", "") if "label" in images else ""
    if "clip" not in images:  # a table from before clips were told
        images["clip"] = images.source
    for column in ("group", "dataset"):
        images[column] = images[column].fillna("") if column in images else ""
    return images.assign(name=images.path.where(images.dataset == "", images.dataset + "/" + images.path))


def _shown(sources: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each collage and each source that it shows, as ``find_sources`` writes it."""
    readable, rows = sources[sources.status == "ok"], []
    clip_of = dict(zip(readable.source, readable.get("clip", readable.source), strict=True))
    for row in sources[sources.status == "collage"].to_dict("records"):
        told = f", {row['reason'].removeprefix(SHOWS)}, "
        rows += [row | {"source": name, "clip": clip_of[name]} for name in clip_of if f", {name}, " in told]
    return pd.DataFrame(rows, columns=sources.columns)


def _splits(images: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    """Yield (there, here, images there, images here) for each two splits of one data set and one fold."""
    for dataset, own in images.groupby("dataset", sort=False):
        for there, here in combinations(ordered(own.folder_split), 2):
            folds = [None if re.fullmatch("fold[^/]*", name) else name.rpartition("/")[0] for name in (there, here)]
            if folds[0] == folds[1] or "" in folds:  # two folds with parts of their own share images
                before = f"{dataset}: " if dataset else ""
                yield before + there, before + here, *(own[own.folder_split == name] for name in (there, here))
