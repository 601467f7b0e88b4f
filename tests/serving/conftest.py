"""A served model that is made in seconds: untrained networks, made-up out-of-fold predictions, few phantoms."""

import pytest

from pcos_utils.serving.model import Served
from tests.serving.made import export_served


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The folder of a served IustNet; its follicle network is untrained, and anything counts as usual to it."""
    return export_served(tmp_path_factory.mktemp("served"), phantoms=12, untrained=True)


@pytest.fixture(scope="module")
def model(served) -> Served:
    """The served model, loaded, to which anything counts as usual."""
    return Served(served)
