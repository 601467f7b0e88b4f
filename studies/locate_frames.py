"""Ask how much of a frame's answer is lost by finding the ovary, and how much by counting its follicles.

    python -m studies.locate_frames FOLDER      whole-sector frames with boxes.csv

Two annotators drew boxes. An ovary is one that both drew, overlapping by at least OVERLAP; its box is the mean of the
two, its count too. A frame without an ovary is one in which neither drew any. The frames of a clip are one source, an
atlas picture is one, too. The frames are development data: LOOKS variants of phantoms and locator were judged on them.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from pcos_utils.data import images
from pcos_utils.evaluation.intervals import exact, korn_graubard, share
from pcos_utils.follicles import kept, locator
from pcos_utils.follicles import network as unet
from pcos_utils.follicles.locator import matched, paired
from pcos_utils.reporting.text import ends, listed, number, percent
from pcos_utils.serving import boxes as windows
from studies import OUT, arguments, publish

LOOKS = 2
QUESTIONS = ("ovaries found", "false boxes in a frame without an ovary", "sources without an ovary that get a box",
             "follicles counted")  # fmt: skip
CORNERS = ["x0", "y0", "x1", "y1"]


class Frame(NamedTuple):
    """A frame with what the annotators and the locator say of it."""

    name: str
    clip: str
    pixels: np.ndarray
    agreed: list[dict]  # box, one and two (counts)
    drawn: list[tuple]  # boxes of ovaries that either annotator drew
    found: list[locator.Found]


def agreed(one: pd.DataFrame, two: pd.DataFrame) -> list[dict]:
    """Return the ovaries that both drew, paired from the largest overlap down: box, one and two (the counts)."""
    pairs = paired(*(boxes[CORNERS].to_numpy().tolist() for boxes in (one, two)))
    ovaries = []
    for a, b in ((one.iloc[i], two.iloc[j]) for i, j in pairs.items()):
        box = tuple(round((a[side] + b[side]) / 2) for side in CORNERS)
        ovaries.append({"box": box, "one": a.follicles, "two": b.follicles})
    return ovaries


def read(folder: Path) -> list[Frame]:
    """Return the frames of a folder in the order of their names."""
    frames = []
    for name, rows in pd.read_csv(folder / "boxes.csv").groupby("image"):
        pixels, ovaries = images.load(folder / name), rows[rows.kind == "ovary"]
        one, two = (ovaries[ovaries.annotator == who] for who in ("one", "two"))
        drawn = [tuple(box) for box in ovaries[CORNERS].astype(float).to_numpy()]
        found = locator.locate(pixels.max(axis=2))
        frames.append(Frame(name, rows["clip"].iloc[0], pixels, agreed(one, two), drawn, found))
    return frames


def finding(frames: list[Frame]) -> list[dict]:
    """Return a row for each clip and one for all: ovaries found, and false boxes in frames without an ovary."""
    rows = []
    for clip in [*dict.fromkeys(frame.clip for frame in frames), "all"]:
        part = [frame for frame in frames if clip in (frame.clip, "all")]
        there, without = sum(len(frame.agreed) for frame in part), [frame for frame in part if not frame.drawn]
        if there:
            number = sum(matched(frame.found, [each["box"] for each in frame.agreed]) for frame in part)
            clips = len({frame.clip for frame in part if frame.agreed})
            n = korn_graubard(there, clips, there)  # one clip alone: as if its ovaries were independent
            low, high = exact(number / there * n, n)
            rows.append({"question": QUESTIONS[0], "part": clip, "n": there, "value": number / there,
                         "low": low, "high": high, "sources": clips})  # fmt: skip
        if without:
            false = pd.Series([len(frame.found) for frame in without])
            sources = [frame.name if frame.clip == "atlas" else frame.clip for frame in without]
            wrong = share((false > 0).groupby(np.array(sources)).mean().to_numpy())
            facts = {"part": clip, "n": len(without), "sources": len(set(sources))}
            ends = {"value": wrong.value, "low": wrong.low, "high": wrong.high}
            rows.append({"question": QUESTIONS[1], "value": false.mean(), **facts})
            rows.append({"question": QUESTIONS[2], **ends, **facts})
    return rows


def counting(frames: list[Frame]) -> list[dict]:
    """Return how counts agree with the annotators' mean, on frames with one ovary: rank correlation and difference."""
    single = [frame for frame in frames if len(frame.agreed) == 1 and len(frame.drawn) == 2]
    one, two = (np.array([frame.agreed[0][who] for frame in single], float) for who in ("one", "two"))
    boxes = {
        "whole frame": [(0, 0, *frame.pixels.shape[1::-1]) for frame in single],
        "suggested box": [frame.found[0].box if frame.found else None for frame in single],
        "annotators' box": [frame.agreed[0]["box"] for frame in single],
    }
    boxes |= {f"{name}, widened to 3:2": [windows.window(box, frame.pixels.shape) if box else None
                                          for box, frame in zip(boxes[name], single, strict=True)]
              for name in ("suggested box", "annotators' box")}  # fmt: skip
    counter, rows = unet.load(kept.KEPT), [_agreement("the annotators with each other", one, two)]
    for name, of in boxes.items():
        there = np.array([box is not None for box in of])
        crops = [
            images.grey(np.ascontiguousarray(windows.of(frame.pixels, box)))
            for frame, box in zip(single, of, strict=True)
            if box is not None
        ]
        counts = unet.measure_all(counter, np.stack(crops))["count"].to_numpy(float) if crops else np.array([])
        rows.append(_agreement(name, counts, ((one + two) / 2)[there]))
    return rows


