"""What the published networks answer on the images of a folder, prepared as they were published: 224 pixels."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open

from pcos_utils.config import MODELS, StudyError
from pcos_utils.data import images
from pcos_utils.models import architectures, devices, published, training, weights

PICKLED = {".pth", ".pt"}
BLOCK = 256  # images in memory at once: 39 MB of pixels


def gather(folder: Path, out: Path, own: list[str]) -> dict[str, Path]:
    """The converted weights of each published network that lies in ``folder``, in the order of MODELS.

    Pickled files are converted into ``out``; each may have any name, because its tensors say which network it is.
    Raises StudyError for a file that is none of the three, for two of one network, and where there are none.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {}
    for path in files:
        if path.suffix in PICKLED:
            name = _convert(path, out, own)
            place = out / f"{name}.safetensors"
        elif path.suffix == ".safetensors":
            name, place = _network_of(path), path
        else:
            continue
        if name in found:
            raise StudyError(f"{folder} holds a second file of {name}, {path.name}; leave one of them there.")
        if name:
            found[name] = place
    if not found:
        raise StudyError(f"{folder} holds none of the published .pth files, nor one made by 'pcos convert'.")
    return {name: found[name] for name in MODELS if name in found}


def predict(sources: pd.DataFrame, folder: Path, places: dict[str, Path]) -> pd.DataFrame:
    """One row per network and readable image: model, image, source, label, folder_split, logit, probability.

    ``sources`` is the table of ``audit.find_sources`` for ``folder``; ``places`` comes from ``gather``. The logit is
    positive for polycystic.
    """
    readable = sources[sources.status == "ok"]
    engine = devices.Engine("cuda" if torch.cuda.is_available() else "cpu")
    networks = {}
    for name, path in places.items():
        networks[name] = architectures.build(name)
        weights.load(networks[name], path)
    logits = {name: [] for name in places}
    for start in range(0, len(readable), BLOCK):
        paths = [folder / path for path in readable.path[start : start + BLOCK]]
        pixels = torch.from_numpy(images.stack(paths, architectures.PUBLISHED_SIDE))
        for name, network in networks.items():
            prepare = lambda batch, name=name: architectures.prepare(name, batch)  # noqa: E731
            logits[name].append(training.predict(network, prepare, pixels, engine=engine))
    columns = readable[["path", "source", "label", "folder_split"]].rename(columns={"path": "image"})
    tables = []
    for name, parts in logits.items():
        values = torch.cat(parts).numpy().astype(np.float64)
        tables.append(columns.assign(logit=values, probability=1 / (1 + np.exp(-values))))
        tables[-1].insert(0, "model", name)
    return pd.concat(tables, ignore_index=True)


def _convert(path: Path, out: Path, own: list[str]) -> str:
    for name in MODELS:
        try:
            published.convert(path, name, out / f"{name}.safetensors", own)
            return name
        except published.AnotherNetwork as error:
            last = error
    raise StudyError(f"{path} is none of the three published networks; take it out of the folder.") from last


def _network_of(path: Path) -> str | None:
    """The network of a file that ``published.convert`` made, or None for weights of another origin."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise StudyError(f"The weights {path} cannot be read ({error}); convert the published file again.") from error
    return metadata["model"] if metadata.get("logit") == published.TURNED and metadata.get("model") in MODELS else None
