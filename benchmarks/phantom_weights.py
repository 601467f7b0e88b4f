"""Do phantoms teach the three networks anything about real frames? Zero-shot, fine-tuned, and the same from scratch.

    python -m benchmarks.phantom_weights FOLDER     a study whose notebook 02 was run (full); trains what is missing

Each network learns from 1,500 phantoms of each class and is judged on held-out phantoms. Then, unchanged, on the
study's sources; then under its grouped folds, one repeat, once started from the phantoms' weights at a tenth of the
learning rate and once from random ones, all else alike. DenseNet201 has the same frozen random features in all arms;
phantoms teach its head. What is judged is written to phantom_weights.json, with the weights' digests, before a real
frame is scored; a changed one names those before it.
"""

import argparse
import hashlib
import json
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from benchmarks import equal_quality
from benchmarks.stress_report import README
from pcos_utils import config
from pcos_utils.config import Study
from pcos_utils.data import cache, images, manifest, phantom, splits
from pcos_utils.data import shards as shard_files
from pcos_utils.evaluation import calibration, comparison, readings, results, within
from pcos_utils.evaluation.figures import MODEL_NAMES
from pcos_utils.evaluation.readings import number
from pcos_utils.files import sha256, write_csv, write_json, write_text
from pcos_utils.models import architectures, counts, devices, pretraining, training, weights
from pcos_utils.models.code import code_hash
from pcos_utils.models.lessons import images_of
from pcos_utils.models.recipes import EPOCHS_ON_CPU, RECIPES, Recipe
from pcos_utils.runner import with_block

OUT = config.ROOT / "reports" / "benchmarks"
SIDES = {"iustnet": 64, "densenet121d": 64, "densenet201": 96}  # px; bounded by the hours of two cores
EPOCHS = {"iustnet": 12, "densenet121d": 6, "densenet201": 30}  # on phantoms, of which there are many
PER_CLASS, HELD_OUT, REPEATS, SEED = 1500, 200, 1, 0
GENTLE = 0.1  # of the recipe's learning rate, where a network is fine-tuned; fixed beforehand, not tuned
ZERO, TUNED, SCRATCH = "phantom weights, zero-shot", "phantom weights, fine-tuned", "from scratch"
RESAMPLES = 2000


def phantoms(per_class: int, seed: int, side: int) -> training.Images:
    """Phantoms as images to train on or to judge, of the files that the follicle network learns from."""
    found = shard_files.load(shard_files.shards(config.home() / "runs" / counts.NAME / "shards", per_class, seed))
    pixels = np.stack([images.resize(np.repeat(one[..., None], 3, axis=2), side) for one in found["images"]])
    labels = torch.tensor(found["label"].astype(np.float32))
    return training.Images(torch.from_numpy(pixels), labels, torch.ones(len(labels)))


def begin(model: str, seed: int, start: Path | None) -> torch.nn.Module:
    """The network with the weights of ``start``, or with random ones; features that are frozen are always the same."""
    torch.manual_seed(seed)
    network = architectures.build(model, SIDES[model])
    if start:
        weights.load(network, start)
    elif RECIPES[model, "ours"].freeze_batch_norm:
        head = network.classifier.state_dict()
        torch.manual_seed(SEED)
        network = architectures.build(model, SIDES[model])
        few = phantoms(HELD_OUT, pretraining.HELD_OUT_SEED, SIDES[model]).pixels[:64]
        training.calibrate_batch_norm(network, partial(architectures.prepare, model), few)
        network.classifier.load_state_dict(head)
    return network


def fit(model: str, network: torch.nn.Module, parts: list[training.Images], how: Recipe, seed: int) -> None:
    """Nothing; the network is trained by the recipe, of frozen features the head alone."""
    named = dict(zip(("train", "selection"), parts, strict=True))
    equal_quality.fit(model, network, named, how, seed, devices.fastest(), cached=how.feature_copies > 0)


def answers(model: str, network: torch.nn.Module, pixels: torch.Tensor) -> np.ndarray:
    """Logits, (n,), in float32."""
    prepare = partial(architectures.prepare, model)
    return training.predict(network, prepare, pixels, engine=devices.fastest().exact()).numpy()


