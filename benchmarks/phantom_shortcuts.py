"""Can a phantom's class be told without its follicles being counted? The AUC of what could give it away.

    python -m benchmarks.phantom_shortcuts

Over all phantoms, and among those alike in volume, pairs of the same twentieth. The label is a rule of volume and
follicles: what ranks the classes overall and no longer among ovaries of one size had followed the size, which is a
criterion and no shortcut. Follicles cannot be held equal in the same way: among ovaries with as many of them, those
called polycystic are so for their size, and all that follows size ranks them the better. From 10 mL on all are
polycystic, so pairs alike in volume are of smaller ovaries. Intervals are uncorrected. Nothing is chosen here.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pcos_utils import config
from pcos_utils.data import phantom
from pcos_utils.evaluation import within
from pcos_utils.files import write_csv

OUT = config.ROOT / "reports" / "benchmarks" / "phantom_shortcuts.csv"
SEED, RESAMPLES, PARTS = 3_100_000_000, 1000, 20
BLACK = 8  # grey level
NAMES = ("mean", "sd", "black_fraction", "border_fraction", "grain_axial", "grain_lateral", "patch_grain_axial",
         "patch_grain_lateral", "patch_sd", "spectrum_slope")  # fmt: skip


def neighbours(image: np.ndarray, axis: int) -> float:
    """Correlation of neighbouring pixels along an axis: the size of the grain."""
    centred = np.moveaxis(image - image.mean(), axis, 0)
    return float(np.mean(centred[1:] * centred[:-1]) / max(np.mean(centred**2), 1e-9))


def spectrum_slope(image: np.ndarray) -> float:
    """Slope of log power against log spatial frequency."""
    rows, columns = image.shape
    taper = np.outer(np.hanning(rows), np.hanning(columns))
    power = np.abs(np.fft.rfft2((image - image.mean()) * taper)) ** 2
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    edges = np.geomspace(0.01, 0.5, 16)
    ring = np.digitize(frequency, edges)
    means = [power[ring == k].mean() for k in range(1, len(edges))]
    return float(np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(means), 1)[0])


def background(image: np.ndarray, follicles: np.ndarray) -> list[np.ndarray]:
    """Patches of 32 by 32 pixels that keep four pixels away from every follicle."""
    near = cv2.dilate((follicles > 0).astype(np.uint8), np.ones((9, 9)))
    corners = [(y, x) for y in range(0, 169, 28) for x in range(0, 269, 33)]
    return [image[y : y + 32, x : x + 32] for y, x in corners if not near[y : y + 32, x : x + 32].any()]


def shortcuts(image: np.ndarray, follicles: np.ndarray) -> dict[str, float]:
    """What could tell the classes apart without a follicle being counted; NaN where a frame has no background."""
    patches = background(image.astype(float), follicles)
    image = image.astype(float)
    rim = np.ones(image.shape, bool)
    rim[10:-10, 10:-10] = False
    return {
        "mean": image.mean(),
        "sd": image.std(),
        "black_fraction": np.mean(image < BLACK),
        "border_fraction": np.mean(image[rim] < BLACK),
        "grain_axial": neighbours(image, 0),
        "grain_lateral": neighbours(image, 1),
        "patch_grain_axial": np.median([neighbours(patch, 0) for patch in patches]) if patches else np.nan,
        "patch_grain_lateral": np.median([neighbours(patch, 1) for patch in patches]) if patches else np.nan,
        "patch_sd": np.median([patch.std() for patch in patches]) if patches else np.nan,
        "spectrum_slope": spectrum_slope(image),
    }


def measured(seed: int) -> dict[str, float]:
    """The shortcuts and the truth of one phantom; odd seeds are polycystic."""
    made = phantom.simulate(seed, seed % 2)
    return shortcuts(made.image, made.follicles) | made.truth


def rows(table: pd.DataFrame, names: list[str]) -> list[dict]:
    """A row for each shortcut and set of phantoms compared: AUC, interval over phantoms, pairs behind it."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=RESAMPLES).astype(float)
    alike = {"all": np.zeros(len(table)), "alike in volume": pd.qcut(table.volume, PARTS, labels=False).to_numpy()}
    made = []
    for name in names:
        known = table[name].notna().to_numpy()
        for among, group in alike.items():
            parts = group[known]
            given = (table.label.to_numpy()[known], table[name].to_numpy()[known], parts)
            value = float(within.auc_in_folds(*given, np.ones(known.sum())))
            low, high = np.nanquantile(within.auc_in_folds(*given, drawn[:, known]), [0.025, 0.975])
            each = pd.crosstab(parts, given[0])
            made.append({"shortcut": name, "among": among, "auc": value, "low": low, "high": high,
                         "phantoms": known.sum(), "pairs": (each[0] * each[1]).sum()})  # fmt: skip
    return made


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(None, fresh, cv2.setNumThreads, (1,)) as pool:
        found = pool.map(measured, range(SEED, SEED + 2 * options.per_class), chunksize=20)
        table = pd.DataFrame(list(found))
    made = pd.DataFrame(rows(table, [*NAMES, "f0"])).round(4)
    write_csv(options.out, made.assign(version=phantom.VERSION))
    print(made.to_string(index=False))


if __name__ == "__main__":
    main()
