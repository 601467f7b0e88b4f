"""What is tabulated from out-of-fold predictions: calibration, interval, threshold and conformal limits."""

import numpy as np
import pandas as pd
import pytest

from pcos_utils.evaluation import calibration
from pcos_utils.serving.tabulate import limit, tabulate
from tests.serving.made import out_of_fold


def test_the_interval_holds_the_probability_and_narrows_with_sources():
    widths = []
    for n in (20, 400):
        made = tabulate(out_of_fold(n), resamples=200)
        grid, low, high = (np.array(made["interval"][name]) for name in ("logit", "low", "high"))
        middle = calibration.probability(made["calibration"]["slope"] * grid + made["calibration"]["intercept"])
        assert (low <= middle + 1e-4).all() and (middle <= high + 1e-4).all() and (np.diff(middle) >= 0).all()
        widths.append((high - low)[len(grid) // 2])
    assert widths[1] < 0.6 * widths[0]


def test_calibration_and_threshold_are_those_of_the_study():
    table = out_of_fold(40)
    made, each = tabulate(table, resamples=100), calibration.by_network(table)
    rule = calibration.fit(each.raw_logit.to_numpy(), each.label.to_numpy())
    assert made["calibration"] == pytest.approx({"slope": rule.slope, "intercept": rule.intercept})
    assert made["threshold"] == pytest.approx(float(calibration.probability(np.array(rule.threshold))))


@pytest.mark.parametrize("more", ["networks", "copies"])
def test_the_unit_is_the_source_however_many_networks_judged_it_and_copies_it_has(more):
    once = out_of_fold(40).assign(repeat=0, fold=0, inner=0)
    again = [once.assign(repeat=repeat if more == "networks" else 0) for repeat in range(3)]
    first, second = (tabulate(table, resamples=100) for table in (once, pd.concat(again, ignore_index=True)))
    assert first["sources"] == second["sources"] == {"normal": 20, "polycystic": 20}
    assert second["calibration"] == pytest.approx(first["calibration"])
    assert second["interval"]["low"] == pytest.approx(first["interval"]["low"], abs=1e-4)
    assert second["conformal"] == pytest.approx(first["conformal"])


def test_each_class_stays_in_its_set_as_often_as_promised():
    inside = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        inside.append(rng.random() <= limit(rng.random(39), np.ones(39)))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.05)
    assert limit(np.zeros(8), np.ones(8)) == 1  # too few to leave anything out
