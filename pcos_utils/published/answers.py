"""Predict the images of a folder with the published networks, prepared as they were published, at 224 pixels."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open

from pcos_utils.config import MODELS, StudyError
from pcos_utils.data import images
from pcos_utils.models import architectures, devices, training, weights
from pcos_utils.published.conversion import TURNED, AnotherNetwork, convert

PICKLED = {".pth", ".pt"}
BLOCK = 256  # images in memory at once: 39 MB of pixels


def gather(folder: Path, out: Path, own: list[str]) -> dict[str, Path]:
    """Return the converted weights of each published network that lies in ``folder``, in the order of MODELS.

    Pickled files are converted into ``out``; each may have any name, because its tensors say which network it is.
    Raises StudyError for a file that is none of the three, for two of one network, and where there are none.
    """
    places = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix not in (*PICKLED, ".safetensors"):
            continue
        name = _convert(path, out, own) if path.suffix in PICKLED else _network_of(path)
        if name in places:
            raise StudyError(f"{folder} holds a second file of {name}, {path.name}; leave one of them there.")
        if name:
            places[name] = out / f"{name}.safetensors" if path.suffix in PICKLED else path
    if not places:
        raise StudyError(f"{folder} holds none of the published .pth files, nor one made by 'pcos convert'.")
    return {name: places[name] for name in MODELS if name in places}


def predict(sources: pd.DataFrame, folder: Path, places: dict[str, Path]) -> pd.DataFrame:
    """Return one row per network and readable image: model, image, source, label, folder_split, logit, probability.

    ``sources`` is the table of ``audit.find_sources`` for ``folder``; ``places`` comes from ``gather``. The logit is
    positive for polycystic.
    """
    engine = devices.Engine("cuda" if torch.cuda.is_available() else "cpu")
    columns = ["path", "source", "label", "folder_split"]
    readable = sources.loc[sources.status == "ok", columns].rename(columns={"path": "image"})
    networks = {name: architectures.build(name) for name in places}
    for name, network in networks.items():
        weights.load(network, places[name])
    logits = {name: [] for name in networks}
    for start in range(0, len(readable), BLOCK):
        paths = [folder / path for path in readable.image[start : start + BLOCK]]
        pixels = torch.from_numpy(images.stack(paths, architectures.PUBLISHED_SIDE))
        for name, network in networks.items():
            prepare = partial(architectures.prepare, name)
            logits[name].append(training.predict(network, prepare, pixels, engine=engine))
    tables = []
    for name, parts in logits.items():
        values = torch.cat(parts).numpy().astype(np.float64)
        tables.append(readable.assign(logit=values, probability=1 / (1 + np.exp(-values))))
        tables[-1].insert(0, "model", name)
    return pd.concat(tables, ignore_index=True)


def _convert(path: Path, out: Path, own: list[str]) -> str:
    for name in MODELS:
        try:
            convert(path, name, out / f"{name}.safetensors", own)
            return name
        except AnotherNetwork as error:
            last = error
    raise StudyError(f"{path} is none of the three published networks; take it out of the folder.") from last


def _network_of(path: Path) -> str | None:
    """Return the network of a file that ``convert`` made, or None for weights of another origin."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise StudyError(f"The weights {path} cannot be read ({error}); convert the published file again.") from error
    return metadata["model"] if metadata.get("logit") == TURNED and metadata.get("model") in MODELS else None
