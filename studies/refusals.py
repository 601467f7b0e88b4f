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
from studies import OUT, arguments, publish

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


def coloured_texture(rng) -> np.ndarray:
    """Return clouds of three independent colours, as in a photograph."""
    parts = [_spectral(rng, 1.5) for _ in range(3)]
    return np.stack([_grey(part)[..., 0] for part in parts], axis=2)


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
    "coloured texture": coloured_texture,
    "page of text": page_of_text,
    "screen": screen,
}


def row_of(model: Served, kind: str, pictures: list[np.ndarray], refuse: bool) -> dict:
    """Return one row: how many of the pictures were refused, and how many answers hold both classes."""
    found = [model.reply(picture, kind).refusal for picture in pictures]
    refused, both = sum(words not in ("", BOTH) for words in found), found.count(BOTH)
    return {"kind": kind, "should_be_refused": refuse, "n": len(found), "refused": refused, "both_classes": both}


def measure(model: Served, each: int, folder: Path | None = None) -> pd.DataFrame:
    """Return one row per kind of picture, and one for all strangers together."""
    rows = []
    for number, (kind, make) in enumerate(STRANGERS.items()):
        rng = np.random.default_rng(number)
        rows.append(row_of(model, kind, [make(rng) for _ in range(each)], True))
    total = {name: sum(row[name] for row in rows) for name in ("n", "refused", "both_classes")}
    rows.append({"kind": ALL, "should_be_refused": True, **total})
    frames = [simulator.simulate(FIRST_PHANTOM + n, (FIRST_PHANTOM + n) % 2).image for n in range(each)]
    scans = {"new phantoms": [np.repeat(frame[..., None], 3, axis=2) for frame in frames]}
    if folder:
        real = [images.load(folder / path) for path in manifest.scan(folder).query("status == 'ok'").path]
        scans[f"real frames ({folder.name})"] = real
    for kind, pictures in scans.items():
        rows.append(row_of(model, kind, pictures, False))
        rows.append(row_of(model, f"negatives of {kind}", [255 - picture for picture in pictures], True))
    table = pd.DataFrame(rows)
    low, high = zip(*map(exact, table.refused, table.n), strict=True)
    table = table.assign(share=table.refused / table.n, low=low, high=high)
    return table[["kind", "should_be_refused", "n", "refused", "share", "low", "high", "both_classes"]]


def block(table: pd.DataFrame) -> str:
    """Return the sentence of studies/README.md."""
    rows, strangers = table[~table.kind.isin([*STRANGERS, ALL])], table[table.kind.isin(STRANGERS)]
    said = [
        f"{row.refused:,} of {row.n:,} {row.kind.removeprefix('all ')} {ends(row.low, row.high)}"
        for row in rows.itertuples()
    ]
    whole = strangers[strangers.refused == strangers.n]
    said += [
        f"{row.refused:,} of {row.n:,} pictures of {row.kind} {ends(row.low, row.high)}"
        for row in strangers[strangers.refused < strangers.n].itertuples()
    ]
    return (
        f"Of strangers the page refuses all {whole.n.sum():,} of {many(len(whole), 'kind')} "
        f"({listed(list(whole.kind))}). It refuses {listed(said)}."
    )


def main() -> None:
    """Print and write the table."""
    options = arguments(__doc__, "model", folder="")
    model, folder = Served(options.model), Path(options.folder) if options.folder else None
    table = measure(model, EACH, folder).assign(model=model.card["model"], data=model.card["data"])
    publish("refusals", block, {OUT / "refusals.csv": table.round(4)})
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
