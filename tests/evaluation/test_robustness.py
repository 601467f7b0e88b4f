"""A changed picture is changed as its name says, and a curve is the metric of what was answered."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from pcos_utils.evaluation import robustness
from pcos_utils.evaluation.robustness import STRESSES


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A grey gradient with a dark disc, uint8 (80, 120, 3)."""
    y, x = np.mgrid[:80, :120]
    grey = np.where((y - 30) ** 2 + (x - 80) ** 2 < 100, 10, 60 + x)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def test_every_severity_but_one_changes_the_picture_and_repeats(picture):
    for name, stress in STRESSES.items():
        assert stress.untouched in stress.severities and list(stress.severities) == sorted(stress.severities)
        for severity in stress.severities:
            made = robustness.stressed(picture, name, severity, 3)
            assert made.dtype == np.uint8 and made.shape[2] == 3
            assert (made.shape == picture.shape and np.array_equal(made, picture)) == (severity == stress.untouched)
            assert np.array_equal(made, robustness.stressed(picture, name, severity, 3))


def test_each_change_is_what_its_name_says(picture):
    change = robustness.stressed
    assert change(picture, "gain", 0.5)[0, 100, 0] == 80 and change(picture, "gain", 2)[0, 119, 0] == 255
    assert change(picture, "gamma", 0.5)[30, 80, 0] == round(255 * (10 / 255) ** 0.5)
    shorter = [change(picture, "crop", severity).shape[:2] for severity in (10, 40)]
    assert shorter == [(72, 108), (48, 72)] and np.array_equal(change(picture, "crop", 40), picture[16:64, 24:96])
    turned = change(picture, "rotation", 40)
    assert turned[0, 0].max() == 0 and abs(int(turned[40, 60, 0]) - int(picture[40, 60, 0])) <= 2
    noise = change(np.full((200, 300, 3), 100, np.uint8), "speckle", 0.2) / 100
    assert noise.mean() == pytest.approx(1, abs=0.02) and noise.std() == pytest.approx(0.2, abs=0.01)
    edge = [np.abs(np.diff(change(picture, "blur", s)[30, :, 0].astype(int))).max() for s in (0, 1, 2)]
    assert edge[0] > edge[1] > edge[2]
    error = [np.abs(change(picture, "JPEG", s).astype(int) - picture).mean() for s in (50, 80, 95)]
    assert error[0] < error[1] < error[2] < 20


def test_jpeg_keeps_the_colours_in_their_order():
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 200
    assert robustness.stressed(red, "JPEG", 50)[20, 20].argmax() == 0


def test_answers_ask_for_every_picture_under_every_severity(picture):
    pictures = [picture, picture // 2]
    made = robustness.answers(lambda images: np.array([image.mean() for image in images]), pictures)
    assert len(made) == 2 * sum(len(stress.severities) for stress in STRESSES.values())
    rows = made.set_index(["stress", "severity", "row"]).logit
    for name, stress in STRESSES.items():
        assert rows[name, stress.untouched, 1] == pictures[1].mean()
    assert rows["gain", 0.5, 0] == pytest.approx(picture.mean() / 2, abs=1)


@pytest.fixture(scope="module")
def answered() -> pd.DataFrame:
    """Sixty sources that are ranked well untouched, and by a coin under the strongest blur."""
    rng = np.random.default_rng(0)
    label = np.arange(60) % 2
    skill = {0: 2.0, 0.5: 2.0, 1: 1.0, 2: 0.0}
    parts = []
    for severity, gap in skill.items():
        logit = rng.normal(size=60) + gap * label
        parts.append(pd.DataFrame({"severity": severity, "source": np.arange(60), "label": label, "logit": logit}))
    table = pd.concat(parts, ignore_index=True).assign(stress="blur")
    return table.assign(called=table.logit >= 0.7)


def test_a_curve_is_scikit_learns_metric_and_its_change_is_paired(answered):
    made = robustness.curves(answered.sample(frac=1, random_state=0), resamples=300)
    rows = made.set_index(["metric", "severity"])
    for severity, own in answered.groupby("severity"):
        assert rows.value["auc", severity] == pytest.approx(sk.roc_auc_score(own.label, own.logit))
        assert rows.value["recall", severity] == pytest.approx(sk.recall_score(own.label, own.called))
        wanted = sk.recall_score(own.label, own.called, pos_label=0)
        assert rows.value["specificity", severity] == pytest.approx(wanted)
        change = rows.value["auc", severity] - rows.value["auc", 0]
        assert rows.change["auc", severity] == pytest.approx(change)
    assert (made.sources == 60).all() and not made.few_sources.any()
    inside = made.dropna(subset=["low"])
    assert ((inside.low <= inside.value) & (inside.value <= inside.high)).all()
    assert rows.change_high["auc", 2] < 0 < rows.high["auc", 2]


def test_where_the_answers_stay_the_same_nothing_changes(answered):
    same = answered.assign(logit=np.tile(answered.logit[:60], 4), called=np.tile(answered.called[:60], 4))
    made = robustness.curves(same, resamples=100)
    assert (made.change == 0).all() and made.change_low.isna().all()
    assert made.groupby("metric").low.nunique(dropna=False).eq(1).all()


def test_the_sentence_names_what_breaks_a_reader_and_what_cannot_be_broken(answered):
    made = robustness.curves(answered, resamples=300)
    text = robustness.sentence(made, "Reader")
    auc = made[(made.metric == "auc") & (made.severity == 2)].value.iloc[0]
    assert f"fall to {auc:.2f}".replace("0.", ".") in text and "under blur 2 (SD, % of the width)" in text
    assert "3 changes of the picture were looked at" in text and "60 untouched sources" in text
    coin = answered[answered.severity == 2]
    blind = pd.concat([coin.assign(severity=severity) for severity in (0, 0.5, 1, 2)])
    assert "nothing to break" in robustness.sentence(robustness.curves(blind, resamples=100), "Reader")
    still = answered.assign(logit=np.tile(answered.logit[:60], 4))
    assert "no change of the picture is shown" in robustness.sentence(robustness.curves(still, resamples=100), "Reader")
