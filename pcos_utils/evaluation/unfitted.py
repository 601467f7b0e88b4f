"""The two counts of follicles as they are: no label fitted, no fold drawn, so nothing of a fold's base rate in them."""

from pathlib import Path

import numpy as np
import pandas as pd

from pcos_utils.config import Study
from pcos_utils.data import images
from pcos_utils.evaluation import bootstrap, headline, metrics, report, results, traits
from pcos_utils.evaluation.readings import many, number
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
    per = scored.groupby("source")[["label", name]].mean().reset_index()
    per["label"] = label = per.label.to_numpy(int)
    left_out, classes = bootstrap.jackknife_weights(per)
    weights = np.ones(len(per)), bootstrap.source_weights(per, resamples, seed), left_out
    value, draws, influence = (metrics.auc(label, per[name].to_numpy(), one) for one in weights)
    low, high, reason = bootstrap.bca_interval(float(value), draws, influence, classes)
    made = {"value": float(value), "low": low, "high": high, "reason": reason}
    return made | {"sources": len(per), "polycystic": int(label.sum())}


def sentence(made: pd.DataFrame) -> str:
    """The counts' AUC without any label, and what that of all images is."""
    words = [
        f"{results.TITLES[row.reader]} {number(row.value)} [{number(row.low)}, {number(row.high)}] "
        f"({many(row.sources, row.unit)}, {row.polycystic} polycystic)"
        for row in made.itertuples()
    ]
    return f"AUC of the bare counts, to which no label was fitted: {'; '.join(words)}."


def control_sentence(rows: pd.DataFrame) -> str:
    """What the reader that knows nothing scores, where that is not .5: a base rate leaks through the folds, backwards.

    ``rows``: of ``headline.forest_rows``. Empty where the interval of that reader holds .5 or does not exist.
    """
    blind = rows[rows.model == "always_normal"]
    if blind.empty or not float(blind.high.iloc[0]) < 0.5:
        return ""
    row = blind.iloc[0]
    return (
        f"**A control fails:** the reader that knows nothing has an AUC of {number(row.value)} [{number(row.low)}, "
        f"{number(row.high)}], not .50. Whoever is left out shifts the base rate of the rest the other way, and each "
        "fold's calibration learns that rate; with few sources this pulls every AUC down, most where a reader knows "
        "least. It flatters nobody, but differences to weak readers are too large; the bare counts are free of it, and "
        "so are differences within folds (fold_low to fold_p in comparisons.csv)."
    )


def block(folder: Path) -> str:
    """What the README says of a study: the answer, the bare counts, and a control that failed.

    ``folder``: the study's report folder.
    """
    tables = folder / "tables"
    parts = [results.answer(folder), sentence(pd.read_csv(tables / "unfitted.csv"))]
    parts.append(control_sentence(headline.forest_rows(pd.read_csv(tables / "metrics.csv"))))
    return "\n\n".join(part for part in parts if part)
