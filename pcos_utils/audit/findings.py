"""Find what is wrong with an audited data set of any classes: leaks between splits, double classes, shared groups."""

from collections.abc import Iterator
from itertools import combinations

import pandas as pd

from pcos_utils.audit.summary import SOURCES

KINDS = {
    "split": "the picture is in another split, too",
    "group": "another split has the same patient or clip",
    "class": "the picture is in another class, too",
    "folder": "the picture is in another data set, too",
}
COLUMNS = ["finding", "path", "here", "there", "source"]
NEEDED = {"path", "folder_split", "status", "source"}


def findings(sources: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image and finding: ``finding`` (a key of KINDS), ``path``, ``here``, ``there``, ``source``.

    ``sources`` is a table of ``find_sources``. ``here`` and ``there`` are the two splits, of which train comes first
    and test last, the two classes or the two data sets; the image is the one that is ``here``.
    """
    images = _named(sources)
    rows = []
    for there, here, first, second in _splits(images):
        copied = second.source.isin(first.source)
        rows += [("split", name, here, there, source) for name, source in second[copied][["name", "source"]].values]
        known = second.group.isin(set(first.group) - {""})
        rows += [("group", name, here, there, source) for name, source in second[known][["name", "source"]].values]
    labelled = images[images["class"] != ""]
    words = {dataset: frozenset(own["class"]) for dataset, own in labelled.groupby("dataset")}
    # The classes of two data sets are held against each other where both use the same words.
    scope = labelled.dataset if len(set(words.values())) > 1 else pd.Series("", index=labelled.index)
    several = labelled.groupby([scope, "source"])["class"].transform("nunique") > 1
    for (_, source), family in labelled[several].groupby([scope[several], "source"]):
        names = sorted(set(family["class"]))
        for row in family.itertuples():
            others = ", ".join(name for name in names if name != row.kind)
            rows.append(("class", row.name, row.kind, others, source))
    for first, second in combinations(images.dataset.unique(), 2):
        before, after = images[images.dataset == first], images[images.dataset == second]
        shared = after[after.source.isin(before.source)]
        rows += [("folder", name, second, first, source) for name, source in shared[["name", "source"]].values]
    return pd.DataFrame(rows, columns=COLUMNS)


def unknown(found: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Return the findings that an earlier table of sources does not have, by kind and path."""
    earlier = findings(baseline)
    known = set(zip(earlier.finding, earlier.path, strict=True))
    return found[[pair not in known for pair in zip(found.finding, found.path, strict=True)]]


def pairs(sources: pd.DataFrame) -> pd.DataFrame:
    """Return one row per pair of splits of a data set: ``there`` and ``here`` as in ``findings``, and counts.

    ``images`` of the split ``here``; of them ``copied`` (their source is ``there``), ``same_bytes`` and ``group``
    (their patient or clip is there); ``crossing`` sources; ``new`` sources, which ``there`` lacks.
    """
    rows = []
    for there, here, first, second in _splits(_named(sources)):
        crossing = set(first.source) & set(second.source)
        row = {"there": there, "here": here, "images": len(second), "copied": int(second.source.isin(crossing).sum())}
        row["same_bytes"] = int(second.sha256.isin(first.sha256).sum()) if "sha256" in second else 0
        row["group"] = int(second.group.isin(set(first.group) - {""}).sum())
        rows.append(row | {"crossing": len(crossing), "new": second.source.nunique() - len(crossing)})
    columns = ["there", "here", "images", "copied", "same_bytes", "group", "crossing", "new"]
    return pd.DataFrame(rows, columns=columns)


def counts(sources: pd.DataFrame, apart: dict[str, str]) -> dict[str, int]:
    """Return what a data set holds, by fact. ``apart``: the statuses of files that are no scans."""
    readable = sources[sources.status == "ok"]
    facts = {
        "files": sources.path.str.replace(r"#\d+$", "", regex=True).nunique(),
        "readable images": len(readable),
        **{f"set apart: {name}": int((sources.status == name).sum()) for name in apart},
        "unreadable files": int((~sources.status.isin(["ok", *apart])).sum()),
        "distinct files (SHA-256)": readable.sha256.nunique(),
        "distinct pictures by pixels": readable.pixel_sha256.nunique(),
        SOURCES: readable.source.nunique(),
        "images of the most copied source": int(readable.source.value_counts().max()),
        "images too plain to compare": int((readable.evidence == "too plain").sum()),
        "images that match two sources kept apart": int((readable.evidence == "bridge").sum()),
        "classes": len(set(readable["class"]) - {""}),
        "images with a class": int((readable["class"] != "").sum()),
        **{f"images in {name}": int((readable.folder_split == name).sum()) for name in ordered(readable.folder_split)},
    }
    if "group" in readable:
        facts["groups (patients or clips)"] = len(set(readable.group) - {""})
    return {fact: count for fact, count in facts.items() if count or not fact.startswith("set apart")}


def ordered(splits: pd.Series) -> list[str]:
    """Return the names of the splits, train first and test last."""
    names = sorted(set(splits) - {""})
    rank = {"train": 0, "val": 2, "test": 3}
    return sorted(names, key=lambda name: rank.get(name.rpartition("/")[2].split(" ")[0], 1))


def _named(sources: pd.DataFrame) -> pd.DataFrame:
    """Return the readable images with every column that is compared."""
    images = sources[sources.status == "ok"]
    if "class" not in images:  # a table from before classes had names
        label = images["label"] if "label" in images else pd.Series(dtype=object)
        images = images.assign(**{"class": label.reindex(images.index).astype(object).map(str).replace("nan", "")})
    for column in ("group", "dataset"):
        images = images.assign(**{column: images[column].fillna("") if column in images else ""})
    name = images.path.where(images.dataset == "", images.dataset + "/" + images.path)
    return images.assign(name=name, kind=images["class"])


def _splits(images: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    """Yield (there, here, images there, images here) for each two splits of one data set and one fold."""
    for dataset, own in images.groupby("dataset", sort=False):
        for there, here in combinations(ordered(own.folder_split), 2):
            if there.rpartition("/")[0] == here.rpartition("/")[0]:  # two folds with parts of their own share images
                before = f"{dataset}: " if dataset else ""
                parts = own[own.folder_split == there], own[own.folder_split == here]
                yield before + there, before + here, *parts
