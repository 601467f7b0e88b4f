"""Files that somebody made to harm whoever loads them, and files that are merely not what they are called.

``write`` puts them into a folder and says what each refusal must name. Every one that would run code makes the file
``canary`` in the same folder.
"""

import builtins
import copyreg
import functools
import io
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

P2 = b"\x80\x02"
STORAGE = ("storage", torch.FloatStorage, "0", "cpu", 4)


class Calls:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function, *given, state=None):
        self.how = (function, given) if state is None else (function, given, state)

    def __reduce__(self):
        return self.how


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.value if isinstance(value, Persistent) else None


class Persistent:
    """What stands in the pickle as a persistent id."""

    def __init__(self, value):
        self.value = value


def pickled(value, protocol=2) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol).dump(value)
    return stream.getvalue()


def zipped(pickle_bytes: bytes, numbers: bytes = bytes(16), **others: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle_bytes)
        archive.writestr("archive/data/0", numbers)
        archive.writestr("archive/version", b"3\n")
        for name, content in others.items():
            archive.writestr(f"archive/{name}", content)
    return stream.getvalue()


def tensor(storage=STORAGE, offset=0, shape=(4,), stride=(1,), hooks=None, grad=False) -> Calls:
    return Calls(torch._utils._rebuild_tensor_v2, Persistent(storage), offset, shape, stride, grad, hooks or {})


def holding(**tensors) -> bytes:
    """The pickle of a state dict."""
    return pickled(tensors)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(name: str) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


SEQUENTIAL = named("torch.nn.modules.container Sequential") + b")\x81"


