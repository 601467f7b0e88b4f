"""What does a served model refuse? Strangers that it should, new phantoms and real frames that it should not.

    python -m benchmarks.refusals MODEL [FOLDER]

Strangers are made: gradients, white and pink noise, pages of text, screens with windows, natural-looking textures,
photographs' colours. FOLDER holds real frames in class folders; their pixels stay there. Answers that hold both classes
are counted apart: they are answers. Exact 95 % intervals; the images of a kind are independent draws.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pcos_utils import config
from pcos_utils.data import images, manifest, phantom
from pcos_utils.evaluation.uncertainty import exact_interval
from pcos_utils.files import write_csv
from pcos_utils.serving.predict import BOTH, Served

OUT = config.ROOT / "reports" / "benchmarks" / "refusals.csv"
EACH, FIRST_PHANTOM = 200, 3_200_000_000  # seeds far from all that trained, judged or set a limit
HEIGHT, WIDTH = 200, 300
WORDS = ("Patient", "ovary", "follicle", "report", "normal", "cycle day", "12 mm", "volume", "left", "right", "2026")


def gradient(rng) -> np.ndarray:
    """A plane of grey, tilted anyhow."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    slope = rng.normal(size=2)
    return _grey(slope[0] * x + slope[1] * y)


def white_noise(rng) -> np.ndarray:
    """Grey pixels without any relation."""
    return _grey(rng.normal(size=(HEIGHT, WIDTH)))


def pink_noise(rng) -> np.ndarray:
    """Grey noise whose amplitude falls with frequency, as that of natural pictures does."""
    return _grey(_spectral(rng, 1.0))


def texture(rng) -> np.ndarray:
    """Clouds, folded into ridges like bark or marble."""
    rough = _spectral(rng, rng.uniform(1.2, 2.0))
    return _grey(np.abs(np.sin(rng.uniform(2, 8) * rough / rough.std())))


def coloured_texture(rng) -> np.ndarray:
    """The same with three colours of its own, as in a photograph."""
    parts = [_spectral(rng, 1.5) for _ in range(3)]
    return np.stack([_grey(part)[..., 0] for part in parts], axis=2)


def page_of_text(rng) -> np.ndarray:
    """Dark words on a light page."""
    made = np.full((HEIGHT, WIDTH, 3), int(rng.integers(225, 256)), np.uint8)
    scale = rng.uniform(0.3, 0.6)
    for y in range(18, HEIGHT, round(30 * scale) + 4):
        words = " ".join(rng.choice(WORDS, 6))
        cv2.putText(made, words, (8, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 1, cv2.LINE_AA)
    return made


def screen(rng) -> np.ndarray:
    """Windows with bars and words on a desktop."""
    made = np.full((HEIGHT, WIDTH, 3), rng.integers(40, 200, 3), np.uint8)
    for _ in range(int(rng.integers(2, 5))):
        x, y = int(rng.integers(0, WIDTH - 120)), int(rng.integers(0, HEIGHT - 80))
        corner = (x + int(rng.integers(80, 160)), y + int(rng.integers(50, 110)))
        cv2.rectangle(made, (x, y), corner, (245, 245, 245), -1)
        cv2.rectangle(made, (x, y), (corner[0], y + 12), tuple(int(part) for part in rng.integers(0, 255, 3)), -1)
        for line in range(y + 26, corner[1], 14):
            cv2.putText(made, str(rng.choice(WORDS)), (x + 6, line), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (30, 30, 30), 1)
    return made


def _spectral(rng, power: float) -> np.ndarray:
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(WIDTH), np.fft.fftfreq(HEIGHT)))
    frequency[0, 0] = np.inf
    return np.real(np.fft.ifft2(np.fft.fft2(rng.normal(size=(HEIGHT, WIDTH))) / frequency**power))


def _grey(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, [0.5, 99.5])
    scaled = np.clip(255 * (values - low) / max(high - low, 1e-9), 0, 255)
    return np.repeat(scaled.astype(np.uint8)[..., None], 3, axis=2)


STRANGERS = (gradient, white_noise, pink_noise, texture, coloured_texture, page_of_text, screen)


def rows_of(model: Served, kind: str, pictures, refuse: bool) -> dict:
    """One row: how many of the pictures were refused, and how many answers hold both classes."""
    refusals = [model.look(picture).refusal for picture in pictures]
    hits, n = sum(bool(one) and one != BOTH for one in refusals), len(refusals)
    low, high = exact_interval(hits, n)
    row = {"kind": kind, "should_be_refused": refuse, "n": n, "refused": hits, "share": hits / n, "low": low}
    return row | {"high": high, "both_classes": refusals.count(BOTH)}


def measure(model: Served, each: int, folder: Path | None = None) -> pd.DataFrame:
    """One row per kind of picture, and one for all strangers together."""
    rows = []
    for number, make in enumerate(STRANGERS):
        rng = np.random.default_rng(number)
        rows.append(rows_of(model, make.__name__.replace("_", " "), [make(rng) for _ in range(each)], True))
    hits, n = (sum(row[name] for row in rows) for name in ("refused", "n"))
    low, high = exact_interval(hits, n)
    whole = {"kind": "all strangers", "should_be_refused": True, "n": n, "refused": hits, "share": hits / n}
    rows.append(whole | {"low": low, "high": high, "both_classes": sum(row["both_classes"] for row in rows)})
    seeds = range(FIRST_PHANTOM, FIRST_PHANTOM + each)
    phantoms = (phantom.simulate(seed, seed % 2).image for seed in seeds)
    rows.append(rows_of(model, "new phantoms", [np.repeat(one[..., None], 3, axis=2) for one in phantoms], False))
    if folder:
        table = manifest.scan(folder).query("status == 'ok'")
        rows.append(
            rows_of(model, f"real frames ({folder.name})", [images.load(folder / name) for name in table.path], False)
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args()
    model = Served(options.model)
    made = measure(model, EACH, options.folder).assign(model=model.card["model"], data=model.card["data"])
    write_csv(OUT, made.round(4))
    print(made.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
