"""The published networks as weights of ours: layers compared one by one, the sign of the logit turned.

The published positive class is *notinfected*, because classes were numbered in alphabetical order; ours is
polycystic. What a class computes in its own ``forward`` is not in a file: it is taken to be what the paper says.
"""

import re
from collections.abc import Collection
from pathlib import Path

import torch
from torch import nn

from pcos_utils.config import MODELS, StudyError
from pcos_utils.files import sha256
from pcos_utils.models import architectures, legacy, weights
from pcos_utils.models.admitted import OWN
from pcos_utils.models.legacy import Network
from pcos_utils.models.pickles import Part, plain

# What a layer computes besides its numbers: with another stride the numbers would load, and answer otherwise.
SETTINGS = ("kernel_size", "stride", "padding", "padding_mode", "dilation", "groups", "ceil_mode", "eps")
TURNED = "logit sign turned: positive = polycystic"


class AnotherNetwork(StudyError):
    """Why a file that was read does not fit the network that was named."""


def convert(path: Path, name: str, out: Path, own: Collection[str] = OWN) -> dict[str, str]:
    """The metadata of the ``.safetensors`` file ``out`` that is made of a published ``.pth`` file.

    ``out`` loads through ``weights.load`` into ``architectures.build(name)``; its logit is the published one with the
    sign turned. Keys: model, source, source_sha256, names, logit. Raises StudyError where the file is refused, and
    AnotherNetwork where it is another network or could be fitted to ours in more than one way.
    """
    if name not in MODELS:
        raise StudyError(f"The network '{name}' is unknown; use one of: {', '.join(MODELS)}.")
    if out.suffix != ".safetensors":
        raise StudyError(f"The weights' file {out} needs the ending .safetensors; name it so.")
    found = legacy.read(path, own)
    network = architectures.build(name).eval()
    try:
        pairs = match(_described(network), found)
        named = {f"{mine}{key}": f"{other}{key}" for mine, other in pairs.items() for key in _tensors(found, other)}
        network.load_state_dict({mine: found.state[other] for mine, other in named.items()}, strict=True)
    except (_Unlike, RuntimeError) as error:
        why = str(error).strip().splitlines()[-1].strip()
        raise AnotherNetwork(
            f"{path} is not the published {name} ({why}); give that network's own file, or state another --model."
        ) from error
    _turn_sign(network)
    metadata = {
        "model": name,
        "source": path.name,
        "source_sha256": sha256(path),
        "names": "the file's" if all(mine == other for mine, other in pairs.items()) else "matched by order and shape",
        "logit": TURNED,
    }
    weights.save(network, out, metadata)
    return metadata


def match(ours: Network, theirs: Network) -> dict[str, str]:
    """For each of our layers the file's layer: by name; else by what is unique; else by place in a Sequential; else by
    ascending numbers in the names. A layer's name ends with a dot. Raises _Unlike where none of these decides."""
    if len(ours.state) != len(theirs.state):
        raise _Unlike(f"{len(theirs.state):,} tensors, not {len(ours.state):,}")
    mine, other = _layers(ours), _layers(theirs)
    if not theirs.parts:  # only tensors: nothing to compare but shapes
        ours = ours._replace(parts={})
    pairs = {layer: layer for layer in mine if layer in other}
    mine, other = [each for each in mine if each not in pairs], [each for each in other if each not in pairs]
    kinds = {_facts(ours, each): None for each in mine}
    for kind in kinds:
        a = [each for each in mine if _facts(ours, each) == kind]
        b = [each for each in other if _facts(theirs, each) == kind]
        if len(a) != len(b):
            raise _Unlike(f"{len(b)} layers like '{a[0].removesuffix('.')}', not {len(a)}")
        pairs |= {a[0]: b[0]} if len(a) == 1 else _by_place(ours, theirs, a, b) or _by_number(a, b)
    for mine, other in pairs.items():
        if _facts(ours, mine) != _facts(theirs, other):
            raise _Unlike(f"its layer {plain(other)} has other shapes or settings")
    for path, part in theirs.parts.items():
        if path in ours.parts and _settings(part) != _settings(ours.parts[path]):
            raise _Unlike(f"its part {plain(path)} has other settings")
        act = theirs.parts.get(f"{path}.act")
        if part.kind == "BatchNormAct2d" and (act is None or act.kind != "ReLU"):
            raise _Unlike(f"its part {plain(path)} has no ReLU")
    return pairs


