"""Measure what a served model refuses: strangers that it should, new phantoms and real frames that it should not.

    python -m studies.refusals MODEL --folder FOLDER

Strangers are generated: gradients, white and pink noise, pages of text, screens with windows, natural-looking textures,
photographs' colours; negatives of phantoms and of real frames should be refused, too. FOLDER, where it is given, holds
real frames in class folders; their pixels stay there. Answers are those that a user gets, after a search for an ovary
where a picture is no crop of one. Answers that hold both classes are counted separately, because they are answers.
Intervals are exact, at 95 %; the images of a kind are independent draws.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pcos_utils.data import images, manifest
from pcos_utils.evaluation.intervals import exact
from pcos_utils.phantom import simulator
from pcos_utils.reporting.text import ends, listed, many
from pcos_utils.serving.model import BOTH, Served
from studies import arguments, publish

EACH, FIRST_PHANTOM = 200, 3_200_000_000  # seeds far from those that trained, tested or set a limit
HEIGHT, WIDTH = 200, 300
WORDS = ("Patient", "ovary", "follicle", "report", "normal", "cycle day", "12 mm", "volume", "left", "right", "2026")


def gradient(rng) -> np.ndarray:
    """Return a plane of grey, tilted at random."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    slope = rng.normal(size=2)
    return _grey(slope[0] * x + slope[1] * y)


def texture(rng) -> np.ndarray:
    """Return clouds, folded into ridges like bark or marble."""
    rough = _spectral(rng, rng.uniform(1.2, 2.0))
    return _grey(np.abs(np.sin(rng.uniform(2, 8) * rough / rough.std())))


def page_of_text(rng) -> np.ndarray:
    """Return dark words on a light page."""
    page = np.full((HEIGHT, WIDTH, 3), int(rng.integers(225, 256)), np.uint8)
    scale = rng.uniform(0.3, 0.6)
    for y in range(18, HEIGHT, round(30 * scale) + 4):
        words = " ".join(rng.choice(WORDS, 6))
        cv2.putText(page, words, (8, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 1, cv2.LINE_AA)
    return page


def screen(rng) -> np.ndarray:
    """Return windows with bars and words on a desktop."""
    desktop = np.full((HEIGHT, WIDTH, 3), rng.integers(40, 200, 3), np.uint8)
    for _ in range(int(rng.integers(2, 5))):
        x, y = int(rng.integers(0, WIDTH - 120)), int(rng.integers(0, HEIGHT - 80))
        corner = (x + int(rng.integers(80, 160)), y + int(rng.integers(50, 110)))
        cv2.rectangle(desktop, (x, y), corner, (245, 245, 245), -1)
        cv2.rectangle(desktop, (x, y), (corner[0], y + 12), tuple(int(part) for part in rng.integers(0, 255, 3)), -1)
        for line in range(y + 26, corner[1], 14):
            cv2.putText(desktop, str(rng.choice(WORDS)), (x + 6, line), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (30, 30, 30), 1)
    return desktop


def _spectral(rng, power: float) -> np.ndarray:
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(WIDTH), np.fft.fftfreq(HEIGHT)))
    frequency[0, 0] = np.inf
    return np.real(np.fft.ifft2(np.fft.fft2(rng.normal(size=(HEIGHT, WIDTH))) / frequency**power))


def _grey(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, [0.5, 99.5])
    scaled = np.clip(255 * (values - low) / max(high - low, 1e-9), 0, 255)
    return np.repeat(scaled.astype(np.uint8)[..., None], 3, axis=2)


ALL = "all strangers"
STRANGERS = {
    "gradient": gradient,
    "white noise": lambda rng: _grey(rng.normal(size=(HEIGHT, WIDTH))),
    "pink noise": lambda rng: _grey(_spectral(rng, 1.0)),  # its amplitude falls with frequency, as in nature
    "texture": texture,
    # Clouds of three independent colours, as in a photograph.
    "coloured texture": lambda rng: np.dstack([_grey(_spectral(rng, 1.5))[..., 0] for _ in range(3)]),
    "page of text": page_of_text,
    "screen": screen,
}


def measure(model: Served, each: int, folder: Path | None = None) -> pd.DataFrame:
    """Return one row per kind of picture, and one for all strangers together.

    How many of ``n`` pictures are refused, with the interval, and how many answers hold both classes.
    """
    pictures, seeds = {}, range(FIRST_PHANTOM, FIRST_PHANTOM + each)
    for number, (kind, make) in enumerate(STRANGERS.items()):
        rng = np.random.default_rng(number)
        pictures[kind] = [make(rng) for _ in range(each)]
    scans = {"new phantoms": [np.dstack([simulator.simulate(seed, seed % 2).image] * 3) for seed in seeds]}
    if folder:
        paths = manifest.scan(folder).query("status == 'ok'").path
        scans[f"real frames ({folder.name})"] = [images.load(folder / path) for path in paths]
    for kind, of in scans.items():
        pictures |= {kind: of, f"negatives of {kind}": [255 - picture for picture in of]}
    rows = []
    for kind, of in pictures.items():
        found = [model.reply(picture, kind).refusal for picture in of]
        refused, both = sum(words not in ("", BOTH) for words in found), found.count(BOTH)
        rows.append((kind, kind not in scans, len(found), refused, both))
    total = np.sum([row[2:] for row in rows[: len(STRANGERS)]], axis=0)
    rows.insert(len(STRANGERS), (ALL, True, *total))
    table = pd.DataFrame(rows, columns=["kind", "should_be_refused", "n", "refused", "both_classes"])
    table[["low", "high"]] = [*map(exact, table.refused, table.n)]
    table = table.assign(share=table.refused / table.n)
    return table[["kind", "should_be_refused", "n", "refused", "share", "low", "high", "both_classes"]]


def block(table: pd.DataFrame) -> str:
    """Return the sentence of studies/README.md."""
    strangers = table.kind.isin(STRANGERS)
    whole = table[strangers & (table.refused == table.n)]
    part = table[strangers & (table.refused < table.n)].assign(kind=lambda rows: "pictures of " + rows.kind)
    told = pd.concat([table[~strangers & (table.kind != ALL)], part])
    said = [f"{row.refused:,} of {row.n:,} {row.kind} {ends(row.low, row.high)}" for row in told.itertuples()]
    return (
        f"Of strangers the page refuses all {whole.n.sum():,} of {many(len(whole), 'kind')} "
        f"({listed(list(whole.kind))}). It refuses {listed(said)}."
    )


def main() -> None:
    """Write the table."""
    options = arguments(__doc__, "model", folder="")
    model, folder = Served(options.model), Path(options.folder) if options.folder else None
    table = measure(model, EACH, folder).assign(model=model.card["model"], data=model.card["data"])
    publish("refusals", block, refusals=table.round(4))


if __name__ == "__main__":
    main()
