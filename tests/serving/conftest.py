"""A served model that is made in seconds: untrained networks, made-up out-of-fold predictions, few phantoms."""

import pytest
import torch

from pcos_utils import config
from pcos_utils.models import unet, weights
from pcos_utils.serving import export as exporting
from tests.serving.made import fitted


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The folder of a served IustNet; its follicle network is untrained, and anything counts as usual to it."""
    home = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(home))
        torch.manual_seed(0)
        outline = home / "runs" / "follicles" / "s0" / "weights.safetensors"
        weights.save(unet.follicle_unet(), outline, {})
        patch.setattr(exporting, "outline_weights", lambda study: outline)
        exporting.export("iustnet", config.study(), home / "model", phantoms=12, fitted=fitted("iustnet"))
    return home / "model"