def taught(model: str) -> tuple[Path, dict]:
    """The file of weights that phantoms taught, and the row that says how it ranks held-out phantoms."""
    held = phantoms(HELD_OUT, pretraining.HELD_OUT_SEED, SIDES[model])
    how = RECIPES[model, "ours"].model_copy(update={"epochs": EPOCHS[model], "side": SIDES[model]})
    settings = [code_hash(), PER_CLASS, SEED, phantom.VERSION, how.model_dump(), devices.fastest().precision]
    settings = json.dumps(settings)
    name = hashlib.sha256(settings.encode()).hexdigest()[:12]  # weights of other settings have another name
    path = config.home() / "runs" / "phantom-weights" / f"{model}-{name}.safetensors"
    if not path.exists():
        train = phantoms(PER_CLASS, pretraining.PHANTOM_SEED, SIDES[model])
        # What selects the epoch is not what judges.
        cut = len(train.labels) - 300
        parts = [training.Images(*(part[where] for part in train)) for where in (slice(cut), slice(cut, None))]
        network = begin(model, SEED, None)
        fit(model, network, parts, how, SEED)
        weights.save(network, path, {"model": model, "settings": settings})
    network = begin(model, SEED, path)
    scored = pd.DataFrame({"source": range(len(held.labels)), "label": held.labels.numpy().astype(int)})
    found = within.meetings(scored.assign(logit=answers(model, network, held.pixels)))
    return path, row(model, ZERO, "phantoms", found)


def row(model: str, arm: str, on: str, found: within.Meetings) -> dict:
    """One row of the table."""
    made = within.auc_row(found, resamples=RESAMPLES)
    return {"model": model, "arm": arm, "on": on, **made, "sources": len(found.label)}


def in_folds(model: str, study: Study, start: Path | None) -> pd.DataFrame:
    """The judged table of the study's folds, from the weights of ``start`` or from random ones."""
    table, parts = manifest.read(study.report_dir / "sources.csv"), []
    how = RECIPES[model, "ours"]
    how = how.model_copy(update={
        "epochs": EPOCHS_ON_CPU.get((model, "ours"), how.epochs),
        "learning_rate": how.learning_rate * (GENTLE if start else 1),
    })  # fmt: skip
    for repeat, fold in product(range(REPEATS), range(study.folds)):
        roles = splits.roles(table, "grouped", repeat, fold, study.seed, 0, study.inners)
        splits.guard(roles, "grouped")
        pixels = torch.from_numpy(frames(roles, study, SIDES[model]))
        seed = 1000 * SEED + 100 * repeat + fold
        network = begin(model, seed, start)
        fit(model, network, [images_of(roles, pixels, role) for role in ("train", "selection")], how, seed)
        made = roles.rename(columns={"path": "image"})[["image", "source", "label", "role"]]
        made = made.assign(repeat=repeat, fold=fold, logit=answers(model, network, pixels))
        parts.append(made[made.role != "train"])
    return calibration.judged(pd.concat(parts, ignore_index=True))


def leanings(used: pd.DataFrame, study: Study, logit: np.ndarray, model: str) -> dict:
    """Rank correlations, over the study's images, of zero-shot logits with mean brightness and with the follicle count:
    what a ranking may rest on."""
    bright = [images.load(study.image_dir / path).mean() for path in used.path]
    count = results.counted(study).set_index("path")["count"].reindex(used.path).to_numpy()
    made = {f"with_{name}": spearmanr(logit, value)[0] for name, value in (("brightness", bright), ("count", count))}
    return {"model": model, **made, "images": len(used)}


def frames(used: pd.DataFrame, study: Study, side: int) -> np.ndarray:
    """The study's used images, uint8 (n, side, side, 3)."""
    return cache.stack(used.assign(file=used.path, copy=0), study.image_dir, side, study.data_dir / "cache")


