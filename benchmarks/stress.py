"""What the networks look at, and what breaks them: the finished demo's readers put to the test, nothing of it trained.

    python -m benchmarks.stress                   after `make reproduce`; estimated: 5 minutes on 2 idle cores
    python -m benchmarks.stress --sources 300 --explained 100          more sources, narrower bands, longer

Each test source is judged by what its own fold trained. One network of each kind is trained besides, on shuffled
labels, to compare its maps. Tables and figures hold no picture; ``stress.json`` says what they were made from.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from pcos_utils import config
from pcos_utils.config import Study, StudyError
from pcos_utils.data import images, splits
from pcos_utils.data.shards import shrink
from pcos_utils.evaluation import (
    baselines,
    explain,
    figures,
    figures_stress,
    relabelled,
    report,
    results,
    robustness,
    within,
)
from pcos_utils.evaluation import saliency_checks as checks
from pcos_utils.files import alone_in, appearing, sha256, write_csv, write_json, write_text
from pcos_utils.models import architectures, counts, features, follicles, pretraining, sweep, training

OUT, README = config.ROOT / "reports" / "benchmarks", config.ROOT / "README.md"
NETWORKS = ("iustnet", "densenet121d")
READERS = (*NETWORKS, counts.NAME)
SOURCES, EXPLAINED = 150, 32  # bounded by the time that they take
TABLES = ("curves", "checks", "shares", "definitions", "flips")
JUDGED = "Each source is judged by what its own fold trained ([curves](reports/benchmarks/stress_curves.png)):"
MAPS = (
    '([Figure](reports/benchmarks/stress_saliency.png).) "Like" is the rank correlation with the map of another '
    "network; a map tells of what was learnt where it is shown to be more like another fold's than like the other two."
)
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

    def predict(pictures: list[np.ndarray]) -> np.ndarray:
        pixels = np.stack([images.resize(picture, study.image_side) for picture in pictures])
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
    masks = checks.follicle_masks(truth["mask"].loc[rows.path], study.data_dir, study.image_side)
    how = {"resamples": study.resamples, "seed": study.seed}
    if name == counts.NAME:
        grey = np.stack([shrink(picture.mean(axis=2).astype(np.uint8)) for picture in pictures])
        found = follicles.predict_maps(counts.load(counts.networks(study)[0]), grey)[:, 0]
        side = (study.image_side, study.image_side)
        own = {"map of follicles": np.stack([cv2.resize(part, side, interpolation=cv2.INTER_AREA) for part in found])}
        return None, checks.share_table(own, masks, rows, **how)
    pixels = np.stack([images.resize(picture, study.image_side) for picture in pictures])
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
    """Every table of TABLES about one reader, which is named in the first column."""
    table = report.read_table(study, "sources")
    answered = stress(study, name, drawn(table, number, study.seed))
    made = {"curves": robustness.curves(answered, resamples=study.resamples, seed=study.seed)}
    made["checks"], made["shares"] = look(study, name, drawn(table[table.r0 == 0], explained, study.seed))
    made["definitions"], made["flips"] = relabel(study, name)
    for part in made.values():
        if part is not None:
            part.insert(0, "reader", name)
    return made


def keep(made: dict[str, pd.DataFrame | None], name: str, made_from: dict) -> None:
    """Nothing; the rows of one reader and where they come from are in the files, those of others stay."""
    with alone_in(OUT, lambda: None):  # the readers may be at work side by side
        for key, part in made.items():
            path = OUT / f"stress_{key}.csv"
            parts = [part] if part is not None else []
            if path.exists():
                before = pd.read_csv(path)
                parts.append(before[before.reader != name])
            if not parts:  # the count has no other network to be compared with
                continue
            table = pd.concat(parts).sort_values("reader", key=lambda names: names.map(READERS.index), kind="stable")
            write_csv(path, table)
        place = OUT / "stress.json"
        write_json(place, (json.loads(place.read_text()) if place.exists() else {}) | {name: made_from})


def read() -> dict[str, pd.DataFrame]:
    """The tables as they are kept; one that no reader has filled is empty."""
    paths = {name: OUT / f"stress_{name}.csv" for name in TABLES}
    empty = pd.DataFrame(columns=["reader", "method", "against"])
    return {name: pd.read_csv(path) if path.exists() else empty for name, path in paths.items()}


def markdown(tables: dict[str, pd.DataFrame]) -> str:
    """What the README says of the tables that are there: what breaks each reader, where its maps lie, other truths."""
    parts, count = [], results.TITLES[counts.NAME]
    if len(tables["curves"]):
        readers = tables["curves"].groupby("reader", sort=False)
        lines = [f"- {robustness.sentence(own, results.TITLES[name])}" for name, own in readers]
        parts.append("\n".join([JUDGED, "", *lines]))
    if len(tables["shares"]):
        parts.append(checks.markdown(tables["shares"], tables["checks"], results.TITLES))
        parts.append(f"{checks.sentence(tables['shares'], results.TITLES)} {MAPS}")
    own = {name: tables[name][tables[name].reader == counts.NAME] for name in ("definitions", "flips")}
    if len(own["flips"]):
        told = relabelled.definition_sentence(own["definitions"], count), relabelled.flip_sentence(own["flips"], count)
        parts.append(" ".join(told))
    return "\n\n".join(parts)


def with_block(text: str, block: str) -> str:
    """The README with another text between the two marks of this script."""
    before, rest = text.split("<!-- stress:")
    mark, after = rest.split("-->", 1)
    return f"{before}<!-- stress:{mark}-->\n{block}\n<!-- /stress -->{after.split('<!-- /stress -->')[1]}"


def draw(tables: dict[str, pd.DataFrame], note: str) -> None:
    """Nothing; the figures are written as PNG and SVG."""
    matplotlib.use("agg")
    figures.use_style()
    made = {}
    if len(tables["curves"]):
        made["stress_curves"] = figures_stress.stress_sheet(tables["curves"])
    if len(tables["shares"]):
        made["stress_saliency"], axes = plt.subplots(1, 2, figsize=(12, 4.6))
        figures_stress.share_points(tables["shares"], ax=axes[0])
        figures_stress.check_points(tables["checks"], ax=axes[1]) if len(tables["checks"]) else axes[1].axis("off")
    of_reader = list(tables["definitions"].groupby("reader", sort=False))
    made["stress_definitions"], axes = plt.subplots(1, len(of_reader), figsize=(4 * len(of_reader), 3.3), squeeze=False)
    for ax, (name, own) in zip(axes.flat, of_reader, strict=True):
        figures_stress.definition_points(own, ax=ax).set_title(results.TITLES[name], fontsize="medium")
    for name, figure in made.items():
        figure.text(0.995, -0.01, note, ha="right", va="top", fontsize=7, color="0.45")
        for suffix, metadata in ((".png", {"Description": note}), (".svg", {"Description": note, "Date": None})):
            with appearing(OUT / f"{name}{suffix}") as path:
                figure.savefig(path, bbox_inches="tight", metadata=metadata)


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
        keep(made, name, made_from | {"seconds": round(time.perf_counter() - start)})
        print(f"{name}: done", flush=True)
    tables = read()
    manifest = sha256(study.data_dir / "manifest.csv")[:12]
    draw(tables, f"{study.name}, seed {study.seed}, synthetic phantoms; manifest.csv {manifest}")
    write_text(README, with_block(README.read_text(), markdown(tables)))
    print(markdown(tables))


if __name__ == "__main__":
    main()
