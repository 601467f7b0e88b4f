"""Simple readers that keep us honest: what a network must beat, judged under the very folds that judge the networks.

Each reader answers from a few numbers of an image. Nothing here sees a test source before it answers for it, and
all that is chosen or scaled is chosen and scaled inside the training part.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from pcos_utils.config import Study, StudyError
from pcos_utils.data import splits
from pcos_utils.evaluation import traits
from pcos_utils.files import alone_in, sha256, write_csv, write_json

INNER = 5  # folds inside a training part, fewer where a class has fewer sources
SURE = 1e-6  # a reader that is certain has this probability of being wrong, so that its logit is finite
LEAST_SLOPE = 0.1  # of a score in units of its SD: by chance of few sources it must not count against itself
COLUMNS = ["image", "source", "label", "role", "seed", "repeat", "fold", "logit", "probability"]


class Baseline(NamedTuple):
    """A reader: its name in tables and figures, the traits that it reads ("" for thumbnails), how it answers."""

    title: str
    columns: str  # a regular expression
    estimator: Callable[[], BaseEstimator]


def fold_predictions(features, estimator: BaseEstimator, table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Predictions in the format of run folders: one row per image, role, repeat and fold.

    ``features``: array or data frame, one row per used image of ``table`` in its order; ``table`` as
    ``splits.draw`` gives it. For each repeat and fold the sources outside the fold are the training part: "selection"
    rows are its out-of-fold answers (inner folds over sources, stratified), "test" rows come from a fit on all of it.
    ``estimator``: scikit-learn's; its ``decision_function``, where it has one, must be a log-odds. It may read the
    sources of what it is fitted on from the index. Raises StudyError where a source stands in two folds, and
    TooFewSources where nothing can be judged.
    """
    splits.need_test_set(table, study)
    used = table[table.used == "yes"].reset_index(drop=True)
    if len(features) != len(used):
        raise StudyError(f"{len(features)} rows of features do not fit {len(used)} used images; measure them again.")
    x = pd.DataFrame(np.asarray(features, float), index=used.source)
    parts = []
    for repeat in range(study.repeats):
        fold_of = used[f"r{repeat}"].to_numpy(int)
        if (used.groupby("source")[f"r{repeat}"].nunique() != 1).any():
            raise StudyError(f"A source stands in two folds of repeat {repeat}; draw them again with splits.draw.")
        for fold in range(study.folds):
            test = np.flatnonzero(fold_of == fold)
            train = np.flatnonzero(fold_of != fold)
            seed = 10_000 * study.seed + 100 * repeat + fold
            inside = np.empty(len(train))
            for fit, held in source_folds(used.source[train], used.label[train], INNER, seed):
                inside[held] = _answer(estimator, x.iloc[train], used.label[train], fit, held)
            both = np.r_[train, test]
            outside = _answer(estimator, x, used.label, train, test)
            rows = used.loc[both, ["path", "source", "label"]].rename(columns={"path": "image"})
            roles = np.repeat(["selection", "test"], [len(train), len(test)])
            parts.append(rows.assign(role=roles, repeat=repeat, fold=fold, logit=np.r_[inside, outside]))
    made = pd.concat(parts, ignore_index=True).assign(seed=study.seed)
    return made.assign(probability=1 / (1 + np.exp(-made.logit)))[COLUMNS]


