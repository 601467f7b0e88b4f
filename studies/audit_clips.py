"""Measure how many near frames of one sweep the audit joins, as copies and as probably one clip.

    python -m studies.audit_clips      100 ovaries

Each row is a folder of its own: the first frame of every ovary with a second one, so many millimetres further along a
sweep, or with a twin (the same section with other speckle). In some, all frames stand in one and the same screen.
"""

import numpy as np
import pandas as pd

from pcos_utils.audit import families
from pcos_utils.phantom import simulator
from pcos_utils.reporting.text import markdown
from studies import HERE, arguments, publish
from studies.planted import layout

OVARIES, FIRST = 100, 80_000_000  # the seed of an ovary that nothing was tuned on is FIRST + 60 or higher
STEPS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # mm


def frame(number: int, step: float = 0, speckle: int | None = None) -> np.ndarray:
    """Return a frame of an ovary's sweep, so many millimetres along it."""
    return simulator.simulate(FIRST + number, number % 2, speckle, elevation=step * 1e-3).image


def joined(frames: list[list[np.ndarray]]) -> dict:
    """Return counts for a folder of several ovaries' frames, each a list that begins with its first; false: of two."""
    ovary = np.repeat(np.arange(len(frames)), [len(own) for own in frames])
    pictures = [picture for own in frames for picture in own]
    found = families.gather(pictures.__getitem__, len(pictures))
    first = np.flatnonzero(np.diff(ovary, prepend=-1))[ovary]
    later = first != np.arange(len(pictures))
    counts = {"ovaries": len(frames), "frames": int(later.sum())}
    for level, number in (("copies", found.family), ("one clip", found.clip)):
        counts[level] = float((number == number[first])[later].mean())
        counts[f"false joins, {level}"] = int((pd.Series(ovary).groupby(number).nunique() > 1).sum())
    return counts


def block(table: pd.DataFrame) -> str:
    """Return the README's table and note."""
    shares, false = ["copies", "one clip"], ["false joins, copies", "false joins, one clip"]
    rows = [
        [row["second frame"], *(f"{value:.2f}" for value in row[shares]), *(f"{value:,}" for value in row[false])]
        for _, row in table.iterrows()
    ]
    header = "second frame", "joined as copies", "joined as one clip", "families of two ovaries", "clips of two ovaries"
    return (
        f"{markdown(header, rows)}\n\n*Shares of the frames beside the first ones of {table.ovaries[0]:,} ovaries; "
        "each row is a folder of its own.*"
    )


def main() -> None:
    """Measure, and write the table beside this file and into the README."""
    arguments(__doc__)
    numbers = range(60, 60 + OVARIES)
    first, twins = ([frame(number, speckle=speckle) for number in numbers] for speckle in (None, 1))
    steps = {step: [frame(number, step) for number in numbers] for step in (*STEPS, 1.5)}
    folders = {f"{step:g} mm away": [first, steps[step]] for step in STEPS}
    folders["0.5, 1, 1.5 and 2 mm away"] = [first, *(steps[step] for step in (0.5, 1.0, 1.5, 2.0))]
    folders["twin"] = [first, twins]
    for name in ("0.2 mm away", "1 mm away", "twin"):
        folders[f"{name}, in one screen"] = [[layout(picture) for picture in each] for each in folders[name]]
    rows = [{"second frame": name} | joined(list(zip(*each, strict=True))) for name, each in folders.items()]
    publish("clips", block, HERE, audit_clips=pd.DataFrame(rows))


if __name__ == "__main__":
    main()
