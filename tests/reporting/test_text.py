"""Numbers are written so that what is read is what was meant."""

import numpy as np
import pandas as pd
import pytest

from pcos_utils.reporting import text


@pytest.mark.parametrize("digits", [0, 1, 2, 3, 5])
def test_a_number_reads_back_as_itself(digits):
    sizes = 10.0 ** np.random.default_rng(0).uniform(-6, 7, 2000)
    turns = np.add.outer([0, 0.005, 0.095, 0.995, 1, 9.995, 10, 10.34, 30.49, 100, 100.05], [-1e-9, 0, 1e-9, 0.34])
    for value in np.concatenate([sizes, -sizes, turns.ravel(), -turns.ravel()]):
        shown = text.number(value, digits)
        assert abs(float(shown) - value) <= 10.0**-digits / 2 * 1.001, (value, shown)
        assert float(shown) == float(f"{value:.{digits}f}") and not shown.startswith(("0.", "-0.", "-0"))


def test_only_a_leading_zero_goes():
    shown = {10.34: "10.34", -30.49: "-30.49", 0.72: ".72", -0.05: "-.05", -0.001: ".00", 100.05: "100.05", 0: ".00"}
    assert {value: text.number(value) for value in shown} == shown
    assert [text.number(value) for value in (np.nan, np.inf, -np.inf)] == ["undefined", "∞", "-∞"]


def test_an_interval_or_the_reason_for_none():
    row = {"value": 0.721, "low": 0.643, "high": 0.8, "reason": ""}
    assert text.interval(pd.Series(row)) == ".72 [.64, .80]"
    assert text.interval(pd.Series(row | {"low": np.nan, "reason": "few"})) == ".72 [no interval: few]"
    assert text.interval(pd.Series(row | {"low": np.nan, "reason": np.nan})) == ".72 [no interval]"
    assert text.interval(pd.Series(row | {"value": np.nan, "reason": "why"})) == "withheld (why)"


def test_one_is_one_and_many_are_many():
    assert [text.many(n, "source") for n in (0, 1, 2, 2000)] == ["0 sources", "1 source", "2 sources", "2,000 sources"]
    assert text.many(2, "family", "families") == "2 families"
    assert [text.listed([*words]) for words in ("", "a", "ab", "abc")] == ["none", "a", "a and b", "a, b and c"]


def test_a_p_and_a_share():
    assert [text.p_value(p) for p in (0.041, 0.0004, np.nan)] == ["= .041", "< .001", "undefined"]
    assert text.percent(0.414) == "41\N{NO-BREAK SPACE}%"
