"""The published ``.pth`` files, read safely: whole modules pickled by ``torch.save``, which a plain load would run.

Both of PyTorch's file forms are read, the zip of version 1.6 on and the row of pickles before it. Every size is
compared with the bytes that are there before anything is made of them.
"""

import io
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pcos_utils.config import StudyError
from pcos_utils.data.unpack import DAMAGE, kind
from pcos_utils.models import pickles
from pcos_utils.models.admitted import OWN
from pcos_utils.models.pickles import Part, Refused, Storage, View, plain

MAX_FILE = 256 * 2**20  # bytes; the largest published file, DenseNet201, has 74 million
MAX_PICKLE = 4 * 2**20  # bytes; DenseNet201's has 278,000
MAX_DIRECTORY = 2**20  # bytes of a zip's directory; a DenseNet201 of 1,200 storages has 100,000
MAX_PARTS = 5_000
MAX_DEPTH = 30
DTYPE = {"float32": torch.float32, "int64": torch.int64}
MAGIC = 0x1950A86A20F9469CFC6C  # how torch.save began a file before version 1.6
PROTOCOL = 1001


class Network(NamedTuple):
    """A pickled network: the tensors by the names that ``state_dict()`` would give them, and the modules by path.

    Both stand in the order in which they were registered; of a file that held only tensors ``parts`` is empty.
    """

    state: dict[str, Tensor]
    parts: dict[str, Part]


def read(path: Path, own: Collection[str] = OWN) -> Network:
    """The network in a file that ``torch.save`` wrote, whole module or state dict; nothing in it is run or imported.

    ``own``: names of classes that the network's authors wrote themselves. Raises StudyError with what was found.
    """
    try:
        if not path.is_file():
            raise Refused("it is no file")
        if path.stat().st_size > MAX_FILE:
            raise Refused(f"it is larger than {MAX_FILE:,} bytes")
        form = kind(path)
        if form not in FORMS:
            raise Refused(f"it is no file of torch.save but {OTHER.get(form, form)}")
        root, numbers = FORMS[form](path, own)
        return _network(root, numbers)
    except pickles.UnknownName as error:
        remedy = "fetch the published file again or, if this is the network's own class, name it with --network-class"
        raise _refusal(path, error, remedy) from error
    except (Refused, *DAMAGE, OSError, RuntimeError, MemoryError) as error:
        raise _refusal(path, error, "fetch the published file again") from error


def _refusal(path: Path, error: Exception, remedy: str) -> StudyError:
    known = isinstance(error, Refused)
    found = str(error) if known else f"it is damaged ({type(error).__name__}: {plain(str(error))})"
    return StudyError(f"The pickled network {path} is refused, and nothing in it was run: {found}; {remedy}.")


class _Bounded(io.FileIO):
    """A file from which no more than ``limit`` bytes are read at once."""

    limit = MAX_DIRECTORY

    def read(self, size: int = -1) -> bytes:
        """As a file's own; Refused beyond ``limit``."""
        # A zip's directory is read in one piece and unfolds to ten times its size.
        if size is not None and size > self.limit:
            raise Refused("a zip whose directory is too long")
        return super().read(size)


