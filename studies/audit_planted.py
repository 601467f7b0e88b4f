"""Compare the audit with perceptual hashes, cleanvision and fastdup on families of known truth.

    python -m studies.audit_planted              300 sources x 20 copies and 300 singles
    python -m studies.audit_planted --alone 1    the audit alone, with its time and memory at three sizes

Among the singles are twins (the ovary and window of a source, with other speckle), and frames that share a screen
layout or a caption. None of them may join a family. A second set holds harder copies and smoothed twins. fastdup, whose
licence is not free, takes part where FASTDUP names the Python of an environment that has it, which a person makes by
hand: FASTDUP=/path/to/python python -m studies.audit_planted
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from pcos_utils.audit import families
from pcos_utils.data.images import load
from pcos_utils.evaluation.leakage import look_alikes
from pcos_utils.reporting.text import markdown
from studies import HERE, arguments, peak_memory, planted, publish

SOURCES = 300
SIZES = 50, 300, 740  # sources of the audit alone; each has 21 images, and a single beside it


def judge(truth: pd.DataFrame, family: np.ndarray) -> dict:
    """Return the sources found, the adjusted Rand index, and the number of families with more than one source."""
    sources_in = truth.source.groupby(family).nunique()
    counts = {"sources": truth.source.nunique(), "found": len(sources_in)}
    return counts | {"adjusted_rand": adjusted_rand_score(truth.source, family), "false_merges": (sources_in > 1).sum()}


def recall(truth: pd.DataFrame, family: np.ndarray) -> pd.DataFrame:
    """Return, for each kind, the number of copies and the share that is in the family of its own original."""
    original = truth.kind == "original"
    home = dict(zip(truth.source[original], family[original], strict=True))
    copies = truth[truth.source.isin(home) & ~original]
    hit = family[copies.index] == copies.source.map(home)
    return hit.groupby(copies.kind).agg(copies="size", recall="mean").reset_index()


def by_hash(paths: list[Path], distance: int) -> np.ndarray:
    """Return families by imagehash's 64-bit perceptual hash: chains of images up to so many bits apart."""
    import imagehash

    return look_alikes(np.stack([imagehash.phash(Image.open(path)).hash.ravel() for path in paths]), distance)


def by_cleanvision(paths: list[Path]) -> np.ndarray:
    """Return families by cleanvision's exact and near duplicates, at its own settings."""
    from cleanvision import Imagelab

    number_of = {str(path): number for number, path in enumerate(paths)}
    family, lab = np.arange(len(paths)), Imagelab(filepaths=list(number_of), verbose=False)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    for group in (*lab.info["exact_duplicates"]["sets"], *lab.info["near_duplicates"]["sets"]):
        numbers = [number_of[path] for path in group]
        family[numbers] = family[numbers].min()
    return family


RUN_FASTDUP = """import sys, fastdup
run = fastdup.create(work_dir=sys.argv[1], input_dir=sys.argv[2])
run.run(ccthreshold=float(sys.argv[3]), print_summary=False)
run.connected_components()[0][["filename", "component_id"]].to_csv(sys.argv[4], index=False)
"""


def by_fastdup(paths: list[Path], threshold: float) -> np.ndarray:
    """Return families by fastdup's connected components of deep features; a picture without a relative is its own."""
    with tempfile.TemporaryDirectory() as work:
        table = Path(work, "components.csv")
        command = [os.environ["FASTDUP"], "-c", RUN_FASTDUP, work, str(paths[0].parent), str(threshold), str(table)]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"SENTRY_OPT_OUT": "1"})
        found = pd.read_csv(table)
    component = dict(zip(found.filename.map(lambda name: Path(name).name), found.component_id, strict=True))
    return pd.factorize(np.array([component.get(path.name, path.name) for path in paths], object))[0]


METHODS = {
    "pcos audit": lambda paths: families.gather(lambda number: load(paths[number]), len(paths)).family,
    **{f"imagehash, distance {distance}": partial(by_hash, distance=distance) for distance in (4, 8)},
    "cleanvision": by_cleanvision,
}
if "FASTDUP" in os.environ:
    METHODS["fastdup, threshold 0.9"] = partial(by_fastdup, threshold=0.9)


def block(compared: pd.DataFrame, recalls: pd.DataFrame) -> str:
    """Return the README's table: one row per method, with the kind of copy that it finds least."""
    first, rows = compared.iloc[0], []
    for row in compared.itertuples():
        weakest = recalls.loc[recalls[row.method].idxmin()]
        weak = "none: all found" if weakest[row.method] == 1 else f"{weakest.kind}: {weakest[row.method]:.2f}"
        counts = [f"{row.found:,}", f"{row.adjusted_rand:.4f}", f"{row.false_merges:,}"]
        rows.append([row.method, *counts, weak, f"{row.times_audit:.2f}"])
    header = ["method", f"sources found (true: {first.sources:,})", "adjusted Rand index", "families with two sources"]
    return (
        f"{markdown([*header, 'weakest kind: share found', 'time'], rows)}\n\n"
        f"*{first.images:,} images; {planted.COPIES} copies of each of {first.sources // 2:,} sources, and "
        "as many singles, and a second set of harder copies; processor time as a multiple of the audit's.*"
    )


