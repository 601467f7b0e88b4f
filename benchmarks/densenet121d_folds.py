"""DenseNet121d on real frames without a GPU: one repeat of grouped folds at 128 pixels, from random weights.

    python -m benchmarks.densenet121d_folds FOLDER     a study whose notebook 02 was run (full)

The recipe is ours with the sides and epochs that the full preset takes on a CPU; the published arm, 217 epochs at 224
pixels, is left to a GPU. Finished runs are read. Compared, under the same folds, with the follicle count and with the
counter without a network; these two comparisons were not planned before the others' results were there.
"""

import argparse

import pandas as pd
from tqdm import tqdm

from benchmarks.stress_report import OUT, README
from pcos_utils import config
from pcos_utils.config import Study
from pcos_utils.data import manifest
from pcos_utils.evaluation import calibration, comparison, guards, plan, readings, report, results, uncertainty
from pcos_utils.files import sha256, write_csv, write_text
from pcos_utils.models import counts, sweep
from pcos_utils.models.devices import engine_for
from pcos_utils.models.recipes import recipe
from pcos_utils.models.run import Job, execute
from pcos_utils.runner import with_block

NAME = "densenet121d"
PAIRS = [(NAME, plan.REFERENCE), (counts.NAME, NAME)]


def train(study: Study) -> pd.DataFrame:
    """The predictions of every fold, trained where they are missing."""
    path = study.report_dir / "sources.csv"
    table, engine = manifest.read(path), engine_for(study)
    runs = sweep.plan(NAME, study).query("protocol == 'grouped'")
    with tqdm(total=len(runs) * recipe(NAME, "ours", study).epochs) as bar:
        for one in runs.itertuples(index=False):
            execute(Job(NAME, study, one, engine, sha256(path)), table, bar)
    made = report.predictions(study, NAME, "grouped", None)
    guards.as_drawn(study, NAME, made)
    return made


def block(metrics: pd.DataFrame, compared: pd.DataFrame) -> str:
    """What the README says of the two tables."""
    parts = [
        f"{results.TITLES[row.first]} less {results.TITLES[row.second]} {readings.interval(row)}, {row.verdict}"
        for row in compared[compared.metric == "auc"].rename(columns={"difference": "value"}).itertuples()
    ]
    side, repeats = metrics.side.iloc[0], metrics.repeats.iloc[0]
    return (
        f"{readings.model_sentence(NAME, metrics)} That is a study of its own, {readings.many(repeats, 'repeat')} of "
        f"the same folds at {side} pixels, made after the rest was seen; paired differences of AUC: "
        f"{'; '.join(parts)}."
    )


def main() -> None:
    """Trains, judges, and writes the tables and the README's sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    study = config.study("full", parser.parse_args().folder, allow_cpu=True, repeats=1)
    judged = {NAME: calibration.judged(train(study))}
    judged |= {name: results.judged(study, name) for name in (counts.NAME, plan.REFERENCE)}
    how = {"resamples": study.resamples, "seed": study.seed}
    made = uncertainty.evidence_table(judged[NAME], **how)
    made.insert(0, "model", NAME)
    made = made.assign(protocol="grouped", level="source", side=recipe(NAME, "ours", study).side, repeats=study.repeats)
    compared = comparison.comparison_table(judged, PAIRS, **how)
    for name, table in (("", made), ("_pairs", compared)):
        write_csv(OUT / f"densenet121d_{study.data_name}{name}.csv", table)
    text = block(made, compared)
    write_text(README, with_block(README.read_text(), text, "densenet121d"))
    print(text)


if __name__ == "__main__":
    main()
