"""Every source that was called wrongly: how wrong, how steadily, and what was really there."""

import numpy as np
import pandas as pd

from pcos_utils.evaluation.metrics import THRESHOLD

TRUTH = ["FNPO", "FNPS", "dominant", "volume"]  # columns of a phantom's truth.csv


def failures(
    predictions: pd.DataFrame, truth: pd.DataFrame | None = None, threshold: float = THRESHOLD
) -> pd.DataFrame:
    """Every false negative and false positive source, the most confident first within its outcome.

    ``predictions``: test rows (image, source, label, seed, repeat, fold, logit), a source perhaps judged by several
    networks. Columns of the answer: source, label, outcome, logit (the mean) and probability, ``judged`` (how often),
    ``agree`` (the share of those judgements that call it as the mean does), ``lowest`` and ``highest`` probability,
    and image, seed, repeat and fold of the judgement that was the most wrong. Of phantoms, whose ``truth`` is given
    by image, also the follicles and the volume.
    """
    wrong = outcome_table(predictions, threshold)
    wrong = wrong[wrong.outcome.str.startswith("false")]
    wrong = wrong.assign(sure=(wrong.logit - _logit(threshold)).abs())
    wrong = wrong.sort_values(["outcome", "sure", "source"], ascending=[True, False, True]).drop(columns="sure")
    if truth is not None:
        wrong = wrong.merge(truth[["image", *TRUTH]], on="image", how="left", validate="one_to_one")
    return wrong.reset_index(drop=True)


def outcome_table(predictions: pd.DataFrame, threshold: float = THRESHOLD) -> pd.DataFrame:
    """Every source with its outcome, right ones too; columns as in ``failures`` without the truth."""
    cut = _logit(threshold)
    rows = predictions.sort_values(["source", "image", "repeat", "fold"], kind="stable")
    table = rows.groupby("source", sort=True).agg(
        label=("label", "mean"), mean=("logit", "mean"),
        judged=("logit", "size"), lowest=("logit", "min"), highest=("logit", "max"),
    )  # fmt: skip
    table["label"] = (table.label >= 0.5).astype(int)
    called = table["mean"] >= cut
    table["agree"] = ((rows.logit >= cut) == rows.source.map(called)).groupby(rows.source).mean()
    right = np.where(called == (table.label == 1), "true ", "false ")
    table["outcome"] = [a + b for a, b in zip(right, np.where(called, "positive", "negative"), strict=True)]
    badness = np.where(rows.source.map(table.label) == 1, -1, 1) * rows.logit
    worst = rows.loc[badness.groupby(rows.source).idxmax()].set_index("source")
    table = table.join(worst[["image", "seed", "repeat", "fold"]]).reset_index().rename(columns={"mean": "logit"})
    for name in ("lowest", "highest"):
        table[name] = _probability(table[name])
    table["probability"] = _probability(table.logit)
    return table[
        ["source", "image", "label", "outcome", "logit", "probability", "judged", "agree", "lowest", "highest",
         "seed", "repeat", "fold"]
    ]  # fmt: skip


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def _probability(logit: pd.Series) -> pd.Series:
    return 1 / (1 + np.exp(-logit))
