"""Train the one network that is served on all used sources; the folds' out-of-fold predictions judge it."""

import hashlib
import json
from statistics import median

import pandas as pd
import torch
from torch import nn

from pcos_utils.config import COUNT, PROTOCOL_OF_ARM, Study
from pcos_utils.data.pixels import expand, stack
from pcos_utils.evaluation.predictions import of_runs, read_table
from pcos_utils.files import read_record
from pcos_utils.follicles import counts, kept
from pcos_utils.models import architectures, devices, training
from pcos_utils.models.recipes import recipe
from pcos_utils.models.run import images_of, lesson


class Answering(nn.Module):
    """A network with its preprocessing, ready for export: pixels uint8 (n, side, side, 3) to logits (n,)."""

    def __init__(self, name: str, network: nn.Module):
        super().__init__()
        self.name, self.network = name, network.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits, float32 (n,)."""
        return self.network(architectures.prepare(self.name, pixels)).squeeze(1)


def fit_served(model: str, study: Study) -> tuple[nn.Module | None, pd.DataFrame, dict]:
    """Return one network (none for the count), out-of-fold predictions and what model.json says of both."""
    table = read_table(study, "sources")
    if model == COUNT:
        counted = counts.run(study)
        # It was trained on no label of these images, so every count is out of fold.
        counted = counted[counted.network == kept.networks(study)[0].parent.name].rename(columns={"path": "image"})
        predictions = counted[["image", "source", "label"]].assign(logit=counted["count"].astype(float))
        facts = {"epochs": None, "run": _digest(model, predictions.to_csv()), "side": study.image_side}
        return None, predictions, facts
    predictions = of_runs(study, model, "grouped").query("role == 'test'")
    records = [read_record(study.run_dir(model, run)) for run in study.runs("ours", PROTOCOL_OF_ARM["ours"])]
    # By the folds' recipe, for the median of the epochs that they kept. They kept an epoch of a schedule made for all
    # the recipe's epochs, so the same schedule is stopped early.
    epochs = max(1, round(median(record["chosen_epoch"] for record in records)))
    settings = recipe(model, "ours", study).model_copy(update={"select_epoch": False})
    facts = {"epochs": epochs, "run": _digest(epochs, *sorted(record["facts_sha256"] for record in records))}
    facts |= {"plan": records[0].get("plan_sha256"), "side": settings.side}
    engine = devices.engine_for(study)
    rows = expand(table[table.used == "yes"].reset_index(drop=True).assign(role="train"), {0: 1, 1: 1})
    pixels = torch.from_numpy(stack(rows, study.image_dir, settings.side, study.cache_dir))
    torch.manual_seed(study.seed)
    task = lesson(model, study, settings, rows, pixels, engine)
    training.fit(
        task.learner, task.prepare, images_of(rows, task.pixels, "train"), None, settings, stop=epochs,
        seed=study.seed, engine=engine, change=task.change,
    )  # fmt: skip
    return Answering(model, task.network.float().cpu().eval()), predictions, facts


def _digest(*parts) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
