"""Whoever recomputes the reports from their CSV files, without our code, finds the same."""

import pytest

from pcos_utils.config import ROOT
from tests.recompute import recompute

REPORTS = sorted(path.parent.parent for path in (ROOT / "reports").glob("*/tables/judged.csv"))
SIMULATED = 0.012  # between the ends of two bootstraps of thousands of resamples


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.name)
def test_the_numbers_come_out_again(report):
    results = recompute(report)
    assert {"auc, trained", "auc, nothing fitted", "difference", "recall, iustnet", "net benefit"} <= set(results)
    for name, (stated, again) in results.items():
        drawn = name.startswith(("auc", "difference", "net"))
        assert again[0] == pytest.approx(stated[0], rel=2e-3, abs=2e-5), name
        assert again[1:] == pytest.approx(stated[1:], abs=SIMULATED if drawn else 1e-4), name


def test_there_are_reports_of_phantoms_and_of_real_frames():
    assert any(path.name == "phantom-demo" for path in REPORTS) and any("local" in path.name for path in REPORTS)
