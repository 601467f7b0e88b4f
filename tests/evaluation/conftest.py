"""What several tests of the evaluation share."""

import pytest


@pytest.fixture
def study(evaluated, monkeypatch):
    """The small study, really trained, where PCOS_HOME names its home."""
    trained, _, place = evaluated
    monkeypatch.setenv("PCOS_HOME", str(place))
    return trained
