"""Images that tests of training learn from, and what its runs leave."""

import json
from pathlib import Path

import numpy as np
import torch

from pcos_utils.files import sha256
from pcos_utils.models.training import Images


def noise(n: int, seed: int, side: int = 8, *, apart: int = 120) -> Images:
    """Return n images of noise; every second one has label 1 and is brighter by ``apart`` grey levels."""
    labels = np.arange(n) % 2
    pixels = np.random.default_rng(seed).integers(0, 255 - apart, (n, side, side, 3))
    pixels = torch.tensor(pixels + apart * labels[:, None, None, None], dtype=torch.uint8)
    return Images(pixels, torch.tensor(labels, dtype=torch.float32), torch.ones(n))


def flat(model: torch.nn.Module) -> torch.Tensor:
    """Return a copy of all parameters as one vector."""
    return torch.cat([part.detach().flatten() for part in model.parameters()])


def contents(folder: Path) -> dict:
    """Return the digest of every file of one run or of many by its path, and each run.json without its seconds."""
    found = {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("[!.]*.*")}
    for name in [name for name in found if name.endswith("run.json")]:
        found[name] = json.loads((folder / name).read_text())
        assert found[name].pop("seconds") and found[name].pop("images_per_second")
    return found