def block(judged: pd.DataFrame, compared: pd.DataFrame, leant: pd.DataFrame) -> str:
    """What the README says of the tables: AUCs by network and arm, what fine-tuning gains, what zero-shot follows."""
    real = next(on for on in judged.on.unique() if on != "phantoms")
    cells = judged.assign(cell=judged.apply(readings.interval, axis=1)).set_index(["model", "arm", "on"]).cell
    titles = ["network", "phantoms, never seen", *(f"{real}: {arm}" for arm in (ZERO, TUNED, SCRATCH))]
    lines = [f"| {' | '.join(titles)} | fine-tuned less from scratch |", "|---" * 6 + "|"]
    gains = compared[compared.metric == "auc"].rename(columns={"difference": "value"})
    for model in SIDES:
        own = [cells[model, ZERO, "phantoms"], *(cells[model, arm, real] for arm in (ZERO, TUNED, SCRATCH))]
        gain = gains[gains["first"].str.startswith(f"{model},")].iloc[0]
        lines.append(f"| {MODEL_NAMES[model]} | {' | '.join(own)} | {readings.interval(gain)}, {gain.verdict} |")
    n = judged.groupby("on").sources.max()
    how = f"*AUC on {n['phantoms']} phantoms and on {n[real]} sources of {real}; pixels a side: "
    sides = ", ".join(f"{MODEL_NAMES[model]} {side}" for model, side in SIDES.items())
    told = [
        f"{MODEL_NAMES[row.model]} {number(row.with_brightness)} and {number(row.with_count)}"
        for row in leant.itertuples()
    ]
    follows = (
        f"Over {leant.images.iloc[0]} images the zero-shot logits have rank correlations with mean brightness and "
    )
    follows += f"with the follicle count of {'; '.join(told)}."
    return "\n".join([*lines, "", f"{how}{sides}.* {follows}"])


def main() -> None:
    """Trains, judges, prints and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    study = config.study("full", parser.parse_args().folder, allow_cpu=True, weights="none")
    used = manifest.read(study.report_dir / "sources.csv").query("used == 'yes'").reset_index(drop=True)
    rows, starts = [], {}
    for model in SIDES:
        starts[model], made = taught(model)
        rows.append(made)
        print(made, flush=True)
    planned = {
        "data": study.data_name, "sources_sha256": sha256(study.report_dir / "sources.csv"), "seed": SEED,
        "sides": SIDES, "epochs_on_phantoms": EPOCHS, "gentle": GENTLE, "folds": study.folds, "repeats": REPEATS,
        "metric": "AUC within folds, BCa over sources; fine-tuned less scratch by DeLong, Holm",
        "weights_sha256": {model: sha256(path) for model, path in starts.items()},
    }  # fmt: skip
    place = OUT / "phantom_weights.json"
    before = json.loads(place.read_text()) if place.exists() else {"supersedes": []}
    earlier = before.pop("supersedes")
    earlier += [sha256(place)] if before and before != json.loads(json.dumps(planned)) else []
    write_json(place, planned | {"supersedes": earlier})
    judged, leant = {}, []
    for model, start in starts.items():
        network = begin(model, SEED, start)
        logit = answers(model, network, torch.from_numpy(frames(used, study, SIDES[model])))
        leant.append(leanings(used, study, logit, model))
        scored = used[["source", "label"]].assign(logit=logit).groupby("source").mean().reset_index()
        rows.append(row(model, ZERO, study.data_name, within.meetings(scored)))
        for arm, begun in ((TUNED, start), (SCRATCH, None)):
            judged[f"{model}, {arm}"] = in_folds(model, study, begun)
            rows.append(row(model, arm, study.data_name, within.meetings(judged[f"{model}, {arm}"])))
            print(rows[-1], flush=True)
    pairs = [(f"{model}, {TUNED}", f"{model}, {SCRATCH}") for model in starts]
    compared = comparison.comparison_table(judged, pairs, resamples=RESAMPLES)
    for name, made in (("", pd.DataFrame(rows)), ("_pairs", compared), ("_leanings", pd.DataFrame(leant))):
        write_csv(OUT / f"phantom_weights{name}.csv", made.round(4))
        print(made.to_string(index=False))
    tables = [pd.read_csv(OUT / f"phantom_weights{name}.csv") for name in ("", "_pairs", "_leanings")]
    write_text(README, with_block(README.read_text(), block(*tables), "phantom-weights"))


if __name__ == "__main__":
    main()
