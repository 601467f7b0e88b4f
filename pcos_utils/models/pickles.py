"""A pickled network read without running it: its objects become inert records, and no name in it is ever imported.

Python's own unpickler calls what a pickle names. Here ``pickletools`` splits the bytes into instructions, and the few
that ``torch.save`` writes are carried out on plain values; a name only selects one of the records below.
"""

import pickletools
import re
import struct
from collections.abc import Collection
from typing import BinaryIO, NamedTuple

from pcos_utils.models.admitted import DTYPES, LAYERS

MAX_INSTRUCTIONS = 500_000  # DenseNet201, the largest published network, has 111,000
MAX_NUMBERS = 2**25  # of one storage, and of all tensors; DenseNet201 has 18.3 million
CONSTANTS = {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False}
CONSTANTS |= {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}


class Refused(Exception):
    """What was found in a file that keeps it from being read, as a clause."""


class UnknownName(Refused):
    """A name that no published network needs; it may be a network's own class, or an attack."""


class Name(NamedTuple):
    """A class or function that the pickle names, as "module name": text, not the thing itself."""

    text: str


class Part:
    """A module of the pickled network: its class's bare name, and the attributes that were stored."""

    __slots__ = ("kind", "state")

    def __init__(self, kind: str):
        self.kind, self.state = kind, None


class Storage(NamedTuple):
    """A block of numbers elsewhere in the file: its key, "float32" or "int64", and how many."""

    key: str
    dtype: str
    count: int

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.count * (4 if self.dtype == "float32" else 8)


