"""Test whether a phantom's class can be told without counting follicles: the AUC of what could give it away.

    python -m studies.phantom_shortcuts

The AUC is taken over all phantoms, and over pairs alike in volume (in the same twentieth; from 10 mL on all ovaries
are polycystic, so these are smaller ones). The label is a rule of volume and follicles. A feature that ranks the
classes overall, but not among ovaries of one size, follows the size, which is a criterion and no shortcut. Among
ovaries with equally many follicles it would rank even better, because size alone makes them polycystic. Intervals are
uncorrected. Nothing is chosen by these numbers.
"""

from itertools import product

import cv2
import numpy as np
import pandas as pd

from pcos_utils.evaluation.auc import within
from pcos_utils.files import write_csv
from pcos_utils.phantom import simulator
from studies import OUT, arguments

SEED, PER_CLASS, RESAMPLES, PARTS = 3_100_000_000, 2000, 1000, 20
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


def shortcuts(image: np.ndarray, follicles: np.ndarray) -> dict[str, float]:
    """Return what could tell the classes apart without counting follicles; NaN where a frame has no background.

    The background is patches of 32 by 32 pixels that keep four pixels away from every follicle.
    """
    image, rim = image.astype(float), np.ones(image.shape, bool)
    rim[10:-10, 10:-10] = False
    near = cv2.dilate((follicles > 0).astype(np.uint8), np.ones((9, 9)))
    places = [np.s_[y : y + 32, x : x + 32] for y in range(0, 169, 28) for x in range(0, 269, 33)]
    patches = [image[place] for place in places if not near[place].any()]
    of_each = [(neighbours(part, 0), neighbours(part, 1), part.std()) for part in patches]
    medians = np.median(of_each, axis=0) if patches else [np.nan] * 3
    return {
        "mean": image.mean(), "sd": image.std(), "black_fraction": np.mean(image < BLACK),
        "border_fraction": np.mean(image[rim] < BLACK),
        "grain_axial": neighbours(image, 0), "grain_lateral": neighbours(image, 1),
        **dict(zip(("patch_grain_axial", "patch_grain_lateral", "patch_sd"), medians, strict=True)),
        "spectrum_slope": spectrum_slope(image),
    }  # fmt: skip


def measured(seed: int) -> dict[str, float]:
    """Return the shortcuts of one phantom, and its label and volume; odd seeds are polycystic."""
    phantom = simulator.simulate(seed, seed % 2)
    truth = {name: phantom.truth[name] for name in ("f0", "label", "volume")}
    return shortcuts(phantom.image, phantom.follicles) | truth


def rows(measures: pd.DataFrame) -> list[dict]:
    """Return a row for each shortcut and set of phantoms: AUC, interval over phantoms, and number of pairs."""
    n, label, volume = len(measures), measures.pop("label"), measures.pop("volume")
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
    groups = {"all": np.zeros(n), "alike in volume": pd.qcut(volume, PARTS, labels=False).to_numpy()}
    rows = []
    for (name, score), (among, group) in product(measures.items(), groups.items()):
        known = score.notna().to_numpy()
        data = (label.to_numpy()[known], score.to_numpy()[known], group[known])
        value = float(within(*data, np.ones((1, known.sum())))[0])
        low, high = np.nanquantile(within(*data, drawn[:, known]), [0.025, 0.975])
        sizes = pd.crosstab(data[2], data[0])
        rows.append({"shortcut": name, "among": among, "auc": value, "low": low, "high": high,
                     "phantoms": known.sum(), "pairs": (sizes[0] * sizes[1]).sum()})  # fmt: skip
    return rows


def main() -> None:
    """Print and write the table."""
    arguments(__doc__)
    with simulator.workers() as pool:
        measures = pd.DataFrame(pool.map(measured, range(SEED, SEED + 2 * PER_CLASS), chunksize=20))
    table = pd.DataFrame(rows(measures)).round(4)
    write_csv(OUT / "phantom_shortcuts.csv", table.assign(version=simulator.VERSION))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
