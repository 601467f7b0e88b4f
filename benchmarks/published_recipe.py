"""The published recipe on a folder of frames like dataset B: confusion of images and frames beside the published one.

    python -m benchmarks.published_recipe ../shared/data/dataset-b --models iustnet densenet201
    python -m benchmarks.published_recipe ../shared/data/dataset-b --models densenet121d --epochs 2

At 224 pixels, with the published copies, split (as far as it is known), rates and epochs. The table has no picture.
"""

import argparse
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from pcos_utils import config
from pcos_utils.data import audit, download, splits
from pcos_utils.evaluation import rerun
from pcos_utils.files import sha256, write_csv
from pcos_utils.models import devices, run, sweep

OUT = config.ROOT / "reports" / "benchmarks"


def again(study: config.Study) -> pd.DataFrame:
    """The rerun table of the study's networks, with what each run was: epochs, precision, start, seconds."""
    place = study.report_dir / "sources.csv"
    if not place.exists():
        write_csv(place, splits.draw(audit.find_sources(download.prepare(study), study.image_dir), study))
    table = pd.read_csv(place, keep_default_na=False, na_values={"label": [""]})
    splits.need_test_set(table, study)
    engine = devices.engine_for(study)
    parts = []
    for model in study.models:
        one = next(sweep.plan(model, study).query("arm == 'published'").itertuples(index=False))
        job = run.Job(model, study, one, engine, sha256(place))
        with tqdm(total=job.recipe.epochs, desc=model) as bar:
            record = run.execute(job, table, bar)
        predictions = pd.read_csv(job.folder / "predictions.csv")
        made = rerun.table({model: predictions[predictions.role == "test"]})
        facts = {name: record[name] for name in ("start", "precision", "train_images", "test_sources", "seconds")}
        facts |= {"epochs": job.recipe.epochs, "sources_sha256": record["sources_sha256"][:12]}
        mine = made["run"] == "again"
        parts.append(made.assign(**{name: pd.Series(value, made.index).where(mine) for name, value in facts.items()}))
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Prints the table and adds it to the one that earlier runs wrote for the same folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=list(config.MODELS))
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--weights", default="none", help="where DenseNet201 starts: imagenet, none or a file")
    options = parser.parse_args()
    study = config.study(
        "full", str(options.folder.resolve()), models=tuple(options.models), epochs=options.epochs,
        weights=options.weights, allow_cpu=True,
    )  # fmt: skip
    made = again(study)
    path = OUT / f"published_recipe_{study.data_name}.csv"
    if path.exists():
        earlier = pd.read_csv(path)
        made = pd.concat([earlier[~earlier.model.isin(made.model)], made], ignore_index=True)
    write_csv(path, made)
    print(made.to_string())


if __name__ == "__main__":
    main()
