"""Ask how much of a frame's answer is lost by finding the ovary, and how much by counting its follicles.

    python -m studies.locate_frames FOLDER      whole-sector frames with boxes.csv

Two annotators drew boxes. An ovary is one that both drew, overlapping by at least OVERLAP; its box is the mean of the
two, its count too. A frame without an ovary is one in which neither drew any. The frames of a clip are one source, an
atlas picture is one, too. The frames are development data: LOOKS variants of phantoms and locator were judged on them.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from pcos_utils.data import images
from pcos_utils.evaluation.intervals import exact, korn_graubard, share
from pcos_utils.follicles import kept, locator
from pcos_utils.follicles import network as unet
from pcos_utils.reporting.text import ends, listed, number, percent
from pcos_utils.serving import boxes as windows
from studies import arguments, publish

LOOKS = 2
QUESTIONS = ("ovaries found", "false boxes in a frame without an ovary", "sources without an ovary that get a box",
             "follicles counted")  # fmt: skip
CORNERS = ["x0", "y0", "x1", "y1"]


def read(folder: Path) -> list[dict]:
    """Return what the annotators and the locator say of each frame of a folder, in the order of their names.

    ``ovaries``: those that both drew, paired from the largest overlap down, each its box and two counts; ``drawn``: the
    number of ovaries that either drew; ``found``: the locator's.
    """
    frames = []
    for name, rows in pd.read_csv(folder / "boxes.csv").groupby("image"):
        pixels, drawn = images.load(folder / name), rows[rows.kind == "ovary"]
        one, two = (drawn[drawn.annotator == who] for who in ("one", "two"))
        corners = [each[CORNERS].to_numpy() for each in (one, two)]
        pairs = locator.paired(*(each.tolist() for each in corners))
        ovaries = [
            (tuple(map(round, (corners[0][i] + corners[1][j]) / 2)), one.follicles.iloc[i], two.follicles.iloc[j])
            for i, j in pairs.items()
        ]
        frames.append({"name": name, "clip": rows["clip"].iloc[0], "pixels": pixels, "ovaries": ovaries,
                       "drawn": len(drawn), "found": locator.locate(pixels.max(axis=2))})  # fmt: skip
    return frames


def finding(frames: list[dict]) -> list[dict]:
    """Return a row for each clip and one for all: ovaries found, and false boxes in frames without an ovary."""
    rows = []
    for clip in [*dict.fromkeys(frame["clip"] for frame in frames), "all"]:
        part = [frame for frame in frames if clip in (frame["clip"], "all")]
        with_one, without = [each for each in part if each["ovaries"]], [each for each in part if not each["drawn"]]
        if with_one:
            there = sum(len(frame["ovaries"]) for frame in with_one)
            hits = sum(locator.matched(each["found"], [box for box, *_ in each["ovaries"]]) for each in with_one)
            clips = len({frame["clip"] for frame in with_one})
            n = korn_graubard(there, clips, there)  # one clip alone: as if its ovaries were independent
            low, high = exact(hits / there * n, n)
            rows.append({"question": QUESTIONS[0], "part": clip, "n": there, "value": hits / there,
                         "low": low, "high": high, "sources": clips})  # fmt: skip
        if without:
            false = pd.Series([len(frame["found"]) for frame in without])
            sources = np.array([each["name"] if each["clip"] == "atlas" else each["clip"] for each in without])
            wrong = share((false > 0).groupby(sources).mean().to_numpy())
            facts = {"part": clip, "n": len(without), "sources": len({*sources})}
            rows.append({"question": QUESTIONS[1], "value": false.mean()} | facts)
            rows.append({"question": QUESTIONS[2], "value": wrong.value, "low": wrong.low, "high": wrong.high} | facts)
    return rows


def counting(frames: list[dict]) -> list[dict]:
    """Return how counts agree with the annotators' mean, on frames with one ovary: rank correlation and difference."""
    single = [frame for frame in frames if len(frame["ovaries"]) == 1 and frame["drawn"] == 2]
    of_two, one, two = zip(*(frame["ovaries"][0] for frame in single), strict=True)
    one, two = np.array(one, float), np.array(two, float)
    found = [frame["found"][0].box if frame["found"] else None for frame in single]
    boxes = {"whole frame": [(0, 0, *frame["pixels"].shape[1::-1]) for frame in single], "suggested box": found,
             "annotators' box": of_two}  # fmt: skip
    for name in ("suggested box", "annotators' box"):
        wide = [
            box and windows.window(box, each["pixels"].shape) for box, each in zip(boxes[name], single, strict=True)
        ]
        boxes[f"{name}, widened to 3:2"] = wide
    counter, rows = unet.load(kept.KEPT), [_agreement("the annotators with each other", one, two)]
    for name, of in boxes.items():
        there = [at for at, box in enumerate(of) if box]
        crops = [images.grey(np.ascontiguousarray(windows.of(single[at]["pixels"], of[at]))) for at in there]
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
    found, boxes, sources, counts = (cells.loc[question] for question in QUESTIONS)
    hits = {part: f"{row.value * row.n:.0f} of {row.n:.0f}" for part, row in found.iterrows()}
    clips = [f"{hits[clip]} in {clip}" for clip in found.index.drop("all")]
    per_frame = [f"{number(value)} in {clip}" for clip, value in boxes.value.drop("all").items()]
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
    publish("locate-frames", block, locate_frames=table.round(4))


if __name__ == "__main__":
    main()
