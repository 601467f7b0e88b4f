"""Fit the baselines: what a network must beat, judged under the same folds that judge the networks.

Each predicts from a few numbers of an image; a new one is a line of ``BASELINES``. Nothing here sees a test source
before it predicts it, and all that is chosen or scaled is chosen and scaled inside the training part.
"""

import hashlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from pcos_utils.config import Study, StudyError
from pcos_utils.data import splits
from pcos_utils.files import cached, code, write_csv

INNER = 5  # folds inside a training part, fewer where a class has fewer sources
SURE = 1e-6  # a method that is certain has this probability of being wrong, so that its logit is finite
LEAST_SLOPE = 0.1  # of a score in units of its SD: by chance of few sources it must not count against itself
COLUMNS = ["image", "source", "label", "role", "seed", "repeat", "fold", "logit", "probability"]


class Baseline(NamedTuple):
    """A baseline: its name in tables and figures, the measures that it reads, and a new estimator."""

    title: str
    columns: str  # a regular expression for columns of image_measures; "" for thumbnails
    estimator: Callable[[], BaseEstimator]


def fold_predictions(features, estimator: BaseEstimator, table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return predictions in the format of run folders: one row per image, role, repeat and fold.

    ``features``: one row per used image of ``table``, as from ``splits.draw``. Sources outside a fold are its training
    part: "selection" rows are their out-of-fold predictions, "test" rows come from a fit on all of them. ``estimator``:
    scikit-learn's; a ``decision_function`` must be a log-odds. It may read the sources of what it is fitted on from the
    index. Raises StudyError where a source stands in two folds, and TooFewSources where nothing can be judged.
    """
    splits.need_test_set(table, study)
    used = table[table.used == "yes"].reset_index(drop=True)
    x = pd.DataFrame(np.asarray(features, float), index=used.source)
    label, parts = used.label.to_numpy(int), []
    for repeat in range(study.repeats):
        fold_of = used[f"r{repeat}"].to_numpy(int)
        if (used.groupby("source")[f"r{repeat}"].nunique() != 1).any():
            raise StudyError(f"A source stands in two folds of repeat {repeat}; draw them again with splits.draw.")
        for fold in range(study.folds):
            test, train = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
            inside = out_of_fold(estimator, x.iloc[train], label[train], 10_000 * study.seed + 100 * repeat + fold)
            logit = np.r_[inside, logits(estimator, x, label, train, test)]
            rows = used.loc[np.r_[train, test], ["path", "source", "label"]].rename(columns={"path": "image"})
            roles = np.repeat(["selection", "test"], [len(train), len(test)])
            parts.append(rows.assign(role=roles, repeat=repeat, fold=fold, logit=logit))
    predicted = pd.concat(parts, ignore_index=True).assign(seed=study.seed)
    return predicted.assign(probability=1 / (1 + np.exp(-predicted.logit)))[COLUMNS]


def source_folds(source, label, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions (fit, held out) by fold: whole sources, stratified; no more folds than a class has sources."""
    of_source = splits.source_labels(pd.DataFrame({"source": np.asarray(source), "label": np.asarray(label)}))
    number = min(folds, of_source.value_counts().min())
    fold_of = splits.folds_of(of_source, number, seed)[np.asarray(source)].to_numpy()
    for fold in range(number):
        yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)


def out_of_fold(estimator, x: pd.DataFrame, label: np.ndarray, seed: int) -> np.ndarray:
    """Return ``logits`` of all rows by inner folds over the sources, which the index of ``x`` names."""
    scores = np.empty(len(x))
    for fit, held in source_folds(x.index, label, INNER, seed):
        scores[held] = logits(estimator, x, label, fit, held)
    return scores


