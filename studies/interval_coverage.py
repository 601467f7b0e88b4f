"""Measure how many of the report's 95 % intervals hold the truth, on simulated studies.

    python -m studies.interval_coverage --studies 400

Three in ten sources are polycystic. *Share*: several networks decide each source; the chance that one is right differs
from source to source and is .75 on average. "exact" counts one network, "Korn-Graubard" all of them. "Wilson" does what
is usual in the field: it counts every image of a source as independent (20 images, correlated at .6). *AUC* of .80: a
part of the score belongs to the source, and a tenth is drawn anew in every repeat of the seven folds. Every fold is
shifted by a base rate of its own, which must not change an AUC within folds. *Difference*: a second method, of AUC .70,
shares half of the source's part. Nothing is learned here; what learning adds is in test_sizes.py. ``error`` is 1.96
standard errors of the coverage.
"""

from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm

from pcos_utils.evaluation import auc, comparison
from pcos_utils.evaluation.intervals import exact, resample, share
from pcos_utils.files import write_csv
from studies import OUT, arguments, error_of

SOURCES, REPEATS, FOLDS, ANEW = (16, 41, 100, 300), (1, 10), 7, 0.1
RECALL, HIGH, LOW, SHARED, IMAGES, ALIKE = 0.75, 0.80, 0.70, 0.5, 20, 0.6
RESAMPLES = 500


def shares(positives: int, repeats: int, rng) -> dict[str, tuple]:
    """Return low end, high end and truth of each interval of a share, in one simulated study."""
    chance = rng.beta(RECALL * 2, (1 - RECALL) * 2, positives)
    decided = rng.random((repeats, positives)) < chance
    of_source, of_image = rng.normal(size=(positives, 1)), rng.normal(size=(positives, IMAGES))
    score = np.sqrt(ALIKE) * of_source + np.sqrt(1 - ALIKE) * of_image
    right = int((score < norm.ppf(RECALL)).sum())
    naive = binomtest(right, positives * IMAGES).proportion_ci(method="wilson")
    korn_graubard = share(decided.mean(axis=0))
    return {
        "exact, one network": (*exact(int(decided[0].sum()), positives), RECALL),
        "Korn-Graubard, all networks": (*korn_graubard[1:3], RECALL),
        "Wilson, images as if independent": (naive.low, naive.high, RECALL),
    }


def judged(sources: int, repeats: int, rng) -> list[pd.DataFrame]:
    """Return the judged tables of two methods: source, label, repeat, fold, logit."""
    label = (np.arange(sources) < round(0.3 * sources)).astype(int)
    common, tables = rng.normal(size=sources), ([], [])
    scores = [
        np.sqrt(1 - ANEW) * (np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * rng.normal(size=sources))
        + np.sqrt(2) * norm.ppf(value) * label
        for value in (HIGH, LOW)
    ]
    for repeat in range(repeats):
        fold = np.empty(sources, int)
        for value in (0, 1):
            members = rng.permutation(np.flatnonzero(label == value))
            fold[members] = (np.arange(len(members)) + rng.integers(FOLDS)) % FOLDS
        facts = {"source": np.arange(sources), "label": label, "repeat": repeat, "fold": fold}
        for score, parts in zip(scores, tables, strict=True):
            logit = score + np.sqrt(ANEW) * rng.normal(size=sources) + rng.normal(size=FOLDS)[fold]
            parts.append(pd.DataFrame(facts | {"logit": logit}))
    return [pd.concat(parts, ignore_index=True) for parts in tables]


def aucs(sources: int, repeats: int, rng) -> dict[str, tuple]:
    """Return low end, high end and truth of each interval of an AUC, or of a difference, in one simulated study."""
    first, second = (auc.pairs(table) for table in judged(sources, repeats, rng))
    bca = auc.interval(first, resample(first.label, RESAMPLES, int(rng.integers(2**31))))
    paired = comparison.paired(first, second, (False, False), resamples=RESAMPLES, seed=int(rng.integers(2**31)))
    return {
        "AUC, BCa": (bca.low, bca.high, HIGH),
        "AUC, Newcombe": (*auc.newcombe(bca.value, first.opposite[1]), HIGH),
        "difference of AUCs, BCa": (paired.difference.low, paired.difference.high, HIGH - LOW),
    }


def main() -> None:
    """Simulate, then write and print the table."""
    studies, tables = arguments(__doc__, studies=400).studies, []
    for sources, repeats in product(SOURCES, REPEATS):
        rng, positives = np.random.default_rng([sources, repeats]), round(0.3 * sources)
        simulated = [shares(positives, repeats, rng) | aucs(sources, repeats, rng) for _ in range(studies)]
        low, high, truth = np.array([[*each.values()] for each in simulated]).transpose(2, 1, 0)  # (intervals, studies)
        coverage = ((low <= truth) & (truth <= high)).mean(axis=1)
        tables.append(pd.DataFrame({
            "interval": simulated[0].keys(), "sources": sources, "polycystic": positives, "repeats": repeats,
            "coverage": coverage, "error": error_of(coverage, 0.95, studies), "width": (high - low).mean(axis=1),
            "truth": truth[:, 0], "studies": studies,
        }))  # fmt: skip
        print(tables[-1].to_string(), flush=True)
    write_csv(OUT / "interval_coverage.csv", pd.concat(tables).round(4))


if __name__ == "__main__":
    main()
