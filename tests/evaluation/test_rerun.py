"""The published counts and ours are set side by side, and both ways of scoring are what they say."""

import numpy as np
import pandas as pd
import pytest

from pcos_utils.evaluation import rerun


def predictions() -> pd.DataFrame:
    """40 images of 4 frames: the first 32 answered rightly, the last 8 wrongly."""
    label = np.repeat([1, 0, 1, 0], 10)
    right = np.arange(40) < 32
    logit = np.where(right == (label == 1), 2.0, -2.0)
    source = np.repeat(["a", "b", "c", "d"], 10)
    table = pd.DataFrame({"image": [f"{n}" for n in range(40)], "source": source, "label": label, "logit": logit})
    return table.assign(probability=1 / (1 + np.exp(-logit)))


def test_counts_of_images_and_of_frames():
    made = rerun.table({"iustnet": predictions()}).set_index(["run", "level"])
    assert made.loc[("again", "image"), ["tp", "fn", "fp", "tn"]].tolist() == [20, 0, 8, 12]
    assert made.loc[("again", "frame"), ["tp", "fn", "fp", "tn"]].tolist() == [2, 0, 1, 1]
    assert made.loc[("published", "image"), ["tp", "fn", "fp", "tn"]].tolist() == [79, 41, 17, 115]


def test_the_mean_of_batches_weighs_the_last_batch_as_much():
    made = rerun.table({"iustnet": predictions()}).set_index(["run", "level"])
    assert made.accuracy_by_count["again", "image"] == pytest.approx(32 / 40)
    assert made.accuracy_by_batch["again", "image"] == pytest.approx((1 + 0) / 2)
    assert np.isnan(made.accuracy_by_batch["again", "frame"])


def test_the_published_accuracies_are_those_of_the_paper():
    made = rerun.table({name: predictions() for name in ("densenet201", "densenet121d", "iustnet")})
    printed = made[made.run == "published"].set_index("model")
    assert printed.accuracy_by_count.round(4).to_dict() == {
        "densenet201": 0.6825, "densenet121d": 0.7103, "iustnet": 0.7698}  # fmt: skip
    assert printed.accuracy_by_batch.tolist() == [0.6836, 0.7121, 0.7723] and (printed.n == 252).all()
