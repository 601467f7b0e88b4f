"""Test whether phantoms teach the networks anything about real frames: zero-shot, fine-tuned and from scratch.

    python -m studies.phantom_weights FOLDER     a study whose notebook 02 was run (full); trains what is missing

Each of the three networks learns from 1,500 phantoms of each class and is tested on held-out phantoms. It is then
tested, unchanged, on the study's sources. Last it is trained under the study's grouped folds, one repeat: once from the
phantoms' weights at a tenth of the learning rate, once from random weights, all else alike. DenseNet201 has the same
frozen random features in all arms; phantoms teach its head. The plan is written to phantom_weights.json, with the
digests of the weights, before a real frame is scored; a changed plan names the digests of those before it.
"""

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch.optim.swa_utils import update_bn

from pcos_utils import config
from pcos_utils.config import COUNT, Study
from pcos_utils.data import images, manifest, splits
from pcos_utils.data.pixels import stack
from pcos_utils.evaluation import auc, calibration, comparison, predictions
from pcos_utils.files import code, sha256, write_csv, write_json
from pcos_utils.follicles import pretrain, training_set
from pcos_utils.models import architectures, devices, training, weights
from pcos_utils.models.inputs import images_of
from pcos_utils.models.recipes import EPOCHS_ON_CPU, RECIPES
from pcos_utils.phantom import simulator
from pcos_utils.reporting.names import MODEL_NAMES
from pcos_utils.reporting.readme import write_block
from pcos_utils.reporting.text import interval, markdown, number
from studies import OUT, arguments, equal_quality

# The modules whose code decides the weights.
CODE = ("../studies/phantom_weights.py", "../studies/equal_quality.py", "data/images.py", "follicles/training_set.py",
        "models/architectures.py", "models/devices.py", "models/frozen.py", "models/training.py")  # fmt: skip
SIDES = {"iustnet": 64, "densenet121d": 64, "densenet201": 96}  # px; limited by the hours that two cores need
EPOCHS = {"iustnet": 12, "densenet121d": 6, "densenet201": 30}  # on phantoms, of which there are many
PER_CLASS, HELD_OUT, SEED = 1500, 200, 0
GENTLE = 0.1  # of the recipe's learning rate, for fine-tuning; fixed beforehand, not tuned
ZERO, TUNED, SCRATCH = "phantom weights, zero-shot", "phantom weights, fine-tuned", "from scratch"


def phantoms(per_class: int, seed: int, side: int) -> training.Images:
    """Return phantoms as images for training or testing, from the files that the follicle network learns from."""
    shards = training_set.shards(config.home() / "runs" / COUNT / "shards", per_class, seed)
    content = training_set.load(shards)
    pixels = [images.resize(np.repeat(grey[..., None], 3, axis=2), side) for grey in content["images"]]
    labels = torch.tensor(content["label"].astype(np.float32))
    return training.Images(torch.from_numpy(np.stack(pixels)), labels, torch.ones(len(labels)))


def begin(model: str, seed: int, start: Path | None) -> torch.nn.Module:
    """Return the network with the weights of ``start``, or with random ones; frozen features are always the same."""
    torch.manual_seed(seed)
    network = architectures.build(model, SIDES[model])
    if start:
        weights.load(network, start)
    elif RECIPES[model, "ours"].freeze_batch_norm:
        head = network.classifier.state_dict()
        torch.manual_seed(SEED)
        network = architectures.build(model, SIDES[model])
        few = phantoms(HELD_OUT, pretrain.HELD_OUT_SEED, SIDES[model]).pixels[:64]
        update_bn([architectures.prepare(model, few)], network)
        network.classifier.load_state_dict(head)
    return network


def logits(model: str, network: torch.nn.Module, pixels: torch.Tensor) -> np.ndarray:
    """Return logits, (n,), in float32."""
    prepare = partial(architectures.prepare, model)
    return training.predict(network, prepare, pixels, engine=devices.fastest().exact()).numpy()


