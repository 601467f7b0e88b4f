"""Measure how far the demo's trained AUCs move with the seed of training, which is what `make check` allows.

    python -m studies.seed_spread --seeds 6      after `make reproduce`

Phantoms, sources and folds stay those of the demo. Starting weights, order of images, augmentation and selection
sources are drawn anew. The standard deviations over the trainings, the demo's own included, are written to
``pcos_utils/evaluation/spread.csv``: one row per AUC and one per planned difference.
"""

import os
import shutil

import pandas as pd

from pcos_utils import config
from pcos_utils.evaluation import compare_reports, predictions, tables
from pcos_utils.files import write_csv
from pcos_utils.follicles import counts
from pcos_utils.models import recipes, sweep
from pcos_utils.reporting import store
from studies import arguments


def values(study: config.Study) -> pd.Series:
    """Return the trained AUCs and the planned differences of a study's runs, by table, first and second name."""
    results = tables.evaluate(loaded := predictions.load(study), tables.judge(loaded), resamples=1000)
    aucs = results["metrics"].query("metric == 'auc'")
    aucs = aucs.rename(columns={"model": "first", "protocol": "second"}).assign(table="metrics")
    compared = results["comparisons"].rename(columns={"difference": "value"}).assign(table="comparisons")
    table = pd.concat([aucs, compared]).set_index(["table", "first", "second"]).value
    return table[[bool({first, second} & {*compare_reports.TRAINED}) for _, first, second in table.index]]


def trained(seed: int) -> pd.Series:
    """Return the values of the demo trained with another seed, in its own folder, on the same sources and folds."""
    demo, home, published = config.study(), os.environ.get("PCOS_HOME", ""), dict(recipes.RECIPES)
    report_dir, data_dir, runs_dir = demo.report_dir, demo.data_dir, demo.runs_dir  # before the home changes
    os.environ["PCOS_HOME"] = str(runs_dir.parent / "seed-spread" / f"s{seed}")
    study = config.study(seed=seed)
    for key, recipe in published.items():
        if recipe.seed is not None:  # fixed as published; here it moves with the others
            recipes.RECIPES[key] = recipe.model_copy(update={"seed": recipe.seed + seed})
    try:
        if not study.data_dir.exists():
            study.data_dir.parent.mkdir(parents=True, exist_ok=True)
            study.data_dir.symlink_to(data_dir)
            study.report_dir.mkdir(parents=True)
            for name in ("sources.csv", "plan.json"):
                shutil.copyfile(report_dir / name, study.report_dir / name)
        counts.run(study)
        for model in compare_reports.TRAINED:
            arms = [arm for arm in recipes.ARMS if (model, arm) in recipes.RECIPES]
            store.save_runs(sweep.run(model, study, arms), study, model)
        return values(study)
    finally:
        os.environ["PCOS_HOME"] = home
        recipes.RECIPES |= published


def main() -> None:
    """Train what is missing, then write and print the table."""
    seeds = range(1, arguments(__doc__, seeds=6).seeds + 1)
    each = pd.concat([values(config.study()), *(trained(seed) for seed in seeds)], axis=1)
    spread = each.std(axis=1).round(4).rename("sd").reset_index().assign(trainings=each.shape[1])
    write_csv(compare_reports.SPREAD, spread)
    print(each.to_string(), spread.to_string(), sep="\n\n")


if __name__ == "__main__":
    main()
