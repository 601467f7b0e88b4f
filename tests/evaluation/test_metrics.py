"""Every metric agrees with scikit-learn, weighted or not, and the unit is the source."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from pcos_utils.evaluation import metrics

ORACLE = {
    "accuracy": lambda y, p, w: sk.accuracy_score(y, p >= 0.5, sample_weight=w),
    "balanced_accuracy": lambda y, p, w: sk.balanced_accuracy_score(y, p >= 0.5, sample_weight=w),
    "recall": lambda y, p, w: sk.recall_score(y, p >= 0.5, sample_weight=w),
    "specificity": lambda y, p, w: sk.recall_score(y, p >= 0.5, sample_weight=w, pos_label=0),
    "precision": lambda y, p, w: sk.precision_score(y, p >= 0.5, sample_weight=w, zero_division=np.nan),
    "f1": lambda y, p, w: sk.f1_score(y, p >= 0.5, sample_weight=w),
    "mcc": lambda y, p, w: sk.matthews_corrcoef(y, p >= 0.5, sample_weight=w),
    "auc": lambda y, p, w: sk.roc_auc_score(y, p, sample_weight=w),
    "average_precision": lambda y, p, w: sk.average_precision_score(y, p, sample_weight=w),
    "brier": lambda y, p, w: sk.brier_score_loss(y, p, sample_weight=w),
}


@pytest.mark.parametrize("name", metrics.METRICS)
def test_agrees_with_scikit_learn(name):
    rng = np.random.default_rng(0)
    for problem in range(200):
        n = int(rng.integers(5, 60))
        y = np.r_[0, 1, rng.integers(0, 2, n)]
        p = np.round(rng.random(n + 2), 1 if problem % 2 else 6)  # rounding makes ties
        w = rng.integers(1, 4, n + 2).astype(float) if problem % 3 else np.ones(n + 2)
        ours = metrics.all_metrics(y, p, w)[name]
        assert ours == pytest.approx(ORACLE[name](y, p, w), abs=1e-10, nan_ok=True)


def test_rows_of_weights_are_separate_problems():
    rng = np.random.default_rng(1)
    y, p, w = rng.integers(0, 2, 30), rng.random(30), rng.integers(0, 3, (5, 30)).astype(float)
    together = metrics.all_metrics(y, p, w)
    for i in range(5):
        alone = metrics.all_metrics(y, p, w[i])
        assert all(together[name][i] == pytest.approx(alone[name], nan_ok=True) for name in alone)


def test_a_source_counts_once_however_many_copies_it_has():
    copies = pd.DataFrame(
        {"source": list("aaab"), "image": list("1234"), "label": [1, 1, 1, 0], "logit": [2.0, 2, -1, 0]}
    )
    table = metrics.by_source(copies)
    assert table.label.tolist() == [1, 0] and table.logit.tolist() == [1, 0] and table.images.tolist() == [3, 1]


def test_a_swapped_label_changes_every_ranking_metric():
    y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    right, wrong = (metrics.all_metrics(truth, p, np.ones(4)) for truth in (y, 1 - y))
    assert right["auc"] == right["recall"] == 1 and wrong["auc"] == wrong["recall"] == 0
