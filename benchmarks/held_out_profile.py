"""Why do the follicle networks not come closer to the truth on held-out phantoms? What each effect costs.

    python -m benchmarks.held_out_profile

Two networks under runs/follicles outline and count the same 400 held-out phantoms again, each time without one effect
that makes follicles hard to see, and once without all three. Beside it: how far the two agree with one another, which
says how much of the error they share; and the rank correlation among phantoms drawn so that the classes lie as far
apart as in the trial that set the targets (3.8 and 9.6 visible follicles), because a correlation grows with the spread
of what is counted. Nothing is chosen here.
"""

import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import spearmanr

from pcos_utils import config
from pcos_utils.data import phantom, shards
from pcos_utils.data.effects import Effects
from pcos_utils.files import write_csv
from pcos_utils.models import counting, counts, follicles, pretraining

OUT = config.ROOT / "reports" / "benchmarks" / "held_out_profile.csv"
PER_CLASS, RESAMPLES, APART = 200, 1000, {0: 3.8, 1: 9.6}
OFF = ("shapes", "faint", "partial_volume")  # what makes a follicle hard to see
PARTS = {"all effects": {}} | {f"without {name}": {name: False} for name in OFF}
PARTS["without all three"] = dict.fromkeys(OFF, False)
NETWORKS = 2


def dice(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Twice the common pixels of each image, and the pixels of both together, (2, n)."""
    return np.array([2 * (one & other).sum((1, 2)), one.sum((1, 2)) + other.sum((1, 2))], float)


def tilted(value: np.ndarray, mean: float) -> np.ndarray:
    """Chances of being drawn, (n,), that give ``value`` this mean and change them as little as can be."""
    tilt = brentq(lambda slope: np.average(value, weights=np.exp(slope * value)) - mean, -3, 3)
    weights = np.exp(tilt * value)
    return weights / weights.sum()


def row(part: str, against: str, metric: str, value: float, draws: list[float], phantoms: int) -> dict:
    """One row of the table; its interval is the middle 95 % of resampled phantoms."""
    low, high = np.nanquantile(draws, [0.025, 0.975])
    made = {"phantoms": part, "against": against, "metric": metric, "value": value, "low": low, "high": high}
    return made | {"n": phantoms}


def judged(part: str, held: dict[str, np.ndarray], networks: list) -> list[dict]:
    """The rows of one set of phantoms: means over the networks against the truth, and over their pairs."""
    n, rng, truth = len(held["label"]), np.random.default_rng(0), held["follicles"] > 0
    maps = [follicles.predict_maps(network, held["images"]) for network in networks]
    outlines = [one[:, 0] > follicles.THRESHOLD for one in maps]
    count = np.array([[counting.measure(single)["count"] for single in one] for one in maps], float)
    drawn = rng.integers(n, size=(RESAMPLES, n))
    visible, rows = held["FNPS"], []
    pairs = list(combinations(range(len(networks)), 2))
    compared = {
        "truth": [(dice(one, truth), each, visible) for one, each in zip(outlines, count, strict=True)],
        "another seed": [(dice(outlines[a], outlines[b]), count[a], count[b]) for a, b in pairs],
    }
    for against, found in compared.items():
        measures = {
            "dice_follicle": lambda at, of=found: np.mean([d[0, at].sum() / d[1, at].sum() for d, _, _ in of]),
            "count_spearman": lambda at, of=found: np.mean([spearmanr(a[at], b[at])[0] for _, a, b in of]),
            "count_mae": lambda at, of=found: np.mean([np.abs(a[at] - b[at]).mean() for _, a, b in of]),
        }
        for metric, measure in measures.items():
            draws = [measure(at) for at in drawn[: RESAMPLES if metric != "count_spearman" else RESAMPLES // 5]]
            rows.append(row(part, against, metric, float(measure(np.arange(n))), draws, n))
    chances = np.zeros(n)
    for label, mean in APART.items():
        own = held["label"] == label
        chances[own] = tilted(visible[own].astype(float), mean) / 2
    wide = [rng.choice(n, size=n, p=chances) for _ in range(RESAMPLES // 5)]
    draws = [np.mean([spearmanr(one[at], visible[at])[0] for one in count]) for at in wide]
    wider = f"{part}, classes as far apart as in the trial"
    rows.append(row(wider, "truth", "count_spearman", np.mean(draws), draws, n))
    return rows


def main() -> None:
    """Prints and writes the table."""
    places = sorted((config.home() / "runs" / counts.NAME).glob("s*/weights.safetensors"))[:NETWORKS]
    networks = [counts.load(path) for path in places]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for part, off in PARTS.items():
            effects = Effects(**off) if off else None
            held = shards.load(shards.shards(Path(place), PER_CLASS, pretraining.HELD_OUT_SEED, effects))
            made = judged(part, held, networks)
            rows += [one | {"networks": len(networks), "version": phantom.VERSION} for one in made]
            print(pd.DataFrame(made).to_string(index=False), flush=True)
    write_csv(OUT, pd.DataFrame(rows).round(4))


if __name__ == "__main__":
    main()
