"""What stands in for a study: untrained networks and made-up out-of-fold predictions."""

import numpy as np
import pandas as pd
import torch

from pcos_utils.models import architectures
from pcos_utils.serving import fit

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
