"""Judge on the real frames what everyday photographs and phantoms teach, under the folds of the study.

    python -m studies.real_transfer FOLDER      a study whose notebook 02 was run (full)

The methods are those of notebooks 3 and 5, which the report on real frames does not hold yet.
"""

import pandas as pd

from pcos_utils import config
from pcos_utils.config import LITE0, ZERO_SHOT
from pcos_utils.data import manifest
from pcos_utils.evaluation import auc, baselines, calibration, comparison, predictions, tables
from pcos_utils.files import write_csv
from pcos_utils.models import transfer
from pcos_utils.reporting import readme, sentences_results
from pcos_utils.reporting.readme import write_block
from studies import OUT, arguments

PAIR = (LITE0, f"{LITE0}_random")


def block(methods: pd.DataFrame, compared: pd.DataFrame) -> str:
    """Return the README's sentences: each method's, and the difference that photographs make.

    Its p is corrected in one family with the differences of the report on real frames.
    """
    report = pd.read_csv(readme.reports()["real"] / "tables" / "comparisons.csv")
    family = pd.concat([compared, report], ignore_index=True)
    p = comparison.holm(family.p.to_numpy())[: len(compared)]
    compared = compared.assign(p_holm=p, verdict=compared.verdict.where(p <= 0.05, "not shown"))
    note = f"The p is corrected together with the {len(report)} above, as one family."
    return f"{sentences_results.methods(methods)}\n\n{sentences_results.differences(compared)} {note}"


def main() -> None:
    """Judge, and write the tables and the README's block."""
    study = config.study("full", arguments(__doc__, "folder").folder, allow_cpu=True, weights="none")
    table = manifest.read(study.report_dir / "sources.csv")
    transfer.photographs(study)
    transfer.zero_shot(study)
    judged = {name: calibration.judge(rows) for name, rows in
              baselines.of_features(study, table, predictions.features(study)).items()}  # fmt: skip
    rows = [tables.of_method(name, each) for name, each in judged.items()]
    by_folds, bare, taught = predictions.zero_shot(study, table)
    rows.append(tables.of_method(ZERO_SHOT, calibration.judge(by_folds), bare=bare, taught=taught))
    rankings = {name: auc.pairs(each) for name, each in judged.items()}
    found = {"": pd.concat(rows, ignore_index=True)}
    found["_pairs"] = comparison.table(rankings, [PAIR], dict.fromkeys(PAIR, True))
    for name, each in found.items():
        write_csv(OUT / f"real_transfer{name}.csv", each.round(6))
    write_block("real-transfer", block(*(pd.read_csv(OUT / f"real_transfer{name}.csv") for name in found)))


if __name__ == "__main__":
    main()
