"""Say how many sources a test of two methods needs, and whether this study's own variances agree with the formulas.

    python -m studies.sample_size

Reads the demo's judged.csv; needs nothing else. ``pcos power`` prints the same for other numbers.
"""

from functools import partial

import numpy as np
import pandas as pd

from pcos_utils.config import ROOT
from pcos_utils.evaluation import auc, power
from pcos_utils.evaluation.comparison import binormal
from pcos_utils.files import code, sha256, write_json
from pcos_utils.reporting.text import markdown, number, percent
from studies import OUT, arguments, publish

GAINS, RECALLS = [(0.80, 0.90), (0.85, 0.90), (0.90, 0.95)], [(0.80, 0.70), (0.90, 0.80), (0.95, 0.90)]
PREVALENCE, POWER, CORRELATIONS = 0.3, 0.8, (0.0, 0.5)
JUDGED = ROOT / "reports" / "phantom-demo" / "tables" / "judged.csv"


def needed() -> pd.DataFrame:
    """Return the sources that each gain in AUC and each recall needs."""
    table = partial(power.table, prevalence=PREVALENCE, power=POWER)
    tables = [table(*gain, correlation=correlation)[:2] for gain in GAINS for correlation in CORRELATIONS]
    tables += [table(0.5, 0.9, recall=recall, above=above)[2:] for recall, above in RECALLS]
    return pd.concat(tables).drop_duplicates(["question", "design"]).reset_index(drop=True)


def observed(judged: pd.DataFrame) -> dict[str, list[float]]:
    """Return how the study's variances of an AUC compare with the binormal ones, and how two methods' AUCs correlate.

    Each is the least and the greatest over methods, or pairs of them.
    """
    rankings = [auc.pairs(rows) for _, rows in judged.groupby("model")]
    values, covariance = auc.covariance(rankings)
    expected = [binormal(value, value, 1.0) * (1 / np.bincount(rankings[0].label)).sum() for value in values]
    spread = np.sqrt(np.diag(covariance))
    alike = (covariance / np.outer(spread, spread))[np.triu_indices(len(values), 1)]
    ends = {"variance_ratio": np.diag(covariance) / expected, "correlation": alike}
    return {name: [round(float(end), 3) for end in (min(values), max(values))] for name, values in ends.items()}


def block(table: pd.DataFrame, facts: dict) -> str:
    """Return the table and its reading, as they stand on the page."""
    rows = [[r.question, r.design, f"{r.sources:,}", f"{r.polycystic:,}", f"± {number(r.half_width, 3)}"]
            for r in table.itertuples()]  # fmt: skip
    ratio, alike = (" to ".join(map(number, facts[name])) for name in ("variance_ratio", "correlation"))
    return (
        markdown(["question", "design", "sources", "polycystic", "half-width"], rows)
        + f"\n\n*{percent(PREVALENCE)} polycystic, {percent(POWER)} power, two-sided 5 %; half-width of the 95 % "
        "interval expected at the higher value. Binormal scores; Obuchowski 1998, Hanley and McNeil 1983; for a recall "
        f"the exact binomial.* In the demo the variances of the AUCs are {ratio} times these, and two methods' AUCs "
        f"correlate by {alike}: methods as unlike as a count and a network need the numbers of correlation 0."
    )


def main() -> None:
    """Write the table, where it comes from, and the block of the page."""
    arguments(__doc__)
    facts = observed(pd.read_csv(JUDGED)) | {
        "judged": JUDGED.relative_to(ROOT).as_posix(), "judged_sha256": sha256(JUDGED),
        "code_sha256": code("evaluation/power.py", "evaluation/comparison.py", "evaluation/auc.py"),
    }  # fmt: skip
    write_json(OUT / "sample_size.json", facts)
    publish("sample-size", partial(block, facts=facts), sample_size=needed().round(4))


if __name__ == "__main__":
    main()
