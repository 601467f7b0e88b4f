"""Read the published ``.pth`` files without running them: each name in a pickle selects an inert stand-in of ours.

Only the zip that torch.save writes since version 1.6 is read; the published study needs a newer one.
"""

import io
import math
import pickle
import zipfile
from collections import namedtuple
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace

import torch

from pcos_utils.config import StudyError
from pcos_utils.data.unpack import kind

MAX_FILE = 2**28  # bytes, and of all tensors; the largest published file, DenseNet201, has 74 million
MAX_PICKLE = 2**19  # bytes, each of which makes one object at most, and of a zip's directory; DenseNet201: 278,000
MAX_PARTS = 5_000  # modules and tensors together; DenseNet201 has 2,100
MAX_NAME = 200  # characters of a tensor's name
OWN = ("IustNet",)  # a class that the study wrote itself; which file it stood in is not known
HOMES = ("torch.nn.modules.", "torchvision.models.", "timm.models.", "timm.layers.")
# The published networks' modules, by all names that timm gave them: another activation would compute something else.
MODULES = """ReLU BatchNorm2d BatchNormAct2d Sequential ModuleList ModuleDict Conv2d Dropout Flatten Linear Identity
MaxPool2d AvgPool2d AdaptiveAvgPool2d SelectAdaptivePool2d DenseNet DenseBlock DenseLayer DenseTransition _DenseBlock
_DenseLayer _Transition"""
# What torch.save writes. Left out are other ways to a class than ``find_class``, and what hashes or fills memory.
INSTRUCTIONS = """PROTO FRAME STOP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
SHORT_BINUNICODE MARK TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_TUPLE EMPTY_LIST APPEND APPENDS SETITEM SETITEMS BINPUT
LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL BINPERSID"""
# Tensors by their names in ``state_dict()``; modules by path, as class and attributes: none where only tensors lay.
Network = namedtuple("Network", "state parts")


class Part(SimpleNamespace):
    """The stand-in for a module, in a subclass for each class. It only holds the module's attributes, as ``state``."""


class Numbers(SimpleNamespace):
    """The stand-in for a storage or a tensor. It hides its ``tensor``, whose own methods a pickle could call."""


class Table(dict):
    """The stand-in for a dictionary. Attributes of an OrderedDict lie in ``state`` and are not used."""

    def __setitem__(self, key: object, value: object) -> None:
        need(type(key) in (str, int), "a key that is neither text nor number")  # tuples of tuples may hash for ever
        super().__setitem__(key, value)


def need(condition: bool, otherwise: str) -> None:
    """Raise StudyError with the clause ``otherwise``, which says what was found, unless the condition holds."""
    if not condition:
        raise StudyError(otherwise)


def _view(storage: Numbers, offset: int, shape: tuple, stride: tuple, grad: bool, hooks: Table, more=None) -> Numbers:
    sensible = all(type(number) is int and number >= 0 for number in (offset, *shape, *stride))
    need(sensible and len(shape) == len(stride) <= 4 and not hooks, "a tensor of no sensible shape, or with hooks")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    count = storage.tensor.numel()  # strides of zero could unfold one number into a tensor of any size
    need(max(math.prod(shape), last + 1) <= count, f"a tensor that reaches beyond its storage of {count:,} numbers")
    return Numbers(tensor=storage.tensor.as_strided(shape, stride, offset))


STAND_INS = {
    "collections.OrderedDict": lambda: Table(),  # not the class itself, which would take any keys at once
    "builtins.set": lambda items: items,  # a list serves, and hashes nothing
    "torch._utils._rebuild_tensor_v2": _view,
    "torch._utils._rebuild_parameter": lambda view, grad, hooks: view,
    "torch.FloatStorage": torch.float32,
    "torch.LongStorage": torch.int64,  # of counted batches
}


class _Unpickler(pickle._Unpickler):
    """Python's unpickler in Python: that in C fills memory on demand, and has no table of instructions to restrict."""

    def __init__(self, pickled: io.BufferedIOBase, own: Collection[str]):
        super().__init__(pickled)
        self.own, self.room, self.storages = own, MAX_FILE, {}
        self.modules = {name: type(name, (Part,), {}) for name in (*MODULES.split(), *own)}

    def find_class(self, module: str, name: str) -> object:
        """Return the inert stand-in for a name that a published network needs; refuse any other."""
        text = f"{module}.{name}".replace("__builtin__.", "builtins.")
        known = text in STAND_INS or name in self.own or (name in self.modules and module.startswith(HOMES))
        need(known, f"the name {text[:80]!a}, which no published network needs")
        return STAND_INS.get(text) or self.modules[name]

    def persistent_load(self, description: object) -> object:
        """Return the tensor storage that the description names; refuse what is no storage of a bounded size."""
        match description:
            case ("storage", torch.dtype() as dtype, str(key), _, int(count)):
                self.room -= 0 if key in self.storages else count * dtype.itemsize
                need(count > 0 and self.room >= 0, "a storage of no size, or too large")
                storage = self.storages.setdefault(key, Numbers(tensor=torch.empty(count, dtype=dtype)))
                same = (storage.tensor.dtype, storage.tensor.numel()) == (dtype, count)
                need(same, "a storage described in two ways")
                return storage
        raise StudyError("a storage of an unknown kind")

    def load_call(self) -> None:
        """Call what ``find_class`` gave, a stand-in of ours; refuse what is no function."""
        arguments, function = self.stack.pop(), self.stack.pop()
        # Asked first, because Python's own error would spell out what is no function, however large it is.
        need(callable(function) and type(arguments) is tuple, "a call of what is no function")
        self.append(function(*arguments))

    def load_build(self) -> None:
        """Keep the attributes of a module as plain data, without running its own code."""
        state = self.stack.pop()
        need(isinstance(self.stack[-1], Part | Table) and type(state) is Table, "attributes set on what is no module")
        self.stack[-1].state = state

    dispatch = dict.fromkeys(range(256), lambda self: need(False, "an instruction that torch.save does not write"))
    dispatch |= {code: pickle._Unpickler.dispatch[code] for (code,) in map(vars(pickle).get, INSTRUCTIONS.split())}
    dispatch |= {pickle.REDUCE[0]: load_call, pickle.NEWOBJ[0]: load_call, pickle.BUILD[0]: load_build}
    dispatch |= {pickle.EMPTY_SET[0]: dispatch[pickle.EMPTY_LIST[0]], pickle.ADDITEMS[0]: dispatch[pickle.APPENDS[0]]}
    dispatch[pickle.EMPTY_DICT[0]] = lambda self: self.append(Table())


