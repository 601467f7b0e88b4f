"""A registered entry arrives whole, verified and once; what cannot be fetched says what to do by hand."""

import hashlib
import inspect
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import gdown
import pytest
import requests
from gdown.exceptions import DownloadError, FileURLRetrievalError
from PIL import Image

from pcos_utils import cli, config
from pcos_utils.config import StudyError
from pcos_utils.data import datasets, download, manifest, remote, transfer

PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head></html>"


def picture(seed: int) -> bytes:
    """A small PNG that no other seed gives."""
    stream = io.BytesIO()
    Image.frombytes("L", (24, 24), random.Random(seed).randbytes(576)).save(stream, "PNG")
    return stream.getvalue()


FILES = {f"{folder}/{i}.png": picture(10 * k + i) for k, folder in enumerate(("pco", "normal")) for i in range(3)}


@pytest.fixture
def mirror(server, home, monkeypatch):
    """A mirror of dataset-b that holds FILES; calling it serves other files."""

    def serve(files: dict[str, bytes], name: str = "dataset-b") -> None:
        server.files |= {f"m/{name}/{path}": data for path, data in files.items()}
        lines = (f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in files.items())
        server.files[f"m/{name}.sha256"] = "".join(lines).encode()

    monkeypatch.setenv("PCOS_MIRROR", f"{server.address}/m/")
    serve(FILES)
    return serve


def fetch(name: str = "dataset-b") -> str:
    """The sentence on the entry, fetched to its place without pauses."""
    return download.fetch(name, download.place(name), sleep=lambda seconds: None)


