"""What must hold before a number is believed: nobody is tested who trained, and nothing was chosen on a test source.

Each guard looks at files as they lie there, not at what the code that wrote them meant to do. All raise StudyError with
the reader, the fold and the source.
"""

import numpy as np
import pandas as pd

from pcos_utils.config import Study, StudyError
from pcos_utils.evaluation import calibration, report

CLOSE = 2e-5  # tables keep six digits


def as_drawn(study: Study, name: str, predictions: pd.DataFrame) -> None:
    """Nothing, where each fold of ``predictions`` tests the sources that sources.csv puts there, and selects on none.

    ``predictions``: of one reader under grouped folds, with image, source, role, repeat, fold.
    """
    table = report.read_table(study, "sources")
    used = table[table.used == "yes"]
    _know(used, name, predictions)
    for (repeat, fold), rows in predictions.groupby(["repeat", "fold"]):
        where = f"{name}, repeat {repeat}, fold {fold}"
        fold_of = used.drop_duplicates("source").set_index("source")[f"r{repeat}"].astype(int)
        own, tested = set(fold_of.index[fold_of == fold]), set(rows.source[rows.role == "test"])
        leaked, lost = sorted(tested - own), sorted(own - tested)
        if leaked:
            raise StudyError(
                f"{where}: source {leaked[0]} is tested and stands on the training side of this fold ({len(leaked)} "
                "in all); draw the splits again and train again."
            )
        if lost:
            raise StudyError(f"{where}: source {lost[0]} is not tested ({len(lost)} in all); run its notebook again.")
        chosen = sorted(own & set(rows.source[rows.role == "selection"]))
        if chosen:
            raise StudyError(
                f"{where}: test source {chosen[0]} stands among the selection sources ({len(chosen)} in all), so the "
                "threshold would be chosen on test data; run its notebook again."
            )


def as_split(study: Study, name: str, predictions: pd.DataFrame) -> None:
    """Nothing, where the test rows of the published protocol are the test images of sources.csv."""
    table = report.read_table(study, "sources")
    used = table[table.used == "yes"]
    _know(used, name, predictions)
    wrong = sorted(set(_files(predictions.image, used)) ^ set(used.path[used.split == "test"]))
    if wrong:
        raise StudyError(
            f"{name}, published split: image {wrong[0]} is tested and stands in train, or the other way round "
            f"({len(wrong)} in all); run its notebook again."
        )


def thresholds_of_selection(study: Study, name: str, predictions: pd.DataFrame, rules: pd.DataFrame) -> None:
    """Nothing, where slope, intercept and threshold of each fold are those that its selection sources give.

    ``rules``: thresholds.csv, with model, repeat, fold. They are computed once more, from the selection rows alone.
    """
    own = rules[rules.model == name].set_index(["repeat", "fold"])
    for (repeat, fold), rows in predictions[predictions.role == "selection"].groupby(["repeat", "fold"]):
        by_source = rows.groupby("source").agg(logit=("logit", "mean"), label=("label", "mean"))
        wanted = calibration.fit(by_source.logit.to_numpy(), (by_source.label >= 0.5).to_numpy(int))
        if (repeat, fold) not in own.index:
            raise StudyError(f"thresholds.csv has no row of {name}, repeat {repeat}, fold {fold}; evaluate again.")
        kept = own.loc[(repeat, fold)]
        for part in ("slope", "intercept", "threshold"):
            if not np.isclose(kept[part], getattr(wanted, part), rtol=CLOSE, atol=CLOSE):
                raise StudyError(
                    f"thresholds.csv, {name}, repeat {repeat}, fold {fold}: the {part} is {kept[part]:.4g}, and the "
                    f"selection sources give {getattr(wanted, part):.4g}; it was not chosen on them. Evaluate again."
                )


def as_written(study: Study, tables: dict[str, pd.DataFrame]) -> None:
    """Nothing, where each table lies on the disk as it was made."""
    for name, table in tables.items():
        path = report.table_path(study, name)
        if not path.exists() or path.read_text(encoding="utf-8") != report.as_text(table):
            raise StudyError(f"{path.name} was changed after it was written; run notebook 06 again.")


def _files(images: pd.Series, used: pd.DataFrame) -> pd.Series:
    """The files behind images, of which some are copies that were made before training (``offline.expand``)."""
    known = images.isin(set(used.path))
    return images.where(known, images.str.replace(r"(^|/)\d+_([^/]*)$", r"\1\2", regex=True))


def _know(used: pd.DataFrame, name: str, predictions: pd.DataFrame) -> None:
    source_of = _files(predictions.image, used).map(used.set_index("path").source)
    other = predictions[source_of != predictions.source]
    if len(other):
        first = other.iloc[0]
        raise StudyError(
            f"{name}: image {first.image} is of source {first.source} in the predictions and of "
            f"{source_of[other.index[0]]} in sources.csv; run its notebook again."
        )
