"""Every wrongly called source is on the sheet, and the sentence says what they share."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from pcos_utils.evaluation import failures, plan, results
from pcos_utils.models import counts

matplotlib.use("agg")


@pytest.fixture
def judged() -> pd.DataFrame:
    """Eight sources: two missed, one false alarm."""
    table = pd.DataFrame({"source": list("abcdefgh"), "label": [1, 1, 1, 1, 0, 0, 0, 0]})
    table["margin"] = [2, -0.1, -1, 0.5, -1, -2, 0.3, -0.2]
    return table.assign(called=table.margin >= 0)


def test_the_wrong_are_named_the_surest_first(judged):
    made = failures.table(judged)
    assert made.source.tolist() == ["c", "b", "g"]
    assert made.outcome.tolist() == ["false negative", "false negative", "false positive"]


def test_the_sentence_counts_and_compares_with_the_right_of_the_same_class(judged):
    values = pd.Series([9, 3, 5, 11, 1, 2, 6, 3.0], index=list("abcdefgh"))
    text = failures.sentence(judged, "Reader", ("follicles", values))
    assert text.startswith("Reader calls 3 of 8 sources wrongly: 2 false negatives and 1 false positive.")
    assert "the median false negative has 4, the median polycystic source that is found 10" in text
    assert "the median false positive has 6, the median normal source that is passed 2" in text
    right = judged.assign(called=judged.label == 1)
    assert failures.sentence(right, "Reader", ("follicles", values)).endswith(
        "0 false negatives and 0 false positives."
    )
    assert failures.sentence(judged, "Reader") == text.split(" Of follicles")[0]


def test_where_a_class_is_wholly_wrong_there_is_nothing_to_compare_it_with(judged):
    values = pd.Series(1.0, index=list("abcdefgh"))
    text = failures.sentence(judged.assign(called=True), "Reader", ("follicles", values))
    assert "0 false negatives and 4 false positives" in text and "the median" not in text


def test_a_tile_keeps_the_shape_of_the_picture():
    tall = failures.tile(np.full((200, 100, 3), 90, np.uint8))
    assert tall.shape == failures.TILE[::-1] and (tall[:, 20:40] == 90).all() and tall[:, :20].max() == 0
    wide = failures.tile(np.full((100, 400, 3), 90, np.uint8))
    assert (wide[13:27] == 90).all() and wide[:12].max() == 0


def test_every_failure_of_a_study_is_on_its_sheet_with_its_visible_follicles(small, monkeypatch):
    study, table, place = small
    monkeypatch.setenv("PCOS_HOME", str(place))
    plan.write(study)
    results.simple_readers.cache_clear()
    figure, text = failures.sheet(study, counts.NAME)
    wrong = failures.table(results.by_source(study, counts.NAME))
    assert f"calls {len(wrong)} of 24 sources wrongly" in text
    shown = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    truth = pd.read_csv(study.data_dir / "truth.csv").set_index("image").FNPS
    for own, outcome in zip(shown, failures.FALSE.values(), strict=True):
        rows = wrong[wrong.outcome == outcome]
        paths = table.drop_duplicates("source").set_index("source").path[rows.source]
        assert own == [str(truth[path]) for path in paths]
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert [title.split()[0] for title in titles] == [str(len(own)) for own in shown]
    plt.close(figure)


def test_real_frames_are_compared_by_what_was_counted(small, monkeypatch):
    study, _, place = small
    monkeypatch.setenv("PCOS_HOME", str(place))
    plan.write(study)
    monkeypatch.setattr(type(study), "synthetic", property(lambda self: False))
    title, values = failures.fact(study)
    assert title == failures.FOUND and len(values) == 24 and values.ge(0).all()
    assert failures.fact(study.model_copy(update={"models": ("iustnet",)})) is None
