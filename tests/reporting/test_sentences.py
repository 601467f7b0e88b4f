"""Sentences say what their tables say, and claim no more than a test showed."""

import re

import numpy as np
import pandas as pd

from pcos_utils.evaluation import comparison
from pcos_utils.reporting import sentences_data, sentences_training
from pcos_utils.reporting import sentences_results as sentences


def auc_row(model="iustnet", verdict=comparison.BETTER, **changed) -> pd.Series:
    """Return the AUC row of a method in metrics.csv."""
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


def test_a_table_for_reading_has_a_dash_where_there_is_no_interval():
    cells = sentences.overview(pd.DataFrame([auc_row(), auc_row("follicles", low=np.nan)]).assign(metric="auc"))
    assert list(cells.AUC) == [".72\xa0[.61,\xa0.81]", ".72\xa0–"]


def test_brightness_is_told_only_where_it_is_shown():
    assert "acquired or displayed otherwise" in sentences.acquisition(pd.DataFrame([auc_row("intensity"), auc_row()]))
    assert sentences.acquisition(pd.DataFrame([auc_row("intensity", comparison.NOT_SHOWN)])) == ""
    assert sentences.acquisition(pd.DataFrame([auc_row()])) == ""


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
    more = pd.concat([history, history.assign(run="b", chosen=[False, False, True])])
    assert "lies between 2 and 3 of 3, in 2 runs. Its selection loss is .680 to .710" in sentences_training.epochs(
        more, ""
    )


def test_shared_errors_count_sources():
    called = {"iustnet": [0.0, 0.5, 1.0, 0.2], "follicles": [0.0, 1.0, 0.0, 0.9]}
    table = pd.DataFrame(called).melt(var_name="model", value_name="called")
    text = sentences.shared_errors(table.assign(source=[*"abcd"] * 2, label=[1, 1, 0, 0] * 2))
    assert text == "Of 4 sources, 1 are called wrong by all of 2 methods, and 1 right by all."


def test_no_sentence_says_one_sources():
    table = pd.DataFrame({"path": ["a"], "source": ["a"], "label": [1], "used": ["yes"]})
    assert sentences_data.use(table) == "The study uses 1 image of 1 source; nothing is left out."
