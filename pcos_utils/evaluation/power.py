"""Say how many sources a study needs, and what so many sources can show.

Power for an AUC is by the normal approximation, with the variances of a binormal model. For one AUC the variance counts
under the null and at the truth (Obuchowski 1998, Statistical Methods in Medical Research 7:371); of two AUCs on the
same sources the correlation of their scores counts (Hanley and McNeil 1983). For a share it is exact.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import binom, norm

from pcos_utils.config import StudyError
from pcos_utils.evaluation.auc import newcombe
from pcos_utils.evaluation.comparison import ONE_SIDED, binormal, power_of_difference
from pcos_utils.evaluation.intervals import exact

MOST = 1_000_000  # sources; a study that needs more is not planned here
COLUMNS = ["question", "design", "sources", "polycystic", "half_width"]


def of_excess(auc: float, null: float, positives: int, negatives: int) -> float:
    """Return the chance that the 95 % interval of an AUC lies above ``null`` with so many sources of each class."""
    spread = 1 / positives + 1 / negatives
    under_null, at_truth = (np.sqrt(binormal(value, value, 1.0) * spread) for value in (null, auc))
    return float(norm.sf((norm.ppf(1 - ONE_SIDED) * under_null - (auc - null)) / at_truth))


def of_share(truth: float, above: float, n: np.ndarray) -> np.ndarray:
    """Return the chance that the exact 95 % interval of a share of ``n`` sources, (k,), lies above a limit."""
    # The lower limit lies above where so many hits, or more, would have a chance below .025 at the limit.
    return binom.sf(binom.isf(ONE_SIDED, n, above), n, truth)


def sources(power_of: Callable[[int, int], float], prevalence: float, power: float) -> tuple[int, int]:
    """Return the least number of sources, and of polycystic ones, that reach a power. Raises StudyError beyond MOST."""

    def split(n: int) -> tuple[int, int]:
        """Return how many of ``n`` sources are polycystic and normal: at least one of each."""
        positives = min(max(round(prevalence * n), 1), n - 1)
        return positives, n - positives

    low, high = 1, 2
    while power_of(*split(high)) < power:
        low, high = high, 2 * high
        if low > MOST:
            remedy = f"ask for a larger difference, less power or a prevalence nearer to .5 than {prevalence:g}"
            raise StudyError(f"More than {MOST:,} sources would be needed; {remedy}.")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(*split(middle)) >= power else (middle, high)
    return high, split(high)[0]


def positives_for_share(truth: float, above: float, power: float) -> int:
    """Return from how many sources on the exact interval of a share lies above a limit with a power.

    The power goes up and down with the number, so the one counts after which it stays.
    """
    most = 64
    while (reached := of_share(truth, above, np.arange(1, most + 1)))[most // 2 :].min() < power:
        most *= 2
        if most > 20_000:
            raise StudyError("More than 10,000 polycystic sources would be needed; ask for a lower --above or --power.")
    return int(np.flatnonzero(reached < power).max(initial=-1)) + 2


def detectable(positives: int, negatives: int) -> float:
    """Return the least AUC that so many sources show to beat chance with 80 % power; NaN where none is."""
    grid = np.arange(0.505, 0.9999, 0.005)
    shown = np.array([of_excess(float(auc), 0.5, positives, negatives) >= 0.8 for auc in grid])
    return float(grid[shown.argmax()]) if shown.any() else np.nan


def half_width(auc: float, positives: int, negatives: int) -> float:
    """Return half the length of the 95 % interval expected at an AUC, by Hanley and McNeil's variance."""
    return float(np.ptp(newcombe(auc, np.ones((positives, negatives))))) / 2


def half_width_of_share(truth: float, n: int) -> float:
    """Return half the length of the exact 95 % interval expected of a share of ``n`` sources."""
    return float(np.ptp(exact(truth * n, n))) / 2


def table(
    low: float, high: float, *, prevalence: float = 0.3, power: float = 0.8, correlation: float = 0.5,
    recall: float = 0.9, above: float = 0.8,
) -> pd.DataFrame:  # fmt: skip
    """Return how many sources three designs need, with COLUMNS; ``half_width`` is expected at the higher value.

    An AUC ``high`` against ``low`` of another method on the same sources, or against ``low`` as a fixed value; and a
    ``recall`` whose lower limit lies ``above`` a value. ``correlation``: of the two methods' scores within a class.
    Raises StudyError for a number that cannot be meant.
    """
    shares = {"prevalence": prevalence, "power": power, "from": low, "to": high, "recall": recall, "above": above}
    for name, value in shares.items():
        if not 0 < value < 1:
            raise StudyError(f"--{name} {value:g} lies outside 0 to 1; give it as a share, such as 0.8.")
    if not 0 <= correlation < 1:
        raise StudyError(f"--correlation {correlation:g} cannot be used; give 0 or more and less than 1.")
    if not 0.5 <= low < high:
        remedy = "give an AUC of .5 or more, and then a higher one below 1"
        raise StudyError(f"--from {low:g} --to {high:g} is no gain: {remedy}.")
    if not above < recall:
        raise StudyError(f"A recall of {recall:g} is not above {above:g}; give --above a lower value.")
    paired = sources(lambda p, n: power_of_difference(high, low, p, n, correlation), prevalence, power)
    fixed = sources(lambda p, n: of_excess(high, low, p, n), prevalence, power)
    enough = positives_for_share(recall, above, power)
    gain = f"AUC {_given(low)} to {_given(high)}"
    rows = [(gain, f"paired, correlation {correlation:g}", *paired, half_width(high, paired[1], paired[0] - paired[1]))]
    rows += [(gain, f"one method, {_given(low)} fixed", *fixed, half_width(high, fixed[1], fixed[0] - fixed[1]))]
    whole = int(np.ceil(enough / prevalence - 1e-9))
    share = f"recall {_given(recall)}, lower limit above {_given(above)}"
    rows += [(share, "exact interval", whole, enough, half_width_of_share(recall, enough))]
    return pd.DataFrame(rows, columns=COLUMNS)


def _given(share: float) -> str:
    """Return a share as it was given, with two decimals at least."""
    return max(f"{share:.2f}", f"{share:g}", key=len)
