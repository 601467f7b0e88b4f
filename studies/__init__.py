"""What the side studies share: arguments, tables on a page, real frames, AUCs over seeds, time and memory."""

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from scipy import stats

from pcos_utils import config
from pcos_utils.data import images, manifest
from pcos_utils.evaluation import auc
from pcos_utils.files import write_csv

HERE = Path(__file__).parent
OUT = config.ROOT / "reports" / "studies"


def arguments(text: str, *places: str, **options) -> argparse.Namespace:
    """Return the required ``places`` and the ``options`` of the command line, which keep the types of their defaults.

    ``text``: what --help says.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in places:
        parser.add_argument(name)
    for name, default in options.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help="default: %(default)s")
    return parser.parse_args()


def publish(mark: str, block: Callable[..., str], place: Path = OUT, **tables: pd.DataFrame) -> None:
    """Write and print tables by their names, and put what ``block`` says of the written ones between two marks."""
    from pcos_utils.reporting.readme import write_block  # here, so that no measured process carries matplotlib

    paths = [place / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        write_csv(path, table)
        print(table.round(3).to_string(index=False))
    write_block(mark, block(*map(pd.read_csv, paths)))


def real_frames(text: str) -> tuple[config.Study, pd.DataFrame, np.ndarray]:
    """Return the study of the folder that the command line names, its used images, and how the counting reads them.

    ``text``: what --help says. The images are rows of sources.csv, and grey, uint8 (n, 128, 192).
    """
    study = config.study("full", arguments(text, "folder").folder, allow_cpu=True, weights="none")
    used = manifest.used(study)
    return study, used, np.stack([images.grey(images.load(study.image_dir / path)) for path in used.path])


def source_pairs(rows: pd.DataFrame, scores: np.ndarray) -> auc.Pairs:
    """Return the pairs of sources by the mean score of each. ``rows``: source and label of each scored image."""
    return auc.pairs(auc.by_source(rows, scores))


def with_seeds(first: list[auc.Pairs], second: list[auc.Pairs] | None = None) -> dict:
    """Return the mean AUC over seeds, or that of the differences to ``second``, with its interval.

    Each list holds the pairs of each seed. The interval holds the variance over the sources by DeLong, of the mean over
    seeds, and that between the seeds with Student's quantile.
    """
    values, table = auc.covariance([*first, *(second or [])])
    n = len(first)
    signs = np.concatenate([np.ones(n), -np.ones(len(values) - n)]) / n
    each = values[:n] - (values[n:] if second else 0)
    z, t = stats.norm.ppf(0.975), stats.t.ppf(0.975, n - 1)
    half, value = float(np.sqrt(z**2 * signs @ table @ signs + t**2 * each.var(ddof=1) / n)), float(each.mean())
    ends = (value - half, value + half) if second else (max(0.0, value - half), min(1.0, value + half))
    facts = {"seeds": n, "sources": len(first[0].label), "value": value}
    return facts | dict(zip(("low", "high", "sd_seeds"), (*ends, float(each.std(ddof=1))), strict=True))


def error_of(shares: np.ndarray, due: float, studies: int) -> np.ndarray:
    """Return 1.96 standard errors of shares of simulated studies, with a quarter of the due variance at the least."""
    return 1.96 * np.sqrt(np.maximum(shares * (1 - shares), due * (1 - due) / 4) / studies)


def seconds(work: Callable) -> float:
    """Return the seconds that the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def peak_memory(process: int) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the most memory, MiB, that a process and its workers had up to the block's end."""
    sums, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):  # each look takes milliseconds from what is measured
            sums.append(memory(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: max(sums)
    finally:
        ended.set()
        thread.join()


def memory(process: int) -> float:
    """Return the memory of a process and its workers in MiB, 0 where one has just ended.

    Each user of shared memory counts a part, so that the sum counts it once.
    """
    try:
        own = psutil.Process(process)
        return sum(each.memory_full_info().pss for each in (own, *own.children(recursive=True))) / 2**20
    except psutil.Error:
        return 0.0
