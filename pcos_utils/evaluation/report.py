"""The study's tables and its figures with their provenance, as the notebooks write and read them."""

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display

from pcos_utils.config import ROOT, Study, StudyError
from pcos_utils.data import manifest, splits
from pcos_utils.files import appearing, sha256, write_csv, write_json, write_text

PROVENANCE = "provenance.json"  # beside plan.json: which plan, and the digest of every table
CODE = ("pcos_utils", "benchmarks", "pyproject.toml", "requirements.lock")  # what a commit is asked about
TIMED = ["seconds"]  # columns that differ between two equal runs; they go to timings.csv alone


def stamp() -> pd.Series:
    """Versions of what computes the numbers, and the commit of the code."""
    packages = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "matplotlib", "pillow")
    return pd.Series({"python": platform.python_version()} | {name: version(name) for name in packages} | commit())


def commit() -> dict[str, str]:
    """The code's git commit, marked "-dirty" where the code differs from it; "unknown" outside a repository."""
    try:
        done, differs = (
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
            for words in (["describe", "--always", "--abbrev=10"], ["diff", "--quiet", "HEAD", "--", *CODE])
        )
    except OSError:
        return {"commit": "unknown (no git)"}
    return {"commit": (done.stdout.strip() or "unknown") + ("-dirty" if differs.returncode == 1 else "")}


def save_provenance(study: Study) -> None:
    """Nothing; a file beside the tables says under which plan they were made, and the digest of each."""
    tables = {path.name: sha256(path) for path in sorted((study.report_dir / "tables").glob("*.csv"))}
    tables.pop("timings.csv", None)  # seconds never repeat
    made = {"study": study.name, "plan_sha256": sha256(study.plan_path), "tables": tables}
    write_json(study.report_dir / PROVENANCE, made)


def say(text: str) -> None:
    """The text as Markdown under the cell."""
    display(Markdown(text))


def show(figure: plt.Figure, study: Study, name: str, reading: str, *, pixels: bool = False) -> None:
    """The figure on screen and, with its reading as caption, as PNG and SVG for the report.

    ``pixels``: the figure shows images. Of anything but phantoms it then goes to the ``local`` folder, which git
    ignores, because the images may not be redistributed.
    """
    folder = study.report_dir / ("local" if pixels and not study.synthetic else "figures")
    origin = f"{study.name}, seed {study.seed}" + (", synthetic phantoms" if study.synthetic else "")
    figure.text(0.995, -0.01, origin, ha="right", va="top", fontsize=7, color="0.45")
    images = study.data_dir / "manifest.csv"
    note = f"{origin}; manifest.csv {sha256(images)[:12] if images.exists() else 'not made'}"
    for suffix, metadata in ((".png", {"Description": note}), (".svg", {"Description": note, "Date": None})):
        with appearing(folder / f"{name}{suffix}") as path:
            figure.savefig(path, bbox_inches="tight", metadata=metadata)
    write_json(folder / f"{name}.json", {"caption": reading, "provenance": note, "pixels": pixels})
    plt.show()
    say(reading)


def table_path(study: Study, name: str) -> Path:
    """Where a table of the study lies."""
    return study.report_dir / "tables" / f"{name}.csv"


def save_table(table: pd.DataFrame, study: Study, name: str) -> None:
    """The table as CSV among the report's tables, without columns of time."""
    write_text(table_path(study, name), as_text(table))


def as_text(table: pd.DataFrame) -> str:
    """The text of a table's file: no column of time, no index, numbers at six significant digits."""
    kept = table.drop(columns=TIMED, errors="ignore")
    return kept.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def save_runs(runs: pd.DataFrame, study: Study, model: str) -> None:
    """The runs of one network as a table, and their seconds apart, because seconds never repeat."""
    save_table(runs, study, f"runs_{model}")
    # One file a network: the three notebooks may run at the same time. `evaluate` joins them.
    write_csv(
        study.runs_dir / model / "timings.csv", runs.assign(model=model)[["model", "arm", "repeat", "fold", *TIMED]]
    )


def read_table(study: Study, name: str) -> pd.DataFrame:
    """A table that an earlier notebook wrote. Raises StudyError with the remedy where it is missing."""
    path = table_path(study, name) if name != "sources" else study.report_dir / "sources.csv"
    if not path.exists():
        raise StudyError(f"{path.name} of {study.name} is missing; run the earlier notebooks, or 'make reproduce'.")
    return manifest.read(path) if name == "sources" else pd.read_csv(path)


def need_test_set(study: Study) -> None:
    """Nothing; raises TooFewSources where the study's sources are too few to judge a model on."""
    splits.need_test_set(read_table(study, "sources"), study)


def histories(study: Study, model: str, arm: str) -> pd.DataFrame:
    """Every epoch of every run of one network and arm, with the run's name."""
    parts = [
        pd.read_csv(path).assign(run=path.parent.name)
        for path in sorted((study.runs_dir / model / arm).rglob("history.csv"))
    ]
    return pd.concat(parts, ignore_index=True)


def predictions(study: Study, model: str, protocol: str, role: str | None = "test") -> pd.DataFrame:
    """Rows of every run of one network under one protocol: of one role, or of all where it is None.

    Raises StudyError where a fold is missing, a file is not what its run wrote, or the sources were drawn anew since.
    """
    paths = sorted((study.runs_dir / model).glob(f"*/{protocol}/*/predictions.csv"))
    wanted = 1 if protocol == "published" else study.folds * study.repeats * study.inners
    if len(paths) != wanted:
        raise StudyError(
            f"{model} has {len(paths)} of {wanted} runs under the {protocol} protocol; run its notebook again."
        )
    drawn = sha256(study.report_dir / "sources.csv")
    for path in paths:
        record = json.loads(path.with_name("run.json").read_text())
        if sha256(path) != record.get("predictions_sha256"):
            raise StudyError(
                f"{path} is not what its run wrote; remove the folder {path.parent.name} and run its notebook again."
            )
        if record.get("sources_sha256") != drawn:
            raise StudyError(f"{path} was made under another sources.csv; run the notebook of {model} again.")
    table = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    return table if role is None else table[table.role == role]


def trained_models(study: Study) -> list[str]:
    """The study's networks that have runs, in the study's order."""
    return [model for model in study.models if table_path(study, f"runs_{model}").exists()]


def join_timings(study: Study) -> None:
    """Nothing: the seconds of every network's runs are one table, which git ignores."""
    timings = [pd.read_csv(study.runs_dir / model / "timings.csv") for model in trained_models(study)]
    if timings:  # none where only follicles are counted
        write_csv(table_path(study, "timings"), pd.concat(timings))
