"""Answer files of several frames one by one, and sum a clip up in a row of its own."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median, median_low

from pcos_utils.data import clinic, images
from pcos_utils.serving.answer import DECISIONS, Answer
from pcos_utils.serving.boxes import Box
from pcos_utils.serving.model import Served

MOST = 200  # frames of one file that are answered; every fifth of a clip is


def of_file(model: Served, path: Path, *, box: Box | None = None) -> Iterator[Answer]:
    """Yield the answer to a file, or as ``answers`` those to its frames."""
    # A file name that is not valid UTF-8 must not stop the others, so it is shown with escapes.
    name = str(path).encode("utf-8", "backslashreplace").decode()
    if clinic.is_clinic(path) or images.count(path) > 1:
        yield from answers(model, path, name, box=box)
    else:
        yield model.answer(path, name, box=box)


def answers(model: Served, path: Path, name: str, *, box: Box | None = None, most: int = MOST) -> Iterator[Answer]:
    """Yield the answer to each frame that is read, ``clip.mp4#6``, and where there are several that to the clip.

    ``name``: of the file, which tells a clip where the path, of an upload, does not.
    """
    found = []
    try:
        scale = clinic.millimetres(path, name)
        for number, pixels in islice(images.frames(path, name), most):
            answer = model.reply(pixels, f"{name}#{number}" if number else name, box=box, scale=scale)
            answer.pixels = answer.numbered = None  # of hundreds of frames
            found.append(answer)
            yield answer
    except images.ImageError as error:
        yield model.refused(name, error.status, f"The file cannot be used: {error.reason}.")
        return
    except FileNotFoundError:  # a link to nowhere
        yield model.refused(name, "unreadable", "The file cannot be used: there is none of this name.")
        return
    if len(found) > 1:
        yield summary(name, found)


def summary(name: str, found: list[Answer]) -> Answer:
    """Return the answer to a clip: a decision that no frame contradicts, median value and count, and their ranges."""
    answered = [each for each in found if each.interval]
    said = {each.decision for each in answered} - {DECISIONS[2]}
    decision = said.pop() if len(said) == 1 else DECISIONS[2]
    refusal = "frames differ" if said else Counter(each.refusal for each in found).most_common(1)[0][0]
    refusal *= decision == DECISIONS[2]
    if not answered:
        reason = f"None of {len(found)} frames can be answered; {found[0].reasons[0]}"
        return Answer(name, decision, refusal=refusal, reasons=[reason], facts=found[0].facts, box=found[0].box)
    counts, values = [each.follicles for each in answered], [each.value for each in answered]
    decided = sum(each.decision != DECISIONS[2] for each in answered)
    reason = f"{decided} of {len(found)} frames decided: {min(counts)} to {max(counts)} follicles, "
    reason += f"value {min(values):.2f} to {max(values):.2f}."
    first, pixels = answered[0], median(each.follicle_pixels for each in answered)
    wide = [each.follicle_mm for each in answered if each.follicle_mm]
    low, high = min(each.interval[0] for each in answered), max(each.interval[1] for each in answered)
    return Answer(
        name, decision, round(median(values), 4), [low, high], median_low(counts), round(pixels), refusal, [reason],
        first.facts, first.threshold, sum(each.seconds for each in found), box=first.box,
        follicle_mm=round(median(wide), 1) if wide else None,
        size_from=next((each.size_from for each in answered if each.size_from), ""),
    )  # fmt: skip


@contextmanager
def in_memory(content: bytes) -> Iterator[Path]:
    """Yield a path at which the bytes can be opened, though they lie in memory alone. Raises ImageError."""
    if not hasattr(os, "memfd_create"):
        reason = "files of several frames need Linux here; pcos predict reads them anywhere"
        raise images.ImageError("not an image", "", reason)
    with open(os.memfd_create("upload"), "wb") as stream:
        stream.write(content)
        stream.flush()
        yield Path(f"/proc/self/fd/{stream.fileno()}")