def held(folder: Path) -> dict[str, bytes]:
    """Every file under the folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- a mirror: our own transfer, end to end


def test_a_mirror_gives_every_file_and_a_second_call_asks_nothing(mirror, server, home):
    said = fetch()
    target = home / "data" / "dataset-b"
    assert held(target) == FILES and sorted(os.listdir(home / "data")) == ["dataset-b", "dataset-b.sha256"]
    assert "6 files" in said and "pco: 3 files, 14 published" in said and "normal: 3 files, 40 published" in said
    asked = len(server.asked)
    assert asked == 7 and fetch() == said and len(server.asked) == asked


def test_the_record_is_what_sha256sum_checks(mirror, home):
    fetch()
    done = subprocess.run(["sha256sum", "-c", "../dataset-b.sha256"], cwd=home / "data" / "dataset-b")
    assert done.returncode == 0


def test_a_fetched_folder_is_itself_a_mirror(mirror, server, home, monkeypatch):
    fetch()
    server.files = {f"again/{path}": data for path, data in held(home / "data").items()}
    monkeypatch.setenv("PCOS_MIRROR", f"{server.address}/again")
    monkeypatch.setenv("PCOS_DATA_DIR", str(home / "elsewhere"))
    fetch()
    assert held(home / "elsewhere") == held(home / "data")


def test_a_study_fetches_once_and_counts(mirror, server, home):
    study = config.study(data="dataset-b")
    assert len(download.prepare(study)) == 6
    asked = len(server.asked)
    assert len(download.prepare(study)) == 6 and len(server.asked) == asked
    assert (study.data_dir / "manifest.csv").exists() and "6 files" in fetch()  # the manifest is no data


def test_an_old_manifest_alone_does_not_stop_a_download(mirror, home):
    (home / "data" / "dataset-b" / "empty").mkdir(parents=True)
    (home / "data" / "dataset-b" / "manifest.csv").write_text("old")
    fetch()
    assert held(home / "data" / "dataset-b") == FILES


def test_an_interrupted_download_goes_on_and_fetches_nothing_twice(mirror, server, home):
    server.moods["m/dataset-b/normal/1.png"] = [{"cut": 40}] + [{"cut": 0}] * 5
    with pytest.raises(StudyError, match="broke off after"):
        fetch()
    assert sorted(os.listdir(home / "data")) == ["dataset-b.partial"]
    fetch()
    pictures = [asked for asked in server.asked if asked[0].endswith(".png")]
    whole = [path for path, wanted, status in pictures if wanted is None]
    assert len(whole) == len(set(whole)) == 6
    assert pictures[-2:] == [("m/dataset-b/normal/1.png", "bytes=40-", 206), ("m/dataset-b/normal/2.png", None, 200)]
    assert held(home / "data" / "dataset-b") == FILES


@pytest.mark.parametrize("path", ["m/dataset-b/pco/1.png", "m/dataset-b.sha256"])
def test_a_web_page_instead_of_data_is_named(mirror, server, home, path):
    server.moods[path] = [{"body": PAGE}]
    with pytest.raises(StudyError, match="Quota exceeded") as caught:
        fetch()
    assert str(caught.value).count("\n") == 0 and not (home / "data" / "dataset-b").exists()
    fetch()
    assert held(home / "data" / "dataset-b") == FILES


def test_a_file_that_differs_from_its_digest_is_not_accepted(mirror, server, home):
    server.files["m/dataset-b/pco/1.png"] = picture(99)
    with pytest.raises(StudyError, match="sha256 is"):
        fetch()
    assert not (home / "data" / "dataset-b").exists()


def test_what_changed_since_the_first_download_is_named(mirror, server, home):
    fetch()
    first = held(home / "data")
    for path in FILES:
        (home / "data" / "dataset-b" / path).unlink()
    changed = FILES | {"pco/1.png": picture(99), "pco/new.png": picture(98)}
    del changed["normal/2.png"]
    mirror(changed)
    with pytest.raises(StudyError) as caught:
        fetch()
    for words in ("pco/1.png (changed)", "pco/new.png (new)", "normal/2.png (missing)", "dataset-b.sha256"):
        assert words in str(caught.value)
    assert held(home / "data") == {"dataset-b.sha256": first["dataset-b.sha256"]}
    (home / "data" / "dataset-b.sha256").unlink()  # the remedy that the sentence names
    fetch()
    assert held(home / "data" / "dataset-b") == changed


def test_a_study_notices_that_its_files_are_no_longer_those_that_came(mirror, home):
    study = config.study(data="dataset-b")
    download.prepare(study)
    (study.image_dir / "pco" / "0.png").write_bytes(picture(97))
    (study.image_dir / "pco" / "2.png").unlink()
    with pytest.raises(StudyError, match=r"pco/0.png \(changed\), pco/2.png \(missing\)"):
        download.prepare(study)
    with pytest.raises(StudyError, match=r"pco/0.png \(changed\), pco/2.png \(missing\)"):
        fetch()


def test_files_put_there_by_hand_are_checked_counted_and_recorded(home):
    target = home / "data" / "dataset-b"
    for path, data in FILES.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(data)
    (target / "pco" / "1.png").write_bytes(PAGE)
    with pytest.raises(StudyError, match="Quota exceeded.*pco/1.png"):
        fetch()
    assert not (home / "data" / "dataset-b.sha256").exists()
    (target / "pco" / "1.png").write_bytes(b"")
    assert "1 files are empty (pco/1.png)" in fetch()
    assert len(remote.read_digests(home / "data" / "dataset-b.sha256")) == 6


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "pco\\..\\evil", "C:evil", "PCO/0.PNG"])
def test_hostile_names_from_a_server_are_refused_before_anything_lands(mirror, server, home, snapshot, name):
    (home / "beside").write_text("untouched")
    mirror(FILES | {name: b"evil"})
    before = {path for path in snapshot(home.parent) if "dataset-b.partial" not in path}
    with pytest.raises(StudyError, match="name"):
        fetch()
    after = {path for path in snapshot(home.parent) if "dataset-b.partial" not in path}
    assert after - before == {f"{home.name}/data"} and not any(path.endswith(".png") for path, _, _ in server.asked)


def test_hostile_archives_from_a_server_land_nowhere(mirror, server, home, snapshot):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("pco/a.png", picture(1))
        archive.writestr("../../../evil", b"evil")
    mirror({"set.zip": stream.getvalue()})
    with pytest.raises(StudyError, match="set.zip is refused.*evil"):
        fetch()
    assert not any("evil" in path or path.endswith("a.png") for path in snapshot(home.parent))


def test_an_archive_is_unpacked_and_only_its_files_are_kept(mirror, server, home):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, data in FILES.items():
            archive.writestr(path, data)
    mirror({"set.zip": stream.getvalue(), "readme.txt": b"words"})
    server.files["m/dataset-b.sha256"] = b"".join(
        line + b"\n" for line in server.files["m/dataset-b.sha256"].splitlines() if b"png" not in line
    )
    fetch()
    expected = {f"set/{path}": data for path, data in FILES.items()} | {"readme.txt": b"words"}
    assert held(home / "data" / "dataset-b") == expected


# --- stopped in the middle


def start(home, server, *words, **options) -> subprocess.Popen:
    """The command ``pcos download dataset-b`` in a process of its own."""
    words = words or ("download", "dataset-b")
    environment = os.environ | {"PYTHONPATH": str(config.ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "pcos_utils.cli", *words], cwd=home, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def test_kill_nine_and_then_a_second_process_and_then_the_end(mirror, server, home):
    server.moods["m/dataset-b/normal/1.png"] = [{"cut": 100}]
    server.hold = 60
    first = start(home, server)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not any("normal/1" in path for path, _, _ in server.asked):
        time.sleep(0.02)
    time.sleep(0.2)
    second = start(home, server)
    assert "Another process" in second.communicate(timeout=30)[1] and second.returncode == 2
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=10)
    assert sorted(os.listdir(home / "data")) == ["dataset-b.partial"]
    fetch()
    assert server.asked[-2] == ("m/dataset-b/normal/1.png", "bytes=100-", 206)
    assert held(home / "data" / "dataset-b") == FILES


def test_a_full_disk_is_one_sentence(mirror, home, monkeypatch):
    def refuse(source, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(transfer.os, "replace", refuse)
        with pytest.raises(StudyError, match="no space left on device; make room"):
            fetch()
    assert not (home / "data" / "dataset-b").exists()
    fetch()
    assert held(home / "data" / "dataset-b") == FILES


def test_a_disk_that_is_really_full(mirror, server, tmp_path, monkeypatch):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("only root may mount a small file system; the test above stands in")
    try:
        mirror(FILES | {"pco/large.png": picture(1) + bytes(400_000)})
        monkeypatch.setenv("PCOS_DATA_DIR", str(small))
        with pytest.raises(StudyError, match="no space left on device") as caught:
            fetch()
        assert "\n" not in str(caught.value) and os.listdir(small) == ["dataset-b.partial"]
        subprocess.run(["mount", "-o", "remount,size=4m", small], check=True)
        fetch()
        assert len(held(small / "dataset-b")) == 7
        assert any(status == 206 for _, _, status in server.asked)
    finally:
        subprocess.run(["umount", small], check=True)


# --- Google Drive, through gdown

Entry = namedtuple("Entry", "id path local_path")


@pytest.fixture
def drive(monkeypatch, home):
    """gdown with its real signatures and without a network; ``files`` by id, ``errors`` raised first, ``asked`` ids."""

    class Drive:
        files = {f"id{number:025d}": data for number, data in enumerate(FILES.values())}
        names = dict(zip(files, FILES, strict=True))

    fake = Drive()
    fake.errors, fake.asked, fake.continued = [], [], []
    real = {name: inspect.signature(getattr(gdown, name)) for name in ("download", "download_folder")}

    def folder(**options):
        real["download_folder"].bind(**options)
        assert options["url"].startswith(datasets.DRIVE_FOLDER) and options["skip_download"]
        fake.asked.append("list")
        if fake.errors and not isinstance(fake.errors[0], int):
            raise fake.errors.pop(0)
        return [Entry(key, os.path.join(*name.split("/")), name) for key, name in fake.names.items()]

    def file(**options):
        real["download"].bind(**options)
        key = gdown.parse_url.parse_url(options["url"])[0]
        fake.asked.append(key)
        data = fake.files.get(key, b"")
        if len(fake.asked) > 1 and fake.errors:
            error = fake.errors.pop(0)
            if isinstance(error, int):
                Path(options["output"] + "12345678.part").write_bytes(data[:error])
                raise DownloadError("Download is incomplete")
            raise error
        for part in Path(options["output"]).parent.glob("*.part"):
            assert options["resume"]
            begun = part.read_bytes()
            fake.continued.append(len(begun))
            data = begun + data[len(begun) :]  # gdown cannot know which version began the part
            part.unlink()
        options["progress"](len(data), None)
        Path(options["output"]).write_bytes(data)

    monkeypatch.setattr(remote.gdown, "download_folder", folder)
    monkeypatch.setattr(remote.gdown, "download", file)
    monkeypatch.setenv("PCOS_PLAIN", "1")
    monkeypatch.delenv("PCOS_MIRROR", raising=False)
    return fake


def test_a_drive_folder_arrives_whole_and_is_not_fetched_twice(drive, home):
    study = config.study(data="dataset-b")
    assert len(download.prepare(study)) == len(download.prepare(study)) == 6
    assert len(drive.asked) == 7 and held(home / "data" / "dataset-b") == FILES | {
        "manifest.csv": (study.data_dir / "manifest.csv").read_bytes()
    }


def test_two_files_of_one_name_in_a_drive_folder_are_both_kept(drive, home):
    drive.names = dict.fromkeys(drive.names, "pco/same.png")
    drive.names[list(drive.names)[-1]] = "normal/other.png"
    with pytest.raises(StudyError, match="occurs twice"):  # ids of this fake share their first letters
        fetch()
    drive.names = dict(zip(drive.names, ["pco/a.png", "pco/a.png", "pco/c.png", *list(FILES)[3:]], strict=True))
    fetch()
    assert "pco/a-id000000.png" in held(home / "data" / "dataset-b")


@pytest.mark.parametrize(
    "error", [requests.exceptions.ConnectionError("refused"), FileURLRetrievalError("quota"), KeyError("Content-Type")]
)
def test_a_refusal_by_drive_gives_the_manual_steps(drive, home, error):
    drive.errors = [error] * 9
    with pytest.raises(StudyError) as caught:
        fetch()
    text = str(caught.value)
    assert datasets.REGISTRY["dataset-b"].address in text and "DATA=FOLDER" in text and "PCOS_DATA_DIR=FOLDER" in text
    assert all(f"({i})" in text for i in (1, 2, 3, 4)) and "\n" not in text and "normal and pco" in text
    assert not (home / "data" / "dataset-b").exists()


def test_after_a_quota_the_next_call_asks_only_for_what_is_missing(drive, home, monkeypatch):
    served = remote.gdown.download

    def refuse_the_third(**options):
        if len(drive.asked) == 3:
            raise FileURLRetrievalError("quota")
        return served(**options)

    with monkeypatch.context() as patch:
        patch.setattr(remote.gdown, "download", refuse_the_third)
        with pytest.raises(StudyError, match="too many downloads today"):
            fetch()
    fetch()
    files = [key for key in drive.asked if key != "list"]
    assert len(files) == len(set(files)) == 6 and held(home / "data" / "dataset-b") == FILES


def weights() -> bytes:
    """What torch.save writes, in outline: a zip whose members carry checksums."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", random.Random(3).randbytes(5000))
    return stream.getvalue()


