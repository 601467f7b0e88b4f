"""Does the interval of an AUC within folds hold the truth? Simulated studies of 1, 3 and 10 repeats of seven folds.

    python -m benchmarks.folds_coverage --studies 600

Three in ten sources are polycystic and the folds are stratified, as in ours. A source's score has a part of its own and
a part that every repeat draws anew, a tenth of its variance; each fold is shifted by a base rate of its own, of one
standard deviation, which an AUC within folds must not see. Columns as in interval_coverage.csv.
"""

import argparse

import numpy as np
import pandas as pd
from scipy.stats import norm

from benchmarks.interval_coverage import AUC, summarised
from pcos_utils import config
from pcos_utils.evaluation import delong, within
from pcos_utils.files import write_csv

OUT = config.ROOT / "reports" / "benchmarks" / "folds_coverage.csv"
SOURCES, REPEATS, FOLDS, ANEW = (16, 41, 54, 200), (1, 3, 10), 7, 0.1


def study(sources: int, repeats: int, rng) -> pd.DataFrame:
    """A judged table: source, label, repeat, fold, logit."""
    positives = round(0.3 * sources)
    label = (np.arange(sources) < positives).astype(int)
    own = np.sqrt(1 - ANEW) * rng.normal(size=sources) + np.sqrt(2) * norm.ppf(AUC) * label
    parts = []
    for repeat in range(repeats):
        fold = np.empty(sources, int)
        for value in (0, 1):
            at = rng.permutation(np.flatnonzero(label == value))
            fold[at] = (np.arange(len(at)) + rng.integers(FOLDS)) % FOLDS
        logit = own + np.sqrt(ANEW) * rng.normal(size=sources) + rng.normal(size=FOLDS)[fold]
        table = {"source": np.arange(sources), "label": label, "repeat": repeat, "fold": fold, "logit": logit}
        parts.append(pd.DataFrame(table))
    return pd.concat(parts, ignore_index=True)


def coverage(studies: int, resamples: int, seed: int) -> pd.DataFrame:
    """One row per interval, number of sources and of repeats."""
    rows = []
    for sources in SOURCES:
        for repeats in REPEATS:
            rng = np.random.default_rng([seed, sources, repeats])
            ends: dict[str, list] = {"bca": [], "delong": []}
            for _ in range(studies):
                found = within.meetings(study(sources, repeats, rng))
                row = within.auc_row(found, resamples=resamples, seed=int(rng.integers(2**31)))
                ends["bca"].append((row["low"], row["high"], AUC))
                (value,), variance = within.covariance([found])
                ends["delong"].append((*delong.interval(value, variance[0, 0])[:2], AUC))
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
