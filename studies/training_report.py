"""Summary and README table of what ``studies.training`` measured."""

import numpy as np
import pandas as pd

from pcos_utils.models.recipes import RECIPES
from pcos_utils.reporting.text import markdown

SIDE = 224
PUBLISHED = {"train": 608, "validation": 252}  # images


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Return one row per network and way: medians of speed, schedule and memory, and ratios."""
    rows = []
    for (name, way), group in measured.groupby(["model", "way"], sort=False):
        middle = group.median(numeric_only=True)
        seconds = {part: middle[f"{part}_seconds"] / middle[f"{part}_images"] for part in PUBLISHED}
        kind = "bfloat16" if group.precision.eq("bfloat16").any() else "float32"
        row = {"model": name, "way": way, "precision": kind, "rounds": len(group)}
        row |= {f"{part}_images_per_s": 1 / seconds[part] for part in PUBLISHED}
        epoch = sum(PUBLISHED[part] * seconds[part] for part in PUBLISHED)
        row["schedule_s"] = RECIPES[name, "published"].epochs * epoch
        anew, features, head = (middle.get(f"{part}_seconds", np.nan) for part in ("anew", "features", "head"))
        row["anew_images_per_s"] = middle.train_images / anew
        features /= 2 * middle.train_images + middle.validation_images  # the recipe stores two changes of each image
        features *= 2 * PUBLISHED["train"] + PUBLISHED["validation"]
        row["cached_schedule_s"] = features + head / middle.train_images * PUBLISHED["train"]
        row["peak_mib"] = middle.peak_mib
        rows.append(row)
    table = pd.DataFrame(rows)
    plain, expert, ours = (table[table.way == way].set_index("model") for way in ("plain", "expert", "ours"))
    columns = ["train_images_per_s", "validation_images_per_s", "peak_mib"]
    ratios = (ours[columns] / plain[columns]).add_suffix("_ratio").assign(way="ours")
    for part in PUBLISHED:
        ratios[f"{part}_against_expert"] = ours[f"{part}_images_per_s"] / expert[f"{part}_images_per_s"]
    ratios["anew_images_per_s_ratio"] = ours.anew_images_per_s / plain.train_images_per_s
    ratios["schedule_s_ratio"] = plain.schedule_s / ours.schedule_s
    ratios["cached_schedule_s_ratio"] = plain.schedule_s / ours.cached_schedule_s
    return table.merge(ratios.reset_index(), how="left", on=["model", "way"])


def name_of(table: pd.DataFrame) -> str:
    """Return the files' name: machines with bfloat16 and without have tables of their own."""
    ours = table[table.way == "ours"]
    return "training" if ours.precision.eq("bfloat16").any() else "training_float32"


def block(table: pd.DataFrame) -> str:
    """Return the README's table: how many times as fast as the plain and the expert's loop ours is, per network."""
    header = ["ours against", "plain: training", "expert: training", "plain: validation", "expert: validation"]
    header += ["plain: published schedule", "plain: peak memory"]
    rows = []
    for row in table[table.way == "ours"].itertuples():
        training, schedule = f"{row.train_images_per_s_ratio:.1f} x", f"{row.schedule_s_ratio:.1f} x"
        if pd.notna(row.cached_schedule_s_ratio):
            training += f"; our recipe, batch norm frozen: {row.anew_images_per_s_ratio:.1f} x"
            schedule += f"; our recipe, features computed once: {row.cached_schedule_s_ratio:.0f} x"
        expert = (f"{row.train_against_expert:.2f} x", f"{row.validation_against_expert:.2f} x")
        validation, memory = f"{row.validation_images_per_s_ratio:.1f} x", f"{row.peak_mib_ratio:.2f} x"
        rows.append([row.model, training, expert[0], validation, expert[1], schedule, memory])
    return markdown(header, rows)