def test_a_file_of_weights_is_continued_and_its_checksums_are_looked_at(drive, home):
    key = gdown.parse_url.parse_url(datasets.REGISTRY["weights-iustnet"].address)[0]
    drive.files[key] = weights()
    drive.asked, drive.errors = ["before"], [1000, 2000]
    assert "1 files" in fetch("weights-iustnet")
    assert held(home / "data" / "weights-iustnet") == {"iustnet.pth": weights()} and len(drive.asked) == 4


def interrupted(drive, name: str, size: int) -> None:
    """A download of the entry that ended for good after ``size`` bytes of its first file."""
    drive.errors, drive.asked = [size] + [requests.exceptions.ConnectionError("refused")] * 5, ["before"]
    with pytest.raises(StudyError):
        fetch(name)
    drive.errors = []


def test_weights_are_continued_by_the_next_process_but_never_joined_from_two_versions(drive, home):
    key = gdown.parse_url.parse_url(datasets.REGISTRY["weights-iustnet"].address)[0]
    drive.files[key] = weights()
    interrupted(drive, "weights-iustnet", 1000)
    fetch("weights-iustnet")
    assert drive.continued == [1000]
    shutil.rmtree(home / "data")
    drive.files[key] = weights().replace(weights()[100:200], bytes(100))
    interrupted(drive, "weights-iustnet", 1000)
    drive.files[key] = weights()
    fetch("weights-iustnet")
    assert drive.continued == [1000, 1000]
    assert held(home / "data" / "weights-iustnet") == {"iustnet.pth": weights()}


