"""What ``benchmarks.stress`` found, kept in tables, drawn, and said in the README."""

import json

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd

from pcos_utils import config
from pcos_utils.evaluation import figures, figures_stress, relabelled, results, robustness
from pcos_utils.evaluation import saliency_checks as checks
from pcos_utils.files import alone_in, appearing, write_csv, write_json, write_text
from pcos_utils.models import counts
from pcos_utils.runner import with_block

OUT, README = config.ROOT / "reports" / "benchmarks", config.ROOT / "README.md"
TABLES = ("curves", "checks", "shares", "definitions", "flips")
JUDGED = (
    "Each source is judged by what its own fold trained ([curves](reports/benchmarks/stress_curves.png)). Only some of "
    "the demo's sources were changed, so these AUCs differ from those of the first table; where that does not show a "
    "reader to be better than chance, a fall here says little:"
)
MAPS = (
    '([Figure](reports/benchmarks/stress_saliency.png).) "Like" is the rank correlation with the map of another '
    "network; a map tells of what was learnt where it is shown to be more like another fold's than like the other two. "
    "That says that folds agree, not that they agree on follicles."
)


def keep(made: dict[str, pd.DataFrame | None], name: str, made_from: dict) -> None:
    """Nothing; the rows of one reader and where they come from are in the files, those of others stay."""
    with alone_in(OUT, lambda: None):  # the readers may be at work side by side
        for key, part in made.items():
            path = OUT / f"stress_{key}.csv"
            parts = [part] if part is not None else []
            if path.exists():
                before = pd.read_csv(path)
                parts.append(before[before.reader != name])
            if not parts:  # the count has no other network to be compared with
                continue
            order = list(results.TITLES).index
            table = pd.concat(parts).sort_values("reader", key=lambda names: names.map(order), kind="stable")
            write_csv(path, table)
        place = OUT / "stress.json"
        write_json(place, (json.loads(place.read_text()) if place.exists() else {}) | {name: made_from})


def read() -> dict[str, pd.DataFrame]:
    """The tables as they are kept; one that no reader has filled is empty."""
    paths = {name: OUT / f"stress_{name}.csv" for name in TABLES}
    empty = pd.DataFrame(columns=["reader", "method", "against"])
    return {name: pd.read_csv(path) if path.exists() else empty for name, path in paths.items()}


def markdown(tables: dict[str, pd.DataFrame]) -> str:
    """What the README says of the tables that are there: what breaks each reader, where its maps lie, other truths."""
    parts, count = [], results.TITLES[counts.NAME]
    if len(tables["curves"]):
        readers = tables["curves"].groupby("reader", sort=False)
        lines = [f"- {robustness.sentence(own, results.TITLES[name])}" for name, own in readers]
        parts.append("\n".join([JUDGED, "", *lines]))
    if len(tables["shares"]):
        parts.append(checks.markdown(tables["shares"], tables["checks"], results.TITLES))
        parts.append(f"{checks.sentence(tables['shares'], results.TITLES)} {MAPS}")
    own = {name: tables[name][tables[name].reader == counts.NAME] for name in ("definitions", "flips")}
    if len(own["flips"]):
        told = relabelled.definition_sentence(own["definitions"], count), relabelled.flip_sentence(own["flips"], count)
        parts.append(" ".join(told))
    return "\n\n".join(parts)


def draw(tables: dict[str, pd.DataFrame], note: str) -> None:
    """Nothing; the figures are written as PNG and SVG."""
    matplotlib.use("agg")
    figures.use_style()
    made = {}
    if len(tables["curves"]):
        made["stress_curves"] = figures_stress.stress_sheet(tables["curves"])
    if len(tables["shares"]):
        made["stress_saliency"], axes = plt.subplots(1, 2, figsize=(12, 4.6))
        figures_stress.share_points(tables["shares"], ax=axes[0])
        figures_stress.check_points(tables["checks"], ax=axes[1]) if len(tables["checks"]) else axes[1].axis("off")
    of_reader = list(tables["definitions"].groupby("reader", sort=False))
    made["stress_definitions"], axes = plt.subplots(1, len(of_reader), figsize=(4 * len(of_reader), 3.3), squeeze=False)
    for ax, (name, own) in zip(axes.flat, of_reader, strict=True):
        figures_stress.definition_points(own, ax=ax).set_title(results.TITLES[name], fontsize="medium")
    for name, figure in made.items():
        figure.text(0.995, -0.01, note, ha="right", va="top", fontsize=7, color="0.45")
        for suffix, metadata in ((".png", {"Description": note}), (".svg", {"Description": note, "Date": None})):
            with appearing(OUT / f"{name}{suffix}") as path:
                figure.savefig(path, bbox_inches="tight", metadata=metadata)


def write(note: str) -> str:
    """What the README says of the kept tables from here on; the figures are drawn, with ``note`` in a corner."""
    tables = read()
    draw(tables, note)
    block = markdown(tables)
    write_text(README, with_block(README.read_text(), block, "stress"))
    return block