class View(NamedTuple):
    """A tensor not made yet: the numbers of a storage from ``offset`` on, with shape and strides. Lies within it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read(stream: BinaryIO, own: Collection[str] = ()) -> tuple[object, dict[str, Storage]]:
    """The pickle's object and the storages that it names, by key. The stream is left behind the pickle's end.

    Modules are ``Part``, tensors ``View``, all else plain values. ``own``: names of classes that are admitted as
    modules wherever they were defined, such as a network's own class. Raises Refused.
    """
    try:
        return _run(stream, own)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise Refused(f"a pickle that is damaged or of a foreign kind ({type(error).__name__})") from error


def plain(text: str) -> str:
    """A foreign text for a sentence of ours: quoted, on one line, at most 80 characters."""
    return ascii(text[:80])


def _run(stream: BinaryIO, own: Collection[str]) -> tuple[object, dict[str, Storage]]:
    stack, outer, memo, storages = [], [], {}, {}
    for number, (instruction, value, _) in enumerate(pickletools.genops(stream)):
        if number == MAX_INSTRUCTIONS:
            raise Refused(f"a pickle of more than {MAX_INSTRUCTIONS:,} instructions")
        match instruction.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                (made,) = stack
                return made, storages
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name]())
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE":
                stack.append(value)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(instruction.name[-1]))]
                stack.append(tuple(reversed(items)))
            case "MARK":
                outer.append(stack)
                stack = []
            case "TUPLE":
                items, stack = stack, outer.pop()
                stack.append(tuple(items))
            case "APPENDS" | "ADDITEMS" | "SETITEMS":
                items, stack = stack, outer.pop()
                _fill(stack[-1], items, instruction.name)
            case "APPEND":
                _fill(stack[-2], [stack.pop()], "APPENDS")
            case "SETITEM":
                item = stack.pop()
                _fill(stack[-2], [stack.pop(), item], "SETITEMS")
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "GLOBAL":
                stack.append(_name(value, own))
            case "STACK_GLOBAL":
                names = [stack.pop(), stack.pop()]
                if not all(type(name) is str for name in names):
                    raise Refused("a name that is no text")
                stack.append(_name(" ".join(reversed(names)), own))
            case "REDUCE":
                given = stack.pop()
                stack.append(_call(stack.pop(), given))
            case "NEWOBJ":
                given = stack.pop()
                stack.append(_part(stack.pop(), given))
            case "BUILD":
                state = stack.pop()
                _build(stack[-1], state)
            case "BINPERSID":
                stack.append(_persistent(stack.pop(), storages))
            case other:
                raise Refused(f"the pickle instruction {other}, which torch.save does not write")
    raise ValueError("no end")  # genops itself raises where STOP is missing


def _name(text: str, own: Collection[str]) -> Name:
    # The whole text is compared, so that a dotted name, which an unpickler would follow from attribute to attribute,
    # is just an unknown one.
    module, _, name = text.partition(" ")
    if text in FUNCTIONS or text in DTYPES or text in LAYERS:
        return Name(text)
    if name in own and re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", module, re.ASCII):
        return Name(text)
    raise UnknownName(f"the name {plain(text.replace(' ', '.'))}, which no published network needs")


def _fill(target: object, items: list, how: str) -> None:
    if how == "APPENDS" and type(target) is list:
        target.extend(items)
    elif how == "ADDITEMS" and type(target) is set and all(type(item) is str for item in items):
        target.update(items)
    # Keys are texts or whole numbers: the hash of a tuple of tuples of tuples may take for ever.
    elif how == "SETITEMS" and type(target) is dict and all(type(key) in (str, int) for key in items[::2]):
        target.update(zip(items[::2], items[1::2], strict=True))
    else:
        raise Refused("a container filled with what does not belong there")


def _part(name: object, given: object) -> Part:
    if type(name) is not Name or name.text in FUNCTIONS or name.text in DTYPES or given != ():
        raise Refused("an object made of what is no module")
    return Part(name.text.split(" ")[1])


def _build(target: object, state: object) -> None:
    # A state dict is an OrderedDict with an attribute `_metadata`, which says nothing of the weights.
    if type(target) is Part and target.state is None and type(state) is dict:
        target.state = state
    elif not (type(target) is dict and type(state) is dict and state.keys() == {"_metadata"}):
        raise Refused("attributes set on what is no module")


def _call(function: object, given: object) -> object:
    if type(function) is not Name or function.text not in FUNCTIONS or type(given) is not tuple:
        name = plain(function.text.replace(" ", ".")) if type(function) is Name else "something"
        raise Refused(f"a call of {name}, which is no function that torch.save needs")
    return FUNCTIONS[function.text](*given)


def _set_of(items: list) -> set:
    if type(items) is not list or len(items) > 100:  # one long list could be copied into very many sets
        raise Refused("a set of very many things")
    made = set()
    _fill(made, items, "ADDITEMS")
    return made


def _tensor(
    storage: Storage, offset: int, shape: tuple, stride: tuple, grad: bool, hooks: dict, metadata: None = None
) -> View:
    if type(storage) is not Storage or type(shape) is not tuple or type(stride) is not tuple:
        raise Refused("a tensor without a storage")
    if len(shape) != len(stride) or len(shape) > 4 or hooks != {}:
        raise Refused("a tensor of more than four axes, or with hooks")
    if any(type(number) is not int or not 0 <= number <= MAX_NUMBERS for number in (offset, *shape, *stride)):
        raise Refused("a tensor whose shape or place is no sensible number")
    count, last = 1, offset
    for size, step in zip(shape, stride, strict=True):
        count, last = count * size, last + max(size - 1, 0) * step
    # Strides of zero could unfold one number into a tensor of any size.
    if count > storage.count or (count and last >= storage.count):
        raise Refused(f"a tensor that reaches beyond its storage of {storage.count:,} numbers")
    return View(storage, offset, shape, stride)


def _parameter(view: View, grad: bool, hooks: dict) -> View:
    if type(view) is not View or hooks != {}:
        raise Refused("a parameter that is no tensor, or with hooks")
    return view


def _persistent(given: object, storages: dict[str, Storage]) -> Storage | Name:
    match given:
        # Before PyTorch 1.6 a class came with its source code, which stays what it is here: a text.
        case ("module", Name() as name, _, _):
            return name
        case ("storage", Name(text), str(key), str(place), int(count), *rest) if rest in ([], [None]):
            known = re.fullmatch(r"[0-9]{1,20}", key) and re.fullmatch(r"cpu|cuda(:[0-9]{1,2})?", place)
            if known and text in DTYPES and type(count) is int and 0 < count <= MAX_NUMBERS:
                storage = Storage(key, DTYPES[text], count)
                if storages.setdefault(key, storage) == storage:
                    return storage
    raise Refused("a storage of an unknown kind, of an absurd size, or described in two ways")


FUNCTIONS = {
    "collections OrderedDict": lambda: {},
    "__builtin__ set": _set_of,
    "builtins set": _set_of,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
}
