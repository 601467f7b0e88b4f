"""How leakage makes 99 %: one model that looks pictures up, under three splits, on planted families or on a folder.

    python -m benchmarks.leakage phantom                  24 phantoms a class, 12 copies of each
    python -m benchmarks.leakage ../shared/data/dataset-a

Of a folder the audit finds the sources first. Table and figure hold no picture.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils import config
from pcos_utils.data import audit, images, manifest, phantom
from pcos_utils.evaluation import figures, figures_leakage, leakage
from pcos_utils.files import appearing, write_csv

OUT = config.ROOT / "reports" / "benchmarks"
FIRST_SEED = 910_000_000  # far from those of all other phantoms


def planted() -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Thumbnails, hashes and the table of phantoms with their changed copies."""
    labels = np.arange(2 * leakage.PLANTED) % 2
    pictures = [phantom.simulate(FIRST_SEED + number, label).image for number, label in enumerate(labels.tolist())]
    copies, table = leakage.plant(pictures, labels)
    return *leakage.look(copies), table


def of_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Thumbnails, hashes and the table of a folder's readable images with a label, whose sources the audit found."""
    sources = audit.find_sources(manifest.scan(folder), folder)
    table = sources[sources.status == "ok"].reset_index(drop=True)

    def load() -> Iterator[np.ndarray]:
        """The pictures one by one, in the table's order."""
        for path in audit.places(table, folder):
            yield images.load(path)

    return *leakage.look(load()), table


def draw(name: str, table: pd.DataFrame) -> None:
    """Nothing; the figure of one table is written as PNG and SVG."""
    matplotlib.use("agg")
    figures.use_style()
    _, ax = plt.subplots(figsize=(7.2, 4.6))
    what = f"{table.images[0]:,} images of {table.sources[0]:,} source pictures"
    what = f"{'synthetic phantoms' if name == 'phantom' else name}: {what}"
    figures_leakage.leakage_bars(table, title=f"One model, the same images, three splits\n{what}", ax=ax)
    for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
        with appearing(OUT / f"leakage_{name}{suffix}") as path:
            ax.figure.savefig(path, bbox_inches="tight", metadata=metadata)


def main() -> None:
    """Prints the sentence and writes the table and the figure of one folder, or of phantoms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder of class folders, or phantom")
    given = parser.parse_args().folder
    made = planted() if given == "phantom" else of_folder(Path(given))
    name = "phantom" if given == "phantom" else Path(given).resolve().name
    table = leakage.compare(*made, resamples=5000)
    write_csv(OUT / f"leakage_{name}.csv", table)
    draw(name, table)
    print(table.to_string(index=False), leakage.sentence(table), sep="\n\n")


if __name__ == "__main__":
    main()
