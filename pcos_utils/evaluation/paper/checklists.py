"""CLAIM 2024 and TRIPOD+AI, every item with what was done or why not, and a link to where it stands."""

from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
CHECKLISTS = {
    "claim": ("CLAIM 2024", "Checklist for Artificial Intelligence in Medical Imaging, 2024 update"),
    "tripod": ("TRIPOD+AI", "Transparent Reporting of a Prediction Model, with AI, 2024"),
}
DONE, NOT = "done", "not applicable"


def items(name: str) -> pd.DataFrame:
    """The items in their order: item, part, asks, status (done or not applicable), how, where (an anchor)."""
    return pd.read_csv(HERE / f"{name}.csv", dtype=str, keep_default_na=False)


def answered(name: str, anchors: dict[str, str], why_not: str) -> list[dict]:
    """The items for one report: ``where`` becomes the words of its link; ``href`` the anchor, or "" without one.

    ``anchors``: what the report has, with its words. An item whose place this report lacks is not applicable, because
    ``why_not``.
    """
    made = []
    for row in items(name).to_dict("records"):
        there = row["where"] in anchors
        if not there:
            row |= {"status": NOT, "how": why_not}
        row |= {"href": f"#{row['where']}" if there else "", "where": anchors.get(row["where"], "")}
        made.append(row)
    return made


def counted(rows: list[dict]) -> dict[str, int]:
    """How many items are done, and how many do not apply."""
    done = sum(row["status"] == DONE for row in rows)
    return {"items": len(rows), DONE: done, NOT: len(rows) - done}
