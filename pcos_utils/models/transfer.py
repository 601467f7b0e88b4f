"""Describe a study's images by networks that other pictures taught: everyday photographs, or phantoms.

No label of the study is used here. What is written are frozen features, with ImageNet weights and with random ones, and
the logits of IustNet as phantoms taught it.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pcos_utils.config import FEATURES, LITE0, ZERO_SHOT, Study
from pcos_utils.data import manifest
from pcos_utils.data.pixels import stack
from pcos_utils.files import appearing, cached, code, sha256, write_csv
from pcos_utils.models import architectures, frozen, training, weights
from pcos_utils.models.devices import Engine
from pcos_utils.phantom import simulator

SIDE = 128  # px for EfficientNet-Lite0, fixed beforehand
CODE = (*frozen.CODE, "models/transfer.py", "models/weights.py")


def photographs(study: Study) -> list[Path]:
    """Compute frozen features of all used images, (n, channels) in a file of each method of FEATURES; return the files.

    Random weights are of the study's seed, and phantoms give their batch norm its statistics. DenseNet201 is left out
    where its ImageNet weights are unreachable. Raises StudyError if an image has changed or weights are damaged.
    """
    files = []
    for name in FEATURES:
        packaged, random = name.startswith(LITE0), name.endswith("_random")
        model, side = (LITE0, SIDE) if packaged else ("densenet201", study.image_side)
        start = "none" if random else "imagenet" if packaged else study.weights
        if not packaged and weights.identity(model, study.weights, must_fetch=False).startswith("random"):
            continue
        path = study.runs_dir / name / "features.npy"
        as_started = study.model_copy(update={"weights": start, "image_side": side})

        def make(model=model, as_started=as_started, path=path, side=side) -> dict:
            """Compute and save the features."""
            network, origin = frozen.start(model, as_started)
            prepare, pixels = partial(architectures.prepare, model), _pixels(study, side)
            with appearing(path) as temporary:
                np.save(temporary, frozen.extract(network, prepare, pixels, Engine())[:, 0].numpy())
            return {"origin": origin}

        facts = {"starts_from": weights.identity(model, start, must_fetch=False), "side": side, "seed": study.seed}
        cached(path.parent, facts | _facts(study), make)
        files.append(path)
    return files


def zero_shot(study: Study) -> pd.DataFrame:
    """Return one row per used image: path, source, label and the logit of the IustNet that phantoms taught."""
    folder = study.runs_dir / ZERO_SHOT

    def make() -> dict:
        """Predict, and write the logits."""
        network, used = architectures.build("iustnet", weights.PHANTOM_SIDE), manifest.used(study)
        weights.load(network, weights.PHANTOM_IUSTNET)
        prepare = partial(architectures.prepare, "iustnet")
        logit = training.predict(network, prepare, _pixels(study, weights.PHANTOM_SIDE)).numpy()
        write_csv(folder / "logits.csv", used[["path", "source", "label"]].assign(logit=logit))
        return {"taught": f"{weights.phantoms_behind()}; no label of these images"}

    cached(folder, {"weights": sha256(weights.PHANTOM_IUSTNET), **_facts(study)}, make)
    return pd.read_csv(folder / "logits.csv")


def _pixels(study: Study, side: int) -> torch.Tensor:
    rows = manifest.used(study).assign(file=lambda rows: rows.path, copy=0)
    return torch.from_numpy(stack(rows, study.image_dir, side, study.cache_dir))


def _facts(study: Study) -> dict:
    drawn = sha256(study.report_dir / "sources.csv")
    return {"sources_sha256": drawn, "code_sha256": code(*CODE), "phantom_version": simulator.VERSION,
            "torch": torch.__version__}  # fmt: skip
