"""What the networks look at, and what breaks them: the finished demo's readers put to the test, nothing of it trained.

    python -m benchmarks.stress                   after `make reproduce`; estimated: 5 minutes on 2 idle cores
    python -m benchmarks.stress --sources 300 --explained 100          more sources, narrower bands, longer

Each test source is judged by what its own fold trained. One network of each kind is trained besides, on shuffled
labels, to compare its maps. Tables and figures hold no picture; ``stress.json`` says what they were made from.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from benchmarks import stress_report
from pcos_utils import config
from pcos_utils.config import Study, StudyError
from pcos_utils.data import images, splits
from pcos_utils.data.shards import shrink
from pcos_utils.evaluation import baselines, explain, relabelled, report, results, robustness, within
from pcos_utils.evaluation import saliency_checks as checks
from pcos_utils.files import sha256
from pcos_utils.models import architectures, counts, features, follicles, pretraining, sweep, training
from pcos_utils.models.recipes import recipe

NETWORKS = ("iustnet", "densenet121d")
READERS = (*NETWORKS, counts.NAME)
SOURCES, EXPLAINED = 150, 32  # bounded by the time that they take
ROUNDING = 1e-3  # of a logit, between two ways to run one network


def drawn(table: pd.DataFrame, number: int, seed: int) -> pd.DataFrame:
    """One image each of so many sources of ``table`` (sources.csv): of each fold and class as many."""
    firsts = table[table.used == "yes"].drop_duplicates("source")
    cells = firsts.groupby(["r0", "label"])
    each = min(number // cells.ngroups, cells.size().min())
    return cells.sample(each, random_state=seed).sort_values(["r0", "path"]).reset_index(drop=True)


def folder_of(study: Study, model: str, fold: int) -> Path:
    """The run folder of a network under grouped folds: first repeat, first inner part."""
    plan = sweep.plan(model, study)
    plan = plan[(plan.protocol == "grouped") & (plan.repeat == 0) & (plan.inner == 0) & (plan.fold == fold)]
    return study.run_dir(model, next(plan.itertuples(index=False)))


def reader_of(study: Study, name: str, fold: int) -> Callable[[list[np.ndarray]], np.ndarray]:
    """What one fold trained, as a function from pictures, uint8 (H, W, 3), to uncalibrated logits (n,)."""
    if name == counts.NAME:
        counter, counted = counts.load(counts.networks(study)[0]), results.counted(study)
        table = report.read_table(study, "sources").set_index("path")
        train = counted[table.r0.reindex(counted.path).to_numpy() != fold]
        fitted = baselines.logistic().fit(train[["count"]], train.label.astype(int))
        return lambda pictures: fitted.decision_function(pretraining.count(counter, pictures)[["count"]])
    network, prepare = features.trained(name, study, folder_of(study, name, fold)), partial(architectures.prepare, name)
    side = recipe(name, "ours", study).side

    def predict(pictures: list[np.ndarray]) -> np.ndarray:
        """Uncalibrated logits (n,)."""
        pixels = np.stack([images.resize(picture, side) for picture in pictures])
        return training.predict(network, prepare, torch.from_numpy(pixels)).numpy()

    return predict


def stress(study: Study, name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The answers of one reader as ``robustness.curves`` takes them, calibrated and decided as each fold fixed it.

    Raises StudyError where the answers to untouched pictures are not those that the study's files hold.
    """
    judged = results.judged(study, name)
    rules, parts = judged[judged.repeat == 0].set_index("source"), []
    for fold, own in rows.groupby("r0", sort=True):
        pictures = [images.load(study.image_dir / path) for path in own.path]
        made = robustness.answers(reader_of(study, name, int(fold)), pictures, seed=study.seed)
        rule = rules.loc[own.source.to_numpy()[made.row]].reset_index()
        plain = made.severity == made.stress.map(lambda stress: robustness.STRESSES[stress].untouched)
        if (made.logit - rule.raw_logit).abs()[plain].max() > ROUNDING:
            raise StudyError(f"{name}, fold {fold}, does not answer as its files say; run 'make reproduce' again.")
        made["logit"] = rule.slope * made.logit + rule.intercept
        made = made.assign(source=rule.source, label=rule.label, repeat=0, fold=fold)
        parts.append(made.assign(called=made.logit >= rule.threshold))
    return pd.concat(parts, ignore_index=True)