def _agreement(name: str, counts: np.ndarray, truth: np.ndarray) -> dict:
    varies = len(set(counts)) > 1 and len(set(truth)) > 1
    rank, apart = spearmanr(counts, truth)[0] if varies else np.nan, counts - truth
    facts = {"question": QUESTIONS[3], "part": name, "n": len(counts), "value": rank}
    return facts | {"difference": apart.mean(), "absolute_difference": np.abs(apart).mean()}


def block(table: pd.DataFrame) -> str:
    """Return the README's paragraph."""
    cells = table.set_index(["question", "part"])
    found, boxes, sources = (cells.loc[question] for question in QUESTIONS[:3])
    counts = cells.loc[QUESTIONS[3]]

    hits = {part: f"{row.value * row.n:.0f} of {row.n:.0f}" for part, row in found.iterrows()}
    clips = [f"{hits[clip]} in {clip}" for clip in found.index.drop("all")]
    per_frame = [f"{number(row.value)} in {clip}" for clip, row in boxes.drop(index="all").iterrows()]
    wrong = sources.loc["all"]
    agreement = [
        f"{name} {number(row.value)} on {row.n:.0f} ({row.difference:+.1f})" for name, row in counts.iterrows()
    ]
    return (
        f"On {table.frames.iloc[0]} real frames, of which none taught it, the locator finds {hits['all']} ovaries that "
        f"two annotators agree on, {ends(found.low['all'], found.high['all'])} by clip: {listed(clips)}. In "
        f"{boxes.n['all']:.0f} frames without an ovary it draws "
        f"{number(boxes.value['all'])} boxes a frame: {listed(per_frame)}; of {wrong.sources:.0f} sources without one "
        f"{percent(wrong.value)} {ends(wrong.low, wrong.high)} get a box. Rank correlation of the follicle count with "
        f"the annotators' mean (in brackets the mean difference): {listed(agreement)}. Frames of a clip are one "
        "source, so a clip has no interval, and that of both says how little two clips can show. These are "
        f"development data; variants of phantoms and locator that were judged on them: {table.looks.iloc[0]:.0f}."
    )


def main() -> None:
    """Judge the kept locator, and write the table, numbers alone, and the README's paragraph."""
    frames = read(Path(arguments(__doc__, "folder").folder))
    table = pd.DataFrame(finding(frames) + counting(frames)).assign(frames=len(frames), looks=LOOKS)
    print(table.round(3).to_string())
    publish("locate-frames", block, {OUT / "locate_frames.csv": table.round(4)})


if __name__ == "__main__":
    main()
