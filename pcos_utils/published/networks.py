"""Convert the published networks into our weights, layer by layer with the logit's sign turned, and predict with them.

The published positive class is *notinfected*, because classes were numbered in alphabetical order; ours is
polycystic. A file does not hold what a class computes in its own ``forward``; this is taken to be what the paper says.
"""

import re
from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open

from pcos_utils.config import MODELS, StudyError
from pcos_utils.data import images
from pcos_utils.files import sha256
from pcos_utils.models import architectures, devices, training, weights
from pcos_utils.published.reader import OWN, Network, need, read

# What a layer computes besides its numbers: with another stride the numbers would load, and answer otherwise.
SETTINGS = ("kernel_size", "stride", "padding", "padding_mode", "dilation", "groups", "ceil_mode", "eps")
TURNED = "logit sign turned: positive = polycystic"
PICKLED = {".pth", ".pt"}
BLOCK = 256  # images in memory at once: 39 MB of pixels


class AnotherNetwork(StudyError):
    """Why a file that was read does not fit the network that was named."""


def convert(path: Path, name: str, out: Path, own: Collection[str] = OWN) -> dict[str, str]:
    """Write a published ``.pth`` file as ``out``, weights for ``architectures.build(name)``; return the metadata.

    The logit is the published one with the sign turned. Keys: model, source, source_sha256, names, logit. Raises
    StudyError where the file is refused, and AnotherNetwork where it is another network or fits in more than one way.
    """
    if out.suffix != ".safetensors":
        raise StudyError(f"The weights' file {out} needs the ending .safetensors; name it so.")
    network = architectures.build(name).eval()
    theirs = read(path, own)
    parts = {place: (type(part).__name__, vars(part)) for place, part in network.named_modules()}
    try:
        pairs = match(Network(network.state_dict(), parts if theirs.parts else {}), theirs)
    except StudyError as error:
        remedy = "give that network's own file, or state another --model"
        raise AnotherNetwork(f"{path} is not the published {name} ({error}); {remedy}.") from error
    state = {key: theirs.state[other] for key, other in pairs.items()}
    network.load_state_dict({key: -state[key] if key.startswith("classifier.") else state[key] for key in state})
    names = "the file's" if all(key == other for key, other in pairs.items()) else "matched by order and shape"
    metadata = {"model": name, "source": path.name, "source_sha256": sha256(path), "names": names, "logit": TURNED}
    weights.save(network, out, metadata)
    return metadata


def match(ours: Network, theirs: Network) -> dict[str, str]:
    """Return the file's tensor for each of ours, by name. Raises StudyError, with a clause, where it is not clear.

    Layers are paired by name; else by what is unique; else by place in a Sequential; else by ascending numbers.
    """
    mine, other = _layers(ours), _layers(theirs)
    need(len(theirs.state) == len(ours.state), f"{len(theirs.state):,} tensors, not {len(ours.state):,}")
    pairs = {layer: layer for layer in mine if layer in other}
    for facts in dict.fromkeys(mine[layer] for layer in mine if layer not in pairs):
        left = [layer for layer in mine if mine[layer] == facts and layer not in pairs]
        right = [layer for layer in other if other[layer] == facts and layer not in pairs.values()]
        need(len(left) == len(right), f"{len(right)} layers like '{left[0][:-1]}', not {len(left)}")
        places = {_place(ours, mine, layer): layer for layer in left}
        theirs_by_place = {_place(theirs, other, layer): layer for layer in right}
        if None not in places and places.keys() == theirs_by_place.keys() and len(places) == len(left):
            pairs |= {layer: theirs_by_place[place] for place, layer in places.items()}
            continue
        numbers = [[int(digits[:9]) for digits in re.findall(r"\d+", layer)] for layer in right]
        ordered = len({re.sub(r"\d+", "#", layer) for layer in right}) == 1 and numbers == sorted(numbers)
        alike = f"{len(right)} of its layers are alike, and names such as {right[0][:80]!a} do not tell the order"
        need(ordered, alike)
        pairs |= dict(zip(left, right, strict=True))
    for layer, facts in mine.items():
        need(other[pairs[layer]] == facts, f"its layer {pairs[layer][:80]!a} has other shapes or settings")
    for path, (kind, _) in theirs.parts.items():
        same = path not in ours.parts or _settings(theirs, path) == _settings(ours, path)
        relu = kind != "BatchNormAct2d" or theirs.parts.get(f"{path}.act", ("none",))[0] == "ReLU"
        need(same and relu, f"its part {path!a} has other settings, or no ReLU")
    return {layer + key: pairs[layer] + key for layer, (tensors, _) in mine.items() for key, _, _ in tensors}


def _layers(network: Network) -> dict[str, tuple]:
    """Return what must agree in two layers, by their tensors' prefix: the tensors' names, shapes, types; settings."""
    layers = {}
    for name, tensor in network.state.items():
        prefix = name[: name.rfind(".") + 1]
        layers.setdefault(prefix, []).append((name.removeprefix(prefix), tensor.shape, tensor.dtype))
    return {prefix: (tuple(tensors), _settings(network, prefix[:-1])) for prefix, tensors in layers.items()}


def _settings(network: Network, path: str) -> tuple:
    settings = []
    for value in map(network.parts.get(path, ("", {}))[1].get, SETTINGS):
        pair = value if type(value) is tuple and len(value) == 2 else (value, value)
        # A stranger's values: anything but these small ones could take for ever to compare.
        settings.append(pair if all(type(each) in (int, bool, float, str, type(None)) for each in pair) else "odd")
    return tuple(settings)


def _place(network: Network, layers: dict[str, tuple], layer: str) -> tuple | None:
    """Return what layers with tensors the Sequential around a layer holds, and its place in it; None outside one."""
    outer = layer[:-1].rpartition(".")[0]
    if not outer or network.parts.get(outer, ("none",))[0] != "Sequential":
        return None
    inside = [f"{path}." for path in network.parts if path.rpartition(".")[0] == outer]
    # ReLU and pooling, which have no tensors, stand in another order in ours.
    kinds = tuple((network.parts[each[:-1]][0], layers[each]) for each in inside if each in layers)
    return kinds, inside.index(layer)


def gather(folder: Path, out: Path, own: list[str]) -> dict[str, Path]:
    """Return the converted weights of each published network that lies in ``folder``, in the order of MODELS.

    Pickled files of any name are converted into ``out``: their tensors say which network it is. Raises StudyError for
    a file that is none of the three, for two of one network, and where there are none.
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
    """Return model, image, source, label, folder_split, logit (of polycystic) and probability of readable images.

    ``sources`` is the table of ``audit.find_sources`` for ``folder``; ``places`` comes from ``gather``.
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
    values = {name: torch.cat(parts).numpy().astype(np.float64) for name, parts in logits.items()}
    tables = {name: readable.assign(logit=of, probability=1 / (1 + np.exp(-of))) for name, of in values.items()}
    return pd.concat(tables, names=["model"]).reset_index("model").reset_index(drop=True)


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
