"""Sentences say what their tables say and claim no more than a test showed; numbers are read as they were meant."""

import re

import numpy as np
import pandas as pd
import pytest

from pcos_utils.evaluation import comparison
from pcos_utils.reporting import sentences_data, sentences_training
from pcos_utils.reporting import sentences_results as sentences
from pcos_utils.reporting import text as wording


def auc_row(model="iustnet", verdict=comparison.BETTER, **changed) -> pd.Series:
    row = dict(model=model, protocol="grouped", metric="auc", value=0.72, low=0.61, high=0.81, reason="", p=0.003)
    row |= dict(test="doubled variance", verdict=verdict, sources=300, polycystic=150, few_sources=False)
    return pd.Series(row | {"taught": "labels"} | changed)


def test_a_method_is_told_with_interval_n_p_and_its_test():
    assert sentences.method(auc_row()) == (
        "IustNet is better than chance: AUC .72 [.61, .81] on 300 held-out sources, 150 of them polycystic "
        "(one-sided p = .003, doubled variance)."
    )
    assert "interval is too narrow" in sentences.method(auc_row(few_sources=True))
    assert "Do not believe this yet" in sentences.method(auc_row(value=0.96))
    assert "1 held-out source," in sentences.method(auc_row(sources=1))


def test_planned_differences_are_counted_in_a_sentence_and_listed_in_a_table():
    rows = [("follicles", "iustnet", 0.22, 0.13, 0.3, 0.001, "better")]
    rows += [("iustnet", "local_contrast", -0.05, -0.2, 0.1, 1.0, "not shown")]
    table = pd.DataFrame(rows, columns=["first", "second", "difference", "low", "high", "p_holm", "verdict"])
    table["planned"] = 2
    assert sentences.compared(table.assign(sources=300)) == (
        "Of 2 planned differences of AUC on 300 sources 1 is shown; the largest is Follicle count minus IustNet, "
        ".22 [.13, .30]."
    )
    assert sentences.compared(table.iloc[1:].assign(sources=1)).endswith("on 1 source none is shown.")
    assert sentences.compared(table.iloc[:0]).startswith("No comparison was planned")
    text = sentences.differences(table.assign(sources=300))
    assert "| Follicle count minus IustNet | .22 [.13, .30] | .001 | better |" in text
    assert "| IustNet minus dark blobs (local contrast) | -.05 [-.20, .10] | 1.000 | not shown |" in text
    assert "on 300 sources; the p is corrected for 2 planned differences." in text
    lacking = "Of 5 planned differences (3 of which could not be made) of AUC on 300 sources 1 is shown"
    assert sentences.compared(table.assign(sources=300, planned=5)).startswith(lacking)
    assert sentences.differences(table.iloc[:0]) == ""
    alike = table.assign(sources=300, difference=0.0, low=np.nan, high=np.nan, reason="the two methods rank alike")
    assert "| .00 [no interval: the two methods rank alike] |" in sentences.differences(alike)


def test_methods_are_listed_by_what_taught_them_and_say_who_beats_chance():
    rows = [auc_row(), auc_row("densenet201", comparison.NOT_SHOWN), auc_row("follicles"), auc_row("intensity")]
    text = sentences.groups(pd.DataFrame(rows))
    assert text.startswith("AUC with its 95 % interval on 300 held-out sources, 150 of them polycystic")
    networks, phantoms = text.splitlines()[2:]
    assert networks.startswith("- **Networks trained on these sources**: IustNet .72 [.61, .81], DenseNet201 .72")
    assert networks.endswith("Shown to be better than chance: IustNet.") and "Follicle count .72" in phantoms


def test_a_table_has_a_dash_where_there_is_no_interval_and_brightness_is_told_only_where_it_is_shown():
    cells = sentences.overview(pd.DataFrame([auc_row(), auc_row("follicles", low=np.nan)]).assign(metric="auc"))
    assert list(cells.AUC) == [".72\xa0[.61,\xa0.81]", ".72\xa0–"]
    assert "acquired or displayed otherwise" in sentences.acquisition(pd.DataFrame([auc_row("intensity"), auc_row()]))
    for row in (auc_row("intensity", comparison.NOT_SHOWN), auc_row()):
        assert sentences.acquisition(pd.DataFrame([row])) == ""


def test_power_says_what_n_can_show():
    text = sentences_data.power(pd.DataFrame({"source": range(41), "label": [1] * 12 + [0] * 29}))
    assert text.startswith("With 12 polycystic and 29 normal sources")
    shown = [int(part) for part in re.findall(r"in (\d+)\N{NO-BREAK SPACE}%", text)]
    assert shown == [62, 36, 98, 81, 12]  # .70 three times in five, a difference of .05 one time in nine


