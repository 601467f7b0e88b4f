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


@pytest.mark.parametrize(("high", "told"), [(0.39, True), (0.61, False), (np.nan, False)])
def test_a_blind_reader_below_chance_is_a_failed_control(high, told):
    rows = pd.DataFrame({"model": ["always_normal"], "value": [0.21], "low": [0.09], "high": [high]})
    text = unfitted.control_sentence(rows)
    assert bool(text) == told and (not told or "A control fails" in text and ".21 [.09, .39]" in text)


def test_no_blind_reader_no_control():
    assert unfitted.control_sentence(pd.DataFrame({"model": ["iustnet"], "high": [0.3]})) == ""
