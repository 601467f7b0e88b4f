"""Apply a frozen method once to a new folder: what developed it is left out first, and every look is counted."""

import datetime
import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logit

from pcos_utils.audit import signatures
from pcos_utils.audit.sources import find_sources, places
from pcos_utils.config import CLASS_NAMES, StudyError
from pcos_utils.data import tables, words
from pcos_utils.data.images import load
from pcos_utils.data.labels import as_path, files_of_name
from pcos_utils.data.survey import survey
from pcos_utils.evaluation.confirmation import USUAL, by_source, could_show, endpoint
from pcos_utils.evaluation.intervals import FEW
from pcos_utils.files import alone_in, digest, need_writable, write_json
from pcos_utils.progress import bar
from pcos_utils.reporting.text import interval, listed, many, number, percent
from pcos_utils.serving import freeze
from pcos_utils.serving.model import BOTH, Served

LOOKS, SHOWN = "looks", 60  # the folder of results in a plan's; and how many images are named before "and so on"
BYTES, PIXELS = "the same file", "the same pixels"
SCORES = ("score", "probability", "prediction", "logit", "prob", "pred")  # names of columns


def confirm(
    place: Path, folder: Path, labels: Path | None = None, predictions: Path | None = None
) -> tuple[dict, Path]:
    """Return the record of one look at a folder with the plan at ``place``, and the file that keeps it.

    ``predictions``: a table with the columns image and score, where the plan was frozen without weights; an empty score
    is a refusal. Raises StudyError where the plan is not the one that was frozen, or nothing can be measured.
    """
    plan = freeze.read(place)
    of_others = plan["method"]["kind"] == "predictions"
    if of_others != bool(predictions):
        remedy = "no weights; add --predictions CSV" if of_others else "its own weights; leave out --predictions"
        raise StudyError(f"The plan {place} holds {remedy}.")
    need_writable(place)
    sources = find_sources(survey(folder, labels), folder)
    readable = sources[sources.status == "ok"].reset_index(drop=True)
    scores = read_scores(predictions, list(sources.path), list(readable.path)) if of_others else None
    known = overlaps(readable, folder, place)
    labels_of = readable.groupby("source").label.agg(lambda values: set(values.dropna()))
    why = labels_of.map(len).map({0: "no label", 1: "", 2: "both labels"})
    why = why.mask(why.index.isin(readable.source[known != ""]), "developed the method")
    kept = readable[readable.source.map(why) == ""]
    present = set().union(*labels_of[why == ""])
    if len(present) < 2:
        lacks = listed([CLASS_NAMES[value] for value in (0, 1) if value not in present])
        named = listed(sorted({f"'{name}'" for name in readable["class"]} - {"''"}))
        raise StudyError(
            f"{folder} has no new source with the label {lacks} (its classes are {named}); add such images, or a table "
            f"whose column 'label' holds 0, 1 or words such as {', '.join(list(words.LABEL_OF_FOLDER)[::6])}."
        )
    answers = kept[["path", "source"]].rename(columns={"path": "image"}).reset_index(drop=True)
    answers["label"] = answers.source.map(labels_of).map(min).astype(int)
    told = _served(place / freeze.MODEL, folder, answers.image) if scores is None else scores.loc[answers.image]
    answers = answers.assign(score=told.score.to_numpy(float), refusal=told.refusal.to_numpy())
    threshold = logit(plan["threshold"]) if scores is None else plan["threshold"]
    each = by_source(answers, threshold)
    if not each.score.notna().any():
        raise StudyError(f"The method refused every image of {folder}; there is nothing to measure.")
    listing = readable[["path", "sha256", "label"]].to_csv(index=False)
    record = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "version": version("pcos-utils"),
        "plan_sha256": plan["sha256"], "frozen": plan["frozen"], "method": plan["method"],
        "threshold": plan["threshold"], "folder_sha256": digest(listing),
        "files": len(sources), "readable": len(readable), "sources": readable.source.nunique(),
        "set_apart": sources.loc[sources.status != "ok", ["path", "reason"]].to_dict("records"),
        "left_out": [
            {"image": row.path, "source": row.source, "why": why[row.source], "copy": known[row.Index]}
            for row in readable[readable.source.map(why) != ""].itertuples()
        ],
        "images": len(answers), "new_sources": len(each), "polycystic": int(each.label.sum()),
        "patients": len(set(kept.get("group", [])) - {""}),  # or clips, where a table of labels names them
        "refused_images": dict(Counter(answers.refusal[answers.refusal != ""])),
        "refused_sources": int(each.score.isna().sum()), "endpoint_rules": plan["endpoint"],
        "endpoint": endpoint(each).replace({np.nan: None}).to_dict("records"),
        "could_show": could_show(int(each.label.sum()), int((each.label == 0).sum()), plan["expected_auc"]),
        "images_sha256": sorted(set(kept.pixel_sha256)), "answers": answers.replace({np.nan: None}).to_dict("records"),
    }  # fmt: skip
    return keep(record, place / LOOKS)