def pretrained(model: str) -> tuple[Path, dict]:
    """Return the file of weights trained on phantoms, and the row on how they rank held-out phantoms."""
    held = phantoms(HELD_OUT, pretrain.HELD_OUT_SEED, SIDES[model])
    recipe = RECIPES[model, "ours"].model_copy(update={"epochs": EPOCHS[model], "side": SIDES[model]})
    precision = devices.fastest().precision
    settings = json.dumps([code(*CODE), PER_CLASS, SEED, simulator.VERSION, recipe.model_dump(), precision])
    name = hashlib.sha256(settings.encode()).hexdigest()[:12]  # weights of other settings have another name
    path = config.home() / "runs" / "phantom-weights" / f"{model}-{name}.safetensors"
    if not path.exists():
        train = phantoms(PER_CLASS, pretrain.PHANTOM_SEED, SIDES[model])
        # The epoch is selected on phantoms other than the held-out ones.
        parts = [training.Images(*(part[rows] for part in train)) for rows in (slice(-300), slice(-300, None))]
        network = begin(model, SEED, None)
        equal_quality.fit(model, network, *parts, recipe, SEED)
        weights.save(network, path, {"model": model, "settings": settings})
    scored = pd.DataFrame({"source": range(len(held.labels)), "label": held.labels.numpy().astype(int)})
    scored = scored.assign(logit=logits(model, begin(model, SEED, path), held.pixels))
    return path, row(model, ZERO, "phantoms", auc.pairs(scored))


def row(model: str, arm: str, on: str, pairs: auc.Pairs) -> dict:
    """Return one row of the table. The zero-shot networks were trained on no label of what they are tested on."""
    tested = comparison.against_chance(pairs, trained=arm != ZERO)
    of_auc = {name: part for name, part in tested.auc._asdict().items() if name != "reason"}
    facts = {"p": tested.p, "verdict": tested.verdict, "sources": len(pairs.label)}
    return {"model": model, "arm": arm, "on": on, **of_auc, **facts}


def in_folds(model: str, study: Study, start: Path | None) -> pd.DataFrame:
    """Return the judged table of the study's folds, from the weights of ``start`` or from random ones."""
    table, parts = manifest.read(study.report_dir / "sources.csv"), []
    recipe = RECIPES[model, "ours"]
    recipe = recipe.model_copy(update={
        "epochs": EPOCHS_ON_CPU.get((model, "ours"), recipe.epochs),
        "learning_rate": recipe.learning_rate * (GENTLE if start else 1),
    })  # fmt: skip
    for fold in range(study.folds):
        roles = splits.roles(table, "grouped", 0, fold, study.seed, 0, study.inners)
        splits.guard(roles, "grouped")
        pixels, seed = frames(roles, study, SIDES[model]), 1000 * SEED + fold
        network, parts_of = begin(model, seed, start), partial(images_of, roles, pixels)
        equal_quality.fit(model, network, parts_of("train"), parts_of("selection"), recipe, seed)
        scored = roles.rename(columns={"path": "image"})[["image", "source", "label", "role"]]
        scored = scored.assign(repeat=0, fold=fold, logit=logits(model, network, pixels))
        parts.append(scored[scored.role != "train"])
    return calibration.judge(pd.concat(parts, ignore_index=True))


def frames(used: pd.DataFrame, study: Study, side: int) -> torch.Tensor:
    """Return the study's used images, uint8 (n, side, side, 3)."""
    return torch.from_numpy(stack(used.assign(file=used.path, copy=0), study.image_dir, side, study.cache_dir))