def write(folder: Path, make: Callable, sources: int) -> tuple[list[Path], pd.DataFrame]:
    """Write what ``make`` gives of so many sources as PNG files, and return their paths and the truth."""
    pictures, truth = make(sources)
    folder.mkdir()
    paths = [folder / f"{number:06d}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        cv2.imwrite(str(path), picture)
    return paths, truth


def alone(sources: int) -> dict:
    """Return what the audit finds among PNG files of so many sources, their copies and singles, its time and memory."""
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(1) as other:  # whose memory does not count
            paths, truth = other.submit(write, Path(folder, "usual"), planted.make, sources).result()
        start = time.perf_counter()
        with peak_memory(os.getpid()) as peak:
            found = families.gather(lambda number: load(paths[number]), len(paths))
        seconds = time.perf_counter() - start
    # A twin is another scan of its source's ovary, so it may be of its clip.
    ovaries = truth.source.str.replace("twin", "source").groupby(found.clip).nunique()
    facts = {"collages": len(found.collages), "false_clips": (ovaries > 1).sum(), "seconds": seconds}
    return {"images": len(paths)} | judge(truth, found.family) | facts | {"peak_mb": peak()}


def sentence(table: pd.DataFrame) -> str:
    """Return the README's sentences on the audit alone."""
    first, last = table.iloc[0], table.iloc[-1]
    exponent = np.log(last.seconds / first.seconds) / np.log(last.images / first.images)
    return (
        f"At full size, {last.images:,.0f} images of {last.sources:,.0f} sources ({last.sources / 2:,.0f} with "
        f"{planted.COPIES} copies each, and as many singles), the audit "
        f"finds {last.found:,.0f} families with an adjusted Rand index of "
        f"{last.adjusted_rand:.4f}. {last.false_merges:,.0f} of them hold two sources, {last.collages:,.0f} images are "
        f"taken for collages, and {last.false_clips:,.0f} clips hold two ovaries. It took {last.seconds / 60:.1f} "
        f"minutes on two cores and {last.peak_mb / 1000:.2f} GB of memory. From {first.images:,.0f} to "
        f"{last.images:,.0f} images its time grew with the number of images to the power of {exponent:.2f}."
    )


def _cpu() -> float:
    """Return the seconds of processors used so far by this process and by those that it started."""
    running = [each.cpu_times() for each in psutil.Process().children(recursive=True)]
    return sum(os.times()[:4]) + sum(times.user + times.system for times in running)


def main() -> None:
    """Compare the methods, or measure the audit alone, and write the tables beside this file and into the README."""
    rows, recalls = [], {}
    if arguments(__doc__, alone=0).alone:
        for size in SIZES:
            with ProcessPoolExecutor(1) as process:  # a new one, because the peak of memory is that of a process
                rows.append(process.submit(alone, size).result())
                print(rows[-1], flush=True)
        return publish("alone", sentence, HERE, audit_planted_alone=pd.DataFrame(rows))
    with tempfile.TemporaryDirectory() as folder:
        (paths, truth), (hard_paths, hard_truth) = (
            write(Path(folder, make.__name__), make, SOURCES) for make in (planted.make, planted.further)
        )
        for name, method in METHODS.items():
            start, before = time.perf_counter(), _cpu()
            family = method(paths)
            times = {"seconds": time.perf_counter() - start, "cpu_seconds": _cpu() - before}
            hard = method(hard_paths)
            rows.append({"method": name, "images": len(paths)} | judge(truth, family) | times)
            rows[-1]["false_merges"] += judge(hard_truth, hard)["false_merges"]
            recalls[name] = pd.concat([recall(truth, family), recall(hard_truth, hard)]).set_index("kind")
            print(rows[-1], flush=True)
    compared = pd.DataFrame(rows).assign(times_audit=lambda table: table.cpu_seconds / table.cpu_seconds[0])
    wide = pd.DataFrame({name: of.recall for name, of in recalls.items()})
    wide.insert(0, "copies", recalls["pcos audit"].copies)
    wide = wide.sort_index().sort_values(["pcos audit", "cleanvision"]).reset_index()
    publish("benchmark", block, HERE, audit_planted=compared, audit_planted_recall=wide)


if __name__ == "__main__":
    main()