def logits(estimator, x: pd.DataFrame, label: np.ndarray, fit: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return scores of the rows ``held`` by a model fitted on the rows ``fit``: its decision function, or log-odds."""
    fitted = clone(estimator).fit(x.iloc[fit], label[fit])
    if hasattr(fitted, "decision_function"):
        return fitted.decision_function(x.iloc[held])
    chance = np.clip(fitted.predict_proba(x.iloc[held])[:, 1], SURE, 1 - SURE)
    return np.log(chance / (1 - chance))


class Monotone(ClassifierMixin, BaseEstimator):
    """Turn scores, (n, 1) or (n,), into log-odds by a logistic of at least LEAST_SLOPE, so that the ranking stays."""

    def fit(self, x, y) -> "Monotone":
        """Fit on scores, shape (n, 1) or (n,), and labels."""
        score = np.asarray(x, float).reshape(len(y))
        self.classes_, self.spread_ = np.array([0, 1]), max(score.std(), 1e-12)
        self.middle_ = (score[y == 1].mean() + score[y == 0].mean()) / 2
        standard = ((score - self.middle_) / self.spread_)[:, None]
        logistic = LogisticRegression(class_weight="balanced").fit(standard, y)
        self.slope_, self.intercept_ = float(logistic.coef_[0, 0]), float(logistic.intercept_[0])
        if self.slope_ < LEAST_SLOPE:
            self.slope_, self.intercept_ = LEAST_SLOPE, 0.0
        return self

    def decision_function(self, x) -> np.ndarray:
        """Return the log-odds of polycystic, shape (n,)."""
        score = np.asarray(x, float).reshape(len(x))
        return self.slope_ * (score - self.middle_) / self.spread_ + self.intercept_


class Scored(ClassifierMixin, BaseEstimator):
    """Turn the scores of a method into log-odds by ``Monotone``, fitted on scores of sources that it did not see.

    ``method`` has ``fit`` and ``decision_function``. Its scores are too good for the sources that it was fitted on, so
    the scores to learn from come from inner folds over the sources, which the index of ``x`` names.
    """

    def __init__(self, method: BaseEstimator, seed: int = 0) -> None:
        self.method, self.seed = method, seed

    def fit(self, x: pd.DataFrame, y: np.ndarray) -> "Scored":
        """Fit on features whose index names the sources, and labels."""
        self.classes_, self.method_ = np.array([0, 1]), clone(self.method).fit(x, y)
        self.scale_ = Monotone().fit(out_of_fold(self.method, x, y, self.seed), y)
        return self

    def decision_function(self, x: pd.DataFrame) -> np.ndarray:
        """Return the log-odds of polycystic, shape (n,)."""
        return self.scale_.decision_function(self.method_.decision_function(x))


class Nearest(ClassifierMixin, BaseEstimator):
    """Score pictures, (n, values), by the distance to the nearest normal minus that to the nearest polycystic one."""

    def fit(self, x, y) -> "Nearest":
        """Keep the pictures, shape (n, values), and their labels."""
        self.classes_, self.known_, self.label_ = np.array([0, 1]), np.asarray(x, float), np.asarray(y)
        return self

    def decision_function(self, x) -> np.ndarray:
        """Return scores, shape (n,), no log-odds: above 0 where the nearest picture is polycystic."""
        x = np.asarray(x, float)
        squares = (x**2).sum(1)[:, None] + (self.known_**2).sum(1) - 2 * x @ self.known_.T
        apart = np.sqrt(np.maximum(squares, 0))
        return apart[:, self.label_ == 0].min(axis=1) - apart[:, self.label_ == 1].min(axis=1)


def logistic(strength: float = 1.0) -> BaseEstimator:
    """Return a logistic on standardised features; the smaller ``strength``, the stronger its ridge."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=5000))


BASELINES = {
    "always_normal": Baseline("constant score", "width", lambda: DummyClassifier(strategy="constant", constant=0)),
    "image_size": Baseline("image size", "width|height", logistic),
    "intensity": Baseline("mean intensity, SD and border", "mean|sd|border|black", logistic),
    "thumbnails": Baseline("nearest thumbnail", "", lambda: Scored(Nearest())),
    "otsu_blobs": Baseline("dark blobs (global threshold)", "otsu_count|otsu_area", logistic),
    "local_contrast": Baseline("dark blobs (local contrast)", "contrast_count", Monotone),
    "glcm_svm": Baseline(
        "texture (GLCM) + SVM", "glcm_.*", lambda: Scored(make_pipeline(StandardScaler(), SVC(class_weight="balanced")))
    ),
}
REFERENCE = "local_contrast"  # the baseline that every method has to beat, named before it was scored
FROZEN_RIDGE = 0.001  # fixed beforehand: a network's features outnumber the sources
# Nothing is fitted to the ranking of these: a count, and a constant.
UNFITTED = ("always_normal", "local_contrast")


def predictions(study: Study, table: pd.DataFrame, measured: tuple) -> dict[str, pd.DataFrame]:
    """Return each baseline's predictions, which afterwards lie in ``runs/<run>/baselines/<name>/``.

    ``table``: the study's sources.csv. ``measured``: of ``image_measures.measured`` for its used rows.
    """
    (measures, thumbnails), predicted = measured, {}
    for name, baseline in BASELINES.items():
        read = measures.filter(regex=f"^({baseline.columns})$") if baseline.columns else thumbnails
        predicted[name] = _cached(study, table, name, read, baseline.estimator())
    return predicted


def of_features(study: Study, table: pd.DataFrame, features: dict[str, np.ndarray]) -> dict[str, pd.DataFrame]:
    """Return what a logistic regression predicts from frozen ``features``, (used images, channels), of each method."""
    return {name: _cached(study, table, name, read, logistic(FROZEN_RIDGE)) for name, read in features.items()}


def _cached(study: Study, table: pd.DataFrame, name: str, features, estimator: BaseEstimator) -> pd.DataFrame:
    path = study.runs_dir / "baselines" / name / "predictions.csv"
    repeats = [f"r{repeat}" for repeat in range(study.repeats)]
    drawn = table.loc[table.used == "yes", ["path", "source", "label", *repeats]]
    facts = {
        "features": hashlib.sha256(np.ascontiguousarray(features, float).tobytes()).hexdigest(),
        "folds": hashlib.sha256(drawn.to_csv().encode()).hexdigest(),
        "seed": study.seed,
        "code_sha256": code("evaluation/baselines.py", "data/splits.py"),
        "scikit-learn": version("scikit-learn"),
    }

    def make() -> dict:
        """Fit and predict in every fold, and write the predictions."""
        write_csv(path, fold_predictions(features, estimator, table, study))
        return {}

    cached(path.parent, facts, make)
    return pd.read_csv(path)
