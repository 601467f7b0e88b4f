"""One file over a real and misbehaving connection: it arrives right or not at all, and nothing else is touched."""

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time

import pytest
import requests

from pcos_utils.config import ROOT, StudyError
from pcos_utils.data import transfer
from pcos_utils.data.transfer import TransferError, Transient

DATA = random.Random(0).randbytes(300_000)
SHA = "sha256:" + hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def get(server, tmp_path):
    """A function that fetches x/data into tmp_path/target with the pauses noted instead of slept."""
    server.files["x/data"] = DATA

    def fetch(digest=SHA, **options):
        fetch.pauses = []
        options = {"sleep": fetch.pauses.append, "timeout": 5} | options
        transfer.fetch(f"{server.address}/x/data", fetch.target, fetch.part, digest=digest, **options)
        assert fetch.target.read_bytes() == DATA and not fetch.part.exists()

    fetch.target, fetch.part = tmp_path / "target", tmp_path / "parts" / "part"
    return fetch


def test_a_file_arrives(get, server):
    get()
    assert get.pauses == [] and server.asked == [("x/data", None, 200)]


def test_a_cut_connection_is_continued_at_the_byte_where_it_broke(get, server):
    server.moods["x/data"] = [{"cut": 100_000}, {"cut": 50_000}]
    get()
    assert [asked[1:] for asked in server.asked] == [(None, 200), ("bytes=100000-", 206), ("bytes=150000-", 206)]
    assert get.pauses == [1, 1]


def test_pauses_double_and_end(get, server):
    server.moods["x/data"] = [{"status": 503}] * 10
    with pytest.raises(Transient, match="503"):
        get(tries=6)
    assert get.pauses == [1, 2, 4, 8, 16] and not get.target.exists()


def test_the_pause_that_a_server_asks_for_is_kept_within_reason(get, server):
    server.moods["x/data"] = [{"status": 429, "headers": {"Retry-After": wait}} for wait in ("7", "9999", "tomorrow")]
    get()
    assert get.pauses == [7, 60, 4]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_not_repeated(get, server, status):
    server.moods["x/data"] = [{"status": status}]
    with pytest.raises(TransferError, match=str(status)):
        get()
    assert len(server.asked) == 1 and not get.target.exists()


@pytest.mark.parametrize("ranges", ["ignored", "refused", "wrong"])
def test_ranges_that_are_not_served_mean_a_new_beginning(get, server, ranges):
    server.moods["x/data"] = [{"cut": 200_000}, {"ranges": ranges}]
    get()
    assert server.asked[1][1] == "bytes=200000-"


def test_ranges_that_start_elsewhere_are_seen_without_a_digest(get, server):
    server.moods["x/data"] = [{"cut": 200_000}, {"ranges": "wrong"}]
    get(digest=None)
    assert [status for _, _, status in server.asked] == [200, 206, 200]


def test_a_server_that_always_begins_anew_and_always_breaks_is_given_up(get, server):
    server.always = {"cut": 200_000, "ranges": "ignored"}
    with pytest.raises(Transient, match="200,000 of 300,000"):
        get()
    assert len(server.asked) == 5 and not get.target.exists()


def test_a_file_that_changed_between_part_and_rest_comes_whole(get, server):
    old = bytes(len(DATA))
    server.moods["x/data"] = [{"body": old, "etag": '"old"', "cut": 123_456}]
    with pytest.raises(TransferError):
        get(digest=None, tries=1)
    get(digest=None)  # no digest to save it: the ETag alone must
    assert server.asked[1] == ("x/data", "bytes=123456-", 200)


