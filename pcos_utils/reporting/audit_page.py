"""Build the page of an audit: one HTML file that needs no network, with the images to look at in it."""

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pcos_utils.audit.findings import KINDS
from pcos_utils.audit.sources import names, places
from pcos_utils.data import images
from pcos_utils.reporting.text import many, number

NOTICE = "May show images that are not yours to pass on: for this machine only."
FAMILIES, SHOWN = 60, 6  # families on the page, and images of each
SINGLES = 96  # pictures without a copy
ROWS, LONG = 300, 20  # rows shown of a table; a longer one than LONG is folded away
NEAR = 12  # near misses
ALIKE = 0.5  # least correlation of a near miss
BLOCK = 1000  # pictures compared with all others at a time
WIDTH, HEIGHT = 158, 105  # px, largest size of a picture on the page
ENDS = ("value", "low", "high")  # of an AUC
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1080px;padding:24px;color:#1b1b1b;background:#fff}
h1{font-size:24px;margin:0}h2{font-size:18px;margin:32px 0 6px;border-top:1px solid #ddd;padding-top:16px}
p{margin:6px 0}.verdict{border-left:6px solid #0072b2;background:#f3f6f9;padding:10px 14px;font-weight:600}
.bad{border-color:#d55e00}table{border-collapse:collapse;font-size:14px}
td,th{padding:2px 14px 2px 0;text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}
.grid{display:grid;gap:10px;grid-template-columns:1fr 1fr}.wide{grid-column:1/-1}
.family{padding:8px 10px;background:#f7f7f7;border-left:4px solid #bbb}.family.bad{border-color:#d55e00}
.row{display:flex;flex-wrap:wrap;gap:10px}figure{margin:0;width:158px;font-size:12px}
figcaption{overflow-wrap:anywhere;color:#444}img{display:block;background:#000}
code{font-size:13px;overflow-wrap:anywhere}.note{color:#555;font-size:13px}
"""


def near_misses(measured: pd.DataFrame) -> list[dict]:
    """Return the pairs of sources whose thumbnails correlate most, and that were not joined.

    ``measured``: images with ``thumbnail`` of ``shortcuts.measure``. What all thumbnails share, such as the shape of
    the sector, is taken off first. Each pair has ``first``, ``second`` (paths) and ``correlation``.
    """
    firsts, best = measured.drop_duplicates("source"), []
    if len(firsts) < 3:
        return []
    values = np.stack(firsts.thumbnail.to_list()).astype(np.float32)
    values -= values.mean(axis=0)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    for start in range(0, len(values), BLOCK):
        alike = values[start : start + BLOCK] @ values.T
        alike[np.tri(*alike.shape, start, dtype=bool)] = -1  # each pair once
        other = alike.argmax(axis=1)
        best += [(float(row[at]), start + i, int(at)) for i, (row, at) in enumerate(zip(alike, other, strict=True))]
    name = names(firsts).to_list()
    near = [each for each in sorted(best, reverse=True)[:NEAR] if each[0] >= ALIKE]
    return [{"first": name[left], "second": name[right], "correlation": round(value, 3)} for value, left, right in near]


def build(content: dict, sources: pd.DataFrame, where: Path | dict[str, Path]) -> str:
    """Return the page as text. ``content``: of audit.json; ``where``: as in ``find_sources``."""
    readable = sources[sources.status == "ok"]
    readable = readable.assign(name=names(readable), place=places(readable, where))
    bad = " bad" if content["leaks_or_conflicts"] else ""
    splits = list(dict.fromkeys(split for row in content["classes"] for split in row["splits"]))
    classes = [
        (row["class"], row["images"], row["sources"], *(row["splits"].get(split, 0) for split in splits))
        for row in content["classes"]
    ]
    found = [(row["path"], KINDS[row["finding"]], row["here"], row["there"]) for row in content["findings"]]
    tested = [(row["shortcut"], row["split"], *map(number, map(row.get, ENDS))) for row in content["shortcuts"]]
    parts = [
        f'<h1>Audit of images</h1><p class="verdict{bad}">{_text(content["verdict"])}</p>',
        *(f"<p>{_text(sentence)}</p>" for sentence in content["reading"]),
        f"<p class=note>{escape(NOTICE)} Made by pcos-utils {escape(content['version'])}.</p>",
        _section("Counts", _table([], list(content["summary"].items()))),
        _section("Classes", _table(["class", "images", "pictures", *splits], classes)),
        _section(f"Findings ({len(found):,})", _table(["image", "finding", "here", "there"], found)),
        _pictures(content, readable),
        _section("Shortcuts", _table(["shortcut", "split by", "AUC", "low", "high"], tested)),
    ]
    for title, part in (("Unreadable files", "unreadable"), ("Set apart", "apart")):
        rows = [(row["path"], row["status"], row["reason"]) for row in content[part]]
        parts.append(_section(f"{title} ({len(rows):,})", _table(["file", "status", "reason"], rows)))
    head = f"<meta charset=utf-8><title>Audit of images</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _pictures(content: dict, readable: pd.DataFrame) -> str:
    """Return families, near misses and pictures without a copy. ``readable``: with ``name`` and ``place``."""
    troubled = {row["source"] for row in content["findings"]}
    families = sorted(content["copies"], key=lambda row: row["source"] not in troubled)[:FAMILIES]
    # The first of each class and split, then the others.
    ordered = readable.loc[readable.duplicated(["source", "class", "folder_split"]).sort_values(kind="stable").index]
    shown = [ordered[ordered.source == row["source"]].head(SHOWN) for row in families]
    alone = readable[~readable.source.duplicated(keep=False)]
    alone = alone.groupby("class").head(max(1, SINGLES // max(1, alone["class"].nunique()))).head(SINGLES)
    named = readable.set_index("name", drop=False)
    near = [named.loc[[row["first"], row["second"]]] for row in content["near_misses"]]
    wanted = pd.concat([*shown, alone, *near]).drop_duplicates("name")
    with ThreadPoolExecutor(2) as pool:
        pixels = dict(zip(wanted.name, pool.map(_picture, wanted.place), strict=True))
    copied, missed = "", ""
    for row, images_ in zip(families, shown, strict=True):
        title = f"<b>{escape(row['source'])}</b>: {many(row['images'], 'image')}"
        for standing in (row["classes"], row["splits"]):
            if set(standing) != {"none"}:
                title += " · " + escape(", ".join(f"{name} {count:,}" for name, count in standing.items()))
        kind = " bad" * (row["source"] in troubled) + " wide" * (len(images_) > 2)
        copied += f'<div class="family{kind}"><p>{title}</p>{_row(images_, pixels)}</div>'
    for row, pair in zip(content["near_misses"], near, strict=True):
        missed += f"<div class=family><p>correlation {number(row['correlation'])}</p>{_row(pair, pixels)}</div>"
    cut = _cut(content["copies"], FAMILIES)
    look = "The pairs of pictures that look most alike as thumbnails and were <b>not</b> joined. Look at them."
    clips = [(row["clip"], row["images"], ", ".join(row["sources"])) for row in content["clips"]]
    return (
        _section("Families: one picture, several images", copied and f"{cut}<div class=grid>{copied}</div>")
        + _section("Probably one clip, and no copies", _table(["first picture", "images", "pictures"], clips))
        + _section("Near misses", missed and f"<p>{look}</p><div class=grid>{missed}</div>")
        + _section("Pictures without a copy", _row(alone, pixels) if len(alone) else "")
    )


def _section(title: str, body: str) -> str:
    """Return a part of the page, or "" where it has no body."""
    return f"<h2>{title}</h2>{body}" if body else ""


def _picture(place: Path) -> str:
    pixels = images.load(place)
    scale = min(WIDTH / pixels.shape[1], HEIGHT / pixels.shape[0], 1)
    size = tuple(max(1, round(side * scale)) for side in pixels.shape[1::-1])
    small = cv2.resize(pixels[..., ::-1], size, interpolation=cv2.INTER_AREA)
    coded = base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]).decode()
    return f'<img src="data:image/jpeg;base64,{coded}" width={size[0]} height={size[1]} alt="">'


def _row(rows: pd.DataFrame, pixels: dict[str, str]) -> str:
    figures = []
    for name, kind, split in rows[["name", "class", "folder_split"]].values:
        words = " · ".join(escape(word) for word in (kind, split) if word)
        figures.append(f"<figure>{pixels[name]}<figcaption><b>{words}</b> {escape(name)}</figcaption></figure>")
    return f"<div class=row>{''.join(figures)}</div>"


def _table(header: list[str], rows: list[tuple]) -> str:
    """Return the first ROWS rows, folded away where they are LONG, or "" without any."""
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in header)]
    for row in rows[:ROWS]:
        cells = [f"<td class=n>{cell:,}" if isinstance(cell, int) else f"<td>{escape(str(cell))}" for cell in row]
        lines.append("</td>".join(cells) + "</td>")
    table = f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>{_cut(rows, ROWS)}" if rows else ""
    return table if len(rows) <= LONG else f"<details><summary>{len(rows):,} rows</summary>{table}</details>"


def _cut(rows: list, most: int) -> str:
    return f"<p class=note>{most} of {len(rows):,} are shown; audit.json has all.</p>" if len(rows) > most else ""


def _text(sentence: str) -> str:
    """Return a sentence with its marks of code and weight as HTML."""
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(sentence))
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
