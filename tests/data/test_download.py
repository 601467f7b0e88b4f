"""A registered entry arrives whole, verified and once; what cannot be fetched says what to do by hand."""

import hashlib
import io
import json
import os
import random
import resource
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import pooch
import pytest
import requests

from pcos_utils import config
from pcos_utils.config import StudyError
from pcos_utils.data import datasets, download
from tests.data.made import encoded, noise

PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head></html>"


def picture(seed: int) -> bytes:
    """Return a small PNG that no other seed gives."""
    return encoded(noise(seed, (24, 24)), "PNG")


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return stream.getvalue()


FILES = {f"{folder}/{i}.png": picture(10 * k + i) for k, folder in enumerate(("pco", "normal")) for i in range(3)}


@pytest.fixture
def data(home, monkeypatch):
    """Return the folder where data sets go; nobody waits between two tries."""
    for name in ("PCOS_MIRROR", "PCOS_OFFLINE", "PCOS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(sys.modules["gdown.download"], "_wait_or_cancel", lambda **_: None)
    return home / "data"


@pytest.fixture
def mirror(server, data, monkeypatch):
    """A mirror of dataset-b that holds FILES; calling it serves other files."""

    def serve(files: dict[str, bytes]) -> None:
        server.files = {f"m/dataset-b/{path}": content for path, content in files.items()}
        lines = (f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in files.items())
        server.files["m/dataset-b.sha256"] = "".join(lines).encode()

    monkeypatch.setenv("PCOS_MIRROR", f"{server.address}/m/")
    serve(FILES)
    return serve


def fetch(name: str = "dataset-b") -> str:
    """Return the sentence on the entry, fetched to its place."""
    return download.fetch(name, download.place(name))


def refused(words: str, name: str = "dataset-b") -> str:
    """Return the sentence that says why the data set does not come; it holds the words."""
    with pytest.raises(StudyError, match=words) as caught:
        fetch(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def held(folder) -> dict[str, bytes]:
    """Return every file under the folder."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_mirror_gives_every_file_and_what_came_is_a_mirror_too(mirror, server, data, monkeypatch):
    sentence = fetch()
    assert held(data / "dataset-b") == FILES and sorted(os.listdir(data)) == ["dataset-b", "dataset-b.sha256"]
    assert all(text in sentence for text in ("6 files", "pco: 3 files, 14 published", "normal: 3 files, 40 published"))
    assert subprocess.run(["sha256sum", "-c", "../dataset-b.sha256"], cwd=data / "dataset-b").returncode == 0
    server.files = {f"m/{path}": content for path, content in held(data).items()}
    monkeypatch.setenv("PCOS_DATA_DIR", str(data / "elsewhere"))
    assert fetch() and held(data / "elsewhere") == {p: c for p, c in held(data).items() if "elsewhere" not in p}


def test_a_study_fetches_once_and_its_manifest_is_no_data(mirror, server, data):
    (data / "dataset-b" / "empty").mkdir(parents=True)
    (data / "dataset-b" / "manifest.csv").write_text("old")  # alone it does not stop a download
    assert [len(download.prepare(config.study(data="dataset-b"))) for _ in range(2)] == [6, 6]
    assert "6 files" in fetch() and len(server.asked) == 7 and (data / "dataset-b" / "manifest.csv").exists()


def test_an_interrupted_download_goes_on_and_fetches_nothing_twice(mirror, server, data):
    server.moods["m/dataset-b/normal/1.png"] = [{"cut": 40}, {"status": 503}] * 2
    assert refused("503 Server Error") and os.listdir(data) == ["dataset-b.partial"]
    server.moods["m/dataset-b/normal/2.png"] = [{"cut": 40}]
    asked = len(server.asked)
    assert fetch() and held(data / "dataset-b") == FILES
    assert [path[-12:] for path, _, _ in server.asked[asked + 1 :]] == ["normal/1.png", "normal/2.png", "normal/2.png"]


def test_a_web_page_or_another_file_instead_of_data_is_not_accepted(mirror, server, data):
    page, other = "Quota exceeded", picture(99)
    for path, body, words in ((".sha256", PAGE, page), ("/pco/1.png", PAGE, page), ("/pco/1.png", other, "SHA256")):
        server.moods = {f"m/dataset-b{path}": [{"body": body}] * 4}
        refused(words)
        assert os.listdir(data) == ["dataset-b.partial"] and body not in held(data).values()
    server.moods = {}
    assert fetch() and held(data / "dataset-b") == FILES


def test_offline_and_without_a_server_there_is_one_sentence(mirror, server, monkeypatch):
    for address, words in (("http://127.0.0.1:1", "refused"), ("ftp://127.0.0.1", "No conn"), ("m", "Invalid URL")):
        monkeypatch.setenv("PCOS_MIRROR", address)
        refused(words)
    monkeypatch.setenv("PCOS_MIRROR", f"{server.address}/m")
    monkeypatch.setenv("PCOS_OFFLINE", "1")
    assert refused("PCOS_OFFLINE is set") and server.asked == []


def test_what_changed_since_the_first_download_is_named(mirror, data):
    fetch()
    for path in FILES:
        (data / "dataset-b" / path).unlink()
    changed = FILES | {"pco/1.png": picture(99), "pco/new.png": picture(98)}
    del changed["normal/2.png"]
    mirror(changed)
    sentence = refused(r"normal/2.png \(missing\), pco/1.png \(changed\), pco/new.png \(new\)")
    assert f"delete {data / 'dataset-b.sha256'}" in sentence and list(held(data)) == ["dataset-b.sha256"]
    (data / "dataset-b.sha256").unlink()
    assert fetch() and held(data / "dataset-b") == changed
    (data / "dataset-b" / "pco" / "0.png").write_bytes(picture(97))
    (data / "dataset-b" / "pco" / "2.png").unlink()
    sentence = refused(r"2 files: pco/0.png \(changed\), pco/2.png \(missing\)")
    with pytest.raises(StudyError) as caught:
        download.prepare(config.study(data="dataset-b"))
    assert str(caught.value) == sentence
    (data / "dataset-b.sha256").write_text("0" * 64 + "  pco/0.png\nnonsense\n")
    refused("Line 2 of the list of digests .*dataset-b.sha256")


def test_files_put_there_by_hand_are_checked_counted_and_recorded(data):
    for path, content in (FILES | {"pco/1.png": PAGE}).items():
        (data / "dataset-b" / path).parent.mkdir(parents=True, exist_ok=True)
        (data / "dataset-b" / path).write_bytes(content)
    refused("Quota exceeded.*pco/1.png")
    assert os.listdir(data) == ["dataset-b"]
    (data / "dataset-b" / "pco" / "1.png").write_bytes(b"")
    assert "1 files are empty (such as pco/1.png)" in fetch() and len(held(data)) == 7 and fetch()


def test_hostile_names_and_archives_land_nowhere_and_good_ones_are_unpacked(mirror, server, data):
    for name in ("../evil", "/tmp/evil", "a/../../evil", "pco\\..\\evil", "C:evil", "PCO/0.PNG"):
        mirror(FILES | {name: b"evil"})
        server.asked.clear()
        refused("the name")
        left = [path for path in data.parent.rglob("*") if path.name != ".lock"]
        assert len(server.asked) == 1 and sorted(left) == [data, data / "dataset-b.partial"]
    mirror({"set.zip": zipped({"pco/a.png": picture(1), "../../../evil": b"evil"})})
    refused("set.zip is refused.*evil")
    assert not list(data.parent.parent.rglob("*evil")) and not held(data)
    mirror({"set.zip": zipped(FILES), "readme.txt": b"words"})
    fetch()
    assert held(data / "dataset-b") == {f"set/{path}": FILES[path] for path in FILES} | {"readme.txt": b"words"}


def start(**options) -> subprocess.Popen:
    """Start the command ``pcos download dataset-b`` in a process of its own."""
    command = [sys.executable, "-m", "pcos_utils.cli", "download", "dataset-b"]
    options |= dict(env=os.environ | {"PYTHONPATH": str(config.ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.Popen(command, text=True, **options)


@pytest.mark.slow
def test_kill_nine_and_then_a_second_process_and_then_the_end(mirror, server, data):
    server.moods["m/dataset-b/normal/1.png"] = [{"cut": 100}]
    server.hold = 60
    first, deadline = start(), time.monotonic() + 30
    while time.monotonic() < deadline and len(server.asked) < 6:
        time.sleep(0.02)
    second = start()
    assert "Another process" in second.communicate(timeout=30)[1] and second.returncode == 2
    first.kill()
    first.communicate(timeout=10)
    assert os.listdir(data) == ["dataset-b.partial"] and len(held(data)) == 5  # four files and what was begun
    assert fetch() and held(data / "dataset-b") == FILES
    assert [path[-12:] for path, _, _ in server.asked[-2:]] == ["normal/1.png", "normal/2.png"]


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_one_sentence(mirror, data):
    mirror(FILES | {"pco/large.png": picture(1) + bytes(400_000)})
    process = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 2 and complaint.count("\n") == 1 and "file too large; make room" in complaint
    assert os.listdir(data) == ["dataset-b.partial"] and fetch() and len(held(data / "dataset-b")) == 7


FILE = "uc?id=file-{:025d}"
WEIGHTS = "uc?id=" + datasets.REGISTRY["weights-iustnet"].address.split("/")[-2]
PICKLED = zipped({"archive/data.pkl": random.Random(3).randbytes(1_200_000)})  # what torch.save writes, in outline


@pytest.fixture
def drive(server, data, monkeypatch):
    """Drive's host name answered on loopback by pages in Drive's form; calling it gives FILES other names."""
    get, host = requests.Session.get, "https://drive.google.com"

    def page(key: str, title: str, links: list[str]) -> None:
        rows = "".join(f'<a href="{host}/{link}</a>' for link in links)
        server.files[f"embeddedfolderview?id={key}"] = f"<title>{title}</title>{rows}".encode()

    def serve(names: list[str]) -> None:
        for number, folder in enumerate(("pco", "normal")):
            inside = [(i, name.split("/")[1]) for i, name in enumerate(names) if name.startswith(folder)]
            page(f"folder-{number:025d}", folder, [f'file/d/file-{i:025d}/view">{name}' for i, name in inside])
        top = datasets.REGISTRY["dataset-b"].address.removeprefix(datasets.DRIVE_FOLDER)
        page(top, "Dataset B", [f'drive/folders/folder-{0:025d}">pco', f'drive/folders/folder-{1:025d}">normal'])

    monkeypatch.setattr(requests.Session, "get", lambda s, url, **o: get(s, url.replace(host, server.address), **o))
    server.always = {"headers": {"Content-Disposition": 'attachment; filename="x"', "Content-Type": "image/png"}}
    server.files |= {FILE.format(number): content for number, content in enumerate(FILES.values())} | {WEIGHTS: PICKLED}
    serve(list(FILES))
    return serve


def test_a_drive_folder_arrives_in_spite_of_a_cut_and_of_equal_names(drive, server, data):
    drive(["pco/a.png", "pco/a.png", *list(FILES)[2:]])
    server.files[FILE.format(1)] = large = picture(1) + bytes(1_200_000)
    server.moods[FILE.format(1)] = [{"cut": 900_000}]
    assert fetch() and fetch() and len(held(data / "dataset-b")) == 6
    assert [path[-1] for path, _, _ in server.asked if "uc?" in path] == [*"0112345"]
    assert held(data / "dataset-b")[f"pco/a-file-{1:025d}.png"] == large
    assert (FILE.format(1), "bytes=524288-", 206) in server.asked  # gdown drops the last, unfinished half mebibyte


def test_after_the_quota_page_only_what_is_missing_and_still_listed_comes(drive, server, data):
    page = b'<html><title>Google Drive - Quota exceeded</title><p class="uc-error-subcaption">Too many users</p></html>'
    plain = {"Content-Disposition": None, "Content-Type": "text/html"}
    server.moods[FILE.format(4)] = [{"body": page, "headers": plain}, {"body": PAGE}]
    text = refused("too many downloads today")
    assert datasets.REGISTRY["dataset-b"].address in text and "DATA=FOLDER" in text and "PCOS_DATA_DIR=FOLDER" in text
    assert all(f"({i})" in text for i in (1, 2, 3, 4)) and "normal and pco" in text
    refused("Quota exceeded")  # the page comes as if it were the file
    assert os.listdir(data) == ["dataset-b.partial"]
    drive(["pco/new.png", *list(FILES)[1:]])
    assert fetch() and sorted(held(data / "dataset-b")) == sorted(["pco/new.png", *list(FILES)[1:]])
    assert [path[-1] for path, _, _ in server.asked if "uc?" in path] == [*"01234", *"4", *"045"]


@pytest.mark.parametrize("mood", [{"status": 403}, {"status": 500}, {"headers": {"Content-Type": None}}, {"cut": 9}])
def test_a_refusal_by_drive_is_one_sentence(drive, server, data, mood):
    server.always |= mood
    for name in ("dataset-b", "weights-iustnet"):
        refused("403|500|the list of its files|broke off|incomplete", name)
        assert not (data / name).exists()


@pytest.mark.parametrize("body", [PAGE, b"", b"GIF89a", PICKLED[:-100]])
def test_weights_are_continued_and_anything_else_is_refused(drive, server, data, body):
    server.moods[WEIGHTS] = [{"body": body}, {"cut": 900_000}]
    refused("iustnet.pth", "weights-iustnet")
    assert os.listdir(data) == ["weights-iustnet.partial"]
    assert "1 files" in fetch("weights-iustnet") and server.asked[-1] == (WEIGHTS, "bytes=524288-", 206)
    assert held(data / "weights-iustnet") == {"iustnet.pth": PICKLED}


def test_a_zenodo_record_is_listed_verified_and_unpacked(server, data, monkeypatch):
    monkeypatch.setattr(download, "ZENODO_API", f"{server.address}/records/")
    record = "records/10960327"
    for answer in (b"", b"[]", b'{"files": [{"key": "a"}]}', b'{"files": []}', PAGE):
        server.files[record] = answer
        refused("the list of its files", "pcosgen-test")
    archive = zipped({"PCOSGen-test/images/image1.jpg": picture(1), "PCOSGen-test/class_label.xlsx": b"PK\x03\x04"})
    listed = [{"key": "Set.zip", "checksum": f"md5:{hashlib.md5(archive).hexdigest()}"}]
    server.files |= {record: json.dumps({"files": listed}).encode(), f"{record}/files/Set.zip/content": PICKLED}
    refused("MD5 hash", "pcosgen-test")
    server.files[f"{record}/files/Set.zip/content"] = archive
    assert "images: 1 files, 1,468 published" in fetch("pcosgen-test") and len(held(data / "pcosgen-test")) == 2
    assert (data / "pcosgen-test/Set/PCOSGen-test/images/image1.jpg").read_bytes() == picture(1)


def test_the_command_fetches_lists_and_fails_with_one_sentence(mirror, data, pcos):
    code, sentence, complaint = pcos("download", "dataset-b", "--to", data / "there")
    assert code == 0 and "6 files" in sentence and complaint == "" and held(data / "there" / "dataset-b") == FILES
    assert pcos("download", "--list")[:2] == (0, datasets.listing() + "\n")
    for words in ([], ["phantom"], ["nonsense"], ["weights-iustnet"]):
        code, _, complaint = pcos("download", *words)
        assert code == 2 and complaint.count("\n") == 1
        assert ("404" in complaint and "iustnet.pth" in complaint) or "use one of: dataset-a" in complaint


def test_a_table_of_labels_reaches_the_manifest(home):
    (home / "flat").mkdir()
    for number in range(3):
        (home / "flat" / f"{number}.png").write_bytes(picture(number))
    (home / "labels.csv").write_text("image,label\n0.png,0\n1.png,1\n")
    table = download.prepare(config.study(data=str(home / "flat"), labels=str(home / "labels.csv")))
    assert dict(zip(table.path, table.label, strict=True)) == {"0.png": 0, "1.png": 1}
