"""How numbers and methods are written, once: decimals without a leading zero, intervals in brackets, titles."""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pcos_utils.config import COUNT, FEATURES, LITE0, MODELS, TUNED, ZERO_SHOT
from pcos_utils.evaluation.baselines import BASELINES

TEXTS = Path(__file__).parent / "texts"
TITLES = {name: baseline.title for name, baseline in BASELINES.items()} | {
    "densenet201": "DenseNet201",
    "densenet121d": "DenseNet121d",
    "iustnet": "IustNet",
    COUNT: "Follicle count",
    LITE0: "EfficientNet-Lite0 (ImageNet)",
    f"{LITE0}_random": "EfficientNet-Lite0 (random)",
    "densenet201_frozen": "DenseNet201 features (as started)",
    "densenet201_frozen_random": "DenseNet201 features (random)",
    ZERO_SHOT: "IustNet (phantoms, zero-shot)",
    TUNED: "IustNet (phantoms, fine-tuned)",
}
# What stands before a group's methods where they are listed, and what taught each method first.
HEADINGS = {
    "networks": "Networks trained on these sources",
    "frozen features": "Everyday photographs, then these labels",
    "taught by phantoms": "Taught by phantoms",
    "baselines": "The baseline to beat",
}
TAUGHT = zip(HEADINGS, (MODELS, FEATURES, (COUNT, ZERO_SHOT, TUNED), BASELINES), strict=True)
GROUP = {name: group for group, names in TAUGHT for name in names}


def number(value: float, digits: int = 2) -> str:
    """Return a number without a leading zero, as ``.72``, ``-.05`` or ``10.34``; "undefined" for NaN."""
    if pd.isna(value):
        return "undefined"
    text = f"{value:.{digits}f}".replace("inf", "∞")
    if text.strip("-0.") == "":  # a little below zero is zero, too
        text = text.lstrip("-")
    return re.sub(r"^(-?)0\.", r"\1.", text)


def ends(low: float, high: float) -> str:
    """Return the two ends of an interval, as ``[.64, .80]``."""
    return f"[{number(low)}, {number(high)}]"


def interval(row: pd.Series) -> str:
    """Return a value with its 95 % interval, as ``.72 [.64, .80]``, or with the row's reason for having none."""
    reason = row.get("reason", "")
    reason = "" if pd.isna(reason) else reason  # read back from a file, no reason is NaN
    if pd.isna(row["value"]):
        return f"withheld ({reason})" if reason else "undefined"
    if pd.isna(row["low"]):
        return f"{number(row['value'])} [no interval{f': {reason}' if reason else ''}]"
    return f"{number(row['value'])} {ends(row['low'], row['high'])}"


def cell(row: pd.Series) -> str:
    """Return a value with its interval in one unbroken piece for a table; a dash where there is none."""
    if pd.isna(row["value"]):
        return "–"
    text = f"{number(row['value'])} {'–' if pd.isna(row['low']) else ends(row['low'], row['high'])}"
    return text.replace(" ", "\xa0")


def many(count: int, thing: str, plural: str = "") -> str:
    """Return the count with its noun, as "1 source" or "2,000 sources". ``plural``: of what not only adds an s."""
    return f"{count:,} {thing if count == 1 else plural or thing + 's'}"


def p_value(p: float) -> str:
    """Return what follows the letter p: ``= .041``, ``< .001`` or ``undefined``."""
    if pd.isna(p):
        return "undefined"
    return "< .001" if p < 0.001 else f"= {number(p, 3)}"


def percent(share: float) -> str:
    """Return a share as whole per cent, as ``41 %``."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def listed(words: list[str]) -> str:
    """Return words as a list in a sentence: "a, b and c"; "none" without any."""
    *most, last = words or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def markdown(header: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])
