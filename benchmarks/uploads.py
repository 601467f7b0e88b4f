"""Five hundred uploads to the running page by twenty clients at once, every tenth of them hostile.

    python -m benchmarks.uploads MODEL                              the page of a served model, as `pcos app` runs it
    python -m benchmarks.uploads MODEL --start "PYTHON app.py" --folder SPACE      a packed Space, by its own Python

Each client sends its next frame when the last one is answered. Every good answer is compared with what the model says
without a page, every hostile one must be refused; the server's memory is read before and after, and its temporary
folder must be empty. The clients run on the same machine, in one process that does little else.
"""

import argparse
import asyncio
import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks import machine
from pcos_utils import config
from pcos_utils.data import phantom
from pcos_utils.files import write_csv
from pcos_utils.serving.predict import Served

OUT = config.ROOT / "reports" / "benchmarks"
CLIENTS, EACH, HOSTILE = 20, 25, 10  # every so many uploads is a hostile one
WARM = 100  # uploads before memory is first read: libraries and pools have come by then
PORT = 7899
FULL = "Queue is full"


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """The image as a file's bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def good_frames() -> dict[str, bytes]:
    """Ten phantoms, half of them JPEG."""
    frames = [phantom.simulate(3_100_000_000 + number, number % 2).image for number in range(10)]
    return {
        f"{number}.{kind.lower()}": encoded(frame, kind)
        for number, (frame, kind) in enumerate(zip(frames, cycle(("PNG", "JPEG"))))
    }


def hostile_files() -> dict[str, tuple[bytes, str]]:
    """Files that must be refused, each with the word of its refusal."""
    frame, rng = encoded(phantom.simulate(3_100_000_000, 0).image), np.random.default_rng(0)
    return {
        "script.svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not an image"),
        "cut.png": (frame[:2000], "damaged"),
        "dot.png": (encoded(np.zeros((1, 1), np.uint8)), "too small"),
        "line.png": (encoded(np.zeros((1, 30_000), np.uint8)), "too large"),
        "wide.png": (encoded(np.zeros((5_000, 5_000), np.uint8)), "too large"),
        "../../page.png": (b"#!/bin/sh\nrm -rf /\n", "not an image"),
        "noise.png": (encoded(rng.integers(0, 255, (200, 300, 3), np.uint8)), "not an ovarian scan"),
    }


async def ask(client: httpx.AsyncClient, name: str, content: bytes) -> tuple[dict, int]:
    """The page's answer to one upload, and how often its queue was full before."""
    for tries in range(1000):
        sent = await client.post("/gradio_api/upload", files={"files": (name, content)})
        if sent.status_code != 200:
            return {"refusal": f"HTTP {sent.status_code}"}, tries
        file = {"path": sent.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        called = await client.post("/gradio_api/call/predict", json={"data": [file]})
        if FULL not in called.text:
            address = f"/gradio_api/call/predict/{called.json()['event_id']}"
            told = (await client.get(address)).text
            if "event: complete" in told:
                return json.loads(told.split("event: complete\ndata: ")[1].split("\n")[0])[0], tries
            if FULL not in told:
                return {"refusal": f"error: {told[:200]}"}, tries
        await asyncio.sleep(0.2)
    raise SystemExit("The page's queue stayed full.")


async def visit(client: httpx.AsyncClient, uploads: list[tuple[str, bytes]]) -> list[dict]:
    """One row per upload of one visitor, sent one after another."""
    rows = []
    for name, content in uploads:
        began = time.perf_counter()
        made, full = await ask(client, name, content)
        seconds = time.perf_counter() - began
        rows.append({"name": name, "seconds": seconds, "full": full, "inside": made.get("seconds")} | told(made))
    return rows


def told(made: dict) -> dict:
    """What of an answer is compared."""
    answer = {name: made.get(name) for name in ("decision", "probability", "refusal")}
    return answer | {"follicles": str(made.get("follicles"))}  # a table would make another thing of none


async def crowd(uploads: list[tuple[str, bytes]], clients: int) -> pd.DataFrame:
    """One row per upload, sent by so many visitors at once."""
    limits = httpx.Limits(max_connections=2 * clients)
    address = f"http://127.0.0.1:{PORT}"
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits, trust_env=False) as client:
        parts = await asyncio.gather(*(visit(client, uploads[number::clients]) for number in range(clients)))
    return pd.DataFrame([row for part in parts for row in part])