def block(judged: pd.DataFrame, compared: pd.DataFrame, correlations: pd.DataFrame) -> str:
    """Return the README's text: AUCs by network and arm, the gain of fine-tuning, what zero-shot logits follow."""
    real = next(on for on in judged.on.unique() if on != "phantoms")
    cells = judged.assign(cell=judged.apply(interval, axis=1)).set_index(["model", "arm", "on"]).cell
    gains = compared.rename(columns={"difference": "value"})
    rows = []
    for model in SIDES:
        gain = gains[gains["first"].str.startswith(f"{model},")].iloc[0]
        aucs = [cells[model, ZERO, "phantoms"], *(cells[model, arm, real] for arm in (ZERO, TUNED, SCRATCH))]
        rows.append([MODEL_NAMES[model], *aucs, f"{interval(gain)}, {gain.verdict}"])
    header = ["network", "phantoms, never seen", *(f"{real}: {arm}" for arm in (ZERO, TUNED, SCRATCH))]
    table = markdown([*header, "fine-tuned minus from scratch"], rows)
    n = judged.groupby("on").sources.max()
    sides = ", ".join(f"{MODEL_NAMES[model]} {side}" for model, side in SIDES.items())
    follows = [
        f"{MODEL_NAMES[each.model]} {number(each.with_brightness)} and {number(each.with_count)}"
        for each in correlations.itertuples()
    ]
    return (
        f"{table}\n\n*AUC on {n['phantoms']} phantoms and on {n[real]} sources of {real}; pixels a side: {sides}.* "
        f"Over {correlations.images.iloc[0]} images the zero-shot logits have rank correlations with mean brightness "
        f"and with the follicle count of {'; '.join(follows)}."
    )


def main() -> None:
    """Train, write the plan, test, and write the tables and the README's block."""
    study = config.study("full", arguments(__doc__, "folder").folder, allow_cpu=True, weights="none")
    used = manifest.read(study.report_dir / "sources.csv").query("used == 'yes'").reset_index(drop=True)
    starts, rows = zip(*(pretrained(model) for model in SIDES), strict=True)
    starts, rows = dict(zip(SIDES, starts, strict=True)), list(rows)
    plan = {
        "data": study.data_name, "sources_sha256": sha256(study.report_dir / "sources.csv"), "seed": SEED,
        "sides": SIDES, "epochs_on_phantoms": EPOCHS, "gentle": GENTLE, "folds": study.folds, "repeats": 1,
        "metric": "AUC within folds, BCa over sources; fine-tuned minus scratch by DeLong, Holm; variance of what "
        "folds trained doubled",
        "weights_sha256": {model: sha256(path) for model, path in starts.items()},
    }  # fmt: skip
    path = OUT / "phantom_weights.json"
    before = json.loads(path.read_text()) if path.exists() else {"supersedes": []}
    earlier = before.pop("supersedes")
    earlier += [sha256(path)] if before and before != json.loads(json.dumps(plan)) else []
    write_json(path, plan | {"supersedes": earlier})
    # What a zero-shot ranking may rest on: over the images, brightness and the follicle count.
    brightness = [images.load(study.image_dir / path).mean() for path in used.path]
    count = predictions.count(study)[0].set_index("path")["count"].reindex(used.path).to_numpy()
    pairs, correlations = {}, []
    for model, start in starts.items():
        logit = logits(model, begin(model, SEED, start), frames(used, study, SIDES[model]))
        follows = {"with_brightness": spearmanr(logit, brightness)[0], "with_count": spearmanr(logit, count)[0]}
        correlations.append({"model": model, **follows, "images": len(used)})
        scored = used[["source", "label"]].assign(logit=logit).groupby("source").mean().reset_index()
        rows.append(row(model, ZERO, study.data_name, auc.pairs(scored)))
        for arm, weights_file in ((TUNED, start), (SCRATCH, None)):
            pairs[f"{model}, {arm}"] = auc.pairs(in_folds(model, study, weights_file))
            rows.append(row(model, arm, study.data_name, pairs[f"{model}, {arm}"]))
        print(pd.DataFrame(rows).query("model == @model").to_string(index=False), flush=True)
    asked = [(f"{model}, {TUNED}", f"{model}, {SCRATCH}") for model in starts]
    compared = comparison.table(pairs, asked, dict.fromkeys(pairs, True))
    tables = {"": pd.DataFrame(rows), "_pairs": compared, "_leanings": pd.DataFrame(correlations)}
    for name, table in tables.items():
        write_csv(OUT / f"phantom_weights{name}.csv", table.round(4))
    write_block("phantom-weights", block(*(pd.read_csv(OUT / f"phantom_weights{name}.csv") for name in tables)))


if __name__ == "__main__":
    main()