def _zip(path: Path, own: Collection[str]) -> tuple[object, dict[Storage, bytes]]:
    with _Bounded(path) as stream, zipfile.ZipFile(stream) as archive:
        stream.limit = MAX_FILE
        members = _members(archive, path.stat().st_size)
        if members.get("byteorder") and archive.read(members["byteorder"]) != b"little":
            raise Refused("its numbers are not little-endian")
        if "data.pkl" not in members or members["data.pkl"].file_size > MAX_PICKLE:
            raise Refused(f"a zip without a data.pkl of at most {MAX_PICKLE:,} bytes")
        root, storages = pickles.read(io.BytesIO(archive.read(members["data.pkl"])), own)
        for key, storage in storages.items():
            member = members.get(f"data/{key}")
            _agree(storage, member.file_size if member else 0)
        return root, {storage: archive.read(members[f"data/{key}"]) for key, storage in storages.items()}


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by their names without the top folder. Raises Refused for any that torch.save does not write."""
    members, total = {}, 0
    for member in archive.infolist():
        top, _, name = member.orig_filename.partition("/")
        if top != archive.infolist()[0].orig_filename.partition("/")[0] or top in ("", ".", ".."):
            raise Refused(f"a zip with the member {plain(member.orig_filename)}, outside its folder")
        number = name.removeprefix("data/")
        if name not in MEMBERS and not (name != number and number.isdecimal() and number.isascii()):
            raise Refused(f"a zip with the member {plain(member.orig_filename)}, which torch.save does not write")
        # Uncompressed, as torch.save writes them, so that nothing unfolds.
        if name in members or member.compress_type or member.flag_bits & 1 or member.file_size != member.compress_size:
            raise Refused(f"a zip whose member {plain(member.orig_filename)} is double, compressed or encrypted")
        members[name] = member
        total += member.file_size
    if total > size:
        raise Refused("a zip whose members overlap")
    return members


def _row(path: Path, own: Collection[str]) -> tuple[object, dict[Storage, bytes]]:
    with open(path, "rb") as file:
        stream = io.BytesIO(file.read(MAX_PICKLE))
        if pickles.read(stream)[0] != MAGIC or pickles.read(stream)[0] != PROTOCOL:
            raise Refused("a pickle that torch.save did not write")
        system, _ = pickles.read(stream)
        if type(system) is not dict or system.get("little_endian") is not True:
            raise Refused("its numbers are not little-endian")
        root, storages = pickles.read(stream, own)
        keys, _ = pickles.read(stream)
        if type(keys) is not list or not all(type(key) is str for key in keys) or sorted(keys) != sorted(storages):
            raise Refused("its storages are not the ones that its pickle names")
        file.seek(stream.tell())
        left = path.stat().st_size - stream.tell()
        numbers = {}
        for storage in (storages[key] for key in keys):
            (count,) = struct.unpack("<q", file.read(8))
            left -= 8
            if count != storage.count:
                raise Refused(f"storage {storage.key} is described with {storage.count:,} and with {count:,} numbers")
            _agree(storage, min(storage.size, left))
            numbers[storage] = file.read(storage.size)
            left -= storage.size
        return root, numbers


def _agree(storage: Storage, found: int) -> None:
    if storage.size != found:
        raise Refused(f"storage {storage.key} claims {storage.size:,} bytes and has {found:,}")


FORMS = {"zip": _zip, "pickle": _row}
MEMBERS = {"data.pkl", "version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"}
OTHER = {"tar": "a tar, as PyTorch wrote before version 0.4", "empty": "an empty one", "web page": "a web page"}
OTHER |= {"unknown": "of an unknown kind"}


def _network(root: object, numbers: dict[Storage, bytes]) -> Network:
    parts = {}
    if type(root) is Part:
        views = dict(_walk(root, "", parts, MAX_DEPTH))
    elif type(root) is dict and root and all(type(key) is str and type(value) is View for key, value in root.items()):
        views = root
    else:
        raise Refused("it holds neither a network nor the tensors of one")
    if sum(_count(view) for view in views.values()) > pickles.MAX_NUMBERS:
        raise Refused(f"its tensors have more than {pickles.MAX_NUMBERS:,} numbers")
    blocks = {key: torch.frombuffer(bytearray(block), dtype=DTYPE[key.dtype]) for key, block in numbers.items()}
    made = {
        name: blocks[view.storage].as_strided(view.shape, view.stride, view.offset).clone()
        for name, view in views.items()
    }
    return Network({name: tensor.contiguous() for name, tensor in made.items()}, parts)


def _walk(part: Part, prefix: str, parts: dict[str, Part], depth: int):
    """Pairs of name and tensor as in ``state_dict()``: parameters, kept buffers, then the parts within."""
    if not depth or len(parts) == MAX_PARTS:
        raise Refused(f"a network of more than {MAX_PARTS:,} parts, or of parts within parts beyond {MAX_DEPTH}")
    parts[prefix.removesuffix(".")] = part
    state = part.state or {}
    left_out = state.get("_non_persistent_buffers_set", set())
    tensors, buffers, within = (state.get(key, {}) for key in ("_parameters", "_buffers", "_modules"))
    if any(type(each) is not dict for each in (tensors, buffers, within)) or type(left_out) is not set:
        raise Refused("a module whose tensors or parts do not lie where PyTorch puts them")
    kept = {name: tensor for name, tensor in buffers.items() if name not in left_out}
    for name, value in [*tensors.items(), *kept.items(), *within.items()]:
        known = type(value) in (Part, type(None)) if name in within else type(value) in (View, type(None))
        if not known or type(name) is not str or not name or "." in name:
            raise Refused(f"the attribute {plain(str(name))} of a module, which is neither a tensor nor a part")
        if type(value) is View:
            yield prefix + name, value
        elif value is not None:
            yield from _walk(value, f"{prefix}{name}.", parts, depth - 1)


def _count(view: View) -> int:
    return torch.Size(view.shape).numel()
