"""Files that somebody made to harm whoever loads them, and files that are merely not what they are called.

``write`` puts them into a folder and says what each refusal must name. Every one that would run code makes the file
``canary`` in the same folder.
"""

import builtins
import copyreg
import io
import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

P2, P4 = b"\x80\x02", b"\x80\x04"
STORAGE = ("storage", torch.FloatStorage, "0", "cpu", 4)
# What refusals name.
CALL, NAME, NOTHING, ODD = "posix.system", "no published network needs", "neither a network", "instruction that torch"
BAD, LONG, SET_ON, WIDE = "is damaged", "more than 524,288 bytes", "attributes set on", "more than 5,000 parts"
NO_CALL, KEY, PAST, ODD_SHAPE = "no function", "neither text nor number", "beyond its storage", "sensible"


class Calls:
    def __init__(self, *how, state=None):
        self.how = (how[0], how[1:]) if state is None else (how[0], how[1:], state)

    def __reduce__(self):
        return self.how


class Persistent(list):
    """What stands in the pickle as a persistent id, in a list of one."""


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value[0] if type(value) is Persistent else None


def pickled(value, protocol=2) -> bytes:
    _Pickler(stream := io.BytesIO(), protocol).dump(value)
    return stream.getvalue()


def zipped(pickle_bytes: bytes, numbers: bytes = bytes(16), **others: bytes) -> bytes:
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        for name, content in {"data.pkl": pickle_bytes, "data/0": numbers, "version": b"3\n", **others}.items():
            archive.writestr(f"archive/{name}", content)
    return stream.getvalue()


def tensor(storage=STORAGE, offset=0, shape=(4,), stride=(1,), hooks=None) -> Calls:
    return Calls(torch._utils._rebuild_tensor_v2, Persistent([storage]), offset, shape, stride, False, hooks or {})


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def module(key: str, value: bytes) -> bytes:
    return SEQUENTIAL + b"}" + text(key) + value + b"sb"


CLASS = named("torch.nn.modules.container", "Sequential")
SEQUENTIAL, BLOCK = CLASS + b")\x81", pickled(Persistent([STORAGE]))[2:-1]
REBUILD = named("torch._utils", "_rebuild_tensor_v2")
SET, ORDERED = named("__builtin__", "set"), named("collections", "OrderedDict")
DOUBLED = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))  # (x, x) of (x, x) of (x, x) ...


