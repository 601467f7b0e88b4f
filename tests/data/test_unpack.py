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


def tree(folder) -> dict[str, bytes]:
    """Every file under the folder with its bytes, every empty folder with None."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or path.is_file():
            found[path.relative_to(folder).as_posix()] = b"link" if path.is_symlink() else path.read_bytes()
        elif not any(path.iterdir()):
            found[path.relative_to(folder).as_posix()] = None
    return found


def zipped(path, files, **attributes):
    """A zip of the files; ``attributes`` are set on each member."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo("placeholder")
            member.filename = name  # the constructor would clean it
            member.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(member, key, value)
            archive.writestr(member, data)
    return path


def tarred(path, members, mode="w"):
    """A tar of (name, data, type, link name) members."""
    with tarfile.open(path, mode) as archive:
        for name, data, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, link, len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_every_form_comes_out_byte_for_byte(tmp_path, form):
    archive = tmp_path / f"x.{form}"
    if form == "zip":
        zipped(archive, FILES)
    else:
        members = [(".", b"", tarfile.DIRTYPE, "")] + [("./" + n, d, tarfile.REGTYPE, "") for n, d in FILES.items()]
        tarred(archive, members, "w:" + form[4:])
    assert unpack.unpack(archive, tmp_path / "out") == 3
    assert tree(tmp_path / "out") == FILES


HOSTILE = ["../evil", "a/../../evil", "/tmp/evil", "..", "a\\..\\..\\evil", "C:/evil", "c:evil", "a\nb", "x" * 250]
HOSTILE += ["pco/A.PNG", "pco/a.png/b"]  # one file with another on some disks; a file as a folder


# A name in a tar ends at its first zero byte and cannot be empty.
@pytest.mark.parametrize(("form", "name"), [("zip", n) for n in HOSTILE + ["", "a\0b"]] + [("tar", n) for n in HOSTILE])
def test_hostile_names_are_refused_and_leave_nothing(tmp_path, form, name):
    archive = tmp_path / "x"
    if form == "zip":
        zipped(archive, FILES | {name: b"evil"})
    else:
        tarred(archive, [(n, d, tarfile.REGTYPE, "") for n, d in (FILES | {name: b"evil"}).items()])
    before = tree(tmp_path)
    with pytest.raises(UnpackError, match="name"):
        unpack.unpack(archive, tmp_path / "out" / "deep")
    (tmp_path / "out").rmdir()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    archive = tarred(tmp_path / "x.tar", [("pco", b"", kind, "/etc"), ("pco/a", b"1", tarfile.REGTYPE, "")])
    with pytest.raises(UnpackError, match="link or a device"):
        unpack.unpack(archive, tmp_path / "out")
    assert os.listdir(tmp_path) == ["x.tar"]


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, mode):
    archive = zipped(tmp_path / "x.zip", {"pco": b"/etc"}, external_attr=(mode | 0o777) << 16)
    with pytest.raises(UnpackError, match="link or a device"):
        unpack.unpack(archive, tmp_path / "out")
    assert os.listdir(tmp_path) == ["x.zip"]


def test_an_encrypted_member_is_refused(tmp_path):
    data = bytearray(zipped(tmp_path / "x.zip", {"a": b"secret"}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(UnpackError, match="encrypted"):
        unpack.unpack(tmp_path / "x.zip", tmp_path / "out")


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_bomb_is_stopped_at_the_stated_size_and_number(tmp_path, form):
    files = {f"f{i}": bytes(1_000_000) for i in range(5)}
    if form == "zip":
        archive = zipped(tmp_path / "x", files)
    else:
        archive = tarred(tmp_path / "x", [(n, d, tarfile.REGTYPE, "") for n, d in files.items()], "w:gz")
    assert archive.stat().st_size < 50_000
    with pytest.raises(UnpackError, match="more than 4,999,999 bytes"):
        unpack.unpack(archive, tmp_path / "out", max_bytes=4_999_999)
    with pytest.raises(UnpackError, match="more than 4"):
        unpack.unpack(archive, tmp_path / "out", max_files=4)
    assert os.listdir(tmp_path) == ["x"]
    assert unpack.unpack(archive, tmp_path / "out", max_bytes=5_000_000, max_files=5) == 5


def test_a_zip_that_declares_less_than_it_holds_is_caught(tmp_path):
    data = zipped(tmp_path / "x.zip", {"a": bytes(3_000_000)}).read_bytes()
    assert data.count((3_000_000).to_bytes(4, "little")) == 2  # in the local and in the central header
    (tmp_path / "x.zip").write_bytes(data.replace((3_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(UnpackError):
        unpack.unpack(tmp_path / "x.zip", tmp_path / "out", max_bytes=1000)
    assert os.listdir(tmp_path) == ["x.zip"] and not unpack.intact(tmp_path / "x.zip")


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_damaged_archives_are_named_or_come_out_whole(tmp_path, form):
    random_bytes = random.Random(0)
    archive = tmp_path / "x"
    if form == "zip":
        zipped(archive, FILES)
    else:
        tarred(archive, [(n, d, tarfile.REGTYPE, "") for n, d in FILES.items()], "w:" + form[4:])
    good, refused = archive.read_bytes(), 0
    for _ in range(150):
        data = bytearray(good)
        for _ in range(random_bytes.randint(1, 4)):
            data[random_bytes.randrange(len(data))] = random_bytes.randrange(256)
        archive.write_bytes(data[: random_bytes.choice([len(data), random_bytes.randrange(len(data))])])
        try:
            unpack.unpack(archive, tmp_path / "out")
            assert all(len(data) <= 2000 for data in tree(tmp_path / "out").values())
            shutil.rmtree(tmp_path / "out")
        except UnpackError:
            refused += 1
        assert os.listdir(tmp_path) == ["x"]
    assert refused > 25


def test_files_are_known_by_their_first_bytes(tmp_path):
    page = b"\n <!DOCTYPE html><html><head><title>Google Drive -\n Quota exceeded</title></head>"
    cases = {
        page: "web page", b"\xef\xbb\xbf<html>": "web page", b"": "empty", b"hello": "unknown",
        b"\xff\xd8\xff\xe0": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"RIFF\0\0\0\0WEBPVP8 ": "webp",
        b"PK\x03\x04": "zip", gzip.compress(b"x"): "gzip", b"\x80\x02\x8a\n": "pickle",
    }  # fmt: skip
    for data, kind in cases.items():
        (tmp_path / "x").write_bytes(data)
        assert unpack.kind(tmp_path / "x") == kind
    (tmp_path / "x").write_bytes(page)
    assert unpack.page_title(tmp_path / "x") == "Google Drive - Quota exceeded"
    with pytest.raises(UnpackError, match="no archive but web page.*Quota exceeded"):
        unpack.unpack(tmp_path / "x", tmp_path / "out")


def test_what_a_killed_process_left_is_replaced(tmp_path):
    (tmp_path / ".out.unpacking" / "pco").mkdir(parents=True)
    (tmp_path / ".out.unpacking" / "pco" / "half").write_bytes(b"half")
    assert unpack.unpack(zipped(tmp_path / "x.zip", FILES), tmp_path / "out") == 3
    assert sorted(os.listdir(tmp_path)) == ["out", "x.zip"] and tree(tmp_path / "out") == FILES
