"""The audit beside perceptual hashes and cleanvision, on families whose truth is known: one table per question.

    python -m benchmarks.audit_planted                      300 sources x 20 copies and 300 singles
    python -m benchmarks.audit_planted --folder FOLDER      the images of a folder; the audit's families are the truth
    python -m benchmarks.audit_planted --sources 20 --alone

Among the singles are twins (the ovary and window of a source, other speckle), and frames that share a screen layout
or a caption. None of them may join a family. Every method reads the same files, one after the other, on a machine
that does nothing else.
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
from pcos_utils.data import families, manifest, phantom
from pcos_utils.data.images import load
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
        """Nothing; one more picture, with the source that it was made from."""
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


def by_audit(paths: list[Path]) -> np.ndarray:
    """Families by our audit."""
    return families.gather(lambda number: load(paths[number]), len(paths)).family


def by_hash(paths: list[Path], distance: int) -> np.ndarray:
    """Families by imagehash's 64-bit perceptual hash: connected components at the distance."""
    import imagehash
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    hashes = np.array([int(str(imagehash.phash(Image.open(path))), 16) for path in paths], np.uint64)
    near = [np.flatnonzero(np.bitwise_count(hashes ^ value) <= distance) for value in hashes]
    first = np.repeat(np.arange(len(near)), [len(n) for n in near])
    links = coo_array((np.ones(len(first)), (first, np.concatenate(near))), shape=(len(near),) * 2)
    return connected_components(links, directed=False)[1]


def by_cleanvision(paths: list[Path]) -> np.ndarray:
    """Families by cleanvision's exact and near duplicates, at its own settings."""
    from cleanvision import Imagelab

    number_of = {str(path): number for number, path in enumerate(paths)}
    family = np.arange(len(paths))
    lab = Imagelab(filepaths=list(number_of), verbose=False)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    for issue in ("exact_duplicates", "near_duplicates"):
        for group in lab.info[issue]["sets"]:
            numbers = [number_of[path] for path in group]
            family[numbers] = family[numbers].min()
    return family


METHODS = {
    "pcos audit": by_audit,
    "imagehash, distance 4": lambda paths: by_hash(paths, 4),
    "imagehash, distance 8": lambda paths: by_hash(paths, 8),
    "cleanvision": by_cleanvision,
}


def compare(paths: list[Path], truth: pd.DataFrame | None, methods: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per method, and the recall of each kind of copy. Without a truth the first method's families are it."""
    rows, recalls = [], []
    for name in methods:
        start = time.perf_counter()
        family = METHODS[name](paths)
        seconds = time.perf_counter() - start
        if truth is None:
            truth = pd.DataFrame({"source": family, "kind": "image"})
        rows.append({"method": name, "images": len(paths)} | judge(truth, family) | {"seconds": seconds})
        print(rows[-1], flush=True)
        recalls.append(recall(truth, family).assign(method=name))
    table = pd.DataFrame(rows)
    return table.assign(times_audit=table.seconds / table.seconds[0]), pd.concat(recalls)


def markdown(compared: pd.DataFrame, recalls: pd.DataFrame) -> str:
    """The README's table: one row per method, with the kind of copy that it finds least."""
    first = compared.iloc[0]
    lines = [
        f"| method | of {first.sources:,} sources found | adjusted Rand index | families with two sources | "
        "weakest kind: share found | time |",
        "|---|---|---|---|---|---|",
    ]
    for row in compared.itertuples():
        weakest = recalls.loc[recalls[row.method].idxmin()]
        weak = "none: all found" if weakest[row.method] == 1 else f"{weakest.kind}: {weakest[row.method]:.2f}"
        lines.append(
            f"| {row.method} | {row.found:,} | {row.adjusted_rand:.3f} | {row.false_merges:,} | {weak} | "
            f"{row.times_audit:.2f} |"
        )
    note = f"*{first.images:,} images; {COPIES} copies of each of {first.sources // 2:,} sources, and as many singles"
    return "\n".join([*lines, "", note + "; time as a multiple of the audit's.*"])


def main() -> None:
    """The tables, printed and written beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="real images instead of planted families")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="our audit only, nothing written")
    options = parser.parse_args()
    methods = list(METHODS)[: 1 if options.alone else None]
    with tempfile.TemporaryDirectory() as place:
        if options.folder:
            table = manifest.scan(options.folder, every=True).query("status == 'ok'").drop_duplicates("pixel_sha256")
            paths, truth, name = [options.folder / path for path in table.path], None, options.folder.name
        else:
            pictures, truth = make(options.sources, options.seed)
            paths, name = [Path(place, f"{number:06d}.png") for number in range(len(pictures))], "planted"
            for path, picture in zip(paths, pictures, strict=True):
                cv2.imwrite(str(path), picture)
        compared, recalls = compare(paths, truth, methods)
    print(compared.to_string(index=False))
    if not options.folder:
        wide = recalls.pivot(index="kind", columns="method", values="recall")[methods]
        wide.insert(0, "copies", recalls.groupby("kind").copies.first())
        recalls = wide.sort_values([methods[0], methods[-1]]).reset_index()
        print(recalls.to_string(index=False))
    if not options.alone:
        print(markdown(compared, recalls) if not options.folder else "")
        write_csv(HERE / f"audit_{name}.csv", compared)
        if not options.folder:
            write_csv(HERE / "audit_planted_recall.csv", recalls)


if __name__ == "__main__":
    main()