def read(path: Path, own: Collection[str] = OWN) -> Network:
    """Return the network in a file that ``torch.save`` wrote, whole module or state dict; nothing in it is run.

    ``own``: names of classes that the network's authors wrote themselves. Raises StudyError with what was found.
    """
    try:
        need(path.is_file() and path.stat().st_size <= MAX_FILE, f"it is no file of at most {MAX_FILE:,} bytes")
        form = kind(path)
        need(form == "zip", f"it is no file of torch.save but of the kind '{form}'")
        with open(path, "rb") as file:
            root = _unpickled(file, own)
        network = Network({}, {})
        if isinstance(root, Part):
            _walk(root, "", network)
        elif type(root) is Table and {*map(type, root)} == {str}:
            network.state.update(root)
        tensors = {name: numbers.tensor for name, numbers in network.state.items() if numbers is not None}
        need(0 < len(tensors) <= MAX_PARTS, "it holds neither a network nor the tensors of one")
        need(sum(tensor.nbytes for tensor in tensors.values()) <= MAX_FILE, "its tensors are larger than any published")
        return Network({name: tensor.contiguous() for name, tensor in tensors.items()}, network.parts)
    except Exception as error:  # a stranger's bytes may make Python raise anything
        why = error if isinstance(error, StudyError) else f"it is damaged ({repr(error)[:80]!a})"
        remedy = "fetch the published file again or, if this is the network's own class, name it with --network-class"
        message = f"The pickled network {path} is refused, and nothing in it was run: {why}; {remedy}."
        raise StudyError(message) from error


def _unpickled(file: io.BufferedIOBase, own: Collection[str]) -> object:
    end = zipfile._EndRecData(file)  # what ZipFile itself goes by; a directory unfolds to ten times its size
    need(end is not None, "a zip that is cut short")
    need(end[zipfile._ECD_SIZE] <= MAX_PICKLE, "a zip whose directory is too long")
    archive = zipfile.ZipFile(file)
    members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
    need(not any(member.compress_type for member in members.values()), "a zip with a compressed member")
    need(members["data.pkl"].file_size <= MAX_PICKLE, f"a pickle of more than {MAX_PICKLE:,} bytes")
    need("byteorder" not in members or archive.read(members["byteorder"]) == b"little", "its numbers are big-endian")
    unpickler = _Unpickler(io.BytesIO(archive.read(members["data.pkl"])), own)
    root = unpickler.load()
    for key, storage in unpickler.storages.items():
        tensor, data = storage.tensor, archive.read(members[f"data/{key}"])
        need(len(data) == tensor.nbytes, f"a storage claims {tensor.nbytes:,} bytes and has {len(data):,}")
        tensor.copy_(torch.frombuffer(bytearray(data), dtype=tensor.dtype))
    return root


def _walk(part: Part, prefix: str, network: Network) -> None:
    """Fill ``network`` in the order of ``state_dict()``: parameters, persistent buffers, then the parts within."""
    state = getattr(part, "state", {})
    network.parts[prefix[:-1]] = type(part).__name__, state
    parameters, buffers, within = (state.get(key, {}) for key in ("_parameters", "_buffers", "_modules"))
    left_out = state.get("_non_persistent_buffers_set", [])[:100]
    persistent = [(name, value) for name, value in buffers.items() if name not in left_out]
    for name, value in [*parameters.items(), *persistent, *within.items()]:
        few = len(network.parts) + len(network.state) <= MAX_PARTS and len(prefix + name) <= MAX_NAME
        need(few, f"a network of more than {MAX_PARTS:,} parts, or of parts too deep within parts")
        known = name and "." not in name and (value is None or isinstance(value, Part | Numbers))
        need(known, f"the attribute {name!a} of a module, which is neither a tensor nor a part")
        if isinstance(value, Part):
            _walk(value, f"{prefix}{name}.", network)
        else:
            network.state[prefix + name] = value