def calls(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that call something: the bytes, and what a refusal must name."""
    touch = f"touch {canary}"
    python = f"__import__('os').system({touch!r})"
    system = pickled(Calls(os.system, touch))
    ours = pickled({"hooks": Calls(os.system, touch), "weight": tensor()})
    made = {
        "os.system": (system, "posix.system"),
        "os.system, protocol 4": (pickled(Calls(os.system, touch), 4), "posix.system"),
        "os.system, protocol 0": (pickled(Calls(os.system, touch), 0), "posix.system"),
        "os.system beside weights": (ours, "posix.system"),
        "subprocess": (pickled(Calls(__import__("subprocess").check_output, ["touch", str(canary)])), "check_output"),
        "eval": (pickled(Calls(builtins.eval, python)), "__builtin__.eval"),
        "exec": (pickled(Calls(builtins.exec, python), 4), "builtins.exec"),
        "import": (pickled(Calls(__import__, "this")), "__builtin__.__import__"),
        "partial": (pickled(Calls(functools.partial(os.system, touch))), "functools.partial"),
        "torch.load": (pickled(Calls(torch.load, str(canary.with_name("inner.pth")))), "torch.serialization.load"),
        "getattr": (pickled(Calls(getattr, "", "join")), "getattr"),
        "getattr chain": (P2 + named("__builtin__ getattr") + named("os path") + text("os") + b"\x86R.", "getattr"),
        "copyreg": (pickled(Calls(copyreg._reconstructor, nn.Sequential, object, None)), "copy_reg._reconstructor"),
        "nested": (pickled(Calls(set, [Calls(os.system, touch)])), "posix.system"),
        "in a state": (pickled(Calls(set, [], state={"x": Calls(os.system, touch)})), "posix.system"),
        "in a persistent id": (pickled(Persistent(("storage", Calls(os.system, touch)))), "posix.system"),
        "INST": (b"(" + text(touch) + b"iposix\nsystem\n.", "INST"),
        "OBJ": (P2 + b"(" + named("torch.nn.modules.container Sequential") + b"o.", "OBJ"),
        "extension": (P2 + b"\x82\x01.", "EXT1"),
        "persistent text": (b"Pposix\n.", "PERSID"),
        "new with keywords": (b"\x80\x04" + named("torch.nn.modules.container Sequential") + b")}\x92.", "NEWOBJ_EX"),
        "a class called": (P2 + named("torch.nn.modules.container Sequential") + b")R.", "a call of .*Sequential"),
        "a storage class called": (P2 + named("torch FloatStorage") + b"K\x04\x85R.", "a call of .*FloatStorage"),
        "a function made anew": (P2 + named("torch._utils _rebuild_tensor_v2") + b")\x81.", "no module"),
        "IustNet of another module called": (P2 + named("os IustNet") + text(touch) + b"\x85R.", "a call of"),
        "a text called": (P2 + text("os.system") + b")R.", "a call of something"),
        "a name of a number": (b"\x80\x04K\x01" + text("system") + b"\x93.", "no text"),
    }
    # Python's own unpickler follows a dotted name from attribute to attribute, from protocol 4 on.
    for module, name in [
        ("torch", "os.system"),
        ("collections", "OrderedDict.fromkeys"),
        ("torch.nn.modules.container", "Sequential.__init__.__globals__"),
        ("__main__", "IustNet.os.system"),
        ("os.path IustNet", "IustNet"),
        ("torch.storage", "os"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
    ]:
        made[f"dotted {module} {name}"] = (
            b"\x80\x04" + text(module) + text(name) + b"\x93" + text(touch) + b"\x85R.",
            "no published network needs",
        )
    return {name: (zipped(data), found) for name, (data, found) in made.items()}


def bombs() -> dict[str, tuple[bytes, str]]:
    """Pickles that cost memory or time."""
    doubled = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))  # (x, x) of (x, x) of ...
    shared = SEQUENTIAL
    for i in range(28):
        within = text("a") + shared + b"q" + bytes([i]) + text("b") + b"h" + bytes([i])
        shared = SEQUENTIAL + b"}" + text("_modules") + b"}(" + within + b"usb"
    itself = SEQUENTIAL + b"q\x00}" + text("_modules") + b"}" + text("a") + b"h\x00ssb."
    deep = b"".join(SEQUENTIAL + b"}" + text("_modules") + b"}" + text("a") for _ in range(2000)) + b"N" + b"ssb" * 2000
    many = b"]q\x00(" + b"K\x01" * 150_000 + b"e"
    views = {f"w{i}": tensor(shape=(2, 2), stride=(1, 1)) for i in range(3)}
    made = {
        "memo at two billion": (P2 + b"]r\xff\xff\xff\x7f.", "neither a network"),
        "doubled tuple": (P2 + b")" + doubled + b".", "neither a network"),
        "doubled tuple as key": (P2 + b"})" + doubled + b"Ns.", "does not belong"),
        "doubled tuple in a set": (P2 + named("__builtin__ set") + b"])" + doubled + b"a\x85R.", "does not belong"),
        "doubled tuple as arguments": (
            P2 + named("torch._utils _rebuild_parameter") + b")" + doubled + b"R.",
            "damaged",
        ),
        "deep tuple": (P2 + b")" + b"\x85" * 400_000 + b".", "neither a network"),
        "deep list": (P2 + b"]" * 200_000 + b"a" * 199_999 + b".", "neither a network"),
        "deep dict": (P2 + b"}" + b"K\x01}" * 120_000 + b"s" * 120_000 + b".", "neither a network"),
        "a million instructions": (P2 + b"]0" * 600_000 + b".", "POP|instructions"),
        "half a million and one": (P2 + b"]" * 500_001 + b".", "instructions"),
        "one list in many sets": (
            P2 + many + (named("__builtin__ set") + b"h\x00\x85R") * 15_000 + b".",
            "set of very",
        ),
        "one list in many calls": (P2 + many + named("collections OrderedDict") + b"h\x00R.", "a call of"),
        "parts shared by doubling": (P2 + shared + b".", "more than 5,000 parts"),
        "a part within itself": (P2 + itself, "parts within parts"),
        "parts to a depth of 2,000": (P2 + deep + b".", "parts within parts"),
        "no end": (P2 + b"]", "damaged"),
        "empty pickle": (b"", "damaged"),
        "an empty stack": (P2 + b"R.", "damaged"),
        "a mark missing": (P2 + b"t.", "damaged"),
        "a memo missing": (P2 + b"h\x05.", "damaged"),
        "a text longer than the file": (P2 + b"X\xff\xff\xff\x7fabc.", "damaged"),
        "a long number": (P2 + b"\x8b\xff\xff\xff\x7f1.", "damaged|LONG4"),
        "a pickle too long": (P2 + text("x" * 5_000_000) + b".", "data.pkl of at most"),
        "sound views": (holding(**views), ""),
    }
    return {name: (zipped(data), found) for name, (data, found) in made.items()}


def shapes() -> dict[str, tuple[bytes, str]]:
    """Storages and tensors that are not what they say."""
    half = ("storage", torch.HalfStorage, "0", "cpu", 4)
    many = ("storage", torch.FloatStorage, "0", "cpu", 2**20)
    unfolded = {f"w{i}": tensor(many, shape=(2**20,)) for i in range(33)}
    state = {"_parameters": {"w": Persistent(STORAGE)}}
    module = SEQUENTIAL + pickled(state)[2:-1] + b"b."
    made = {
        "a storage with fewer bytes": (zipped(holding(w=tensor()), bytes(12)), "claims 16 bytes and has 12"),
        "a storage with more bytes": (zipped(holding(w=tensor()), bytes(20)), "claims 16 bytes and has 20"),
        "a storage of integers": (zipped(holding(w=tensor(("storage", torch.LongStorage, *STORAGE[2:])))), "claims 32"),
        "a storage missing": (zipped(holding(w=tensor((*STORAGE[:2], "7", "cpu", 4)))), "claims 16 bytes and has 0"),
        "a storage of half floats": (zipped(holding(w=tensor(half))), "HalfStorage"),
        "a storage of a billion": (zipped(holding(w=tensor((*STORAGE[:4], 2**40)))), "absurd size"),
        "a storage of less than nothing": (zipped(holding(w=tensor((*STORAGE[:4], -4)))), "absurd size"),
        "a storage of True": (zipped(holding(w=tensor((*STORAGE[:4], True)))), "absurd size"),
        "a storage by path": (zipped(holding(w=tensor((*STORAGE[:2], "../version", "cpu", 4)))), "unknown kind"),
        "a storage on meta": (zipped(holding(w=tensor((*STORAGE[:3], "meta", 4)))), "unknown kind"),
        "a storage told twice": (
            zipped(holding(a=tensor(), b=tensor((*STORAGE[:4], 2), shape=(2,)))), "described in two ways"),
        "another persistent id": (zipped(holding(w=tensor(("file", "passwords")))), "unknown kind"),
        "a tensor too long": (zipped(holding(w=tensor(shape=(5,)))), "beyond its storage"),
        "a tensor too far": (zipped(holding(w=tensor(offset=1))), "beyond its storage"),
        "a tensor with wide strides": (zipped(holding(w=tensor(shape=(2, 2), stride=(3, 1)))), "beyond its storage"),
        "a tensor unfolded": (zipped(holding(w=tensor(shape=(2**12, 2**12), stride=(0, 0)))), "beyond its storage"),
        "a tensor of absurd shape": (zipped(holding(w=tensor(shape=(2**62, 2**62), stride=(0, 0)))), "no sensible"),
        "a tensor before its storage": (zipped(holding(w=tensor(offset=-1))), "no sensible"),
        "a tensor running backwards": (zipped(holding(w=tensor(offset=3, stride=(-1,)))), "no sensible"),
        "a tensor of twenty axes": (zipped(holding(w=tensor(shape=(1,) * 20, stride=(1,) * 20))), "four axes"),
        "a tensor with hooks": (zipped(holding(w=tensor(hooks={"f": 1}))), "hooks"),
        "one storage seen 33 times": (zipped(holding(**unfolded), bytes(2**22)), "its tensors have more than"),
        "a parameter that is a storage": (zipped(P2 + module), "neither a tensor"),
        "a part named twice over": (
            zipped(P2 + SEQUENTIAL + pickled({"_modules": {"a.b": None}})[2:-1] + b"b."), "neither a tensor"),
        "parts in a list": (zipped(P2 + SEQUENTIAL + pickled({"_modules": [1]})[2:-1] + b"b."), "do not lie"),
        "a state that is a list": (zipped(P2 + SEQUENTIAL + b"]b."), "attributes set on"),
        "a list": (zipped(pickled([1, 2])), "neither a network"),
    }  # fmt: skip
    return made


def archives() -> dict[str, tuple[bytes, str]]:
    """Zips that torch.save did not write."""
    sound = zipped(holding(w=tensor()), b"0123456789abcdef")

    def other(*members: str, compress=zipfile.ZIP_STORED, content=b"x", edit=None) -> bytes:
        stream = io.BytesIO(sound)
        with warnings.catch_warnings(), zipfile.ZipFile(stream, "a", compress) as archive:
            for name in members:
                warnings.simplefilter("ignore")  # of a name that is written twice
                archive.writestr(name, content)
                content = content if compress else b"x"
            if edit:
                edit(archive.filelist)
        return stream.getvalue()

    def overlap(members):
        for member in members[4:]:
            for fact in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(member, fact, getattr(members[3], fact))

    def lie(members):
        members[-1].file_size = members[-1].compress_size

    def encrypt(members):
        members[-1].flag_bits = 1

    blocks = [f"archive/data/{i}" for i in range(1, 9)]
    scripted = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 1)), scripted)
    return {
        "sound": (sound, ""),
        "a name that climbs": (other("../evil"), "'../evil', outside its folder"),
        "a name that climbs within": (other("archive/../../evil"), "does not write"),
        "an absolute name": (other("/etc/evil"), "outside its folder"),
        "a name with a backslash": (other("archive\\evil"), "outside its folder"),
        "a name with a zero byte": (sound.replace(b"archive/version", b"archive/vers\0on"), "does not write"),
        "a foreign member": (other("archive/evil.py"), "'archive/evil.py', which torch.save does not write"),
        "two folders": (other("other/data/1"), "outside its folder"),
        "a double name": (other("archive/data/0"), "double"),
        "a bomb": (other("archive/data/1", compress=zipfile.ZIP_DEFLATED, content=bytes(2**26)), "compressed"),
        "a bomb that lies": (
            other("archive/data/1", compress=zipfile.ZIP_DEFLATED, content=bytes(2**20), edit=lie), "compressed"),
        "overlapping members": (other(*blocks, content=bytes(2**20), edit=overlap), "overlap"),
        "a long directory": (other(*(f"archive/data/{i:050}" for i in range(12_000))), "directory is too long"),
        "an encrypted member": (other("archive/data/1", edit=encrypt), "encrypted"),
        "big-endian": (zipped(holding(w=tensor()), byteorder=b"big"), "little-endian"),
        "a changed byte": (sound.replace(b"0123456789abcdef", b"0123456789abcdeF"), "damaged .*CRC"),
        "cut short": (sound[: len(sound) // 2], "damaged"),
        "cut at the end": (sound[:-10], "damaged"),
        "only a signature": (b"PK\3\4", "damaged"),
        "an archive of TorchScript": (scripted.getvalue(), "does not write|outside"),
        "no pickle": (zipped(b"").replace(b"data.pkl", b"version2"), "does not write"),
    }  # fmt: skip


def rows(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Files of the form before PyTorch 1.6, and a few that are no weights at all."""
    touch = pickled(Calls(os.system, f"touch {canary}"))
    start = pickled(0x1950A86A20F9469CFC6C) + pickled(1001)
    system = pickled({"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    root, keys = pickled({"w": tensor((*STORAGE, None))}), pickled(["0"])
    whole = start + system + root + keys
    four = struct.pack("<q", 4) + bytes(16)
    big = start + pickled({"little_endian": False}) + root + keys + four
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    page = b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>"
    return {
        "row": (whole + four, ""),
        "row, another beginning": (pickled(1) + whole, "did not write"),
        "row, os.system at once": (touch, "posix.system"),
        "row, os.system for a root": (start + system + touch, "posix.system"),
        "row, os.system for keys": (start + system + root + touch, "posix.system"),
        "row, other numbers": (whole + struct.pack("<q", 5) + bytes(20), "with 4 and with 5"),
        "row, fewer than none": (whole + struct.pack("<q", -1), "with 4 and with -1"),
        "row, cut short": (whole + four[:-1], "claims 16 bytes and has 15"),
        "row, cut before its storages": (whole, "damaged"),
        "row, keys missing": (start + system + root + pickled([]), "not the ones"),
        "row, keys double": (start + system + root + pickled(["0", "0"]) + four * 2, "not the ones"),
        "row, keys no texts": (start + system + root + pickled([[]]), "not the ones"),
        "row, big-endian": (big, "little-endian"),
        "a pickle alone": (pickle.dumps(nn.Linear(1, 1)), "of an unknown kind"),
        "a web page": (page, "a web page"),
        "an empty file": (b"", "an empty one"),
        "a tar": (tar.getvalue(), "a tar"),
        "noise": (bytes(range(256)), "of an unknown kind"),
        "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "png"),
    }  # fmt: skip


def write(folder: Path) -> dict[str, tuple[Path, str]]:
    """For each case its file in ``folder`` and what its refusal must name, a regular expression; "" where sound."""
    canary = folder / "canary"
    made = calls(canary) | bombs() | shapes() | archives() | rows(canary)
    places = {}
    for number, (name, (data, found)) in enumerate(made.items()):
        places[name] = folder / f"{number}.pth", found
        places[name][0].write_bytes(data)
    return places
