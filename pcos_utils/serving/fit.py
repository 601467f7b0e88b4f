"""The one network that is served: trained on every used source with what the folds chose, on whose word it rests."""

import hashlib
import json
from statistics import median
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn

from pcos_utils.config import Study, StudyError
from pcos_utils.data import cache, images, offline
from pcos_utils.evaluation import report
from pcos_utils.models import architectures, counts, devices, pretraining, training
from pcos_utils.models.lessons import images_of, lesson
from pcos_utils.models.recipes import recipe

ARM = "ours"
BLOCK = 16  # channels that onnxruntime's blocked layout takes together, with AVX-512; with AVX2 eight


class Fitted(NamedTuple):
    """What is exported. ``network``: raw pixels (n, side, side, 3) to logits (n,), or None where follicles are counted;
    ``predictions``: out-of-fold, columns image, source, label, logit; ``facts``: what model.json says of it."""

    network: nn.Module | None
    predictions: pd.DataFrame
    facts: dict


class Answering(nn.Module):
    """A network with its preprocessing, ready to be exported: pixels (n, side, side, 3) in [0, 255] to logits (n,)."""

    def __init__(self, name: str, network: nn.Module):
        super().__init__()
        self.name, self.network = name, (padded(network) if name == "iustnet" else network).eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits, float32 (n,)."""
        return self.network(architectures.prepare(self.name, pixels)).squeeze(1)


def padded(network: architectures.IustNet) -> architectures.IustNet:
    """The same answers from a multiple of BLOCK channels, the further ones all zero.

    Only so does onnxruntime take its fast convolutions; IustNet has 45 channels.
    """
    own = network.state_dict()
    hidden = -(-len(own["block_1.0.bias"]) // BLOCK) * BLOCK
    wider = architectures.IustNet(network.side, hidden)
    with torch.no_grad():
        for name, target in wider.state_dict().items():
            source = own[name]
            if name == "classifier.1.weight":  # its columns are channels times places
                source, target = (part.view(1, -1, (network.side // 4) ** 2) for part in (source, target))
            target.zero_()
            target[tuple(slice(size) for size in source.shape)] = source
    return wider


def fit_served(model: str, study: Study) -> Fitted:
    """One network trained on all used sources by the recipe "ours", for the median of the epochs that its folds chose.

    ``follicles`` is not trained: its answer is the count. Raises StudyError where the study is not finished.
    """
    table = report.read_table(study, "sources")
    used = table[table.used == "yes"].reset_index(drop=True)
    if model == counts.NAME:
        predictions = _counted(used, study)
        facts = {"epochs": None, "run": _digest([model, predictions.to_csv()])}
        return Fitted(None, predictions, facts | {"side": study.image_side})
    predictions = report.predictions(study, model, "grouped")
    records = [json.loads(path.read_text()) for path in sorted((study.runs_dir / model / ARM).rglob("run.json"))]
    epochs = max(1, round(median(record["chosen_epoch"] for record in records)))
    how = recipe(model, ARM, study).model_copy(update={"epochs": epochs, "select_epoch": False})
    network = _trained(model, study, used, how)
    facts = {"epochs": epochs, "run": _digest([epochs, *sorted(record["settings_sha256"] for record in records)])}
    facts |= {"plan": records[0].get("plan_sha256"), "side": how.side}
    return Fitted(Answering(model, network), predictions, facts)


def best(study: Study) -> str:
    """The model that ranks held-out sources best. Raises StudyError where none of the study is finished."""
    from pcos_utils.serving.evidence import ranking

    scores = {}
    for model in (*study.models, counts.NAME):
        try:
            if model == counts.NAME:
                found = _counted(report.read_table(study, "sources").query("used == 'yes'"), study)
            else:
                found = report.predictions(study, model, "grouped")
        except StudyError:
            continue
        scores[model] = ranking(found)
    if not scores:
        raise StudyError(f"{study.name} has no finished model to serve; run 'make reproduce' first.")
    return max(scores, key=scores.get)


def _trained(model: str, study: Study, used: pd.DataFrame, how) -> nn.Module:
    engine = devices.engine_for(study)
    rows = offline.expand(used.assign(role="train"), {0: 1, 1: 1})
    side = how.side
    pixels = torch.from_numpy(cache.stack(rows, study.image_dir, side, study.data_dir / "cache"))
    torch.manual_seed(study.seed)
    what = lesson(model, study, how, rows, pixels, engine)
    train = images_of(rows, what.pixels, "train")
    none = training.Images(what.pixels[:0], torch.zeros(0), torch.zeros(0))
    training.fit(what.learner, what.prepare, train, none, how, seed=study.seed, engine=engine, change=what.change)
    return what.network.float().cpu().eval()


def _counted(used: pd.DataFrame, study: Study) -> pd.DataFrame:
    # No label taught the count, so every count is out of fold.
    network = counts.load(outline_weights(study))
    found = pretraining.count(network, [images.load(study.image_dir / path) for path in used.path])
    made = used[["path", "source", "label"]].rename(columns={"path": "image"}).reset_index(drop=True)
    return made.assign(logit=found["count"].to_numpy(float))


def outline_weights(study: Study):
    """The file of the follicle network that a served model outlines with. Raises StudyError where there is none."""
    found = [path for path in counts.networks(study) if path.exists()]
    made = sorted((study.runs_dir.parent / counts.NAME).glob("s*/weights.safetensors"))
    if not found + made:
        raise StudyError("There is no network that outlines follicles yet; make it with 'make pretrain'.")
    return (found + made)[0]


def _digest(parts: list) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
