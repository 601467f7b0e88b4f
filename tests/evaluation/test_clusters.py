"""Copies repeat each other by as much as the variance says."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.stats import f_oneway

from pcos_utils.evaluation import clusters


def test_the_correlation_follows_from_scipys_f():
    rng = np.random.default_rng(0)
    for _ in range(200):
        k, m = int(rng.integers(2, 12)), int(rng.integers(2, 9))
        values = rng.normal(size=(k, 1)) * rng.random() + rng.normal(size=(k, m))
        f = f_oneway(*values).statistic
        made = clusters.correlation(values.ravel(), np.repeat(np.arange(k), m))
        assert made == pytest.approx((f - 1) / (f + m - 1))


@pytest.mark.filterwarnings("ignore")
def test_with_many_even_sources_it_is_the_mixed_models():
    rng = np.random.default_rng(1)
    value = (rng.normal(size=(80, 1)) + rng.normal(size=(80, 6))).ravel()
    table = pd.DataFrame({"value": value, "source": np.repeat(np.arange(80), 6)})
    fitted = smf.mixedlm("value ~ 1", table, groups="source").fit(reml=True)
    own = float(fitted.cov_re.iloc[0, 0])
    assert clusters.correlation(value, table.source) == pytest.approx(own / (own + fitted.scale), abs=1e-3)


def test_a_worked_table_of_uneven_sources():
    # Between: (2 * .6667 ** 2 ... ) by hand: means 1, 0 and .5 of 2, 2 and 2 images, within .25 + .25.
    assert clusters.correlation([1, 1, 0, 0, 0, 1], list("aabbcc")) == pytest.approx((0.5 - 1 / 6) / (0.5 + 1 / 6))
    # Sizes 3 and 1: n0 = 4 - 10 / 4 = 1.5; between .75, within 2 / 3 / 2.
    rho = clusters.correlation([1, 1, 0, 0], list("aaab"))
    between, within = (3 * (2 / 3 - 0.5) ** 2 + 0.25), (2 / 3) / 2
    assert rho == pytest.approx((between - within) / (between + 0.5 * within))


def test_design_effect_of_thirty_copies():
    source = np.repeat(np.arange(4), 30)
    assert clusters.design_effect(1.0, source) == 30 and clusters.design_effect(-0.1, source) == 1
    assert clusters.design_effect(0.3, source) == pytest.approx(9.7)
    assert np.isnan(clusters.design_effect(np.nan, source))


def test_equal_copies_leave_as_many_images_as_sources():
    probability = np.repeat([0.9, 0.2, 0.8, 0.6, 0.1, 0.3], 10)
    label = np.repeat([1, 1, 1, 0, 0, 0], 10)
    table = pd.DataFrame({"source": np.repeat(np.arange(6), 10), "label": label, "probability": probability})
    made = clusters.repetition(table)
    assert list(made.columns) == clusters.COLUMNS and len(made) == 4
    np.testing.assert_allclose(made.correlation, 1)
    np.testing.assert_allclose(made.effective_images, 3)


def test_what_never_differs_has_no_correlation():
    assert np.isnan(clusters.correlation(np.ones(20), np.repeat(np.arange(4), 5)))
    assert np.isnan(clusters.correlation([1, 2, 3], list("abc")))  # no source has a second image


def test_the_cluster_t_is_the_t_of_even_sources_means():
    hits, images = np.array([30, 30, 26, 18]), np.full(4, 30)
    share = hits / 30
    low, high = clusters.cluster_t_interval(hits, images)
    half = 3.182446 * share.std(ddof=1) / 2
    assert (low, high) == (pytest.approx(share.mean() - half, abs=1e-6), pytest.approx(min(share.mean() + half, 1)))
