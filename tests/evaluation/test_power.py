"""Sample sizes: the issue's figures, and simulations that find the power which the formulas promise."""

import numpy as np
import pytest
from scipy.stats import beta, binom, norm

from pcos_utils.config import StudyError
from pcos_utils.evaluation import comparison, power
from pcos_utils.evaluation.auc import Pairs, interval
from pcos_utils.evaluation.intervals import exact, resample


def ranking(score: np.ndarray, label: np.ndarray) -> Pairs:
    """Return all pairs of independent sources."""
    met = 1.0 - np.eye(len(label))
    return Pairs(np.arange(len(label)), label, (score[:, None] > score) * met, met)


@pytest.mark.parametrize(("low", "high", "paired", "fixed"), [(0.85, 0.90, 504, 465), (0.90, 0.95, 308, 269)])
def test_the_figures_for_thirty_per_cent_and_eighty_per_cent_power(low, high, paired, fixed):
    rows = power.table(low, high)
    assert rows.sources.tolist() == [paired, fixed, 377] and rows.polycystic.iloc[2] == 113
    assert power.table(low, high, correlation=0).sources[0] > paired  # alike methods differ more surely
    assert power.table(0.853, high).question[0] == f"AUC 0.853 to {high:.2f}"  # as it was given


def test_the_least_number_is_the_least():
    total, positives = power.sources(lambda p, n: power.of_excess(0.9, 0.5, p, n), 0.3, 0.8)
    assert power.of_excess(0.9, 0.5, positives, total - positives) >= 0.8
    fewer = round(0.3 * (total - 1))
    assert power.of_excess(0.9, 0.5, fewer, total - 1 - fewer) < 0.8
    assert power.detectable(12, 29) == pytest.approx(0.765) and np.isnan(power.detectable(1, 1))


def test_the_power_of_a_share_counts_the_exact_intervals():
    n, drawn = power.positives_for_share(0.9, 0.8, 0.8), np.random.default_rng(0)
    shown = np.mean([exact(hits, n)[0] > 0.8 for hits in drawn.binomial(n, 0.9, 4000)])
    assert shown == pytest.approx(power.of_share(0.9, 0.8, np.array([n]))[0], abs=0.02) and shown >= 0.78
    assert power.of_share(0.9, 0.8, np.arange(n, 3 * n)).min() >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("low", "high"), [(0.85, 0.90), (0.90, 0.95)])
def test_simulated_studies_reach_the_power_that_the_formulas_promise(low, high):
    rows, rng, studies = power.table(low, high), np.random.default_rng(0), 300
    shift = np.sqrt(2) * norm.ppf([[high], [low]])
    for place, row in enumerate(rows.iloc[:2].itertuples()):
        label = (np.arange(row.sources) < row.polycystic).astype(int)
        shown = 0
        for _ in range(studies):
            noise = np.linalg.cholesky([[1, 0.5], [0.5, 1]]) @ rng.normal(size=(2, row.sources))
            first, second = (ranking(score, label) for score in noise + shift * label)
            if place == 0:  # as the report tests it: DeLong's p, two-sided
                difference = comparison.paired(first, second, (False, False), resamples=20)
                shown += difference.p <= 0.05 and difference.first > difference.second
            else:  # as the report states it: a BCa interval over sources
                shown += interval(first, resample(label, 400, int(rng.integers(2**31)))).low > low
        assert shown / studies == pytest.approx(0.8, abs=0.09)  # 3 standard errors, and the normal approximation


def test_a_share_near_its_limit_is_quick_and_is_what_counting_gives():
    sizes = np.arange(1, 90)
    counted = [(beta.ppf(0.025, hits := np.arange(1, n + 1), n - hits + 1) <= 0.8).sum() for n in sizes]
    assert np.allclose(power.of_share(0.9, 0.8, sizes), binom.sf(counted, sizes, 0.9))
    assert power.positives_for_share(0.9, 0.88, 0.8) > 1_000
    with pytest.raises(StudyError, match="More than 10,000 polycystic"):
        power.positives_for_share(0.9, 0.8999, 0.8)
    with pytest.raises(StudyError, match="prevalence nearer to .5 than 0.0001"):
        power.table(0.85, 0.9, prevalence=0.0001)
