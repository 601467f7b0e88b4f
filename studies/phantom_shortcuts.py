"""Test whether a phantom's class can be told without counting follicles: the AUC of what could give it away.

    python -m studies.phantom_shortcuts

The AUC is taken over all phantoms, and over pairs alike in volume (in the same twentieth). The label is a rule of
volume and follicles. A feature that ranks the classes overall, but not among ovaries of one size, follows the size,
which is a criterion and no shortcut. Follicles cannot be held equal in the same way: among ovaries with equally many,
those called polycystic are so because of their size, and any feature that follows size ranks them even better. From 10
mL on all ovaries are polycystic, so the pairs alike in volume are smaller ovaries. Intervals are uncorrected. Nothing
is chosen by these numbers.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np
import pandas as pd

from pcos_utils.evaluation.auc import within
from pcos_utils.files import write_csv
from pcos_utils.phantom import simulator
from studies import OUT, arguments

SEED, RESAMPLES, PARTS = 3_100_000_000, 1000, 20
BLACK = 8  # grey level


def neighbours(image: np.ndarray, axis: int) -> float:
    """Return the correlation of neighbouring pixels along an axis, which measures the size of the grain."""
    centred = np.moveaxis(image - image.mean(), axis, 0)
    return float(np.mean(centred[1:] * centred[:-1]) / max(np.mean(centred**2), 1e-9))


def spectrum_slope(image: np.ndarray) -> float:
    """Return the slope of log power against log spatial frequency."""
    rows, columns = image.shape
    taper = np.outer(np.hanning(rows), np.hanning(columns))
    power = np.abs(np.fft.rfft2((image - image.mean()) * taper)) ** 2
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    edges = np.geomspace(0.01, 0.5, 16)
    ring = np.digitize(frequency, edges)
    means = [power[ring == k].mean() for k in range(1, len(edges))]
    return float(np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(means), 1)[0])


def background(image: np.ndarray, follicles: np.ndarray) -> list[np.ndarray]:
    """Return patches of 32 by 32 pixels that keep four pixels away from every follicle."""
    near = cv2.dilate((follicles > 0).astype(np.uint8), np.ones((9, 9)))
    corners = [(y, x) for y in range(0, 169, 28) for x in range(0, 269, 33)]
    return [image[y : y + 32, x : x + 32] for y, x in corners if not near[y : y + 32, x : x + 32].any()]


def shortcuts(image: np.ndarray, follicles: np.ndarray) -> dict[str, float]:
    """Return what could tell the classes apart without counting follicles; NaN where a frame has no background."""
    image = image.astype(float)
    rim = np.ones(image.shape, bool)
    rim[10:-10, 10:-10] = False
    patches = [(neighbours(part, 0), neighbours(part, 1), part.std()) for part in background(image, follicles)]
    medians = np.median(patches, axis=0) if patches else [np.nan] * 3
    return {
        "mean": image.mean(),
        "sd": image.std(),
        "black_fraction": np.mean(image < BLACK),
        "border_fraction": np.mean(image[rim] < BLACK),
        "grain_axial": neighbours(image, 0),
        "grain_lateral": neighbours(image, 1),
        **dict(zip(("patch_grain_axial", "patch_grain_lateral", "patch_sd"), medians, strict=True)),
        "spectrum_slope": spectrum_slope(image),
    }


def measured(seed: int) -> tuple[dict[str, float], dict]:
    """Return the shortcuts and the truth of one phantom; odd seeds are polycystic."""
    phantom = simulator.simulate(seed, seed % 2)
    return shortcuts(phantom.image, phantom.follicles) | {"f0": phantom.truth["f0"]}, phantom.truth


def rows(measures: pd.DataFrame, label: np.ndarray, volume: pd.Series) -> list[dict]:
    """Return a row for each shortcut and set of phantoms: AUC, interval over phantoms, and number of pairs."""
    n = len(label)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
    groups = {"all": np.zeros(n), "alike in volume": pd.qcut(volume, PARTS, labels=False).to_numpy()}
    rows = []
    for name, score in measures.items():
        known = score.notna().to_numpy()
        for among, group in groups.items():
            data = (label[known], score.to_numpy()[known], group[known])
            value = float(within(*data, np.ones((1, known.sum())))[0])
            low, high = np.nanquantile(within(*data, drawn[:, known]), [0.025, 0.975])
            sizes = pd.crosstab(data[2], data[0])
            rows.append({"shortcut": name, "among": among, "auc": value, "low": low, "high": high,
                         "phantoms": known.sum(), "pairs": (sizes[0] * sizes[1]).sum()})  # fmt: skip
    return rows


def main() -> None:
    """Print and write the table."""
    per_class = arguments(__doc__, per_class=2000).per_class
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(None, fresh, cv2.setNumThreads, (1,)) as pool:
        both = pool.map(measured, range(SEED, SEED + 2 * per_class), chunksize=20)
        measures, truth = map(pd.DataFrame, zip(*both, strict=True))
    table = pd.DataFrame(rows(measures, truth.label.to_numpy(), truth.volume)).round(4)
    write_csv(OUT / "phantom_shortcuts.csv", table.assign(version=simulator.VERSION))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
