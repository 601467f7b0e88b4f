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

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from pcos_utils.evaluation import auc, comparison
from pcos_utils.evaluation.baselines import Nearest
from pcos_utils.evaluation.intervals import resample
from pcos_utils.files import write_csv
from studies import OUT, arguments

DESIGNS = {"demo": (300, 150, 3, 1), "real frames": (41, 12, 7, 10)}  # sources, polycystic, folds, repeats
LEARNERS = {
    "logistic regression, 10 features": (lambda: LogisticRegression(class_weight="balanced"), 10),
    "logistic regression, 200 features": (lambda: LogisticRegression(C=1e-3, class_weight="balanced"), 200),
    "SVM, 10 features": (lambda: SVC(class_weight="balanced"), 10),
    "nearest neighbour, 10 features": (Nearest, 10),
    "small network, 10 features": (lambda: MLPClassifier((8,), max_iter=40, learning_rate_init=0.01), 10),
}
SIGNS = {comparison.BETTER: 1, "better": 1, comparison.WORSE: -1, "worse": -1}
SLOW, DEALINGS, RESAMPLES = ("small network, 10 features",), 99, 1000
DEALT = "logistic regression, 10 features"  # the one learner that is also trained again on dealt labels


def judged(x: np.ndarray, y: np.ndarray, learner, folds: int, repeats: int, rng) -> pd.DataFrame:
    """Return each source's score by the model trained on the other folds: source, label, repeat, fold, logit."""
    parts = []
    for repeat in range(repeats):
        drawn = StratifiedKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
        for fold, (train, test) in enumerate(drawn.split(x, y)):
            model = learner().fit(x[train], y[train])
            score = getattr(model, "decision_function", None)
            logit = score(x[test]) if score else model.predict_proba(x[test])[:, 1]
            table = {"source": test, "label": y[test], "repeat": repeat, "fold": fold, "logit": logit}
            parts.append(pd.DataFrame(table))
    return pd.concat(parts, ignore_index=True)


def against_chance(pairs: auc.Pairs, **how) -> int:
    """Return 1 for better than chance, -1 for worse, 0 for not shown."""
    return SIGNS.get(comparison.against_chance(pairs, resamples=RESAMPLES, **how).verdict, 0)


def compared(first: auc.Pairs, second: auc.Pairs, *, first_trained: bool) -> int:
    """Return what the two-sided test at .05 finds: 1 if the first is better, -1 if it is worse, 0 if neither."""
    pairs, trained = {"first": first, "second": second}, {"first": first_trained, "second": True}
    return SIGNS.get(comparison.table(pairs, [("first", "second")], trained, resamples=RESAMPLES).verdict[0], 0)


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
    verdicts["comparison: nothing fitted, learner"] = compared(fixed, pairs, first_trained=False)
    half, whole = (  # the same folds for both
        auc.pairs(judged(part, y, learner, folds, 1, np.random.default_rng(0))) for part in (x[:, : features // 2], x)
    )
    verdicts["comparison: two learners"] = compared(half, whole, first_trained=True)
    if name == DEALT:
        bare = auc.pairs(pd.DataFrame({"source": np.arange(sources), "label": y, "logit": score}))
        verdicts["permutation, nothing fitted"] = against_chance(bare, trained=False)
        again = [rng.permutation(y) for _ in range(DEALINGS)]
        dealt = [float(auc.auc(auc.pairs(judged(x, labels, learner, folds, 1, rng)))) for labels in again]
        verdicts[f"{DEALINGS} dealings"] = against_chance(pairs, trained=True, dealt=np.array(dealt))
    return verdicts


def main() -> None:
    """Simulate, then write and print the table."""
    options = arguments(__doc__, studies=400, seed=0)
    warnings.filterwarnings("ignore", category=UserWarning)  # a small network is tested even where it has not converged
    rows = []
    for place, (design, (sources, polycystic, folds, repeats)) in enumerate(DESIGNS.items()):
        for number, name in enumerate(LEARNERS):
            rng = np.random.default_rng([options.seed, place, number])
            studies = options.studies // 4 if name in SLOW else options.studies
            verdicts = pd.DataFrame([study(design, name, rng) for _ in range(studies)])
            for test, shown in verdicts.items():
                above = float((shown != 0).mean() if test.startswith("comparison") else (shown > 0).mean())
                error = 1.96 * np.sqrt(max(above * (1 - above), 0.025 * 0.975 / 4) / studies)
                rows.append({
                    "design": design, "sources": sources, "polycystic": polycystic, "folds": folds, "repeats": repeats,
                    "learner": name, "test": test, "due": 0.05 if test.startswith("comparison") else 0.025,
                    "above": above, "below": float((shown < 0).mean()), "error": error, "studies": studies,
                })  # fmt: skip
                print(rows[-1], flush=True)
            write_csv(OUT / "test_sizes.csv", pd.DataFrame(rows).round(4))


if __name__ == "__main__":
    main()