def test_a_part_that_drive_will_not_continue_is_given_up(drive, home):
    drive.files[gdown.parse_url.parse_url(datasets.REGISTRY["weights-iustnet"].address)[0]] = weights()
    drive.asked, drive.errors = ["before"], [1000, DownloadError("Server did not honor the requested byte range")]
    fetch("weights-iustnet")
    assert drive.continued == [] and held(home / "data" / "weights-iustnet") == {"iustnet.pth": weights()}


def test_pictures_carry_no_checksums_and_begin_anew(drive, home):
    first = next(iter(drive.files))
    drive.files[first] = bytes(500)
    drive.asked = ["before"]
    interrupted(drive, "dataset-b", 100)
    drive.files[first] = FILES["pco/0.png"]
    fetch()
    assert held(home / "data" / "dataset-b") == FILES and drive.continued == []


def test_a_file_that_left_the_list_is_left_out(drive, home):
    last = list(drive.files)[-1]
    kept, drive.files[last] = drive.files[last], PAGE
    with pytest.raises(StudyError, match="Quota exceeded"):
        fetch()
    drive.files[last] = kept
    drive.names = {key: name for key, name in drive.names.items() if name != "pco/0.png"}
    fetch()
    assert held(home / "data" / "dataset-b") == {path: FILES[path] for path in list(FILES)[1:]}


