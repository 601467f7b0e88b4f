"""The two counts of follicles as they are: no label fitted, no fold drawn, so nothing of a fold's base rate in them."""

from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.config import Study
from pcos_utils.data import images
from pcos_utils.evaluation import headline, report, results, traits, within
from pcos_utils.evaluation.readings import interval, many, number
from pcos_utils.models import counts, pretraining

SHOWN = ("follicles", "local_contrast")


def table(study: Study) -> pd.DataFrame:
    """AUC of each count: columns reader, unit, value, low, high, sources, polycystic; BCa over what ``unit`` names.

    By source of the used images; where images were left out, also by image over all of them, both labels of a source
    that carries two included, as others counted before.
    """
    listed = report.read_table(study, "sources")
    readable = listed[listed.status == "ok"].reset_index(drop=True)
    used = readable[readable.used == "yes"].reset_index(drop=True)
    found = results.counted(study).set_index("path")["count"]
    contrast = traits.measured(study, used).contrast_count.to_numpy()
    scored = used[["source", "label"]].assign(follicles=used.path.map(found), local_contrast=contrast)
    how = {"resamples": study.resamples, "seed": study.seed}
    rows = [{"reader": name, "unit": "source"} | auc_row(scored, name, **how) for name in SHOWN]
    if len(readable) > len(used):
        pixels = [images.load(study.image_dir / path) for path in readable.path]
        parts = [pretraining.count(counts.load(path), pixels)["count"] for path in counts.networks(study)]
        rest = readable[["label"]].assign(source=readable.path, follicles=np.mean(parts, axis=0))
        rows.append({"reader": "follicles", "unit": "image"} | auc_row(rest, "follicles", **how))
    return pd.DataFrame(rows)


def auc_row(scored: pd.DataFrame, name: str, *, resamples: int, seed: int = 0) -> dict:
    """AUC of the column ``name`` over sources, with its BCa interval: value, low, high, reason, sources, polycystic.

    ``scored``: one row per image with source, label and the score.
    """
    per = scored.groupby("source")[["label", name]].mean().reset_index().rename(columns={name: "logit"})
    found = within.meetings(per)
    made = within.auc_row(found, resamples=resamples, seed=seed)
    return made | {"sources": len(found.label), "polycystic": int(found.label.sum())}


def sentence(made: pd.DataFrame) -> str:
    """The counts' AUC without any label, and what that of all images is."""
    words = [
        f"{results.TITLES[row.reader]} {number(row.value)} [{number(row.low)}, {number(row.high)}] "
        f"({many(row.sources, row.unit)}, {row.polycystic} polycystic"
        f"{', each image taken for a picture of its own' if row.unit == 'image' else ''})"
        for row in made.itertuples()
    ]
    return f"AUC of the bare counts, to which no label was fitted: {'; '.join(words)}."


def control_sentence(table: pd.DataFrame) -> str:
    """What the reader that knows nothing scores: within folds, where it must be .5, and pooled, where that is not.

    ``table``: of ``results.evaluate``. Empty where pooling would not mislead either, or where there is no such reader.
    """
    rows = results.main_rows(table)
    rows = rows[rows.model == "always_normal"].set_index("metric")
    if rows.empty:
        return ""
    own, pooled = rows.loc["auc"], rows.loc["auc_pooled"]
    if not abs(own.value - 0.5) <= 1e-9:
        return f"**A control fails:** the reader that knows nothing has an AUC of {interval(own)} and not .50."
    if not pooled.high < 0.5:
        return ""
    return (
        "AUCs compare only sources that one fold tested together. Pooled over the folds, the reader that knows nothing "
        f"would have an AUC of {interval(pooled)}, for whoever is left out shifts the base rate of the rest the other "
        "way, and each fold's calibration learns that rate; within folds it has .50. (`auc_pooled` in metrics.csv.)"
    )


def block(folder: Path) -> str:
    """What the README says of a study: the answer, the planned differences, those from the best simple reader where
    the plan does not name it, the bare counts, and what pooling would do.

    ``folder``: the study's report folder.
    """
    tables = folder / "tables"
    planned, gained = (pd.read_csv(tables / f"{name}.csv") for name in ("comparisons", "gains"))
    parts = [results.answer(folder), headline.sentence(planned)]
    if not set(gained.second) <= set(planned.second):
        parts.append(headline.gain_sentence(gained))
    parts.append(sentence(pd.read_csv(tables / "unfitted.csv")))
    parts.append(control_sentence(pd.read_csv(tables / "metrics.csv")))
    return "\n\n".join(part for part in parts if part)
