"""DenseNet201's features without any training on ovaries: what the network brings along, for a simple reader."""

import hashlib
import inspect
import json
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torchvision.models import DenseNet

from pcos_utils.config import Study
from pcos_utils.data import cache, images, phantom
from pcos_utils.files import alone_in, appearing
from pcos_utils.models import architectures, features, training, weights
from pcos_utils.models.devices import engine_for

MODEL = "densenet201"
STAND_INS = range(2_000_000_000, 2_000_000_032)  # seeds of phantoms, far from all others


class Frozen(NamedTuple):
    """Features and the weights that gave them, as ``weights.start`` names them."""

    features: np.ndarray  # float32 (n, 1920)
    start: str


def features_of(study: Study, table: pd.DataFrame) -> Frozen:
    """The features of every used image of ``table`` (the study's sources.csv), in its order; made once and kept.

    The file bears a digest of the images, their side, the weights and the code; one for earlier images is removed.
    Raises StudyError where the full study's ImageNet weights cannot be had.
    """
    used = table[table.used == "yes"].reset_index(drop=True)
    network, origin = _start(study)
    folder = study.data_dir / "cache"
    path = folder / f"frozen-{_key(study, used, network)}.npy"
    if not path.exists():
        files = used.rename(columns={"path": "file"}).assign(copy=0)
        pixels = torch.from_numpy(cache.stack(files, study.image_dir, study.image_side, folder))
        prepare = partial(architectures.prepare, MODEL)
        made = features.extract(network, prepare, pixels, engine_for(study).exact())[:, 0].cpu().numpy()
        with alone_in(folder, lambda: None):
            for earlier in folder.glob("frozen-*.npy"):
                earlier.unlink()
            with appearing(path) as temporary:
                np.save(temporary, made)
    return Frozen(np.load(path), origin)


def _start(study: Study) -> tuple[DenseNet, str]:
    torch.manual_seed(study.seed)
    network = architectures.build(MODEL, study.image_side)
    origin = weights.start(network, MODEL, study.weights, must_fetch=study.preset == "full")
    if origin.startswith("random"):
        # Random weights have no statistics yet. They come from phantoms, so that no frame of the study is in them.
        drawn = [phantom.simulate(seed, seed % 2).image for seed in STAND_INS]
        grey = [images.resize(np.repeat(image[..., None], 3, axis=2), study.image_side) for image in drawn]
        training.calibrate_batch_norm(network, partial(architectures.prepare, MODEL), torch.from_numpy(np.stack(grey)))
    return network, origin


def _key(study: Study, used: pd.DataFrame, network: DenseNet) -> str:
    state = hashlib.sha256(b"".join(part.numpy().tobytes() for part in network.state_dict().values())).hexdigest()
    code = [inspect.getsource(module) for module in (images, architectures, features)]
    facts = [used.sha256.tolist(), study.image_side, state, code]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]