def test_a_refused_archive_is_not_kept(drive, home):
    key = next(iter(drive.files))
    drive.names = {key: "set.zip"}
    for name in ("../evil", "pco/a.png"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(name, picture(1))
        drive.files[key] = stream.getvalue()
        if name.startswith(".."):
            with pytest.raises(StudyError, match="set.zip is refused"):
                fetch()
    fetch()
    assert held(home / "data" / "dataset-b") == {"set/pco/a.png": picture(1)}


@pytest.mark.parametrize("data", [PAGE, b"", b"GIF89a", weights()[:2000] + b"xx" + weights()[2002:]])
def test_weights_that_are_something_else_are_refused(drive, home, data):
    drive.files[gdown.parse_url.parse_url(datasets.REGISTRY["weights-iustnet"].address)[0]] = data
    with pytest.raises(StudyError, match="iustnet.pth"):
        fetch("weights-iustnet")
    assert not (home / "data" / "weights-iustnet").exists()


@pytest.fixture
def real_gdown(server, home, monkeypatch):
    """gdown itself, with Drive's host name answered on loopback by pages in Drive's form; the folder's file ids."""
    get = requests.Session.get

    def on_loopback(session, url, **options):
        return get(session, url.replace("https://drive.google.com", server.address), **options)

    def page(title: str, links: dict[str, str]) -> bytes:
        rows = "".join(f'<a href="https://drive.google.com/{link}">{name}</a>' for name, link in links.items())
        return f"<html><head><title>{title}</title></head><body>{rows}</body></html>".encode()

    monkeypatch.setattr(requests.Session, "get", on_loopback)
    monkeypatch.delenv("PCOS_MIRROR", raising=False)
    top = datasets.REGISTRY["dataset-b"].address.removeprefix(datasets.DRIVE_FOLDER)
    ids = {path: f"file-{number:025d}" for number, path in enumerate(FILES)}
    for number, folder in enumerate(("pco", "normal")):
        inside = {path.split("/")[1]: f"file/d/{ids[path]}/view" for path in FILES if path.startswith(folder)}
        server.files[f"embeddedfolderview?id=folder-{number:025d}"] = page(folder, inside)
    folders = {name: f"drive/folders/folder-{number:025d}" for number, name in enumerate(("pco", "normal"))}
    server.files[f"embeddedfolderview?id={top}"] = page("Dataset B", folders)
    server.files |= {f"uc?id={ids[path]}": data for path, data in FILES.items()}
    server.always = {"headers": {"Content-Disposition": 'attachment; filename="x"', "Content-Type": "image/png"}}
    return ids


def test_gdown_itself_brings_a_folder_in_spite_of_a_cut(real_gdown, server, home):
    address = f"uc?id={real_gdown['pco/1.png']}"
    large = picture(1) + bytes(1_200_000)  # gdown keeps nothing of a file's last, unfinished half mebibyte
    server.files[address] = large
    server.moods[address] = [{"cut": 900_000}]
    fetch()
    assert held(home / "data" / "dataset-b") == FILES | {"pco/1.png": large}
    assert (address, "bytes=524288-", 206) in server.asked


def test_gdown_itself_meets_the_quota_page(real_gdown, server, home):
    page = b'<html><title>Google Drive - Quota exceeded</title><p class="uc-error-subcaption">Too many users</p></html>'
    plain = {"Content-Disposition": None, "Content-Type": "text/html"}
    server.moods[f"uc?id={real_gdown['normal/0.png']}"] = [{"body": page, "headers": plain}]
    with pytest.raises(StudyError, match="too many downloads today"):
        fetch()
    assert not (home / "data" / "dataset-b").exists()
    asked = len(server.asked)
    fetch()
    assert held(home / "data" / "dataset-b") == FILES
    assert [path for path, _, _ in server.asked[asked:]][3:] == [f"uc?id={real_gdown[p]}" for p in list(FILES)[3:]]


# --- Zenodo


def test_a_zenodo_record_is_listed_verified_and_unpacked(server, home, monkeypatch):
    monkeypatch.delenv("PCOS_MIRROR", raising=False)
    monkeypatch.setattr(remote, "ZENODO_API", f"{server.address}/api/records/")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("PCOSGen-test/images/image1.jpg", picture(1))
        archive.writestr("PCOSGen-test/class_label.xlsx", b"PK\x03\x04")
    data = stream.getvalue()
    checksum = "md5:" + hashlib.md5(data).hexdigest()
    record = {"files": [{"key": "PCOSGen-test.zip", "size": len(data), "checksum": checksum}]}
    server.files["api/records/10960327"] = json.dumps(record).encode()
    server.files["api/records/10960327/files/PCOSGen-test.zip/content"] = weights()
    with pytest.raises(StudyError, match="md5 is"):
        fetch("pcosgen-test")
    server.files["api/records/10960327/files/PCOSGen-test.zip/content"] = data
    assert "images: 1 files, 1,468 published" in fetch("pcosgen-test")
    assert (home / "data/pcosgen-test/PCOSGen-test/PCOSGen-test/images/image1.jpg").read_bytes() == picture(1)
    assert not list((home / "data").rglob("*.zip"))


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"files": [{"key": "a"}]}', b'{"files": []}', PAGE])
def test_a_zenodo_answer_that_cannot_be_read_is_named(server, home, monkeypatch, answer):
    monkeypatch.delenv("PCOS_MIRROR", raising=False)
    monkeypatch.setattr(remote, "ZENODO_API", f"{server.address}/api/records/")
    server.files["api/records/10430727"] = answer
    with pytest.raises(StudyError, match="list of (the|its) files"):
        fetch("pcosgen-train")


