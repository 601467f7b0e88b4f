"""The tables of a small study, really trained: what stands in one stands in the others."""

import pandas as pd
import pytest

from pcos_utils.data import splits
from pcos_utils.evaluation import auc, calibration, predictions, tables
from tests.conftest import evaluate


def test_it_repeats(study, evaluated):
    again = evaluate(study)
    assert all(again[name].equals(table) for name, table in evaluated[1].items())


def test_decisions_and_ranking_are_those_of_the_judged_rows(evaluated):
    metrics, judged = evaluated[1]["metrics"], evaluated[1]["judged"]
    own = metrics.query("model == 'iustnet' and protocol == 'grouped'").set_index("metric").value
    rows = judged[judged.model == "iustnet"]
    per = rows.groupby("source")[["label", "called"]].mean()
    right = per.called.where(per.label == 1, 1 - per.called)
    shares = {"recall": right[per.label == 1], "specificity": right[per.label == 0], "accuracy": right}
    wanted = {name: values.mean() for name, values in shares.items()} | {"auc": float(auc.auc(auc.pairs(rows)))}
    assert own[list(wanted)].to_dict() == pytest.approx(wanted)
    answers = evaluated[1]["answers"].query("model == 'iustnet'").set_index("source")
    assert answers.called.to_dict() == pytest.approx(per.called.to_dict())


def test_every_auc_has_n_an_interval_a_test_and_a_verdict(evaluated):
    rows = tables.main_rows(evaluated[1]["metrics"])
    assert (rows.sources == 24).all() and (rows.polycystic == 12).all() and not rows.few_sources.any()
    assert (rows.low.notna() | rows.reason.ne("")).all() and rows.verdict.ne("").all() and rows.taught.ne("").all()
    tests = rows.set_index("model").test
    assert tests["iustnet"] == "doubled variance" and "permutations" in tests["follicles"] == tests["local_contrast"]
    metrics = evaluated[1]["metrics"].query("protocol == 'grouped'").set_index("model")
    assert metrics.query("metric != 'auc'").verdict.eq("").all()
    # What does not beat chance has no calibration.
    shown = set(rows[rows.verdict == "better than chance"].model)
    assert set(metrics[metrics.metric.eq("brier") & metrics.value.notna()].index) == shown


def test_the_surest_answers_are_of_the_first_network(study):
    loaded = predictions.load(study)
    judged = tables.judge(loaded)["iustnet"]
    used = predictions.read_table(study, "sources").query("used == 'yes'")
    chosen = tables.surest(judged, used)
    assert (chosen.fold == 0).all() and chosen.outcome.value_counts().max() <= 2 and chosen.image.isin(used.path).all()
    right = (chosen.called == (chosen.label == 1)).to_numpy()
    assert (chosen.outcome.str.startswith("true").to_numpy() == right).all()
    for _, rows in chosen.groupby("outcome"):
        assert rows.margin.abs().is_monotonic_decreasing


def test_planned_pairs_of_methods_that_are_missing_are_left_out(evaluated):
    made = evaluated[1]["comparisons"]
    named = set(made["first"]) | set(made.second)
    assert named == {"follicles", "iustnet", "local_contrast"} and (made.p_holm >= made.p).all()


def test_two_labels_of_a_source_follow_one_rule():
    rows = pd.DataFrame({"source": list("aabbb"), "label": [0, 1, 0, 0, 1], "logit": 0.0, "image": list("12345")})
    assert splits.source_labels(rows).to_dict() == {"a": 1, "b": 0}
    assert calibration.by_network(rows).set_index("source").label.to_dict() == {"a": 1, "b": 0}
