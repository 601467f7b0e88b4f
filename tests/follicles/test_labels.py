"""IustNet is taught by phantoms alone, and its card says what its file says."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pcos_utils.config import ROOT
from pcos_utils.follicles import labels
from pcos_utils.models import architectures, weights


@pytest.mark.slow
def test_iustnet_learns_from_phantoms_and_is_kept_in_float16(home, monkeypatch):
    monkeypatch.setattr(labels, "EPOCHS", 2)
    monkeypatch.setattr(labels, "HELD_OUT", 4)
    epochs, target = [], home / "w.safetensors"
    facts = labels.teach(4, 0, epochs.append, target)
    assert len(epochs) == 2 and facts["held_out_phantoms"] == 8 and 0 <= facts["auc"] <= 1
    with safe_open(target, "pt") as stored:
        assert stored.metadata()["phantoms_per_class"] == "4"
    assert {tensor.dtype for tensor in load_file(target).values()} == {torch.float16}
    weights.load(architectures.build("iustnet", weights.PHANTOM_SIDE), target)
    seen, held = (set(labels.phantoms(4, seed).pixels.flatten(1).sum(1).tolist()) for seed in (0, 1000))
    assert len(seen | held) == 16


def test_the_card_says_what_the_file_says():
    card = (ROOT / "pcos_utils" / "weights" / "README.md").read_text(encoding="utf-8")
    with safe_open(weights.PHANTOM_IUSTNET, "pt") as stored:
        facts = stored.metadata()
    assert f"AUC {float(facts['auc']):.2f}".replace("0.", ".") in card and weights.phantoms_behind() in card
