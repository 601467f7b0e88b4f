"""Archives from strangers: nothing lands outside, nothing is bigger than allowed, and damage leaves no trace."""

import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile

import pytest

from pcos_utils.data import unpack
from pcos_utils.data.unpack import UnpackError

FILES = {"pco/a.png": b"\x89PNG\r\n\x1a\n" + bytes(500), "normal/b.png": b"b" * 300, "notes.txt": b""}
TYPES = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, b"S"]  # S: sparse
MODES = [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK]
FORMS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]


def tree(folder) -> dict[str, bytes | None]:
    """Return every file and link under the folder with its bytes, and every folder."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def packed(path, files, form, **attributes):
    """Return the path of an archive of the files; ``attributes`` are set on each member."""
    with zipfile.ZipFile(path, "w") if form == "zip" else tarfile.open(path, "w:" + form[4:]) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo("placeholder") if form == "zip" else tarfile.TarInfo(name)
            basic = dict(compress_type=zipfile.ZIP_DEFLATED, filename=name) if form == "zip" else {"size": len(content)}
            for key, value in (basic | attributes).items():
                setattr(member, key, value)  # the constructor would clean the name
            archive.writestr(member, content) if form == "zip" else archive.addfile(member, io.BytesIO(content))
    return path


def assert_refused(archive, words, **limits):
    """Assert that the archive is refused with the words, and leaves nothing."""
    with pytest.raises(UnpackError, match=words) as caught:
        unpack.unpack(archive, archive.parent / "out", **limits)
    assert "\n" not in str(caught.value) and os.listdir(archive.parent) == [archive.name]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_comes_out_byte_for_byte_and_replaces_what_a_killed_process_left(tmp_path, form):
    (tmp_path / ".out.unpacking" / "pco").mkdir(parents=True)
    (tmp_path / ".out.unpacking" / "pco" / "half").write_bytes(b"half")
    assert unpack.unpack(packed(tmp_path / "x", FILES, form), tmp_path / "out") == 3
    assert tree(tmp_path / "out") == FILES | {"pco": None, "normal": None} and len(os.listdir(tmp_path)) == 2
    with tarfile.open(tmp_path / "y", "w") as archive:
        archive.add(tmp_path / "out", ".")  # as tar does: the folders too, and the first is "."
    assert unpack.unpack(tmp_path / "y", tmp_path / "again") == 3 and tree(tmp_path / "again") == tree(tmp_path / "out")


HOSTILE = ["../evil", "a/../../evil", "/tmp/evil", "..", "a\\..\\..\\evil", "C:/evil", "c:evil", "a\nb", "x" * 250]
HOSTILE += ["pco/A.PNG", "pco/a.png/b", "pco"]  # one file with another on some disks; a file as a folder


# A name in a tar ends at its first zero byte and cannot be empty.
@pytest.mark.parametrize(("form", "name"), [("zip", n) for n in HOSTILE + ["", "a\0b"]] + [("tar", n) for n in HOSTILE])
def test_hostile_names_are_refused_and_leave_nothing(tmp_path, form, name):
    (tmp_path / "deep").mkdir()
    assert_refused(packed(tmp_path / "deep" / "x", FILES | {name: b"evil"}, form), "name")
    assert os.listdir(tmp_path) == ["deep"]


@pytest.mark.parametrize(("form", "odd"), [("tar", odd) for odd in TYPES] + [("zip", odd) for odd in MODES])
def test_links_and_devices_are_refused(tmp_path, form, odd):
    attributes = dict(type=odd, linkname="/etc") if form == "tar" else dict(external_attr=(odd | 0o777) << 16)
    assert_refused(packed(tmp_path / "x", {"pco": b""}, form, **attributes), "link, a device or sparse")


def test_a_zip_that_is_encrypted_or_declares_less_than_it_holds_is_refused(tmp_path):
    content = bytearray(packed(tmp_path / "x", {"a": bytes(3_000_000)}, "zip").read_bytes())
    assert content.count((3_000_000).to_bytes(4, "little")) == 2  # in the local and in the central header
    (tmp_path / "x").write_bytes(content.replace((3_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert_refused(tmp_path / "x", "damaged", max_bytes=1000)
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x").write_bytes(content)
    assert_refused(tmp_path / "x", "encrypted")


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_bomb_is_stopped_at_the_stated_size_and_number(tmp_path, form):
    archive = packed(tmp_path / "x", {f"f{i}": bytes(1_000_000) for i in range(5)}, form)
    assert archive.stat().st_size < 50_000
    assert_refused(archive, "more than .* 4,999,999 bytes", max_bytes=4_999_999)
    assert_refused(archive, "more than 4 members", max_files=4)
    assert unpack.unpack(archive, tmp_path / "out", max_bytes=5_000_000, max_files=5) == 5


@pytest.mark.parametrize("form", FORMS)
def test_damaged_archives_are_named_or_come_out_whole(tmp_path, form):
    archive, chance, count = packed(tmp_path / "x", FILES, form), random.Random(0), 0
    good = archive.read_bytes()
    for _ in range(60):
        content = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        archive.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
        try:
            assert unpack.unpack(archive, tmp_path / "out") <= 3
            shutil.rmtree(tmp_path / "out")
        except UnpackError:
            count += 1
        assert os.listdir(tmp_path) == ["x"]
    assert count > 9


def test_files_are_known_by_their_first_bytes(tmp_path):
    cases = {
        b"\n <!DOCTYPE html>": "web page", b"\xef\xbb\xbf<HTML>": "web page", b"": "empty", b"hello": "unknown",
        b"\xff\xd8\xff\xe0": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"RIFF\0\n\0\0WEBPVP8 ": "webp", b"BM": "bmp",
        b"PK\x03\x04": "zip", gzip.compress(b"x"): "gzip", b"\x80\x02\x8a\n": "pickle", b"II*\0": "tiff",
        b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"GIF89a": "gif", bytes(257) + b"ustar": "tar",
    }  # fmt: skip
    for content, kind in cases.items():
        (tmp_path / "x").write_bytes(content)
        assert unpack.kind(tmp_path / "x") == kind
    (tmp_path / "x").write_bytes("<html><title>Google\u202e Drive -\n زیاد</title>".encode())
    with pytest.raises(UnpackError, match=r"a web page \(Google Drive - زیاد\) came instead of a.png"):
        unpack.accept("a.png", tmp_path / "x")
    assert_refused(tmp_path / "x", "no archive, or damaged .web page")
