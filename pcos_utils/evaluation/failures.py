"""Every source that was called wrongly: how wrong, how steadily, and what was really there."""

import numpy as np
import pandas as pd

from pcos_utils.evaluation import calibration

TRUTH = ["FNPO", "FNPS", "dominant", "volume"]  # columns of a phantom's truth.csv
PLACE = ["seed", "repeat", "fold", "inner"]  # of one network of a study


def outcomes(predictions: pd.DataFrame, truth: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every test source with its outcome, such as "false negative": the wrong before the right, the surest first.

    ``predictions``: as for ``calibration.judged``, which decides. Columns of the answer: source, label, outcome,
    probability (calibrated), ``margin`` (calibrated logit less the threshold), ``judged`` (by how many networks),
    ``agree`` (the share of them that alone call it as their mean does), ``lowest`` and ``highest`` margin among them,
    and the image, seed, repeat, fold and inner of the judgement farthest from the label. Of phantoms, whose ``truth``
    (truth.csv) is given, also the follicles and the volume.
    """
    judged = calibration.judged(predictions)
    table = calibration.by_source(judged).set_index("source")
    called = np.where(table.called, "positive", "negative").astype(object)
    table["outcome"] = np.where(table.called == (table.label == 1), "true ", "false ") + called
    rule = judged[["source", "repeat", "slope", "intercept", "threshold"]]
    each = predictions[predictions.role == "test"]
    each = each.sort_values(["source", "repeat", "fold", "image"], kind="stable")
    each = each.merge(rule, on=["source", "repeat"], how="left", validate="many_to_one")
    if "inner" not in each:
        each["inner"] = 0
    each["margin"] = each.slope * each.logit + each.intercept - each.threshold
    by_network = each.groupby(["source", *PLACE], sort=False).margin.mean().reset_index()
    same = (by_network.margin >= 0) == by_network.source.map(table.called)
    grouped = by_network.groupby("source")
    table = table.assign(judged=grouped.size(), agree=same.groupby(by_network.source).mean())
    table = table.assign(lowest=grouped.margin.min(), highest=grouped.margin.max())
    off = np.where(each.source.map(table.label) == 1, -each.margin, each.margin)
    worst = each.loc[pd.Series(off, each.index).groupby(each.source).idxmax()].set_index("source")
    table = table.join(worst[["image", *PLACE]]).reset_index()
    columns = ["source", "label", "outcome", "probability", "margin", "judged", "agree", "lowest", "highest"]
    table = table.assign(sure=-table.margin.abs()).sort_values(["outcome", "sure", "source"])
    table = table[[*columns, "image", *PLACE]]
    if truth is not None:
        table = table.merge(truth[["image", *TRUTH]], on="image", how="left", validate="one_to_one")
    return table.reset_index(drop=True)


def failures(predictions: pd.DataFrame, truth: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every false negative and false positive source; columns as in ``outcomes``."""
    table = outcomes(predictions, truth)
    return table[table.outcome.str.startswith("false")].reset_index(drop=True)
