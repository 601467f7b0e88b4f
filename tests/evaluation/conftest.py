"""What several tests of the evaluation share."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def study(evaluated, monkeypatch):
    """The small study, really trained, where PCOS_HOME names its home."""
    trained, _, place = evaluated
    monkeypatch.setenv("PCOS_HOME", str(place))
    return trained


def scored(label: np.ndarray, logit: np.ndarray) -> pd.DataFrame:
    """Return sources with one score each."""
    return pd.DataFrame({"source": [f"s{i:03}" for i in range(len(label))], "label": label, "logit": logit})