def source_folds(source, label, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions to fit on and positions held out, for each fold: whole sources, stratified by class.

    As many folds as ``folds``, fewer where a class has fewer sources; a class of one source cannot be held out.
    """
    # Folds of a table of sources, as splits.draw makes them: scikit-learn's StratifiedGroupKFold shuffles only groups
    # of like class and size.
    of_source = pd.Series(np.asarray(label), index=np.asarray(source)).groupby(level=0, sort=True).max()
    number = min(folds, int(of_source.value_counts().reindex([0, 1], fill_value=0).min()))
    if number < 2:
        raise StudyError("A class has a single source to fit on; a reader cannot be judged inside. Add sources.")
    for _, held in StratifiedKFold(number, shuffle=True, random_state=seed).split(of_source, of_source):
        out = np.isin(np.asarray(source), of_source.index[held])
        yield np.flatnonzero(~out), np.flatnonzero(out)


def _answer(estimator, x: pd.DataFrame, label: pd.Series, fit: np.ndarray, held: np.ndarray) -> np.ndarray:
    fitted = clone(estimator).fit(x.iloc[fit], label.to_numpy(int)[fit])
    if hasattr(fitted, "decision_function"):
        return fitted.decision_function(x.iloc[held])
    chance = np.clip(fitted.predict_proba(x.iloc[held])[:, 1], SURE, 1 - SURE)
    return np.log(chance / (1 - chance))


class Scored(ClassifierMixin, BaseEstimator):
    """A reader that gives scores, made to give log-odds: a logistic on the scores of sources that it did not see.

    ``reader`` has ``fit`` and ``decision_function``. On what it was fitted on its scores are too good, so the
    logistic learns from inner folds over the sources, which the index of ``x`` names.
    """

    def __init__(self, reader: BaseEstimator, seed: int = 0) -> None:
        self.reader, self.seed = reader, seed

    def fit(self, x: pd.DataFrame, y: np.ndarray) -> "Scored":
        """Itself, fitted."""
        self.classes_, scores = np.array([0, 1]), np.empty(len(x))
        for fit, held in source_folds(x.index, y, INNER, self.seed):
            scores[held] = clone(self.reader).fit(x.iloc[fit], y[fit]).decision_function(x.iloc[held])
        middle = (scores[y == 1].mean() + scores[y == 0].mean()) / 2
        self.middle_, self.spread_ = middle, max(scores.std(), 1e-12)
        logistic = LogisticRegression(class_weight="balanced").fit(((scores - middle) / self.spread_)[:, None], y)
        self.slope_, self.intercept_ = float(logistic.coef_[0, 0]), float(logistic.intercept_[0])
        if self.slope_ < LEAST_SLOPE:
            self.slope_, self.intercept_ = LEAST_SLOPE, 0.0
        self.reader_ = clone(self.reader).fit(x, y)
        return self

    def decision_function(self, x: pd.DataFrame) -> np.ndarray:
        """Log-odds of polycystic, shape (n,)."""
        return self.slope_ * (self.reader_.decision_function(x) - self.middle_) / self.spread_ + self.intercept_


class Nearest(ClassifierMixin, BaseEstimator):
    """The distance to the nearest normal picture less that to the nearest polycystic one: a score, not a log-odds."""

    def fit(self, x, y) -> "Nearest":
        """Itself, with the pictures kept."""
        self.classes_, self.known_, self.label_ = np.array([0, 1]), np.asarray(x, float), np.asarray(y)
        return self

    def decision_function(self, x) -> np.ndarray:
        """Scores, shape (n,): above 0 where the nearest picture is polycystic."""
        x = np.asarray(x, float)
        squares = (x**2).sum(1)[:, None] + (self.known_**2).sum(1) - 2 * x @ self.known_.T
        apart = np.sqrt(np.maximum(squares, 0))
        return apart[:, self.label_ == 0].min(axis=1) - apart[:, self.label_ == 1].min(axis=1)


def logistic(strength: float = 1.0) -> BaseEstimator:
    """A logistic on standardised features; the smaller ``strength``, the stronger its ridge."""
    ridge = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    return make_pipeline(StandardScaler(), ridge)


def ridge_logistic() -> BaseEstimator:
    """For features that outnumber the sources, such as a network's: ridge .001, fixed beforehand and not tuned."""
    return logistic(0.001)


def texture_svm() -> BaseEstimator:
    """A support vector machine (radial basis, scikit-learn's own settings) with a logistic on its decision."""
    return Scored(make_pipeline(StandardScaler(), SVC(class_weight="balanced")))


BASELINES = {
    "always_normal": Baseline("always normal", "width", lambda: DummyClassifier(strategy="constant", constant=0)),
    "image_size": Baseline("image size", "width|height", logistic),
    "intensity": Baseline("mean intensity, SD and border", "mean|sd|border|black", logistic),
    "thumbnails": Baseline("nearest thumbnail", "", lambda: Scored(Nearest())),
    "otsu_blobs": Baseline("dark blobs, global threshold", "otsu_count|otsu_area", logistic),
    "local_contrast": Baseline("dark blobs, local contrast", "contrast_count", logistic),
    "glcm_svm": Baseline("texture (GLCM) + SVM", "glcm_.*", texture_svm),
}
FROZEN = "densenet201_untrained"
TITLES = {name: one.title for name, one in BASELINES.items()} | {FROZEN: "DenseNet201 features, untrained"}


def predictions(study: Study, table: pd.DataFrame, frozen: np.ndarray | None = None) -> dict[str, pd.DataFrame]:
    """For each baseline its predictions, as they lie in ``runs/<run>/baselines/<name>.csv`` afterwards.

    ``table``: the study's sources.csv. ``frozen``: DenseNet201's untrained features of the used images, (n, 1920),
    which add a baseline. Deterministic by the study's seed. A file that is there already is read when its
    digest and all that decides it are those of ``run.json`` beside it; else, edited ones too, it is made again.
    """
    splits.need_test_set(table, study)
    used = table[table.used == "yes"].reset_index(drop=True)
    values = traits.measured(study, used)
    sights = {
        name: values.filter(regex=f"^({one.columns})$") if one.columns else traits.thumbnails(study, used)
        for name, one in BASELINES.items()
    }
    readers = {name: one.estimator for name, one in BASELINES.items()} | {FROZEN: ridge_logistic}
    if frozen is not None:
        sights[FROZEN] = frozen
    folder, made = study.runs_dir / "baselines", {}
    with alone_in(folder, lambda: None):
        known = _known(folder / "run.json")
        for name, features in sights.items():
            path, settings = folder / f"{name}.csv", _settings(features, used, study)
            if not path.exists() or known.get(name) != {"settings": settings, "file": sha256(path)}:
                write_csv(path, fold_predictions(features, readers[name](), table, study))
                known[name] = {"settings": settings, "file": sha256(path)}
                write_json(folder / "run.json", known)
            made[name] = pd.read_csv(path)
    return made


def _settings(features, used: pd.DataFrame, study: Study) -> str:
    rows = used[["path", "source", "label", *(f"r{repeat}" for repeat in range(study.repeats))]].to_csv()
    code = Path(__file__).read_text()
    facts = json.dumps([rows, code, study.seed, study.folds, version("scikit-learn")]).encode()
    return hashlib.sha256(facts + np.ascontiguousarray(features, float).tobytes()).hexdigest()


def _known(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):  # none yet, or not what this module writes
        return {}