def look(study: Study, name: str, rows: pd.DataFrame) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """The tables of saliency_checks: of a network's maps for polycystic, on test sources of its fold, the first.

    Of the follicle count the map of follicles stands in for the saliency, and there is no other network.
    """
    pictures = [images.load(study.image_dir / path) for path in rows.path]
    truth = pd.read_csv(study.data_dir / "truth.csv").set_index("image")
    side = study.image_side if name == counts.NAME else recipe(name, "ours", study).side
    masks = checks.follicle_masks(truth["mask"].loc[rows.path], study.data_dir, side)
    how = {"resamples": study.resamples, "seed": study.seed}
    if name == counts.NAME:
        grey = np.stack([shrink(picture.mean(axis=2).astype(np.uint8)) for picture in pictures])
        found = follicles.predict_maps(counts.load(counts.networks(study)[0]), grey)[:, 0]
        maps = np.stack([cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA) for part in found])
        return None, checks.share_table({"map of follicles": maps}, masks, rows, **how)
    pixels = np.stack([images.resize(picture, side) for picture in pictures])
    roles = splits.roles(report.read_table(study, "sources"), "grouped", 0, 0, study.seed, 0, study.inners)
    networks = {
        "own": features.trained(name, study, folder_of(study, name, 0)),
        checks.HONEST: features.trained(name, study, folder_of(study, name, 1)),
        checks.RANDOM: explain.untrained(name, pixels, study.seed),
        checks.SHUFFLED: explain.on_dealt_labels(name, study, roles, study.seed),
    }
    polycystic = np.ones(len(rows), int)
    maps = {
        which: {method: explain.saliency(method, name, network, pixels, polycystic) for method in explain.METHODS}
        for which, network in networks.items()
    }
    own = maps.pop("own")
    return checks.check_table(own, maps, rows, **how), checks.share_table(own, masks, rows, maps[checks.RANDOM], **how)


def relabel(study: Study, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of ``relabelled`` for all sources of one reader: other definitions, and one or two wrong labels."""
    found, table = within.meetings(results.judged(study, name)), report.read_table(study, "sources")
    truth = pd.read_csv(study.data_dir / "truth.csv").drop(columns=["source", "label"])
    truth = truth.merge(table[["path", "source"]], left_on="image", right_on="path").drop_duplicates("source")
    made = relabelled.definitions(found, truth, resamples=study.resamples, seed=study.seed)
    return made, relabelled.flips(found)


def measure(study: Study, name: str, number: int, explained: int) -> dict[str, pd.DataFrame | None]:
    """Every table of ``stress_report.TABLES`` about one reader, which is named in the first column."""
    table = report.read_table(study, "sources")
    answered = stress(study, name, drawn(table, number, study.seed))
    made = {"curves": robustness.curves(answered, resamples=study.resamples, seed=study.seed)}
    made["checks"], made["shares"] = look(study, name, drawn(table[table.r0 == 0], explained, study.seed))
    made["definitions"], made["flips"] = relabel(study, name)
    for part in made.values():
        if part is not None:
            part.insert(0, "reader", name)
    return made


def origin(study: Study, name: str) -> dict:
    """What one reader's rows are made from: the study, its plan and images, the weights, packages and the commit."""
    files = [study.plan_path, study.data_dir / "manifest.csv"]
    if name == counts.NAME:
        files += counts.networks(study)
    else:
        files += [folder_of(study, name, fold) / "weights.safetensors" for fold in range(study.folds)]
    digests = {"/".join(path.parts[-2:]): sha256(path) for path in files}
    return {"study": study.name, "seed": study.seed} | report.stamp().to_dict() | {"sha256": digests}


def main() -> None:
    """Prints what the README says from here on; writes tables, figures and where they come from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", nargs="*", default=READERS, help="the rows of others stay; none: draws anew")
    parser.add_argument("--sources", type=int, default=SOURCES, help="test sources that are changed")
    parser.add_argument("--explained", type=int, default=EXPLAINED, help="test sources of a network with maps")
    options, study = parser.parse_args(), config.study()
    unknown = set(options.readers) - set(READERS)
    if unknown:
        parser.error(f"--readers knows {', '.join(READERS)}, not {', '.join(sorted(unknown))}")
    for name in options.readers:
        start, made_from = time.perf_counter(), origin(study, name)
        made = measure(study, name, options.sources, options.explained)
        stress_report.keep(made, name, made_from | {"seconds": round(time.perf_counter() - start)})
        print(f"{name}: done", flush=True)
    manifest = sha256(study.data_dir / "manifest.csv")[:12]
    note = f"{study.name}, seed {study.seed}, synthetic phantoms; manifest.csv {manifest}"
    print(stress_report.write(note))


if __name__ == "__main__":
    main()
