"""Check that baselines predict under the folds of the study, and never a source that they were fitted on."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pcos_utils import config
from pcos_utils.data import images
from pcos_utils.evaluation import auc, baselines, calibration, image_measures

STUDY = config.study(folds=4, repeats=2)


@pytest.fixture
def predicted(small, monkeypatch):
    """The small study, its table, and a function that returns every baseline's predictions for a table of it."""
    study, table, place = small
    monkeypatch.setenv("PCOS_HOME", str(place))

    def predict(table: pd.DataFrame, **features) -> dict[str, pd.DataFrame]:
        measured = image_measures.measured(study, table[table.used == "yes"].reset_index(drop=True))
        return baselines.predictions(study, table, measured) | baselines.of_features(study, table, features)

    return study, table, predict


def drawn(copies: int = 1, each: int = 20) -> pd.DataFrame:
    """A table as splits.draw gives it: ``each`` sources a class, folds by turns, one image unused."""
    number = np.repeat(np.arange(2 * each), copies)
    folds = {f"r{repeat}": (number // 2 + repeat * (number % 3)) % STUDY.folds for repeat in range(STUDY.repeats)}
    table = pd.DataFrame({"source": [f"s{n:02d}" for n in number], "label": number % 2, "used": "yes"} | folds)
    table.insert(0, "path", [f"{n}_{place % copies}.png" for place, n in enumerate(number)])
    return pd.concat([table, table[:1].assign(path="left.png", used="two labels")], ignore_index=True)


def informative(table: pd.DataFrame) -> np.ndarray:
    """Three features of each used image, of which the first tells the classes apart a little."""
    label = table.label[table.used == "yes"].to_numpy()
    return np.random.default_rng(1).normal(size=(len(label), 3)) + np.outer(1.5 * label, [1, 0, 0])


def predicted_by(method, table: pd.DataFrame, *, seed: int = 0, features: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the predictions of a method from the features of a table, as a rule of the table itself."""
    x = informative(table if features is None else features)
    return baselines.fold_predictions(x, method, table, STUDY.model_copy(update={"seed": seed}))


def test_each_image_is_tested_once_a_repeat_and_selected_in_the_other_folds():
    table = drawn(copies=2)
    made = predicted_by(baselines.logistic(), table)
    assert list(made.columns) == baselines.COLUMNS and set(made.role) == {"selection", "test"}
    test, selection = made[made.role == "test"], made[made.role == "selection"]
    assert (test.groupby(["repeat", "image"]).size() == 1).all() and test.image.nunique() == 80
    assert (selection.groupby(["repeat", "image"]).size() == STUDY.folds - 1).all()
    first = test[test.repeat == 0]
    assert (first.fold.to_numpy() == table.set_index("path").r0[first.image].to_numpy()).all()
    assert made.groupby(["repeat", "fold", "source"]).role.nunique().eq(1).all()
    assert np.allclose(made.probability, 1 / (1 + np.exp(-made.logit)))


def test_the_answers_are_scikit_learns():
    table = drawn()
    used, x, made = table[table.used == "yes"], informative(table), predicted_by(baselines.logistic(), table)
    y, train = used.label.to_numpy(), (used.r1 != 2).to_numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    wanted = model.fit(x[train], y[train]).predict_proba(x[~train])[:, 1]
    test, selection = (made.query(f"role == '{role}' and repeat == 1 and fold == 2") for role in ("test", "selection"))
    assert test.image.tolist() == used.path[~train].tolist()
    np.testing.assert_allclose(test.probability, wanted, rtol=1e-6)
    for fit, held in baselines.source_folds(used.source[train], y[train], 5, 102):
        inner = model.fit(x[train][fit], y[train][fit]).predict_proba(x[train][held])[:, 1]
        np.testing.assert_allclose(selection.probability.to_numpy()[held], inner, rtol=1e-6)


METHODS = [
    pytest.param(baselines.logistic, id="logistic"),
    pytest.param(lambda: baselines.Scored(baselines.Nearest()), id="nearest"),
    pytest.param(baselines.BASELINES["glcm_svm"].estimator, id="svm", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("method", METHODS)
def test_permuted_labels_of_the_test_sources_change_no_answer_for_them(method):
    table = drawn(copies=2)
    turned = table.assign(label=np.where(table.r0 == 1, 1 - table.label, table.label))
    made, again = (predicted_by(method(), labelled, features=table) for labelled in (table, turned))
    here = (made.repeat == 0) & (made.fold == 1)
    assert (made.label[here] != again.label[here]).sum() == 20  # the test rows of this fold
    pd.testing.assert_series_equal(made.logit[here], again.logit[here])
    assert not made.logit[~here].equals(again.logit[~here])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_inner_folds():
    same, again, other = (predicted_by(baselines.logistic(), drawn(), seed=seed) for seed in (0, 0, 1))
    assert same.equals(again) and not np.allclose(other.logit, same.logit) and set(other.seed) == {1}
    assert np.allclose(other.logit[other.role == "test"], same.logit[same.role == "test"])


def test_what_cannot_be_judged_is_one_sentence():
    crossed = drawn(copies=2)
    crossed.loc[0, "r1"] = (crossed.r1[0] + 1) % 4
    with pytest.raises(config.StudyError, match="two folds of repeat 1"):
        predicted_by(baselines.logistic(), crossed)
    with pytest.raises(config.TooFewSources):
        predicted_by(baselines.logistic(), drawn(each=5))


def test_inner_folds_keep_sources_whole_and_shrink_with_the_smaller_class():
    source, label = np.repeat(list("abcdefghij"), 3), np.repeat([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], 3)
    made = list(baselines.source_folds(source, label, 5, 0))
    assert len(made) == 3
    for fit, held in made:
        assert not set(source[fit]) & set(source[held]) and label[held].sum() == 3
    assert sorted(np.concatenate([held for _, held in made])) == list(range(30))


def test_a_score_becomes_log_odds_from_sources_not_seen_and_never_counts_against_itself():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x, new = rng.normal(size=(60, 4)), rng.normal(size=(50, 4))
    nearest = baselines.Nearest().fit(x, y).decision_function(new) > 0
    assert (nearest == KNeighborsClassifier(1).fit(x, y).predict(new)).all()
    index = [f"s{n // 2 * 2 + n % 2}" for n in range(60)]
    x = pd.DataFrame(rng.normal(size=(60, 3)), index=index)
    useless = baselines.Scored(baselines.Nearest()).fit(x, y)
    assert baselines.LEAST_SLOPE <= useless.scale_.slope_ < 1  # in-sample distances are 0 and would look perfect
    clear = baselines.Scored(baselines.Nearest()).fit(x + 4 * y[:, None], y)
    assert clear.scale_.slope_ > 2 and ((clear.decision_function(x + 4 * y[:, None]) > 0) == y).all()

    class Backwards(baselines.Nearest):
        def decision_function(self, x):
            return -super().decision_function(x)

    assert baselines.Scored(Backwards()).fit(x + 4 * y[:, None], y).scale_.slope_ == baselines.LEAST_SLOPE


def test_every_baseline_of_a_study_is_written_and_a_second_call_opens_no_image(predicted, monkeypatch):
    study, table, predict = predicted
    made = predict(table, frozen=np.random.default_rng(0).normal(size=(24, 5)))
    assert set(made) == {*baselines.BASELINES, "frozen"} and len(made) == 8
    for name, rows in made.items():
        stored = pd.read_csv(study.runs_dir / "baselines" / name / "predictions.csv")
        assert list(stored.columns) == baselines.COLUMNS and len(stored) == len(rows)
        assert rows[rows.role == "test"].source.nunique() == 24
    assert (made["always_normal"].probability < 0.5).all()
    for place, name in ((images, "load"), (baselines, "fold_predictions")):
        monkeypatch.setattr(place, name, lambda *_: pytest.fail("an image was opened"))
    again = predict(table)
    assert set(again) == set(baselines.BASELINES) and all(rows.equals(made[name]) for name, rows in again.items())
    with pytest.raises(pytest.fail.Exception, match="opened"):
        image_measures.measured(study, table[::-1])


@pytest.mark.slow
def test_an_edited_file_of_predictions_is_made_again(predicted):
    study, table, predict = predicted
    made = predict(table)["intensity"]
    path = study.runs_dir / "baselines" / "intensity" / "predictions.csv"
    made.assign(logit=made.logit.to_numpy()[::-1]).to_csv(path, index=False)
    assert predict(table)["intensity"].equals(made)
    assert not predict(table.assign(r0=1 - table.r0))["intensity"].equals(made)
    assert predict(table)["intensity"].equals(made)


def test_the_ranking_of_a_count_is_its_own_whatever_the_labels_say():
    table = drawn(copies=2)
    count = np.random.default_rng(0).poisson(6, size=(80, 1)) + 1e-3 * np.arange(80)[:, None]
    own = pd.Series(count[:, 0]).groupby(table.source[table.used == "yes"].to_numpy()).mean()
    for given in (table, table.assign(label=1 - table.label)):
        judged = calibration.judge(baselines.fold_predictions(count, baselines.Monotone(), given, STUDY))
        ranks = judged.assign(logit=judged.source.map(own).to_numpy())
        assert auc.auc(auc.pairs(judged)) == pytest.approx(float(auc.auc(auc.pairs(ranks))))
