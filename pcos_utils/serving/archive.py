"""Answer an archive: any number of images, in bounded memory, into shards that a killed job continues."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pcos_utils.config import StudyError
from pcos_utils.data import shards
from pcos_utils.files import code, sha256
from pcos_utils.progress import bar
from pcos_utils.serving import clips
from pcos_utils.serving.answer import FIELDS, UNREAD
from pcos_utils.serving.model import CODE, Served

NUMBERS = dict.fromkeys(("value", "low", "high", "follicle_mm"), "float64")
NUMBERS |= dict.fromkeys(("follicles", "follicle_pixels"), "int32")
COLUMNS = [name for name in FIELDS if name != "seconds"]  # a shard holds the same bytes whenever it is made


def answer(given: list[Path], model: Path, folder: Path) -> tuple[int, int, int]:
    """Write the answers to images, folders and lists, as in ``shards.listed``.

    Return how many there are, how many of them could not be read, and in how many shards they are.
    A second process with the same arguments shares the work. Raises StudyError where the folder holds other answers.
    """
    for path in given:
        if path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
            raise StudyError(f"{folder} lies inside {path}, whose images are answered; name another place.")
    served, facts = Served(model, 1), f"{sha256(model / 'model.json')} {code(*CODE, 'serving/clips.py')}"
    sizes = []

    def jobs() -> Iterator[Callable[..., bool]]:
        """Yield what makes each shard."""
        for part in bar(shards.parts(shards.listed(given)), f"shards of {shards.SIZE}"):
            path = folder / f"{len(sizes):06}.parquet"
            sizes.append(len(part))
            yield partial(shards.ensure, path, [facts, *map(shards.state, part)], partial(_answers, served, part))

    shards.together(jobs())
    if not sizes:
        raise StudyError("There is no image to answer; name files, lists, or a folder that holds some.")
    if (extra := folder / f"{len(sizes):06}.parquet").exists():
        raise StudyError(f"{extra} belongs to a longer list; name an empty folder.")
    tables = shards.parquet()[1]
    refusals = [tables.read_table(folder / f"{at:06}.parquet", columns=["refusal"])[0] for at in range(len(sizes))]
    found = Counter(refusal for column in refusals for refusal in column.to_pylist())
    return found.total(), sum(found[word] for word in UNREAD), len(sizes)


def _answers(served: Served, part: list[Path]) -> dict:
    """Return the columns of a shard."""
    pyarrow, _ = shards.parquet()
    rows = [each.row() for path in part for each in clips.of_file(served, path)]
    types = {name: pyarrow.type_for_alias(NUMBERS.get(name, "string")) for name in COLUMNS}
    return {name: pyarrow.array([row[name] for row in rows], kind) for name, kind in types.items()}