def keep(record: dict, folder: Path) -> tuple[dict, Path]:
    """Write a look under the next free number, and say which look at these images it is. Earlier ones stay."""
    with alone_in(folder):
        earlier = sorted(folder.glob("look-*.json"))
        try:
            seen = {path.name: set(json.loads(path.read_text(encoding="utf-8"))["images_sha256"]) for path in earlier}
        except (ValueError, KeyError, TypeError):
            raise StudyError(f"A look under {folder} is damaged; restore it, because looks are counted.") from None
        same = [name for name, images in seen.items() if images & set(record["images_sha256"])]
        number_of = {"look": len(same) + 1, "earlier_looks_at_these_images": same, "looks_of_the_plan": len(seen) + 1}
        record = number_of | record
        path = folder / f"look-{len(seen) + 1:04d}.json"
        if path.exists():
            raise StudyError(f"{path} exists while an earlier look is missing; restore the looks of this plan.")
        write_json(path, record)
    return record, path


def overlaps(readable: pd.DataFrame, folder: Path, place: Path) -> pd.Series:
    """Return how each image was recognised as one that developed the method, or ""."""
    digests = set((place / freeze.DIGESTS).read_text().split())
    why = pd.Series("", readable.index).mask(readable.pixel_sha256.isin(digests), PIXELS)
    why = why.mask(readable.sha256.isin(digests), BYTES)
    new = readable[why == ""].drop_duplicates("pixel_sha256")
    pictures = bar(map(load, places(new, folder)), "recognise", total=len(new))
    found = signatures.recognised(pictures, signatures.read(place / freeze.SIGNATURES))
    words = {
        row.pixel_sha256: f"{inliers} shared keypoints, {percent(part)} of those it should share"
        for row, (inliers, part) in zip(new.itertuples(), found, strict=True)
        if inliers
    }
    return why.mask(why == "", readable.pixel_sha256.map(words).fillna(""))


def _served(model: Path, folder: Path, images: pd.Series) -> pd.DataFrame:
    """Return the calibrated logit of each image (NaN where there is none), and why the model declines to decide."""
    served = Served(model)
    answers = [served.answer(folder / name, name, of_study=True) for name in bar(images, "answer")]
    score = logit(np.array([answer.exact for answer in answers], float))
    return pd.DataFrame({"score": score, "refusal": [answer.refusal for answer in answers]})


