"""Write what `pcos audit` finds: sources.csv, audit.json, and a contact sheet that stays on this machine."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pcos_utils.audit import summary
from pcos_utils.audit.sources import find_sources
from pcos_utils.config import StudyError
from pcos_utils.data import manifest
from pcos_utils.evaluation import shortcuts
from pcos_utils.files import appearing, write_csv, write_json
from pcos_utils.reporting import sentences_data, sheets


def run(folders: list[Path], out: Path, labels: Path | None = None) -> dict:
    """Audit one folder, or several against each other, and return what ``write`` does."""
    if len(folders) == 1:
        images = manifest.scan(folders[0], labels, every=True)
        return write(find_sources(images, folders[0]), {folders[0].name: folders[0]}, out)
    names = short_names(folders)
    tables = [manifest.scan(folder, labels, every=True).assign(dataset=name) for name, folder in names.items()]
    return write(find_sources(pd.concat(tables, ignore_index=True), names), names, out)


def write(sources: pd.DataFrame, folders: dict[str, Path], out: Path) -> dict:
    """Write audit.json, sources.csv and the local contact sheet under ``out``, and return the content of audit.json."""
    where = folders if len(folders) > 1 else next(iter(folders.values()))
    counted = summary.totals(sources)
    pairs = summary.between(sources) if len(folders) > 1 else None
    labelled, tested = sources[sources.label.notna()], pd.DataFrame()
    if labelled.label[labelled.status == "ok"].nunique() == 2:
        tested = shortcuts.separation(shortcuts.measure(labelled, where))
    content = {
        "verdict": sentences_data.verdict(counted, pairs),
        "leaks_or_conflicts": leaks_or_conflicts(counted, pairs),
        "summary": dict(zip(counted.fact, counted["count"].tolist(), strict=True)),
        "copies": summary.copies(sources).to_dict("records"),
        "two_labels": summary.conflicts(sources).to_dict("records"),
        "between": [] if pairs is None else pairs.to_dict("records"),
        "effective_size": {str(r): round(summary.effective_size(sources, r), 2) for r in (0.1, 0.5, 0.9, 1.0)},
        "unreadable": sources[sources.status != "ok"][["path", "status"]].to_dict("records"),
        "shortcuts": tested.replace({np.nan: None}).to_dict("records"),
        "reading": [sentences_data.copies(sources), sentences_data.conflicts(sources)]
        + ([sentences_data.shortcuts(tested)] if len(tested) else []),
    }
    write_csv(out / "sources.csv", sources)
    write_json(out / "audit.json", content)
    figure = sheets.contact(sources, where)
    figure.text(0.5, 1.0, sheets.NOTICE, ha="center", va="bottom", fontsize="small")
    with appearing(out / "local" / "contact_sheet.png") as path:
        figure.savefig(path, bbox_inches="tight", dpi=80)
    plt.close(figure)
    return content


def leaks_or_conflicts(counted: pd.DataFrame, pairs: pd.DataFrame | None = None) -> bool:
    """Return whether any picture lies in train and test, carries two labels, or lies in two folders."""
    count = counted.set_index("fact")["count"]
    shared = 0 if pairs is None else pairs.shared_sources.sum()
    return bool(count[summary.CROSSING] or count[summary.BOTH_LABELS] or shared)


def short_names(folders: list[Path]) -> dict[str, Path]:
    """Return the folders by the last parts of their paths, as many as tell them apart.

    Raises StudyError where a folder is named twice or lies inside another.
    """
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < len(places):
        raise StudyError("The same folder is named twice; name each once.")
    for inner in places:
        for outer in set(places) & set(inner.parents):
            raise StudyError(f"{inner} lies inside {outer}, so its images would be read twice; name one of the two.")
    depth = 1
    while len({place.parts[-depth:] for place in places}) < len(places):
        depth += 1
    return {"/".join(place.parts[-depth:]): place for place in places}