def test_a_calibration_that_was_withheld_has_no_number():
    rows = pd.DataFrame({"metric": ["brier", "brier_of_share", "slope", "in_the_large"], "reason": sentences.NOT_SHOWN})
    rows = rows.assign(model="iustnet", protocol="grouped", value=np.nan, low=np.nan, high=np.nan)
    assert sentences.calibrated(rows, ["iustnet"]) == (
        "Not given for IustNet: a method that is not shown to beat chance has nothing to calibrate."
    )


def test_the_plan_before_the_metric_was_changed_is_told(tmp_path):
    assert sentences.first_plan(tmp_path) == ""
    rows = [("follicles", np.nan, 0.8994, 0.6862, 0.977, np.nan, "")]
    rows += [("follicles", "local_contrast", 0.244, 0.083, 0.474, 0.057, "not shown")]
    table = pd.DataFrame(rows, columns=["first", "second", "value", "low", "high", "p_holm", "verdict"])
    table.to_csv(tmp_path / sentences.FIRST_PLAN, index=False)
    text = sentences.first_plan(tmp_path)
    assert "Follicle count .90 [.69, .98]" in text
    assert "over dark blobs (local contrast) .24 [.08, .47], not shown" in text


def test_epochs_are_counted():
    history = pd.DataFrame({"run": "a", "epoch": [1, 2, 3], "train_loss": [0.7, 0.6, 0.5]})
    history = history.assign(selection_loss=[0.7, 0.68, 0.71], chosen=[False, True, False])
    text = sentences_training.epochs(history, "IustNet")
    assert text == (
        "IustNet: the epoch kept is 2 of 3, in 1 run. Its selection loss is .680 (a coin's: .693), which the choice "
        "flatters; the lowest training loss is .50."
    )
    more = sentences_training.epochs(pd.concat([history, history.assign(run="b", chosen=[False, False, True])]), "")
    assert "lies between 2 and 3 of 3, in 2 runs. Its selection loss is .680 to .710" in more


def test_shared_errors_count_sources_and_no_sentence_says_one_sources():
    called = {"iustnet": [0.0, 0.5, 1.0, 0.2], "follicles": [0.0, 1.0, 0.0, 0.9]}
    table = pd.DataFrame(called).melt(var_name="model", value_name="called")
    text = sentences.shared_errors(table.assign(source=[*"abcd"] * 2, label=[1, 1, 0, 0] * 2))
    assert text == "Of 4 sources, 1 are called wrong by all of 2 methods, and 1 right by all."
    one = pd.DataFrame({"path": ["a"], "source": ["a"], "label": [1], "used": ["yes"]})
    assert sentences_data.use(one) == "The study uses 1 image of 1 source; nothing is left out."


@pytest.mark.parametrize("digits", [0, 1, 2, 3, 5])
def test_a_number_reads_back_as_itself(digits):
    sizes = 10.0 ** np.random.default_rng(0).uniform(-6, 7, 2000)
    turns = np.add.outer([0, 0.005, 0.095, 0.995, 1, 9.995, 10, 10.34, 30.49, 100, 100.05], [-1e-9, 0, 1e-9, 0.34])
    for value in np.concatenate([sizes, -sizes, turns.ravel(), -turns.ravel()]):
        shown = wording.number(value, digits)
        assert abs(float(shown) - value) <= 10.0**-digits / 2 * 1.001, (value, shown)
        assert float(shown) == float(f"{value:.{digits}f}") and not shown.startswith(("0.", "-0.", "-0"))


def test_only_a_leading_zero_goes():
    shown = {10.34: "10.34", -30.49: "-30.49", 0.72: ".72", -0.05: "-.05", -0.001: ".00", 100.05: "100.05", 0: ".00"}
    assert {value: wording.number(value) for value in shown} == shown
    assert [wording.number(value) for value in (np.nan, np.inf, -np.inf)] == ["undefined", "∞", "-∞"]


@pytest.mark.parametrize(("changed", "told"), [
    ({}, ".72 [.64, .80]"), ({"low": np.nan, "reason": "few"}, ".72 [no interval: few]"),
    ({"low": np.nan, "reason": np.nan}, ".72 [no interval]"), ({"value": np.nan, "reason": "why"}, "withheld (why)"),
])  # fmt: skip
def test_an_interval_or_the_reason_for_none(changed, told):
    assert wording.interval(pd.Series({"value": 0.721, "low": 0.643, "high": 0.8, "reason": ""} | changed)) == told


def test_one_is_one_and_many_are_many_and_a_p_and_a_share():
    for n, told in (0, "0 sources"), (1, "1 source"), (2, "2 sources"), (2000, "2,000 sources"):
        assert wording.many(n, "source") == told
    assert wording.many(2, "family", "families") == "2 families"
    assert [wording.listed([*words]) for words in ("", "a", "ab", "abc")] == ["none", "a", "a and b", "a, b and c"]
    assert [wording.p_value(p) for p in (0.041, 0.0004, np.nan)] == ["= .041", "< .001", "undefined"]
    assert wording.percent(0.414) == "41\N{NO-BREAK SPACE}%"
