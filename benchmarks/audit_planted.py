"""The audit on families whose truth is known, beside perceptual hashes and cleanvision: one table per question.

    python -m benchmarks.audit_planted            300 sources x 20 copies and 300 singles
    python -m benchmarks.audit_planted --sources 20

Among the singles are twins (the ovary and window of a source, other speckle), and frames that share a screen layout
and a caption. None of them may join a family.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from benchmarks import planted
from pcos_utils.data import families, phantom
from pcos_utils.files import write_csv

HERE = Path(__file__).parent
COPIES = 20


def layout(pixels: np.ndarray) -> np.ndarray:
    """The frame inside one and the same screen: a sector's edges, a grey bar, a ruler and words."""
    screen = np.zeros((300, 420), np.uint8)
    fan = np.zeros_like(screen)
    cv2.ellipse(fan, (210, -20), (300, 300), 90, -38, 38, 255, -1)
    inside = cv2.resize(pixels, (420, 300), interpolation=cv2.INTER_LINEAR)
    screen[fan > 0] = inside[fan > 0]
    cv2.ellipse(screen, (210, -20), (300, 300), 90, -38, 38, 200, 1)
    screen[60:240, 8:20] = np.linspace(255, 0, 180, dtype=np.uint8)[:, None]
    for y in range(20, 290, 15):
        cv2.line(screen, (405, y), (412 if y % 2 else 416, y), 255, 1)
    for text, place in (("OVARY RT", (20, 20)), ("14 Hz  GN 62  DR 110", (250, 290)), ("TV 5-9 MHz", (20, 285))):
        cv2.putText(screen, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1)
    return screen


def make(sources: int, seed: int = 0) -> tuple[list[np.ndarray], pd.DataFrame]:
    """Pictures, grey uint8, and one row for each: ``source``, ``kind``. Shuffled; the original is among the copies."""
    rng = np.random.default_rng(seed)
    rows, pictures = [], []

    def add(name, kind, pixels):
        rows.append({"source": name, "kind": kind})
        pictures.append(pixels)

    for number in range(sources):
        original = phantom.simulate(50_000_000 + number, number % 2).image
        add(f"source {number}", "original", original)
        for kind, copy in planted.family(original, rng, COPIES):
            add(f"source {number}", kind, copy)
    for number in range(sources):
        if number % 3 == 0:
            twin = phantom.simulate(50_000_000 + number, number % 2, speckle=1).image
            add(f"twin {number}", "twin", twin)
        else:
            other = phantom.simulate(60_000_000 + number, number % 2).image
            kind = "shared layout" if number % 3 == 1 else "shared caption"
            add(f"single {number}", kind, layout(other) if number % 3 == 1 else planted.caption(other, rng))
    order = rng.permutation(len(rows))
    return [pictures[i] for i in order], pd.DataFrame(rows).iloc[order].reset_index(drop=True)


def judge(truth: pd.DataFrame, family: np.ndarray) -> dict:
    """Sources found, adjusted Rand index, and the number of families that hold more than one source."""
    mixed = truth.source.groupby(family).nunique()
    return {
        "sources": truth.source.nunique(),
        "found": len(np.unique(family)),
        "adjusted_rand": adjusted_rand_score(truth.source, family),
        "false_merges": int((mixed > 1).sum()),
    }


def recall(truth: pd.DataFrame, family: np.ndarray) -> pd.DataFrame:
    """Per kind: copies, and the share that lies in the family of its own original."""
    home = dict(zip(truth.source[truth.kind == "original"], family[truth.kind == "original"], strict=True))
    copies = truth[truth.source.isin(home) & (truth.kind != "original")]
    hit = family[copies.index] == copies.source.map(home)
    table = hit.groupby(copies.kind).agg(copies="size", recall="mean").reset_index()
    return table.sort_values(["recall", "kind"]).reset_index(drop=True)


def by_hash(pictures: list[np.ndarray], distance: int) -> np.ndarray:
    """Families by imagehash's 64-bit perceptual hash: connected components at the distance."""
    import imagehash
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    hashes = np.array([int(str(imagehash.phash(Image.fromarray(p))), 16) for p in pictures], np.uint64)
    near = [np.flatnonzero(np.bitwise_count(hashes ^ value) <= distance) for value in hashes]
    first = np.repeat(np.arange(len(near)), [len(n) for n in near])
    links = coo_array((np.ones(len(first)), (first, np.concatenate(near))), shape=(len(near),) * 2)
    return connected_components(links, directed=False)[1]


def by_cleanvision(pictures: list[np.ndarray]) -> np.ndarray:
    """Families by cleanvision's exact and near duplicates, at its own settings."""
    from cleanvision import Imagelab

    family = np.arange(len(pictures))
    with tempfile.TemporaryDirectory() as folder:
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(Path(folder, f"{number:06d}.png"), compress_level=1)
        lab = Imagelab(data_path=folder, verbose=False)
        lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
        for issue in ("exact_duplicates", "near_duplicates"):
            for group in lab.info[issue]["sets"]:
                numbers = sorted(int(Path(path).stem) for path in group)
                family[numbers] = family[numbers].min()
    return family


def main() -> None:
    """The tables, printed and written beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="our audit only")
    options = parser.parse_args()
    pictures, truth = make(options.sources, options.seed)
    methods = {"pcos audit": lambda: families.gather(pictures.__getitem__, len(pictures)).family}
    if not options.alone:
        methods |= {f"imagehash, distance {d}": lambda d=d: by_hash(pictures, d) for d in (4, 8)}
        methods |= {"cleanvision": lambda: by_cleanvision(pictures)}
    rows, recalls = [], None
    for name, method in methods.items():
        start = time.perf_counter()
        family = method()
        rows.append(
            {"method": name, "images": len(pictures)} | judge(truth, family) | {"seconds": time.perf_counter() - start}
        )
        table = recall(truth, family).rename(columns={"recall": name})
        recalls = table if recalls is None else recalls.merge(table.drop(columns="copies"), on="kind")
    compared = pd.DataFrame(rows)
    print(compared.to_string(index=False), recalls.to_string(index=False), sep="\n\n")
    if not options.alone:
        write_csv(HERE / "audit_planted.csv", compared)
        write_csv(HERE / "audit_planted_recall.csv", recalls)


if __name__ == "__main__":
    main()
