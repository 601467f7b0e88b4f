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


def test_a_source_that_several_networks_judged_counts_once():
    once = out_of_fold(40).assign(repeat=0, fold=0, inner=0)
    thrice = pd.concat([once.assign(repeat=repeat) for repeat in range(3)], ignore_index=True)
    first, second = (tabulate(table, resamples=100) for table in (once, thrice))
    assert second["calibration"] == pytest.approx(first["calibration"]) and second["sources"] == first["sources"]
    assert second["interval"]["low"] == pytest.approx(first["interval"]["low"], abs=1e-4)
    assert second["conformal"] == pytest.approx(first["conformal"])


def test_each_class_stays_in_its_set_as_often_as_promised():
    inside = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        inside.append(rng.random() <= limit(rng.random(39), np.ones(39)))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.05)
    assert limit(np.zeros(8), np.ones(8)) == 1  # too few to leave anything out


def test_the_unit_is_the_source():
    assert tabulate(out_of_fold(30), resamples=100)["sources"] == {"normal": 15, "polycystic": 15}
    image = out_of_fold(30)
    copies = image.loc[image.index.repeat(9)].reset_index(drop=True)  # narrow nothing
    first, second = (tabulate(table, resamples=100) for table in (image, copies))
    assert first["interval"] == second["interval"]