# --- the command


def test_the_command_fetches_to_a_folder(mirror, server, home):
    process = start(home, server, "download", "dataset-b", "--to", str(home / "there"))
    said, complaint = process.communicate(timeout=30)
    assert process.returncode == 0 and "6 files" in said and complaint == ""
    assert held(home / "there" / "dataset-b") == FILES


def pcos(monkeypatch, capsys, *words) -> tuple[int, str, str]:
    """Exit code and both outputs of the command in this process."""
    monkeypatch.setattr(sys, "argv", ["pcos", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0, *capsys.readouterr()


def test_the_command_lists_every_entry(monkeypatch, capsys):
    code, said, _ = pcos(monkeypatch, capsys, "download", "--list")
    assert code == 0 and said.strip() == datasets.listing()


@pytest.mark.parametrize("words", [(), ("phantom",), ("nonsense",)])
def test_the_command_refuses_what_is_not_registered(monkeypatch, capsys, home, words):
    code, _, complaint = pcos(monkeypatch, capsys, "download", *words)
    assert code == 2 and "use one of: dataset-a" in complaint and complaint.count("\n") == 1


def test_the_command_fails_with_one_sentence(mirror, server, home, monkeypatch, capsys):
    server.always = {"status": 404}
    code, _, complaint = pcos(monkeypatch, capsys, "download", "weights-iustnet")
    assert code == 2 and complaint.count("\n") == 1 and "404" in complaint and "iustnet.pth" in complaint


def test_offline_means_no_request(mirror, server, home, monkeypatch):
    monkeypatch.setenv("PCOS_OFFLINE", "1")
    with pytest.raises(StudyError, match="PCOS_OFFLINE"):
        fetch()
    assert server.asked == []


def test_a_table_of_labels_goes_all_the_way_to_the_manifest(home, tmp_path):
    folder = tmp_path / "flat"
    folder.mkdir()
    for number in range(4):
        (folder / f"scan{number}.png").write_bytes(picture(number))
    (tmp_path / "labels.csv").write_text("image,label\n" + "".join(f"scan{n}.png,{n % 2}\n" for n in range(3)))
    study = config.study(data=str(folder), labels=str(tmp_path / "labels.csv"))
    table = download.prepare(study)
    assert dict(zip(table.path, table.label, strict=True)) == {"scan0.png": 0, "scan1.png": 1, "scan2.png": 0}
    assert manifest.outside(folder, study.labels_path) == 1
