"""Send five hundred uploads to the running page from twenty clients at once, every tenth of them hostile.

    python -m studies.uploads MODEL

Each client sends its next frame when the last one is answered. Every good answer is compared with the model's answer
without a page, and every hostile upload must be refused. The server's memory is read before and after, and its
temporary folder must be empty. The clients run on the same machine, in one process that does little else.
"""

import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
from PIL import Image

from pcos_utils.phantom import simulator
from pcos_utils.serving.model import Served
from studies import OUT, arguments, memory, publish

CLIENTS, EACH, HOSTILE = 20, 25, 10  # one upload in HOSTILE is hostile
WARM = 100  # uploads before memory is first read; libraries are loaded and pools filled by then
ADDRESS = "http://127.0.0.1:7899"
FULL = "Queue is full"
COMPARED = ("decision", "value", "refusal", "follicles")


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """Return the image as a file's bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def hostile_files() -> dict[str, tuple[bytes, str]]:
    """Return files that must be refused, each with the word of its refusal."""
    frame, rng = encoded(simulator.simulate(3_100_000_000, 0).image), np.random.default_rng(0)
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
    """Return the page's answer to one upload, and how often its queue was full before."""
    for tries in range(1000):
        response = await client.post("/gradio_api/upload", files={"files": (name, content)})
        if response.status_code != 200:
            return {"refusal": f"HTTP {response.status_code}"}, tries
        file = {"path": response.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        call = await client.post("/gradio_api/call/predict", json={"data": [file, ""]})
        if FULL not in call.text:
            events = (await client.get(f"/gradio_api/call/predict/{call.json()['event_id']}")).text
            if "event: complete" in events:
                return json.loads(events.split("event: complete\ndata: ")[1].split("\n")[0])[0], tries
            if FULL not in events:
                return {"refusal": f"error: {events[:200]}"}, tries
        await asyncio.sleep(0.2)
    raise SystemExit("The page's queue stayed full.")


async def crowd(uploads: list[tuple[str, bytes]]) -> list[dict]:
    """Return one row per upload, sent by all clients at once, by each of them one after another."""

    async def visit(own: list[tuple[str, bytes]]) -> list[dict]:
        rows = []
        for name, content in own:
            began = time.perf_counter()
            answer, full = await ask(client, name, content)
            row = {"name": name, "seconds": time.perf_counter() - began, "full": full, "inside": answer.get("seconds")}
            rows.append(row | {key: answer.get(key) for key in COMPARED})
        return rows

    limits = httpx.Limits(max_connections=2 * CLIENTS)
    async with httpx.AsyncClient(base_url=ADDRESS, timeout=120, limits=limits, trust_env=False) as client:
        return sum(await asyncio.gather(*(visit(uploads[number::CLIENTS]) for number in range(CLIENTS))), [])


def wait_for(server: subprocess.Popen) -> httpx.Response:
    """Return the first answer of the page. Raises SystemExit where it does not start within a minute."""
    for _ in range(600):
        with suppress(httpx.TransportError):
            return httpx.get(ADDRESS, timeout=5, trust_env=False)
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit("The page did not start.")


def is_right(row: dict, expected: dict[str, dict], hostile: dict) -> bool:
    """Return whether an answer is that of the model without a page, or a hostile upload is refused as due."""
    if row["name"] in hostile:
        return row["refusal"] == hostile[row["name"]][1]
    answer = expected[row["name"]]
    same = all(row[key] == answer[key] for key in ("decision", "refusal", "follicles"))
    return same and (row["value"] == answer["value"] or abs(row["value"] - answer["value"]) < 1e-3)


def block(table: pd.DataFrame) -> str:
    """Return the sentences of studies/README.md."""
    page = table.set_index("page").loc["pcos app"]
    return (
        f"{page.clients} clients at once sent {page.uploads} uploads, {page.hostile} of them hostile. {page.wrong} "
        f"were answered wrongly (a hostile one, if not refused), and {page.files_left} files were left behind. Half of "
        f"the answers took {page.median_s:.2f} s or less, at {page.per_second:.0f} a second on the two cores that also "
        f"ran the clients; memory grew to {page.memory_ratio:.2f} times."
    )


def main() -> None:
    """Write one row: uploads, wrong answers, latencies, memory, files left behind."""
    folder, hostile = Path(arguments(__doc__, "model").model).resolve(), hostile_files()
    phantoms = [simulator.simulate(3_100_000_000 + number, number % 2).image for number in range(10)]
    kinds = ["PNG", "JPEG"] * 5
    good = {f"{n}.{kind.lower()}": encoded(phantoms[n], kind) for n, kind in enumerate(kinds)}
    command = [sys.executable, "-m", "pcos_utils.cli", "app", "--model", str(folder), "--port", ADDRESS[-4:]]
    frames, attacks = cycle(good.items()), cycle([(name, content) for name, (content, _) in hostile.items()])
    uploads = [next(attacks if n % HOSTILE == HOSTILE - 1 else frames) for n in range(CLIENTS * EACH)]
    with tempfile.TemporaryDirectory() as place:
        server = subprocess.Popen(command, env=os.environ | {"TMPDIR": place}, stderr=subprocess.DEVNULL)
        try:
            wait_for(server)
            asyncio.run(crowd(uploads[:WARM]))
            before, began = memory(server.pid), time.perf_counter()
            answers = asyncio.run(crowd(uploads))
            seconds, after = time.perf_counter() - began, memory(server.pid)
            left = [path for path in Path(place).rglob("*") if path.is_file()]
        finally:
            server.terminate()
            server.wait()
    served = Served(folder, threads=1)
    expected = {name: served.answer(content, name).record() for name, content in good.items()}
    wrong, rows = [row for row in answers if not is_right(row, expected, hostile)], pd.DataFrame(answers)
    print(*left, *wrong, sep="\n")
    result = {
        "page": "pcos app", "model": served.card["model"], "uploads": len(rows), "clients": CLIENTS,
        "hostile": int(rows.name.isin(hostile).sum()), "wrong": len(wrong), "queue_full": int(rows.full.sum()),
        "median_s": rows.seconds.median(), "p95_s": rows.seconds.quantile(0.95),
        "inside_median_s": rows.inside.median(), "per_second": len(rows) / seconds, "memory_before_mib": before,
        "memory_after_mib": after, "memory_ratio": after / before, "files_left": len(left),
    }  # fmt: skip
    earlier = pd.read_csv(OUT / "uploads.csv").query("page != @result['page']")  # the row of a packed Space
    publish("uploads", block, uploads=pd.concat([earlier, pd.DataFrame([result])]).round(3))


if __name__ == "__main__":
    main()
