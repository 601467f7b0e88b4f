"""What an outline is worth in labels is read off the curves; falls under a change are corrected for all changes."""

import numpy as np
import pandas as pd
import pytest

from pcos_utils.evaluation import auc
from pcos_utils.evaluation.intervals import resample
from studies import curves_report, learning_curves, stress

LABEL = np.tile([0, 1], 200)


def rankings(shift: dict[str, dict[int, float]]) -> dict:
    """Pairs of three seeds: the farther the classes lie apart, the better a method ranks."""
    drawn, found = np.random.default_rng(0), {}
    for method, of in shift.items():
        for size, apart in of.items():
            score = [LABEL * apart + drawn.normal(size=LABEL.size) for _ in range(3)]
            tables = [pd.DataFrame({"source": range(LABEL.size), "label": LABEL, "logit": each}) for each in score]
            found[method, size] = [auc.pairs(table) for table in tables]
    return found


def test_outlines_that_rank_as_three_times_as_many_labels_are_worth_three():
    shift = {"unet_outlines": {100: 0.6, 300: 1.2, 1000: 4.0}, "unet_labels": {100: -0.5, 300: 0.6, 1000: 1.2}}
    found = pd.DataFrame(curves_report.worth(rankings(shift), resample(LABEL, 300))).set_index("outlined")
    assert found.labelled[100] == pytest.approx(300, rel=0.3) and found.labelled[300] == pytest.approx(1000, rel=0.35)
    assert found.low[100] < 300 < found.high[100] and np.isinf(found.labelled[1000]) and np.isinf(found.low[1000])
    assert curves_report._number(np.inf, [100, 1000]) == "more than 1,000"
    assert curves_report._number(0, [100, 1000]) == "at most 100"


def test_the_intervals_hold_the_variance_over_sources_and_that_between_seeds():
    of = rankings({"unet_outlines": {100: 1.0}, "iustnet": {100: 0.2}})
    means, differences = (pd.DataFrame(rows) for rows in learning_curves.rows(of, "phantoms"))
    gain = differences.iloc[0]
    assert len(differences) == 1 and gain.value == pytest.approx(means.value[0] - means.value[1])
    assert gain.low > 0 and (means.low < means.value).all() and (means.high > means.value).all()
    one_seed = {key: each[:1] * 3 for key, each in of.items()}
    same, _ = (pd.DataFrame(rows) for rows in learning_curves.rows(one_seed, "phantoms"))
    assert (same.sd_seeds == 0).all()
    values, variance = auc.covariance(one_seed["iustnet", 100][:1])
    assert same.value[1] - same.low[1] == pytest.approx(1.96 * variance[0, 0] ** 0.5, rel=1e-3) and len(values) == 1


def test_the_falls_of_a_count_are_corrected_for_all_changes():
    drawn, label = np.random.default_rng(0), np.tile([0, 1], 8)
    pictures = [drawn.integers(40 + 20 * value, 160, (40, 60, 3)).astype(np.uint8) for value in label]
    used = pd.DataFrame({"source": range(16), "label": label})
    table = stress.curves(lambda some: np.array([picture.mean() for picture in some]), pictures, used, 0)
    tested = table[table.p.notna()]
    assert len(tested) == 23 and table.p_holm.notna().sum() == 23
    assert tested.p_holm.min() == pytest.approx(min(1, 23 * tested.p.min())) and (tested.p_holm >= tested.p).all()
