"""Untrained features are the network's own, computed once, and never depend on labels or folds."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pcos_utils.data import images
from pcos_utils.models import architectures, features, frozen


@pytest.fixture
def study(small, monkeypatch):
    """The small study, at home, with few stand-ins so that the test is quick."""
    made, table, place = small
    monkeypatch.setenv("PCOS_HOME", str(place))
    monkeypatch.setattr(frozen, "STAND_INS", range(2_000_000_000, 2_000_000_004))
    return made, table


def test_they_are_what_the_network_gives_before_its_head(study):
    made, table = study
    got, origin = frozen.features_of(made, table)
    assert got.shape == (24, 1920) and got.dtype == np.float32 and origin == "random"
    network, _ = frozen._start(made)
    used = table[table.used == "yes"].reset_index(drop=True)
    pixels = images.stack([made.image_dir / used.path[5]], made.image_side)
    with torch.no_grad():
        x = network.eval().features(architectures.prepare("densenet201", torch.from_numpy(pixels)))
        wanted = F.adaptive_avg_pool2d(F.relu(x), 1).flatten(1)[0].numpy()
    np.testing.assert_allclose(got[5], wanted, rtol=1e-3, atol=1e-4)  # batch norm is folded in
    assert got.std(axis=0).max() > 0.01


def test_they_are_computed_once_whatever_the_labels_and_again_for_other_images(study, monkeypatch):
    made, table = study
    first = frozen.features_of(made, table).features

    def fails(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(features, "extract", fails)
    again = frozen.features_of(made, table.assign(label=1 - table.label, r0=0)).features
    assert (first == again).all()
    with pytest.raises(AssertionError, match="computed again"):
        frozen.features_of(made, table[1:])
