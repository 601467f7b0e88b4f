"""How time and memory of the audit grow: folders of 1,000, 4,000 and 16,000 files of a twentieth as many sources.

    python -m benchmarks.audit_growth

Each size runs in a process of its own, whose peak memory the system reports (Linux). Written to audit_growth.csv.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from benchmarks import planted
from pcos_utils.data import audit, manifest, phantom
from pcos_utils.files import write_csv

COPIES = 20
SIZES = (1_000, 4_000, 16_000)


def fill(folder: Path, first: int, last: int) -> None:
    """Nothing: the copies of sources ``first`` to ``last`` lie under the folder as JPEG files."""
    for number in range(first, last):
        label = number % 2
        place = folder / ("pco" if label else "normal")
        place.mkdir(parents=True, exist_ok=True)
        original = phantom.simulate(70_000_000 + number, label).image
        for i, (_, copy) in enumerate(planted.family(original, np.random.default_rng(number), COPIES)):
            cv2.imwrite(str(place / f"{number:05d}_{i:02d}.jpg"), copy, [cv2.IMWRITE_JPEG_QUALITY, 90])


def measure(folder: Path) -> dict:
    """Seconds to scan and to find the sources of the folder, peak memory in MB, and how right the sources are."""
    start = time.perf_counter()
    table = manifest.scan(folder)
    scanned = time.perf_counter()
    sources = audit.find_sources(table, folder)
    done = time.perf_counter()
    truth = sources.path.str.extract(r"/(\d+)_")[0]
    return {
        "images": len(sources),
        "sources": truth.nunique(),
        "found": sources.source.nunique(),
        "adjusted_rand": adjusted_rand_score(truth, sources.source),
        "scan_s": scanned - start,
        "find_s": done - scanned,
        "total_s": done - start,
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    # Not getrusage: its peak is handed down by the process that started this one.
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def main() -> None:
    """The table, printed and written beside this file, with the exponent of growth from each size to the next."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    rows, filled = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            fill(Path(folder), filled, size // COPIES)
            filled = size // COPIES
            command = [sys.executable, "-m", "benchmarks.audit_growth", "--measure", folder]
            rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table["exponent"] = np.log(table.total_s).diff() / np.log(table.images).diff()
    print(table.to_string(index=False))
    write_csv(Path(__file__).with_suffix(".csv"), table)


if __name__ == "__main__":
    main()
