"""Bare counts are scored without a label or a fold, and a control that fails is named."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pcos_utils.evaluation import results, unfitted
from pcos_utils.files import write_csv


@pytest.fixture
def home_of_small(small, monkeypatch):
    """The small study, in its folder."""
    study, table, place = small
    monkeypatch.setenv("PCOS_HOME", str(place))
    return study, table


def test_the_auc_is_that_of_the_count_itself(home_of_small):
    study, _ = home_of_small
    made = unfitted.table(study).set_index(["reader", "unit"])
    found = results.counted(study)
    row = made.loc[("follicles", "source")]
    assert row.value == pytest.approx(roc_auc_score(found.label, found["count"]))
    assert row.low <= row.value <= row.high and (row.sources, row.polycystic) == (24, 12)
    assert list(made.index) == [("follicles", "source"), ("local_contrast", "source")]
    assert "24 sources, 12 polycystic" in unfitted.sentence(made.reset_index())


def test_images_that_were_left_out_are_counted_beside(home_of_small):
    study, table = home_of_small
    path = study.report_dir / "sources.csv"
    before = path.read_bytes()
    try:
        write_csv(path, table.assign(used=np.where(table.index == 3, "no", "yes")))
        made = unfitted.table(study)
    finally:
        path.write_bytes(before)
    assert made.sources.tolist() == [23, 23, 24] and made.unit.tolist() == ["source", "source", "image"]


def blind(auc: float, pooled: float, high: float) -> pd.DataFrame:
    """The two AUC rows of the reader that knows nothing."""
    rows = pd.DataFrame({"metric": ["auc", "auc_pooled"], "value": [auc, pooled], "low": [np.nan, 0.09]})
    rows = rows.assign(high=[np.nan, high], reason=["all resamples agree", ""], at="", beside=False)
    return rows.assign(model="always_normal", protocol="grouped", level="source")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (blind(0.5, 0.21, 0.39), "an AUC of .21 [.09, .39]"),
        (blind(0.5, 0.48, 0.61), ""),
        (blind(0.4, 0.21, 0.39), "A control fails"),
        (blind(np.nan, 0.21, 0.39), "A control fails"),
        (blind(0.5, 0.48, 0.61).assign(model="iustnet"), ""),
    ],
)
def test_the_blind_reader_is_told_where_pooling_would_mislead_or_a_control_fails(rows, told):
    text = unfitted.control_sentence(rows)
    assert told in text and bool(text) == bool(told)