def test_a_server_that_forgets_if_range_is_caught_by_its_etag(get, server):
    server.moods["x/data"] = [{"body": bytes(len(DATA)), "etag": '"old"', "cut": 1000}]
    with pytest.raises(TransferError):
        get(digest=None, tries=1)
    body = DATA[1000:]
    spliced = {"Content-Range": f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"}
    server.moods["x/data"] = [{"status": 206, "body": body, "headers": spliced}]
    get(digest=None)
    assert server.asked[2] == ("x/data", None, 200) and get.pauses == [1]


def test_without_a_validator_the_length_decides(get, server):
    server.always = {"etag": None}
    server.moods["x/data"] = [{"cut": 1000}, {"cut": 1000}]
    get(digest=None)
    assert [status for _, _, status in server.asked] == [200, 206, 206]
    get.target.unlink()
    server.moods["x/data"] = [{"body": b"shorter", "cut": 3}]
    with pytest.raises(TransferError):
        get(digest=None, tries=1)
    get(digest=None)
    assert [status for _, _, status in server.asked[3:]] == [200, 206, 200]


def test_a_weak_etag_is_no_proof_but_a_date_is(get, server):
    server.always = {"etag": 'W/"weak"', "modified": "Mon, 02 Nov 2026 10:00:00 GMT"}
    server.moods["x/data"] = [{"body": bytes(len(DATA)), "modified": "Sun, 01 Nov 2026 10:00:00 GMT", "cut": 1000}]
    with pytest.raises(TransferError):
        get(digest=None, tries=1)
    get(digest=None)
    assert server.asked[1] == ("x/data", "bytes=1000-", 200)


def test_two_joined_versions_that_only_the_digest_can_tell_are_fetched_once_more(get, server):
    server.always = {"etag": None}
    server.moods["x/data"] = [{"body": bytes(len(DATA)), "cut": 1000}]
    get()
    assert [status for _, _, status in server.asked] == [200, 206, 200]


def test_a_wrong_digest_in_one_piece_is_final(get, server):
    server.files["x/data"] = bytes(len(DATA))
    with pytest.raises(TransferError, match="not the published"):
        get()
    assert len(server.asked) == 1 and not get.target.exists() and not get.part.exists()


def test_a_length_that_is_too_long_never_ends_well(get, server):
    server.always = {"length": len(DATA) + 10}
    with pytest.raises(Transient):
        get()
    assert not get.target.exists()


def test_a_length_that_is_too_short_is_seen_by_the_digest(get, server):
    server.always = {"length": len(DATA) - 10}
    with pytest.raises(TransferError, match="not the published"):
        get()
    assert not get.target.exists()


def test_a_length_that_is_not_said_is_no_download(get, server):
    server.always = {"headers": {"Content-Length": None}}
    with pytest.raises(TransferError, match="how long"):
        get(digest=None)


def test_a_file_beyond_the_limit_is_refused_before_it_comes(get, server):
    with pytest.raises(TransferError, match="more than 1,000"):
        get(max_bytes=1000)
    assert not get.part.exists()


def chunked(data: bytes) -> dict:
    """A mood that sends the data in chunks, without a length."""
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
    return {"body": body, "headers": {"Content-Length": None, "Transfer-Encoding": "chunked"}}


def test_chunks_end_by_themselves_and_a_limit_holds_for_them_too(get, server):
    server.always = chunked(DATA)
    get(digest=None)
    get.target.unlink()
    with pytest.raises(TransferError, match="longer than 1,000"):
        get(max_bytes=1000)
    server.always = {}
    server.moods["x/data"] = [chunked(DATA) | {"cut": 5000}]
    get(digest=None)


def test_a_range_that_stops_early_is_asked_for_again(get, server):
    early = {"Content-Range": f"bytes 1000-1999/{len(DATA)}", "ETag": '"one"'}
    server.moods["x/data"] = [{"cut": 1000}, {"status": 206, "body": DATA[1000:2000], "headers": early}]
    get()
    assert server.asked[-1] == ("x/data", "bytes=2000-", 206)


def test_a_complete_part_is_verified_without_a_request(get, server):
    server.moods["x/data"] = [{"cut": 1000}]
    with pytest.raises(Transient):
        get(tries=1)
    get.part.write_bytes(DATA)  # as if the process had been killed after the last byte
    get()
    assert len(server.asked) == 1


def test_a_part_of_another_address_is_not_continued(get, server):
    server.files["y/data"] = bytes(len(DATA))
    server.moods["y/data"] = [{"cut": 1000}]
    with pytest.raises(Transient):
        transfer.fetch(f"{server.address}/y/data", get.target, get.part, tries=1)
    get(digest=None)
    assert server.asked[-1] == ("x/data", None, 200)


def test_a_silent_server_is_left_after_the_timeout(get, server):
    server.moods["x/data"] = [{"wait": 2}]
    start = time.monotonic()
    get(timeout=0.3)
    assert time.monotonic() - start < 1.5 and get.pauses == [1] and len(server.asked) == 2


def test_a_refused_connection(tmp_path):
    pauses = []
    with pytest.raises(Transient, match="refused or broke off"):
        transfer.fetch("http://127.0.0.1:1/x", tmp_path / "x", tmp_path / "part", sleep=pauses.append)
    assert pauses == [1, 2, 4, 8] and list(tmp_path.iterdir()) == []


def test_two_hundred_interrupted_downloads_in_a_row(server, tmp_path, snapshot):
    (tmp_path / "beside").write_text("untouched")
    target, part = tmp_path / "inner" / "target", tmp_path / "inner" / "part"
    before, chance, session = snapshot(tmp_path), random.Random(20), requests.Session()
    for i in range(200):
        data = chance.randbytes(chance.randint(1, 150_000))
        server.files["x"] = data
        server.always = {"etag": f'"{i}"'}
        server.moods["x"] = [{"cut": chance.randrange(len(data))} for _ in range(chance.randint(1, 3))]
        for _ in range(5):  # each try is a call of its own, as after a new start of the program
            try:
                transfer.fetch(f"{server.address}/x", target, part, session=session, tries=1, sleep=lambda s: None)
                break
            except Transient:
                assert not target.exists() or target.read_bytes() != data
        assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(data).digest()
        assert sorted(os.listdir(tmp_path / "inner")) == ["target"]
    resumed = sum(status == 206 for _, _, status in server.asked)
    assert resumed >= 200
    target.unlink()
    target.parent.rmdir()
    assert snapshot(tmp_path) == before


KILLED = """
import sys
from pathlib import Path
from pcos_utils.data import transfer
transfer.fetch(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), digest=sys.argv[4])
"""


def child(get, server, **options) -> subprocess.Popen:
    """A process of its own that fetches x/data."""
    words = [f"{server.address}/x/data", str(get.target), str(get.part), SHA]
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, *words], env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_stopped_leaves_a_part_that_is_continued(get, server, blow):
    get.target.write_text("the previous state")
    server.moods["x/data"] = [{"cut": 170_000}]
    server.hold = 30
    # A shell's background job ignores interrupts, and so would a child that inherits this.
    process = child(get, server, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (get.part.exists() and get.part.stat().st_size):
        time.sleep(0.01)
    process.send_signal(blow)
    process.communicate(timeout=20)
    assert process.returncode != 0 and get.target.read_text() == "the previous state"
    had = get.part.stat().st_size
    assert 0 < had <= 170_000
    server.hold = 0
    get()
    assert server.asked[-1] == ("x/data", f"bytes={had}-", 206)


def test_a_full_disk_leaves_the_previous_state_and_a_part_to_continue(get, server):
    get.target.write_text("the previous state")
    limit = 100_000  # bytes that any file of the process may have

    process = child(get, server, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1 and "OSError" in said and get.target.read_text() == "the previous state"
    assert 0 < get.part.stat().st_size <= limit
    get()
    assert server.asked[-1][2] == 206


def test_a_folder_that_cannot_be_written_is_named(get, tmp_path):
    (tmp_path / "parts").write_text("in the way")
    with pytest.raises((OSError, StudyError)):
        get()
    assert not get.target.exists()
