"""The answer as one figure and a few sentences: who ranks pictures better than chance, and does counting win?"""

import pandas as pd

from pcos_utils.config import MODELS
from pcos_utils.evaluation.readings import many, number
from pcos_utils.evaluation.results import TITLES, main_rows
from pcos_utils.models import counts

GROUPS = {"networks": MODELS, "follicles counted": (counts.NAME,)}


def group_of(name: str) -> str:
    """The kind of a reader: a network, the count of follicles, or a simple reader."""
    return next((group for group, names in GROUPS.items() if name in names), "simple readers")


def forest_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The AUC of every reader under grouped folds, with name, value, low, high, sources and group."""
    rows = main_rows(table)
    rows = rows[rows.metric == "auc"]
    return rows.assign(name=rows.model.map(TITLES), group=rows.model.map(group_of)).reset_index(drop=True)


def difference_rows(compared: pd.DataFrame, metric: str = "auc") -> pd.DataFrame:
    """The planned comparisons of one metric with the readers' titles."""
    rows = compared[compared.metric == metric]
    return rows.assign(first=rows["first"].map(TITLES), second=rows["second"].map(TITLES)).reset_index(drop=True)


def sentence(compared: pd.DataFrame) -> str:
    """Whether counting beats the networks, by how much, and whether anything beats the simple counter."""
    rows = difference_rows(compared)
    words = [
        f"{row.first} less {row.second} {number(row.difference)} [{number(row.low)}, {number(row.high)}], {row.verdict}"
        for row in rows.itertuples()
    ]
    return f"Paired differences of AUC on {many(int(rows.sources.max()), 'source')}: {'; '.join(words)}."


def gain_sentence(gained: pd.DataFrame) -> str:
    """How each network and the count do against the simple reader that came out best. ``gained``: of ``evaluate``."""
    rows = difference_rows(gained)
    words = [
        f"{row.first} {number(row.difference)} [{number(row.low)}, {number(row.high)}], {row.verdict}"
        for row in rows.itertuples()
    ]
    best = f"{rows.second.iloc[0]} (AUC {number(rows.value_second.iloc[0])})"
    return (
        f"Against the best simple reader, {best}, picked after all were scored, which favours it, the gains of AUC "
        f"are: {'; '.join(words)}."
    )


def looks_sentence(table: pd.DataFrame, compared: pd.DataFrame) -> str:
    """How many readers were scored on these sources, so that a best one can be read for what it is."""
    readers = table[table.protocol == "grouped"].model.nunique()
    best = forest_rows(table).sort_values("value").iloc[-1]
    return (
        f"{many(readers, 'reader')} and {many(compared.metric.eq('auc').sum(), 'planned comparison')} were looked at; "
        f"the best of them is {best['name']}, and being the best of {readers} flatters it."
    )