class _Unlike(Exception):
    """How a file's network differs from ours, as a clause."""


def _by_place(ours: Network, theirs: Network, a: list[str], b: list[str]) -> dict[str, str]:
    """The pairs whose Sequentials hold the same and in which they stand at the same place; empty where not unique."""
    here, there = ({_place(net, each): each for each in layers} for net, layers in ((ours, a), (theirs, b)))
    if None in there or here.keys() != there.keys() or len(here) < len(a):
        return {}
    return {layer: there[place] for place, layer in here.items()}


def _by_number(a: list[str], b: list[str]) -> dict[str, str]:
    """The pairs in order of registration, where the file's names differ only in numbers and these ascend."""
    numbers = [[int(digits[:9]) for digits in re.findall(r"\d+", each)] for each in b]
    if len({re.sub(r"\d+", "#", each) for each in b}) > 1 or numbers != sorted(numbers):
        names = " and ".join(plain(each.removesuffix(".")) for each in b[:2])
        raise _Unlike(f"{len(b)} of its layers have one shape, and their names, such as {names}, do not tell the order")
    return dict(zip(a, b, strict=True))


def _described(network: nn.Module) -> Network:
    """A network of ours in the form of one that was read."""
    parts = {path: Part(type(part).__name__) for path, part in network.named_modules()}
    for path, part in parts.items():
        part.state = vars(network.get_submodule(path))
    return Network(network.state_dict(), parts)


def _layers(net: Network) -> list[str]:
    """The parts with tensors of their own, in order, each with the dot that ends its prefix."""
    return list(dict.fromkeys(name[: name.rfind(".") + 1] for name in net.state))


def _tensors(net: Network, layer: str) -> list[str]:
    return [name.removeprefix(layer) for name in net.state if name[: name.rfind(".") + 1] == layer]


def _facts(net: Network, layer: str) -> tuple:
    """What must agree in two layers: names, shapes and types of their tensors, and the settings."""
    tensors = [(key, tuple(net.state[layer + key].shape), net.state[layer + key].dtype) for key in _tensors(net, layer)]
    part = net.parts.get(layer.removesuffix("."))
    return tuple(tensors), _settings(part) if part else ()


def _settings(part: Part) -> tuple:
    stored = part.state or {}
    return tuple(_plain(stored.get(key)) for key in SETTINGS)


def _plain(value: object) -> object:
    # Settings are a stranger's values: anything but these small ones could take for ever to compare.
    if type(value) in (int, bool, float, str):
        return (value, value)
    if type(value) in (tuple, list) and len(value) == 2 and all(type(each) is int for each in value):
        return tuple(value)
    return None if value is None else "odd"


def _place(net: Network, layer: str) -> tuple | None:
    """What layers with numbers the Sequential around the layer holds, and its place in it; None outside one."""
    path = layer.removesuffix(".")
    outer = path.rpartition(".")[0]
    around = net.parts.get(outer)
    if not outer or around is None or around.kind != "Sequential":
        return None
    content = [f"{outer}.{name}" for name in around.state["_modules"]]
    # Without numbers are ReLU and pooling, whose order differs from ours.
    kinds = [(net.parts[each].kind, *_facts(net, f"{each}.")) for each in content if _tensors(net, f"{each}.")]
    return tuple(kinds), content.index(path)


@torch.no_grad()
def _turn_sign(network: nn.Module) -> None:
    head = [part for part in network.modules() if isinstance(part, nn.Linear)][-1]
    head.weight.neg_()
    head.bias.neg_()
