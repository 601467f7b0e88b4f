"""Write the study's tables and figures with their provenance, and show them under a notebook's cell."""

import platform
import re
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Image, Markdown, display
from matplotlib.ticker import ScalarFormatter

from pcos_utils.clean import git, tracked
from pcos_utils.config import ROOT, Study, StudyError
from pcos_utils.files import appearing, csv_text, sha256, write_json, write_text

CODE = ("pcos_utils", "studies", "pyproject.toml", "requirements.lock")  # what decides the numbers
PIXELS = "pcos_pixels"  # marks an output that shows images


class ShortDecimals(ScalarFormatter):
    """Write the numbers of an axis as the text does: without a leading zero."""

    def __call__(self, value: float, position: int | None = None) -> str:
        """Return the words at one tick."""
        text = re.sub(r"^(\D?)0\.", r"\1.", super().__call__(value, position))
        return text if text.strip(".0") else "0"


def stamp() -> Markdown:
    """Return a line with the versions of what computes, and the commit: "-dirty" if changed, "unknown" outside git."""
    packages = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "matplotlib", "pillow")
    versions = {"Python": platform.python_version()} | {name: version(name) for name in packages}
    versions["commit"] = "unknown"
    if tracked(ROOT) is not None:
        described = git(ROOT, "describe", "--always", "--abbrev=10").stdout.decode().strip()
        changed = git(ROOT, "diff", "--quiet", "HEAD", "--", *CODE).returncode == 1
        versions["commit"] = (described or "unknown") + ("-dirty" if changed else "")
    return Markdown(f"*Made with {', '.join(' '.join(pair) for pair in versions.items())}.*")


def use_style() -> None:
    """Set the look of every figure of the study, and show the cells of tables whole."""
    import seaborn as sns

    rc = {"figure.dpi": 72, "savefig.dpi": 100, "figure.constrained_layout.use": True, "svg.hashsalt": "pcos"}
    sns.set_theme(context="notebook", style="whitegrid", font_scale=0.9, rc=rc)
    pd.set_option("display.max_colwidth", None)


def say(text: str) -> None:
    """Show the text as Markdown under the cell."""
    display(Markdown(text))


def show(figure: plt.Figure, study: Study, name: str, reading: str, *, pixels: bool = False) -> None:
    """Save the figure as PNG and SVG with its reading, and show it with the reading under the cell.

    ``pixels``: it shows images. Unless of phantoms, these may not be redistributed: it goes to the folder ``local``.
    """
    folder = study.report_dir / ("local" if pixels and not study.synthetic else "figures")
    origin = f"{study.name}, seed {study.seed}" + (", synthetic phantoms" if study.synthetic else "")
    figure.text(0.995, -0.01, origin, ha="right", va="top", fontsize=7, color="0.45")
    images = study.data_dir / "manifest.csv"
    note = f"{origin}; manifest.csv {sha256(images)[:12] if images.exists() else 'not made'}"
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        if type(axis.get_major_formatter()) is ScalarFormatter:
            axis.set_major_formatter(ShortDecimals())
    for suffix, metadata in ((".png", {"Description": note}), (".svg", {"Description": note, "Date": None})):
        with appearing(folder / f"{name}{suffix}") as temporary:
            figure.savefig(temporary, bbox_inches="tight", metadata=metadata)
    plt.close(figure)
    write_json(folder / f"{name}.json", {"caption": reading, "provenance": note, "pixels": pixels})
    # Not plt.show(): what that does depends on the backend that somebody's shell has set.
    picture = (folder / f"{name}.png").read_bytes()
    display(Image(picture, alt=reading.replace("*", "")), metadata={PIXELS: True} if pixels else None)
    say(reading)


def table_path(study: Study, name: str) -> Path:
    """Return where a table of the study lies."""
    return study.report_dir / "tables" / f"{name}.csv"


def save_tables(tables: dict[str, pd.DataFrame], study: Study) -> None:
    """Save tables as CSV in the report's folder, and the digests of the plan and of all tables in provenance.json."""
    for name, table in tables.items():
        write_text(table_path(study, name), as_text(table))
    if study.plan_path.exists():
        digests = {path.name: sha256(path) for path in sorted((study.report_dir / "tables").glob("*.csv"))}
        provenance = {"study": study.name, "plan_sha256": sha256(study.plan_path), "tables": digests}
        write_json(study.report_dir / "provenance.json", provenance)


def as_text(table: pd.DataFrame) -> str:
    """Return a table as CSV without its column of seconds, which never repeat; numbers have six significant digits."""
    return csv_text(table.drop(columns="seconds", errors="ignore"))


def save_runs(runs: pd.DataFrame, study: Study, model: str) -> None:
    """Save the runs of one network as a table."""
    save_tables({f"runs_{model}": runs}, study)


def as_written(study: Study, tables: dict[str, pd.DataFrame]) -> None:
    """Raise StudyError unless the file of each table still holds that table."""
    for name, table in tables.items():
        path = table_path(study, name)
        if not path.exists() or path.read_text(encoding="utf-8") != as_text(table):
            raise StudyError(f"{path.name} was changed after it was written; run notebook 06 again.")
