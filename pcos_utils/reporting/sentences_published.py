"""Sentences about the published numbers and about leakage. Every number comes from a table."""

import pandas as pd

from pcos_utils.data.splits import FEWEST_SOURCES
from pcos_utils.evaluation.leakage import SPLITS, WORTH
from pcos_utils.evaluation.published import (
    CORRELATION,
    CORRELATIONS,
    ORIGINALS,
    SHARED,
    at_true_prevalence,
    best_of_runs,
    recall_ranking,
)
from pcos_utils.reporting.text import TITLES, ends, listed, many, number, p_value, percent


def read_again() -> str:
    """Return what else the published numbers rest on, as a Markdown list."""
    return "\n".join(f"- {text}" for text in (ranking(), prevalence(), selection()))


def width(table: pd.DataFrame) -> str:
    """Return how much wider the interval of the best published recall is when copies are not counted as pictures."""
    recall = table[table.metric == "recall"].set_index(["model", "way"])
    model = recall.xs("naive", level="way").value.idxmax()
    naive = recall.loc[(model, "naive")]
    least, frames = recall.loc[(model, f"n_eff {CORRELATIONS[0]}")], recall.loc[(model, "frames")]
    return (
        f"The published recall of {TITLES[model]}, {number(naive.value)}, seems to be known to within "
        f"{ends(naive.low, naive.high)} when its {naive.n:.0f} images count as so many pictures; at a "
        f"correlation of {number(CORRELATIONS[0])} among copies the interval is {ends(least.low, least.high)}. Of the "
        f"{frames.n:.0f} original frames it gets {frames.value * frames.n:.0f} right: {number(frames.value)} "
        f"{ends(frames.low, frames.high)}."
    )


def ranking() -> str:
    """Return how little the ranking by recall rests on."""
    test = recall_ranking()
    return (
        f"DenseNet121d was preferred for its recall. Of the {test['frames']} original polycystic frames it finds "
        f"{test['densenet121d']} and IustNet {test['iustnet']}; they differ on {test['apart']}, and the exact paired "
        f"test gives p {p_value(test['p'])}: the data do not rank the two."
    )


def prevalence() -> str:
    """Return accuracies at the true share of polycystic frames, beside that of always answering "normal"."""
    table = at_true_prevalence()
    accuracy = table.set_index("model").accuracy.rename(TITLES)
    each = ", ".join(f"{name} {number(value, 3)}" for name, value in accuracy.items())
    below = listed(list(accuracy.index[accuracy < table.always_normal.iloc[0]]))
    share = f"the true share of polycystic frames ({ORIGINALS[1]} of {sum(ORIGINALS.values())})"
    always = f'always answering "normal" gives {number(table.always_normal.iloc[0], 3)}, and {below} stay below that.'
    return f"Copies made the classes equally large. At {share} the accuracies are {each}; {always}"


def selection() -> str:
    """Return what choosing the best run on the test set adds."""
    rows = best_of_runs().set_index("runs")
    rest = ", ".join(f"{number(mean)} (best of {count})" for count, mean in rows["mean"].drop(1).items())
    return (
        f"Where only the best run is shown, a network that is right {number(rows['mean'][1])} of the time seems to be "
        f"right {rest} of the time. At least ten runs were looked at on the published test frames, and the best of "
        f"ten such runs reaches IustNet's published accuracy in {percent(rows.reach[10])} of simulations. (Assumed: "
        f"copies of a frame agree at {number(CORRELATION)} and runs at {number(SHARED)}.)"
    )


def leakage(table: pd.DataFrame) -> str:
    """Return what one model scores under the three splits. ``table``: of ``leakage.compare``."""
    rows = table.set_index("split")
    random, hashed, honest = (rows.loc[name] for name in SPLITS)
    if pd.isna(honest.value):
        sizes = f"{honest.polycystic} polycystic, {honest.normal} normal, {FEWEST_SOURCES} of each are needed"
        rest = f"{honest.words} ({sizes})."
    else:
        rest = f"is {_value(honest)}. Leakage was worth {_value(rows.loc[WORTH])}."
    return (
        f"The same model on the same {many(random.images, 'image')} of {many(random.sources, 'source picture')}: with "
        f"images drawn at random its balanced accuracy is {_value(random)}, because {percent(random.shared)} of the "
        f"test images have a copy on the training side; with look-alikes by hash kept together it is {_value(hashed)}; "
        f"with whole sources kept together it {rest}"
    )


def _value(row: pd.Series) -> str:
    if pd.isna(row.value):
        return f"not available ({row.words})"
    if pd.isna(row.low):
        return f"{number(row.value)} (no interval: {row.words})"
    return f"{number(row.value)} {ends(row.low, row.high)}"


def split(across: int) -> str:
    """Return whether sources cross the published split."""
    if not across:
        return "No source stands on both sides of the published split."
    both = f"**{many(across, 'source stands', 'sources stand')} on both sides of the published split**"
    return f"{both}: what is measured there is memory of training pictures, not skill."


def rerun(table: pd.DataFrame) -> pd.DataFrame:
    """Return the published protocol's counts for reading, a row a run. ``table``: of ``published.rerun``."""
    counts = [", ".join(map(str, row)) for row in table[["tp", "fn", "fp", "tn"]].itertuples(index=False)]
    shown = table[["run", "level", "n"]].assign(**{"TP, FN, FP, TN": counts})
    accuracies = table[["accuracy_by_count", "accuracy_by_batch"]].map(lambda at: number(at, 3), na_action="ignore")
    shown[["accuracy", "accuracy over batches"]] = accuracies
    missing = table.model[~table.model.isin(table.model[table.run == "again"])].unique()
    left = pd.DataFrame({"run": "again", "level": "not run"}, missing)
    shown = shown.astype(object).set_index(table.model.rename(None))
    return pd.concat([shown, left]).rename(TITLES).fillna("–")
