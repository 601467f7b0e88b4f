"""Measure how often each test of the report shows something where there is nothing, in simulated studies.

    python -m studies.test_sizes

Labels mean nothing, but something is learned from them all the same. There are two designs: 300 sources in 3 folds,
half of them polycystic (the demo), and 41 sources, 12 of them polycystic, in 7 folds drawn 10 times (real frames).
Features are normal noise; each learner is trained anew in every fold. ``above``: the share of studies with a verdict
"better", which should be .025; for comparisons the share with any verdict, which should be .05. ``below``: the share
with "worse". ``error``: 1.96 standard errors of ``above``. "plain bootstrap" is what the report no longer uses: an
interval that takes the trained methods as given.
"""

import warnings
from itertools import product

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from pcos_utils.evaluation import auc, comparison
from pcos_utils.evaluation.baselines import Nearest, logits
from pcos_utils.evaluation.intervals import resample
from pcos_utils.files import write_csv
from studies import OUT, arguments, error_of

DESIGNS = {"demo": (300, 150, 3, 1), "real frames": (41, 12, 7, 10)}  # sources, polycystic, folds, repeats
LEARNERS = {
    "logistic regression, 10 features": (LogisticRegression(class_weight="balanced"), 10),
    "logistic regression, 200 features": (LogisticRegression(C=1e-3, class_weight="balanced"), 200),
    "SVM, 10 features": (SVC(class_weight="balanced"), 10),
    "nearest neighbour, 10 features": (Nearest(), 10),
    "small network, 10 features": (MLPClassifier((8,), max_iter=40, learning_rate_init=0.01), 10),
}
SIGNS = {comparison.BETTER: 1, "better": 1, comparison.WORSE: -1, "worse": -1}
SLOW, STUDIES, DEALINGS, RESAMPLES = ("small network, 10 features",), 400, 99, 1000
DEALT = "logistic regression, 10 features"  # the one learner that is also trained again on dealt labels


def judged(x: np.ndarray, y: np.ndarray, learner, folds: int, repeats: int, rng) -> pd.DataFrame:
    """Return each source's score by the model trained on the other folds: source, label, repeat, fold, logit."""
    parts = []
    for repeat in range(repeats):
        drawn = StratifiedKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
        for fold, (fit, held) in enumerate(drawn.split(x, y)):
            logit = logits(learner, pd.DataFrame(x), y, fit, held)
            facts = {"source": held, "label": y[held], "repeat": repeat, "fold": fold, "logit": logit}
            parts.append(pd.DataFrame(facts))
    return pd.concat(parts, ignore_index=True)


def against_chance(pairs: auc.Pairs, **how) -> int:
    """Return 1 for better than chance, -1 for worse, 0 for not shown."""
    return SIGNS.get(comparison.against_chance(pairs, resamples=RESAMPLES, **how).verdict, 0)


def compared(first: auc.Pairs, second: auc.Pairs, first_trained: bool) -> int:
    """Return what the two-sided test at .05 finds: 1 if the first is better, -1 if it is worse, 0 if neither."""
    trained = {"first": first_trained, "second": True}
    table = comparison.table({"first": first, "second": second}, [(*trained,)], trained, resamples=RESAMPLES)
    return SIGNS.get(table.verdict[0], 0)


def study(design: str, name: str, rng) -> dict[str, int]:
    """Return the verdict of every test in one simulated study of one learner."""
    sources, polycystic, folds, repeats = DESIGNS[design]
    y, (learner, features) = (np.arange(sources) < polycystic).astype(int), LEARNERS[name]
    x = rng.normal(size=(sources, features))
    table = judged(x, y, learner, folds, repeats, rng)
    pairs = auc.pairs(table)
    plain = auc.interval(pairs, resample(y, RESAMPLES))
    verdicts = {
        "plain bootstrap": int(plain.low > 0.5) - int(plain.high < 0.5),
        "doubled variance": against_chance(pairs, trained=True),
    }
    score = rng.normal(size=sources)
    fixed = auc.pairs(table.assign(logit=score[table.source]))
    verdicts["comparison: nothing fitted, learner"] = compared(fixed, pairs, False)
    half, whole = (  # the same folds for both
        auc.pairs(judged(part, y, learner, folds, 1, np.random.default_rng(0))) for part in (x[:, : features // 2], x)
    )
    verdicts["comparison: two learners"] = compared(half, whole, True)
    if name == DEALT:
        bare = auc.pairs(pd.DataFrame({"source": np.arange(sources), "label": y, "logit": score}))
        verdicts["permutation, nothing fitted"] = against_chance(bare, trained=False)
        again = [rng.permutation(y) for _ in range(DEALINGS)]
        dealt = [float(auc.auc(auc.pairs(judged(x, labels, learner, folds, 1, rng)))) for labels in again]
        verdicts[f"{DEALINGS} dealings"] = against_chance(pairs, trained=True, dealt=np.array(dealt))
    return verdicts


def main() -> None:
    """Simulate, then write and print the table."""
    arguments(__doc__)
    warnings.filterwarnings("ignore", category=UserWarning)  # a small network is tested even where it has not converged
    tables = []
    for (place, (design, sizes)), (number, name) in product(enumerate(DESIGNS.items()), enumerate(LEARNERS)):
        rng, studies = np.random.default_rng([0, place, number]), STUDIES // 4 if name in SLOW else STUDIES
        verdicts = pd.DataFrame([study(design, name, rng) for _ in range(studies)])
        compares = verdicts.columns.str.startswith("comparison")
        above, below = (verdicts > 0).mean(), (verdicts < 0).mean()
        above = above.where(~compares, (verdicts != 0).mean())
        tables.append(pd.DataFrame({
            "design": design, **dict(zip(("sources", "polycystic", "folds", "repeats"), sizes, strict=True)),
            "learner": name, "test": verdicts.columns, "due": np.where(compares, 0.05, 0.025), "above": above,
            "below": below, "error": error_of(above, 0.025, studies), "studies": studies,
        }))  # fmt: skip
        print(tables[-1].to_string(index=False), flush=True)
        write_csv(OUT / "test_sizes.csv", pd.concat(tables).round(4))


if __name__ == "__main__":
    main()
