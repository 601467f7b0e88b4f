"""Stand-ins for a study, untrained networks and made-up out-of-fold predictions; and servers that run."""

import io
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pcos_utils import config
from pcos_utils.follicles import network as follicle_network
from pcos_utils.models import architectures, weights
from pcos_utils.phantom import simulator
from pcos_utils.serving import export

SIDE = 64


def out_of_fold(n: int = 60, gap: float = 2.0) -> pd.DataFrame:
    """Return predictions on n sources, two images each, with class means ``gap`` standard deviations apart."""
    rng = np.random.default_rng(0)
    source, label = np.repeat(np.arange(n), 2), np.repeat(np.arange(n) % 2, 2)
    logit = np.repeat(rng.normal(size=n), 2) + gap * (label - 0.5) + 0.1 * rng.normal(size=2 * n)
    names = [f"{i}.png" for i in range(2 * n)]
    return pd.DataFrame({"image": names, "source": source.astype(str), "label": label, "logit": logit})


def fitted(name: str, study=None) -> tuple:
    """Return an untrained network at SIDE pixels, made-up predictions and facts, as ``fit_served`` does."""
    torch.manual_seed(0)
    facts = {"side": SIDE, "epochs": 3, "run": "0123456789ab", "plan": None}
    return export.Answering(name, architectures.build(name, SIDE)), out_of_fold(), facts


def export_served(home: Path, *, phantoms: int, untrained: bool = False) -> Path:
    """Export an IustNet under ``home`` and return its folder; its follicle network is the kept or a fresh one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(home))
        patch.setattr(export, "fit_served", fitted)
        patch.setattr(export, "TRIED", 2)
        if untrained:
            torch.manual_seed(0)
            outline = home / "s0" / "weights.safetensors"
            weights.save(follicle_network.UNet(), outline, {})
            patch.setattr(export.kept, "networks", lambda study: [outline])
        export.export("iustnet", config.study(), home / "model", phantoms)
    return home / "model"


def frame(seed: int = 3_000_000_000) -> np.ndarray:
    """Return a phantom's frame, uint8 (200, 300)."""
    return simulator.simulate(seed, seed % 2).image


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(command: list[str], address: str, log: Path, *, environment: dict | None = None, **settings):
    """Yield the address of a server that the command starts, once it answers; at the end the server is stopped."""
    values = os.environ | {"PYTHONPATH": str(config.ROOT)} | (environment or {})
    settings["env"] = {name: value for name, value in values.items() if value is not None}
    with log.open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream, **settings)
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"{address} did not answer: {log.read_text()[-2000:]}", pytrace=False)
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def page_running(folder: Path, log: Path, code: str = "", **environment):
    """Run the page of a served model as ``pcos app`` does, after the ``code``; yield its address."""
    port = free_port()
    code = f"{code}\nfrom pcos_utils import cli\ncli.app(['app', '--model', {str(folder)!r}, '--port', '{port}'])"
    return running([sys.executable, "-c", code], f"http://127.0.0.1:{port}", log, environment=environment)


def crowded(folder: Path, log: Path, *, waiting: int, seconds: float):
    """Run the page, whose queue holds ``waiting`` requests and whose model takes ``seconds`` more for each."""
    code = (
        "import time\nfrom pcos_utils.serving import app\nfrom pcos_utils.serving.model import Served\n"
        f"app.WAITING, look = {waiting}, Served.look\n"
        f"Served.look = lambda *values, **how: (time.sleep({seconds}), look(*values, **how))[1]"
    )
    return page_running(folder, log, code)
