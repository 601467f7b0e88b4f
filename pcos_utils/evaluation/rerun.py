"""The published recipe, run again: its four counts beside the published ones, for images and for frames."""

from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.evaluation import metrics

BATCH = 32  # of the published validation, whose score was the mean over batches
COUNTS = ("tp", "fn", "fp", "tn")


def published_results() -> pd.DataFrame:
    """The published networks with their counts on 252 images, as printed in the study."""
    return pd.read_csv(Path(__file__).parent / "published_results.csv")


def table(predictions: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per network, run (published, again) and level (image, frame): the counts and both ways to score them.

    ``predictions``: test rows of the published protocol, by network. ``accuracy_by_count`` is right answers over all;
    ``accuracy_by_batch`` the mean over batches of 32 in the file's order, as the study averaged it: the last batch is
    smaller and weighs as much. A frame is called by the mean logit of its copies; of the published frames only the
    number is known.
    """
    rows = []
    printed = published_results().set_index("model")
    for model, test in predictions.items():
        known = printed.loc[model]
        rows.append({"model": model, "run": "published", "level": "image", "n": int(known[list(COUNTS)].sum())})
        rows[-1] |= {name: int(known[name]) for name in COUNTS}
        rows[-1] |= {"accuracy_by_count": (known.tp + known.tn) / rows[-1]["n"]}
        rows[-1] |= {"accuracy_by_batch": known.accuracy_by_batch}
        for level, each in (("image", test), ("frame", metrics.by_source(test))):
            label, probability = each.label.to_numpy(), each.probability.to_numpy()
            right = (probability >= metrics.THRESHOLD) == (label == 1)
            counts = metrics.confusion(label, probability, np.ones(len(each)))
            rows.append({"model": model, "run": "again", "level": level, "n": len(each)})
            rows[-1] |= dict(zip(COUNTS, map(int, counts), strict=True)) | {"accuracy_by_count": right.mean()}
            batches = [right[start : start + BATCH].mean() for start in range(0, len(right), BATCH)]
            rows[-1] |= {"accuracy_by_batch": np.mean(batches) if level == "image" else np.nan}
    return pd.DataFrame(rows)