def wait_for(server: subprocess.Popen) -> None:
    """Nothing, once the page answers."""
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{PORT}", timeout=5, trust_env=False)
            return
        except httpx.TransportError:
            if server.poll() is not None:
                raise SystemExit("The page did not start.") from None
            time.sleep(0.1)
    raise SystemExit("The page did not answer within a minute.")


def judged(rows: pd.DataFrame, model: Path) -> pd.DataFrame:
    """The rows with ``right``: as the model answers without a page, or refused with the word that fits."""
    served, good, hostile = Served(model, threads=1), good_frames(), hostile_files()
    wanted = {name: told(served.answer(content, name).record()) for name, content in good.items()}
    right = []
    for row in rows.itertuples():
        if row.name in good:
            same = (row.decision, row.refusal, row.follicles) == tuple(
                wanted[row.name][key] for key in ("decision", "refusal", "follicles")
            )
            near = pd.isna(row.probability) or abs(row.probability - wanted[row.name]["probability"]) < 1e-3
            right.append(same and near)
        else:
            right.append(row.refusal == hostile[row.name][1])
    return rows.assign(hostile=rows.name.isin(hostile), right=right)


def main() -> None:
    """Prints and writes one row: uploads, wrong answers, latencies, memory, files left behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--start", help="a command, instead of pcos app")
    parser.add_argument("--folder", type=Path, help="where it is started")
    options = parser.parse_args()
    model = options.model.resolve()
    own = [sys.executable, "-m", "pcos_utils.cli", "app", "--model", str(model), "--port", str(PORT)]
    good, bad = cycle(good_frames().items()), cycle([(name, part[0]) for name, part in hostile_files().items()])
    uploads = [next(bad) if number % HOSTILE == HOSTILE - 1 else next(good) for number in range(CLIENTS * EACH)]
    with tempfile.TemporaryDirectory() as place:
        settings = {"TMPDIR": place, "GRADIO_SERVER_PORT": str(PORT)}
        command = shlex.split(options.start) if options.start else own
        server = subprocess.Popen(command, cwd=options.folder, env=os.environ | settings, stderr=subprocess.DEVNULL)
        try:
            wait_for(server)
            asyncio.run(crowd(uploads[:WARM], CLIENTS))
            before = sum(machine.pss(each) for each in machine.tree(server.pid))
            began = time.perf_counter()
            rows = asyncio.run(crowd(uploads, CLIENTS))
            seconds = time.perf_counter() - began
            after = sum(machine.pss(each) for each in machine.tree(server.pid))
            left = [path for path in Path(place).rglob("*") if path.is_file()]
            print(*left, sep="\n")
        finally:
            server.terminate()
            server.wait()
    rows = judged(rows, model)
    made = {
        "page": "a packed Space" if options.start else "pcos app", "model": Served(model).card["model"],
        "uploads": len(rows), "clients": CLIENTS, "hostile": int(rows.hostile.sum()),
        "wrong": int((~rows.right).sum()), "queue_full": int(rows.full.sum()), "median_s": rows.seconds.median(),
        "p95_s": rows.seconds.quantile(0.95), "inside_median_s": rows.inside.median(),
        "per_second": len(rows) / seconds, "memory_before_mib": before, "memory_after_mib": after,
        "memory_ratio": after / before, "files_left": len(left),
    }  # fmt: skip
    print(rows[~rows.right].to_string() if made["wrong"] else "every answer is right", pd.Series(made), sep="\n")
    path = OUT / "uploads.csv"
    kept = pd.read_csv(path).query("page != @made['page']") if path.exists() else pd.DataFrame()
    write_csv(path, pd.concat([kept, pd.DataFrame([made])]).round(3))


if __name__ == "__main__":
    main()
