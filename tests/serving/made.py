"""What stands in for a study: untrained networks and made-up out-of-fold predictions; and servers that run."""

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

from pcos_utils import config
from pcos_utils.models import architectures, unet, weights
from pcos_utils.serving import export, fit

SIDE = 64


def out_of_fold(n: int = 60, gap: float = 2.0) -> pd.DataFrame:
    """Predictions on n sources, two images each, whose logits are a class apart by ``gap`` standard deviations."""
    rng = np.random.default_rng(0)
    source, label = np.repeat(np.arange(n), 2), np.repeat(np.arange(n) % 2, 2)
    logit = np.repeat(rng.normal(size=n), 2) + gap * (label - 0.5) + 0.1 * rng.normal(size=2 * n)
    names = [f"{i}.png" for i in range(2 * n)]
    return pd.DataFrame({"image": names, "source": source.astype(str), "label": label, "logit": logit})


def fitted(name: str) -> fit.Fitted:
    """An untrained network at SIDE pixels with made-up predictions."""
    torch.manual_seed(0)
    facts = {"side": SIDE, "epochs": 3, "run": "0123456789ab", "plan": None}
    return fit.Fitted(fit.Answering(name, architectures.build(name, SIDE)), out_of_fold(), facts)


def untrained(home: Path) -> Path:
    """The weights of an untrained network that outlines."""
    torch.manual_seed(0)
    outline = home / "runs" / "follicles" / "s0" / "weights.safetensors"
    weights.save(unet.follicle_unet(), outline, {})
    return outline


def export_served(home: Path, *, phantoms: int, outline: Path | None) -> Path:
    """The folder of a served IustNet, all of it under ``home``; without ``outline`` the committed network outlines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(home))
        if outline:
            patch.setattr(export, "outline_weights", lambda study: outline)
        export.export("iustnet", config.study(), home / "model", phantoms=phantoms, fitted=fitted("iustnet"))
    return home / "model"


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(command: list[str], address: str, log: Path, patience: float = 300, **settings):
    """The address of a server that the command starts, once it answers; at the end the server is stopped."""
    with log.open("w") as told:
        server = subprocess.Popen(command, stdout=told, stderr=told, **settings)
    try:
        deadline = time.monotonic() + patience
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


def crowded(folder: Path, port: int, *, waiting: int, seconds: float, log: Path):
    """The running page whose queue holds ``waiting`` requests and whose model takes ``seconds`` more for each."""
    code = (
        "import time\nfrom pcos_utils.serving import app\nfrom pcos_utils.serving.predict import Served\n"
        f"app.WAITING, look = {waiting}, Served.look\n"
        f"Served.look = lambda *given: (time.sleep({seconds}), look(*given))[1]\n"
        f"app.run({str(folder)!r}, port={port})"
    )
    environment = os.environ | {"PYTHONPATH": str(config.ROOT)}
    return running([sys.executable, "-c", code], f"http://127.0.0.1:{port}", log, env=environment)
