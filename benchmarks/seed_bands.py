"""How far do the trained numbers of the demo move with the seed or the processor? The bands of `make check`.

    python -m benchmarks.seed_bands --seeds 3
    python -m benchmarks.seed_bands --seeds 3 --also REPORT     and the same demo's report of another processor

Phantoms, sources and folds stay those of the committed demo; the weights that a network starts from, its order of
images, its augmentation and its selection sources are drawn anew. A band is SDS standard deviations of a number over
the trainings, the committed one included, of the network, pair or run that moves most. Runs lie in runs/seed_bands;
finished ones are read again, whatever code made them. Writes the rows of ``pcos_utils/evaluation/bands.csv`` that come
from seeds, and leaves the others.
"""

import argparse
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils import config
from pcos_utils.evaluation import check, report, rerun, results
from pcos_utils.files import write_csv
from pcos_utils.models import recipes, sweep

SDS = 4  # two trainings differ by root two of them, and of hundreds of numbers some by nearly three times that
PLACE = config.ROOT / "runs" / "seed_bands"
TABLES = (
    "metrics",
    "comparisons",
    "flips",
    "thresholds",
    "published_rerun",
    *(f"runs_{model}" for model in config.MODELS),
)


def trained(seed: int) -> Path:
    """The folder of the tables of one seed's training on the committed demo's sources and folds."""
    committed, place = config.study(), PLACE / f"s{seed}"
    images, reports = committed.data_dir, committed.report_dir
    os.environ["PCOS_HOME"] = str(place)
    study = config.study(seed=seed)
    try:
        if (study.report_dir / "tables" / "published_rerun.csv").exists():
            return study.report_dir
        study.data_dir.parent.mkdir(parents=True, exist_ok=True)
        if not study.data_dir.exists():
            study.data_dir.symlink_to(images)
        study.report_dir.mkdir(parents=True, exist_ok=True)
        for name in ("sources.csv", "plan.json"):
            shutil.copyfile(reports / name, study.report_dir / name)
        _train(study, seed)
        return study.report_dir
    finally:
        del os.environ["PCOS_HOME"]


def _train(study: config.Study, seed: int) -> None:
    kept = dict(recipes.RECIPES)
    # The published arm has a seed of its own; it moves with the others here.
    recipes.RECIPES |= {
        key: one.model_copy(update={"seed": one.seed + seed}) for key, one in kept.items() if one.seed is not None
    }
    for model in config.MODELS:
        report.save_runs(sweep.run(model, study), study, model)
    recipes.RECIPES |= kept
    results.evaluate(study)
    tests = {model: report.predictions(study, model, "published") for model in config.MODELS}
    report.save_table(rerun.table(tests), study, "published_rerun")


def network(table: pd.DataFrame) -> pd.Series:
    """Which network, or pair of readers, each row is of; in a table of one network's runs, which run."""
    names = [table[column].astype(str) for column in ("model", "first", "second") if column in table]
    return names[0].str.cat(names[1:], sep=" ") if names else pd.Series(range(len(table)), table.index)


def moved(folders: list[Path]) -> pd.DataFrame:
    """How far each kind of number moves: table, rows, metric, column, band, origin."""
    origin = f"seeds: {SDS} SD over {len(folders)} trainings, of what moves most"
    rows = []
    for name in TABLES:
        tables = [pd.read_csv(folder / "tables" / f"{name}.csv") for folder in folders]
        if name.startswith("runs"):  # their rows are named by the seed, too, which is what differs
            tables = [table.assign(seed=tables[0].seed) for table in tables]
        tables = [check.keyed(name, table) for table in tables]
        kind, first = check.kinds(name, tables[0]), tables[0]
        metric = first["metric"] if "metric" in first else pd.Series("*", index=first.index)
        for column in first.select_dtypes("number").columns.difference([*check.KEYS.get(name, []), *check.EXACT]):
            values = np.stack([table[column].reindex(first.index).to_numpy(float) for table in tables])
            # An interval that one training has and another has not moves, too: over those that have it.
            variance = pd.DataFrame(values).var(ddof=1).set_axis(first.index)
            variance = variance.where(np.isfinite(variance))[kind.str.startswith("trained")]
            # Of the network that moves most: pooled with those that hardly move it would leave its band by itself.
            each = variance.groupby([kind, metric, network(first)]).mean()
            for (rests, of), largest in each.groupby(level=[0, 1]).max().items():
                if largest > 0:
                    band = max(SDS * np.sqrt(largest), check.ROUNDING)
                    rows.append((name, rests, of, column, float(f"{band:.2g}"), origin))
    made = pd.DataFrame(rows, columns=list(check.COLUMNS))
    # A value and the ends of its interval move together: one band for the three.
    made["column"] = made.column.where((made.table != "metrics") | (made.column == "p"), "*")
    made = made.sort_values("column", key=lambda names: names == "*", kind="stable")  # the first row that fits counts
    return made.groupby(["table", "rows", "metric", "column", "origin"], sort=False, as_index=False).band.max()[
        made.columns
    ]


def main(seeds: int, also: list[Path]) -> None:
    """Trains what is missing and writes the bands."""
    folders = [config.study().report_dir, *also] + [trained(seed) for seed in range(1, seeds + 1)]
    made, kept = moved(folders), check.bands()
    # The first row that fits counts, so that words, which no number bounds, come before the seeds.
    kept = kept[~kept.origin.str.startswith("seeds:")]
    write_csv(check.BANDS, pd.concat([kept, made], ignore_index=True))
    print(made.to_string())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="reports of other processors")
    options = parser.parse_args()
    main(options.seeds, options.also)
