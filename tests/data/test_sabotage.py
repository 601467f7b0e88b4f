"""A folder that somebody damaged on purpose: no crash, no hang, no flood of memory, and every bad file is named."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

import pandas as pd
import pytest

from pcos_utils.config import ROOT
from pcos_utils.data import manifest
from tests.data import sabotage

# In a process of its own: a crash or a hang is then one failed test, and the memory measured is the loader's alone.
CHILD = """
import json, os, re, sys, time
from pathlib import Path
from pcos_utils.data import manifest
from pcos_utils.files import write_csv

def peak():
    # Not getrusage: its peak is handed down by the process that started this one, and would hide what this one takes.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

folder, table, warm, uid = *map(Path, sys.argv[1:4]), int(sys.argv[4])
manifest.scan(warm)  # imports what the decoders need while everything may be read
if uid:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
before, seconds, decode = peak(), [], manifest.decode

def timed(stream, name):
    start = time.perf_counter()
    try:
        pixels, facts = decode(stream, name)
    finally:
        seconds.append(time.perf_counter() - start)
    assert pixels.dtype == "uint8" and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0, name
    assert sorted(pixels.shape[:2]) == sorted((facts["width"], facts["height"])), name
    return pixels, facts

manifest.decode = timed
write_csv(table, manifest.scan(folder))
grown = peak() - before
print(json.dumps(dict(slowest=max(seconds), megabytes=grown / 1024, outside=manifest.outside(folder))))
"""
pytestmark = pytest.mark.slow


@pytest.fixture
def folder():
    """Two class folders with one good picture each, in a place that every user of the machine may enter."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    for name, picture in (("pco", "grey.png"), ("normal", "deep.png")):
        (place / "scans" / name).mkdir(parents=True)
        (place / "scans" / name / "good.png").write_bytes(sabotage.pictures()[picture])
    yield place / "scans"
    shutil.rmtree(place)


def scanned(folder: Path, tmp_path: Path, uid: int = 0) -> tuple[pd.DataFrame, dict]:
    """Return the manifest as read back from its file, by path, and what the child measured."""
    for name in ("pco", "normal"):
        (tmp_path / "warm" / name).mkdir(parents=True)
        for file, data in sabotage.pictures().items():
            (tmp_path / "warm" / name / file).write_bytes(data)
    out = folder.parent / "out"
    out.mkdir()
    out.chmod(0o777)
    command = [sys.executable, "-c", CHILD, folder, out / "manifest.csv", tmp_path / "warm", str(uid)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd="/", env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    table = manifest.read(out / "manifest.csv")
    assert table.path.is_unique and table.reason[table.status != "ok"].ne("").all()
    assert table[table.status == "ok"].pixel_sha256.str.len().eq(64).all()
    return table.set_index("path"), json.loads(done.stdout.splitlines()[-1])


def test_two_thousand_damaged_files(folder, tmp_path):
    rng = random.Random(20)
    for i, (name, data) in enumerate(islice(cycle(sabotage.pictures().items()), 2000)):
        path = folder / ("pco", "normal")[i % 2] / f"{i:04d}-{name}"
        path.write_bytes(sabotage.damaged(data, path.suffix[1:], rng))
    table, measured = scanned(folder, tmp_path)
    assert len(table) == 2002 and measured["outside"] == 0
    assert measured["slowest"] < 10 and measured["megabytes"] < 1500  # a lying header must not ask for gigabytes
    counts = table.status.value_counts()
    assert set(counts.index) == {"ok", "empty", "not an image", "damaged", "too large"}
    assert counts["ok"] > 200 and counts["damaged"] > 500 and counts["too large"] > 20
    # Machine and run leave no trace in the reasons.
    assert not table.reason.str.contains(r" at 0x|/tmp|_io\.", regex=True).any() and table.reason.str.len().max() < 200


def test_what_is_not_a_file_is_named_and_never_opened(folder, tmp_path):
    pco = folder / "pco"
    os.mkfifo(pco / "pipe.png")  # opening it would wait for ever
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(pco / "socket.png"))
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(sabotage.pictures()["palette.png"])
    links = {"device.png": "/dev/zero", "round.png": "about.png", "about.png": "round.png", "up": folder}
    links |= {"../pcos": pco, "link out.png": elsewhere}  # the device never ends, and a class folder is a link
    for name, place in links.items():
        (pco / name).symlink_to(place)
    (pco / "folder.jpg").mkdir()
    shutil.copy(pco / "good.png", pco / "folder.jpg" / "inside.png")
    for name in ("Thumbs.db", ".DS_Store", "._good.png"):
        (pco / name).write_bytes(b"litter")
    table, measured = scanned(folder, tmp_path)
    assert table.status.to_dict() == {
        "pco/pipe.png": "not a file", "pco/device.png": "not a file", "pco/socket.png": "not a file",
        "pco/round.png": "unreadable", "pco/about.png": "unreadable", "pco/up": "not a file", "pcos": "not a file",
        "pco/link out.png": "ok", "pco/folder.jpg/inside.png": "ok", "pco/good.png": "ok", "normal/good.png": "ok",
    }  # fmt: skip
    assert measured["outside"] == 3


def test_names_survive_the_manifest_or_are_refused_by_it(folder, tmp_path):
    good = ["two words.png", "two\nlines.png", "-n.png", "卵巣 é.png", 'a,"b".png', "=1+1.png", " .png"]
    good.append("n" * 251 + ".png")
    bad = [b"broken-\xff\xfe.png", b"return\r.png"]
    for name in [os.fsencode(name) for name in good] + bad:
        shutil.copy(folder / "pco" / "good.png", os.path.join(os.fsencode(folder), b"pco", name))
    table, _ = scanned(folder, tmp_path)
    assert all(table.status[f"pco/{name}"] == "ok" and (folder / "pco" / name).exists() for name in good)
    assert sorted(table.index[table.status == "unreadable"]) == ["pco/broken-\\xff\\xfe.png", "pco/return\\r.png"]
    assert table.reason["pco/return\\r.png"].endswith("rename it")


def test_what_may_not_be_read_is_named(folder, tmp_path):
    rights = {"pco/secret.png": 0, "pco/locked": 0, "pcos": 0, "pco/closed": 0o444}  # names may be read, files not
    for name in rights:
        place = folder / name if name.endswith(".png") else folder / name / "good.png"
        place.parent.mkdir(exist_ok=True)
        shutil.copy(folder / "pco" / "good.png", place)
    for name, right in rights.items():
        (folder / name).chmod(right)
    # Nothing stops root, so root lends the work to somebody else.
    table, _ = scanned(folder, tmp_path, uid=65534 if os.geteuid() == 0 else 0)
    assert table.status.to_dict() == {
        "pco/good.png": "ok", "normal/good.png": "ok", "pco/secret.png": "unreadable", "pco/locked": "not a file",
        "pcos": "not a file", "pco/closed/good.png": "unreadable",
    }  # fmt: skip
    assert table.reason["pco/secret.png"] == "permission denied"
    for name in rights:
        (folder / name).chmod(0o755)


def test_a_tree_deeper_than_a_recursion_may_go(folder):
    places = [folder / "pco"]
    for _ in range(1200):
        places.append(places[-1] / "d")
        places[-1].mkdir()
    os.link(folder / "pco" / "good.png", places[-1] / "a.png")
    assert manifest.scan(folder).status.tolist() == ["ok"] * 3
    (places[-1] / "a.png").unlink()
    for place in reversed(places[1:]):  # rmtree would recurse
        place.rmdir()
