"""Do the intervals of an AUC within folds, and of the difference of two, hold the truth? Simulated studies.

    python -m benchmarks.folds_coverage --studies 600

Studies have 1, 3 or 10 repeats of seven stratified folds; three in ten sources are polycystic, as in ours. A source's
score has a part of its own and a part that every repeat draws anew, a tenth of its variance; each fold is shifted by a
base rate of its own, of one standard deviation, which an AUC within folds must not see. A second reader has an AUC of
.70 on the same folds, and half of a source's own part in common with the first. Columns as in interval_coverage.csv.
"""

import argparse

import numpy as np
import pandas as pd
from scipy.stats import norm

from benchmarks.interval_coverage import AUC, summarised
from pcos_utils import config
from pcos_utils.evaluation import comparison, delong, within
from pcos_utils.files import write_csv

OUT = config.ROOT / "reports" / "benchmarks" / "folds_coverage.csv"
SOURCES, REPEATS, FOLDS, ANEW = (16, 41, 54, 200), (1, 3, 10), 7, 0.1
LESS, SHARED = 0.70, 0.5  # of the second reader


def study(sources: int, repeats: int, rng) -> list[pd.DataFrame]:
    """The judged tables of two readers: source, label, repeat, fold, logit."""
    positives = round(0.3 * sources)
    label = (np.arange(sources) < positives).astype(int)
    common, parts = rng.normal(size=sources), ([], [])
    own = [
        np.sqrt(1 - ANEW) * (np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * rng.normal(size=sources))
        + np.sqrt(2) * norm.ppf(auc) * label
        for auc in (AUC, LESS)
    ]
    for repeat in range(repeats):
        fold = np.empty(sources, int)
        for value in (0, 1):
            at = rng.permutation(np.flatnonzero(label == value))
            fold[at] = (np.arange(len(at)) + rng.integers(FOLDS)) % FOLDS
        for score, tables in zip(own, parts, strict=True):
            logit = score + np.sqrt(ANEW) * rng.normal(size=sources) + rng.normal(size=FOLDS)[fold]
            table = {"source": np.arange(sources), "label": label, "repeat": repeat, "fold": fold, "logit": logit}
            tables.append(pd.DataFrame(table))
    return [pd.concat(tables, ignore_index=True) for tables in parts]


def ends_of(found: list[within.Meetings], resamples: int, seed: int) -> dict[str, tuple]:
    """Lower end, upper end and truth of each interval of one study."""
    row = within.auc_row(found[0], resamples=resamples, seed=seed)
    values, variance = within.covariance(found)
    both = pd.DataFrame({"source": found[0].source, "label": found[0].label})
    apart = comparison.difference_interval(
        both, lambda weights: tuple(within.auc(one, weights) for one in found), resamples=resamples, seed=seed
    )
    return {
        "bca": (row["low"], row["high"], AUC),
        "delong": (*delong.interval(values[0], variance[0, 0])[:2], AUC),
        "bca of a difference": (*apart[1:3], AUC - LESS),
        "delong of a difference": (*delong.paired(values, variance)[1:3], AUC - LESS),
    }


def coverage(studies: int, resamples: int, seed: int) -> pd.DataFrame:
    """One row per interval, number of sources and of repeats."""
    rows = []
    for sources in SOURCES:
        for repeats in REPEATS:
            rng = np.random.default_rng([seed, sources, repeats])
            each = [
                ends_of([within.meetings(one) for one in study(sources, repeats, rng)], resamples, seed + number)
                for number in range(studies)
            ]
            ends = {name: [one[name] for one in each] for name in each[0]}
            for name, made in ends.items():
                kind = {"interval": name, "sources": sources, "polycystic": round(0.3 * sources), "repeats": repeats}
                rows.append(kind | summarised(np.array(made)) | {"studies": studies, "resamples": resamples})
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=600)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_csv(OUT, coverage(options.studies, options.resamples, options.seed).round(4))


if __name__ == "__main__":
    main()
