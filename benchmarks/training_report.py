"""What ``benchmarks.training`` measured: its summary, the README's table, and the figure."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import machine
from pcos_utils.files import appearing

SIDE = 224
PUBLISHED = {"train": 608, "validation": 252}


def summary(measured: pd.DataFrame, speeds: dict[str, float]) -> pd.DataFrame:
    """One row per network and way: medians of images per second, schedule, memory, share of the ceiling; ratios."""
    from pcos_utils.models.recipes import RECIPES

    rows = []
    for (name, way), group in measured.groupby(["model", "way"], sort=False):
        middle = group.median(numeric_only=True)
        each = {part: middle[f"{part}_seconds"] / middle[f"{part}_images"] for part in PUBLISHED}
        epochs = RECIPES[name, "published"].epochs
        cost = machine.operations(name, SIDE)
        kind = "bfloat16" if way == "ours" and group.precision.eq("bfloat16").any() else "float32"
        row = {"model": name, "way": way, "precision": kind, "rounds": len(group)}
        row |= {f"{part}_images_per_s": 1 / each[part] for part in PUBLISHED}
        row["schedule_s"] = epochs * sum(PUBLISHED[part] * each[part] for part in PUBLISHED)
        if way == "ours" and name == "densenet201":
            row["anew_images_per_s"] = middle.train_images / middle.anew_seconds
            seen = 2 * middle.train_images + middle.validation_images
            wanted = 2 * PUBLISHED["train"] + PUBLISHED["validation"]
            row["cached_schedule_s"] = (
                middle.features_seconds / seen * wanted + middle.head_seconds / middle.train_images * PUBLISHED["train"]
            )
        row["peak_mib"] = group.peak_mib.median()
        row |= {f"{part}_share_of_ceiling": cost[part] / each[part] / speeds[kind] for part in PUBLISHED}
        rows.append(row)
    table = pd.DataFrame(rows)
    plain = table[table.way == "plain"].set_index("model")
    ours = table.way == "ours"
    for column in [*(f"{part}_images_per_s" for part in PUBLISHED), "peak_mib"]:
        table.loc[ours, f"{column}_ratio"] = table[ours][column] / table[ours].model.map(plain[column])
    per_s = table[ours].model.map(plain.train_images_per_s)
    table.loc[ours, "anew_images_per_s_ratio"] = table[ours].anew_images_per_s / per_s
    for column in ("schedule_s", "cached_schedule_s"):
        table.loc[ours, f"{column}_ratio"] = table[ours].model.map(plain.schedule_s) / table[ours][column]
    return table


def name_of(table: pd.DataFrame) -> str:
    """The files' name: machines with bfloat16 and without have tables of their own."""
    return "training" if table.precision.eq("bfloat16").any() else "training_float32"


def markdown(table: pd.DataFrame) -> str:
    """The ratios as a Markdown table for the README: one row per network."""
    lines = ["| ours against the plain loop | training | validation | published schedule | peak memory |"]
    lines += ["|---|---|---|---|---|"]
    for row in table[table.way == "ours"].itertuples():
        schedule = f"{row.schedule_s_ratio:.1f} x"
        if pd.notna(row.cached_schedule_s_ratio):
            schedule += f"; our recipe, features computed once: {row.cached_schedule_s_ratio:.0f} x"
        training = f"{row.train_images_per_s_ratio:.1f} x"
        if pd.notna(row.anew_images_per_s_ratio):
            training += f"; our recipe, batch norm frozen: {row.anew_images_per_s_ratio:.1f} x"
        cells = [training, f"{row.validation_images_per_s_ratio:.1f} x", schedule]
        lines.append(f"| {row.model} | {' | '.join(cells)} | {row.peak_mib_ratio:.2f} x |")
    return "\n".join(lines)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Nothing; a figure of the images per second of both ways, with their ratios."""
    import matplotlib.pyplot as plt

    from pcos_utils.evaluation import figures

    figures.use_style()
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6))
    names = list(table.model.unique())
    for ax, part in zip(axes, PUBLISHED, strict=True):
        for place, (way, colour) in enumerate((("plain", "#999999"), ("ours", "#0072B2"))):
            values = table[table.way == way].set_index("model").loc[names, f"{part}_images_per_s"]
            bars = ax.bar(np.arange(len(names)) + 0.4 * place - 0.2, values, 0.38, color=colour, label=way)
            if way == "ours":
                ratios = table[table.way == way].set_index("model").loc[names, f"{part}_images_per_s_ratio"]
                ax.bar_label(bars, [f"x {ratio:.1f}" for ratio in ratios], padding=2)
        ax.set_xticks(range(len(names)), [figures.MODEL_NAMES[name] for name in names])
        ax.set(title=part, ylabel="images per second", ylim=(0, ax.get_ylim()[1] * 1.12))
    axes[0].legend(frameon=False)
    for suffix in (".png", ".svg"):
        with appearing(path.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, bbox_inches="tight", metadata={} if suffix == ".png" else {"Date": None})
