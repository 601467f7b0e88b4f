"""Test trained networks against chance: the same networks, trained again on shuffled labels.

    python -m studies.dealings --preset full --data FOLDER --models iustnet,densenet201

In each dealing, labels are dealt to the sources at random and folds are drawn for them. Every network is then trained
and judged as in the study, and its AUC is kept. A dealing has one repeat of the folds, where a study may have ten: its
AUCs spread at least as much, so that the test errs towards "not shown". The notebooks read the table, ``dealings.csv``
beside the study's plan. A dealing that is in the table is not made again.
"""

import os
import shutil

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from pcos_utils import config
from pcos_utils.data import manifest, splits
from pcos_utils.evaluation import auc, calibration, predictions
from pcos_utils.files import sha256, write_csv, write_json
from pcos_utils.models import sweep
from studies import arguments

COLUMNS = ["model", "dealing", "auc", "sources_sha256"]


def deal(study: config.Study, models: list[str], table: pd.DataFrame, seed: int) -> list[float]:
    """Return each network's AUC in one study of dealt labels, which is written where PCOS_HOME says.

    ``table``: of sources.csv; its used sources get labels dealt at random, and folds drawn for them.
    """
    labels = splits.source_labels(table[table.used == "yes"])
    drawn = pd.Series(np.random.default_rng(seed).permutation(labels), labels.index)
    anew = table.assign(label=table.source.map(drawn).fillna(table.label).astype(int))
    anew = splits.draw(anew.drop(columns=["used", "split", *(f"r{n}" for n in range(study.repeats))]), study)
    write_csv(study.report_dir / "sources.csv", anew)
    write_json(study.plan_path, {"supersedes": []})
    aucs = []
    for model in models:
        sweep.run(model, study, arms=("ours",))
        judged = calibration.judge(predictions.of_runs(study, model, "grouped"))
        aucs.append(round(float(auc.auc(auc.pairs(judged))), 6))
    return aucs


def main() -> None:
    """Make the dealings that the table lacks."""
    options = arguments(__doc__, preset="demo", data="phantom", models="densenet201,iustnet", weights="none", number=99)
    study = config.study(options.preset, options.data, weights=options.weights, allow_cpu=True)
    path, out = study.report_dir / "sources.csv", study.report_dir / predictions.DEALINGS
    table, images, digest = manifest.read(path), study.data_dir, sha256(path)
    done = pd.read_csv(out) if out.exists() else pd.DataFrame(columns=COLUMNS)
    done = done[done.sources_sha256 == digest]
    place = config.home() / "runs" / "dealings"
    os.environ["PCOS_HOME"] = str(place)
    once = study.model_copy(update={"repeats": 1})
    if not once.data_dir.exists():
        once.data_dir.parent.mkdir(parents=True, exist_ok=True)
        once.data_dir.symlink_to(images)
    for number in tqdm(range(options.number), desc="dealings"):
        missing = sorted(set(options.models.split(",")) - set(done.model[done.dealing == number]))
        if missing:
            rows = zip(missing, deal(once, missing, table, number), strict=True)
            rows = pd.DataFrame([(model, number, value, digest) for model, value in rows], columns=COLUMNS)
            done = pd.concat([done, rows]).sort_values(["model", "dealing"])
            write_csv(out, done)
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