# fmt: off
def calls(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that call something: the bytes, and what a refusal must name."""
    touch = f"touch {canary}"
    system, slots = Calls(os.system, touch), b"N}" + text("__code__") + b"Ns\x86b."  # the second part goes to setattr
    made = {
        "os.system": (pickled(system), CALL), "os.system, protocol 0": (pickled(system, 0), CALL),
        "os.system, protocol 4": (pickled(system, 4), CALL),
        "os.system beside weights": (pickled({"hooks": system, "weight": tensor()}), CALL),
        "in a persistent id": (pickled(Persistent([("storage", system)])), CALL),
        "eval": (pickled(Calls(builtins.eval, f"__import__('os').system({touch!r})")), "builtins.eval"),
        "torch.load": (pickled(Calls(torch.load, str(canary.with_name("inner.pth")))), "torch.serialization.load"),
        "copyreg": (pickled(Calls(copyreg._reconstructor, nn.Sequential, object, None)), "copy_reg._reconstructor"),
        "INST": (b"(" + text(touch) + b"iposix\nsystem\n.", ODD), "OBJ": (b"(" + CLASS + b"o.", ODD),
        "new with keywords": (P4 + CLASS + b")}\x92.", ODD), "a class called": (CLASS + b")R.", NOTHING),
        "a class given attributes": (CLASS + b"}" + text("_modules") + b"}sb.", SET_ON),
        "a function given attributes": (REBUILD + slots, SET_ON),
        "a storage filled": (BLOCK + b"K\x00K\x01s.", BAD), "a storage unpacked": (SET + BLOCK + b"R.", NO_CALL),
        "a storage class called": (named("torch", "FloatStorage") + b")R.", NO_CALL),
        "a function made anew": (REBUILD + b")\x81.", BAD), "a module made anew": (SEQUENTIAL + b")\x81.", NO_CALL),
        "IustNet of another module called": (named("os", "IustNet") + text(touch) + b"\x85R.", BAD),
        "a text called": (text("os.system") + b")R.", NO_CALL), "a doubled tuple called": (DOUBLED + b"NR.", NO_CALL),
        "a function called with a number": (REBUILD + b"K\x01R.", NO_CALL),
        "a name of a number": (P4 + b"K\x01" + text("system") + b"\x93.", BAD),
    }
    # Python's own unpickler follows a dotted name from attribute to attribute, from protocol 4 on.
    for home, name in [("torch", "os.system"), ("__main__", "IustNet.os.system")]:
        made[f"{home} {name}"] = P4 + text(home) + text(name) + b"\x93" + text(touch) + b"\x85R.", NAME
    return {name: (zipped(data), found) for name, (data, found) in made.items()}


def bombs() -> dict[str, tuple[bytes, str]]:
    shared = SEQUENTIAL
    for i in range(28):
        shared = module("_modules", b"}(" + text("a") + shared + b"q%c" % i + text("b") + b"h%cu" % i)
    chain = (SEQUENTIAL + b"}" + text("_modules") + b"}" + text("a")) * 2000 + b"N" + b"ssb" * 2000
    itself = SEQUENTIAL + b"q\x00}" + text("_modules") + b"}" + text("a" * 100_000) + b"h\x00ssb."
    many = b"]q\x00(" + b"K\x01" * 150_000 + b"e"
    wide = module("_parameters", b"}(" + b"".join(b"\x8c\x05%05dN" % i for i in range(40_000)) + b"u") + b"q\x01"
    wide += module("_modules", b"}(" + b"".join(b"\x8c\x04%04dh\x01" % i for i in range(9_000)) + b"u")
    huge = {n: tensor(("storage", torch.FloatStorage, n, "cpu", 2**25), shape=(1,)) for n in "012"}
    made = {
        "memo at two billion": (b"]r\xff\xff\xff\x7f.", NOTHING), "doubled tuple": (DOUBLED + b".", NOTHING),
        "doubled tuple as a module's key": (SEQUENTIAL + b"}(" + DOUBLED + b"Nub.", KEY),
        "doubled tuple in a set": (SET + b"]" + DOUBLED + b"a\x85R.", NOTHING),
        "doubled tuple in an OrderedDict": (ORDERED + b"]" + DOUBLED + b"N\x86a\x85R.", BAD),
        "doubled tuple as a shape": (REBUILD + b"(NK\x00" + DOUBLED + b"K\x01\x85\x89}tR.", ODD_SHAPE),
        "deep list": (b"]" * 200_000 + b"a" * 199_999 + b".", NOTHING),
        "a million instructions": (b"]0" * 600_000 + b".", LONG), "many lists": (b"]" * 500_001 + b".", NOTHING),
        "many modules": (CLASS + b"q\x00" + b"h\x00)\x81" * 120_000 + b".", NOTHING),
        "one list in many calls": (many + ORDERED + b"h\x00R.", NO_CALL), "wide parts, often": (wide + b".", WIDE),
        "parts shared by doubling": (shared + b".", WIDE), "a part within itself": (itself, "too deep within parts"),
        "parts to a depth of 2,000": (chain + b".", "too deep within parts"),
        "storages beyond memory": (pickled(huge), "too large"), "an empty stack": (b"R.", BAD),
        "text beyond the file": (b"X\xff\xff\xff\x7fabc.", BAD), "a long number": (b"\x8b\xff\xff\xff\x7f1.", ODD),
        "a frame longer than the file": (P4 + b"\x95" + b"\xff" * 7 + b"\x3f].", NOTHING),
        "an array beyond memory": (b"\x96" + b"\xff" * 7 + b"\x3f.", ODD), "too long": (text("x" * 600_000), LONG),
        "sound views": (pickled({f"w{i}": tensor(shape=(2, 2), stride=(1, 1)) for i in range(3)}), ""),
    }
    return {name: (zipped(data), found) for name, (data, found) in made.items()}


def shapes() -> dict[str, tuple[bytes, str]]:
    """Storages and tensors that are not what they say."""
    unfolded = {f"w{i}": tensor((*STORAGE[:4], 2**20), 0, (2**10,) * 2, (1, 2**10)) for i in range(65)}
    state = lambda value: P2 + SEQUENTIAL + pickled(value)[2:-1] + b"b."  # noqa: E731
    made = {
        "half floats": (tensor((STORAGE[0], torch.HalfStorage, *STORAGE[2:])), "HalfStorage"),
        "a storage of integers": (tensor((STORAGE[0], torch.LongStorage, *STORAGE[2:])), "claims 32"),
        "a storage missing": (tensor((*STORAGE[:2], "7", "cpu", 4)), BAD),
        "a storage by path": (tensor((*STORAGE[:2], "../version", "cpu", 4)), BAD),
        "a storage on meta": (tensor((*STORAGE[:3], "meta", 4)), ""),
        "a storage of a billion": (tensor((*STORAGE[:4], 2**40)), "too large"),
        "another persistent id": (tensor(("file", "passwords")), "unknown kind"),
        "a tensor too long": (tensor(shape=(5,)), PAST), "a tensor too far": (tensor(offset=1), PAST),
        "a tensor unfolded": (tensor(shape=(2**12, 2**12), stride=(0, 0)), PAST),
        "a tensor of absurd shape": (tensor(shape=(2**62, 2**62), stride=(0, 0)), PAST),
        "an empty tensor of absurd shape": (tensor(shape=(0, 2**70), stride=(0, 0)), BAD),
        "a tensor before its storage": (tensor(offset=-1), ODD_SHAPE),
        "a tensor of twenty axes": (tensor(shape=(1,) * 20, stride=(1,) * 20), ODD_SHAPE),
        "a tensor with hooks": (tensor(hooks={"f": 1}), "hooks"),
    }
    return {name: (zipped(pickled({"w": value})), found) for name, (value, found) in made.items()} | {
        "a storage with fewer bytes": (zipped(pickled({"w": tensor()}), bytes(12)), "claims 16 bytes and has 12"),
        "a storage told twice": (zipped(pickled([tensor(), tensor((*STORAGE[:4], 2))])), "described in two ways"),
        "one storage seen 65 times": (zipped(pickled(unfolded), bytes(2**22)), "larger than any"),
        "a parameter that is a storage": (zipped(state({"_parameters": {"w": Persistent([STORAGE])}})), ""),
        "a part named twice over": (zipped(state({"_modules": {"a.b": None}})), "neither a tensor"),
        "parts in a list": (zipped(state({"_modules": [1]})), BAD), "a list": (zipped(pickled([1, 2])), NOTHING),
        "a state that is a list": (zipped(state([])), SET_ON),
    }


def archives(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Zips that torch.save did not write, whose strange members are just never looked at, and files that are no zip."""
    torch.save({"w": torch.zeros(1)}, row := io.BytesIO(), _use_new_zipfile_serialization=False)  # the older form
    sound = zipped(pickled({"w": tensor()}), b"0123456789abcdef")

    def other(*members: str, compress=zipfile.ZIP_STORED, content=b"x", edit=lambda _: None, start=sound) -> bytes:
        with warnings.catch_warnings(), zipfile.ZipFile(stream := io.BytesIO(start), "a", compress) as archive:
            warnings.simplefilter("ignore")  # of a name that is written twice
            for name in members:
                archive.writestr(name, content)
            edit(archive.filelist)
        return stream.getvalue()

    def overlap(members):
        for member in members[4:]:
            for fact in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(member, fact, getattr(members[3], fact))

    lie = lambda members: setattr(members[-1], "file_size", members[-1].compress_size)  # noqa: E731
    blocks, deflated = [f"archive/data/{i}" for i in range(1, 9)], dict(compress=zipfile.ZIP_DEFLATED)
    eight = zipped(pickled({n: tensor(("storage", torch.FloatStorage, n[-1], "cpu", 2**18)) for n in blocks}))
    return {
        "sound": (sound, ""), "two folders": (other("other/data/1"), ""), "foreign": (other("archive/evil.py"), ""),
        "names outside": (other("../evil", "archive/../../evil", "/etc/evil", "archive\\evil"), ""),
        "a double name": (other("archive/data/0"), "claims 16 bytes and has 1"),
        "a bomb": (other("archive/data/1", content=bytes(2**26), **deflated), "compressed"),
        "a bomb that lies": (other("archive/data/1", content=bytes(2**20), edit=lie, **deflated), "compressed"),
        "overlapping members": (other(*blocks, content=bytes(2**20), edit=overlap, start=eight), BAD),
        "a long directory": (other(*(f"archive/data/{i:050}" for i in range(12_000))), "directory is too long"),
        "an encrypted member": (other("x", edit=lambda members: setattr(members[1], "flag_bits", 1)), BAD),
        "big-endian": (zipped(pickled({"w": tensor()}), byteorder=b"big"), "numbers are big-endian"),
        "a changed byte": (sound.replace(b"0123456789abcdef", b"0123456789abcdeF"), "damaged .*CRC"),
        "cut short": (sound[: len(sound) // 2], "cut short"), "cut at the end": (sound[:-10], "cut short"),
        "no pickle": (zipped(b"").replace(b"data.pkl", b"version2"), BAD), "row": (row.getvalue(), "'pickle'"),
        "a call": (pickled(Calls(os.system, f"touch {canary}")), "'pickle'"),
        "a web page": (b"<!DOCTYPE html><html><title>Quota exceeded</title>", "'web page'"),
        "a pickle alone": (pickle.dumps(nn.Linear(1, 1)), "'unknown'"), "an empty file": (b"", "'empty'"),
        "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "'png'"),
    }


# fmt: on


def write(folder: Path) -> dict[str, tuple[Path, str]]:
    """For each case its file in ``folder`` and what its refusal must name, a regular expression; "" where sound."""
    places, canary = {}, folder / "canary"
    for name, (content, found) in (calls(canary) | bombs() | shapes() | archives(canary)).items():
        places[name] = folder / f"{len(places)}.pth", found
        places[name][0].write_bytes(content)
    return places