def read_scores(table: Path, files: list[str], readable: list[str]) -> pd.DataFrame:
    """Return score and refusal by path from somebody's table. ``files``: of the folder, of which some are ``readable``.

    Raises StudyError where an image is unknown, lacks or stands twice, or a score is no number.
    """
    names, cells = tables.read(table)
    remedy = "give it one column 'image' and one column 'score'"
    columns = [tables.place(table, names, wanted, remedy) for wanted in (tables.IMAGE, SCORES)]
    if None in columns:
        raise StudyError(f"{table} needs a column 'image' and a column 'score'; its columns are {listed(names)}.")
    rows = cells[columns].set_axis(["image", "score"], axis=1)
    fitting, rows = files_of_name(files), rows.assign(image=rows.image.map(as_path))
    for name in rows.image:
        if len(fitting.get(name, [])) != 1:
            fault = "fits several images" if fitting.get(name) else "is not in the folder"
            raise StudyError(f"{table} names '{name}', which {fault}; write paths relative to the folder.")
    paths = [fitting[name][0] for name in rows.image]
    score, none = tables.numbers(rows.score), rows.score.str.lower().isin(tables.EMPTY | {""})
    for row, name in rows.image[~none & ~np.isfinite(score)].items():
        raise StudyError(f"{table} has '{rows.score[row]}' for {name}; write a number, or nothing for a refusal.")
    given = pd.DataFrame({"score": score.to_numpy(), "refusal": np.where(score.isna(), "no score", "")}, paths)
    for name in given.index[given.index.duplicated()]:
        raise StudyError(f"{table} has {name} twice; keep one row for each image.")
    lacking = [name for name in readable if name not in given.index]
    if lacking:
        raise StudyError(f"{table} lacks {lacking[0]} ({len(lacking)} in all); add a row, with no score for a refusal.")
    return given


def sentences(record: dict) -> list[str]:
    """Return what a look found, line by line."""
    plan = f"look {record['looks_of_the_plan']} of the plan {record['plan_sha256'][:12]}, frozen {record['frozen']}"
    lines = [f"look {record['look']} at these images, {plan}"]
    for first in record["earlier_looks_at_these_images"][:1]:
        lines.append(f"NOT A FIRST LOOK: {first} is, and it stays; what follows confirms nothing by itself.")
    files, readable = many(record["files"], "file"), many(record["readable"], "readable image")
    lines.append(f"{files}, {readable}, {many(record['sources'], 'source')}")
    apart, out = record["set_apart"], pd.DataFrame(record["left_out"], columns=["image", "source", "why", "copy"])
    named = {f"set apart: {many(len(apart), 'file')}": [f"{row['path']}: {row['reason']}" for row in apart]}
    for why, rows in out.groupby("why", sort=False):
        names = (rows.image + ": " + rows["copy"]).str.removesuffix(": ")
        named[f"left out ({why}): {many(rows.source.nunique(), 'source')}"] = list(names)
    for what, names in named.items():
        lines += [what, *(f"  {name}" for name in names[:SHOWN])] if names else []
        lines += [f"  and {len(names) - SHOWN} more, in the result"] * (len(names) > SHOWN)
    n, positives = record["new_sources"], record["polycystic"]
    images, share = many(record["images"], "image"), percent(positives / n)
    lines.append(f"measured: {many(n, 'new source')} ({images}), {positives} polycystic ({share})")
    refused = listed([f"{word} {count}" for word, count in record["refused_images"].items()])
    without = many(record["refused_sources"], "source")
    lines.append(f"images that the method declines: {refused}; {without} without any value")
    if BOTH in record["refused_images"]:
        lines.append(f"  of '{BOTH}' there is a value, and it is decided at the threshold here")
    for row in record["endpoint"]:
        value = interval(pd.Series(row).fillna(np.nan))
        at = "" if row["metric"] == "auc" else f" at {number(record['threshold'])}"
        lines.append(f"{row['of']}, n = {row['sources']}: {row['metric'].replace('auc', 'AUC')}{at} {value}")
    if min(positives, n - positives) < FEW:
        lines.append(f"Fewer than {FEW} sources of a class: the interval of the AUC is too narrow.")
    if 0 < record["patients"] < n:
        lines.append(f"They are of {record['patients']} patients or clips: the intervals are too narrow for that.")
    could, usual = pd.Series(record["could_show"]).map(number), number(USUAL)
    lines.append(
        f"What so many sources could show: an AUC of {could.expected_auc} to within ± {could.half_width_auc}; with 80 "
        f"% power that an AUC of {could.detectable_auc} or more beats a coin; a recall of {usual} to within ± "
        f"{could.half_width_recall}, a specificity of {usual} to within ± {could.half_width_specificity}."
    )
    return lines
