"""How leakage makes 99 %: one model, the same images, three splits.

The model only looks up: it names the class of the most similar picture that it has seen. Under a random split of
images that picture is a copy of the one asked for; keep whole sources together, and what is left is skill.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import pandas as pd
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from pcos_utils.config import Study
from pcos_utils.data import manifest, offline
from pcos_utils.data.audit import places
from pcos_utils.data.images import load
from pcos_utils.data.splits import FEWEST_SOURCES
from pcos_utils.evaluation import uncertainty
from pcos_utils.evaluation.readings import many, number

FOLDS = 5
PLANTED, COPIES = 24, 12  # pictures of each class and copies of each, where the data have no copies of their own
SIDE = 32  # px of the thumbnails that are looked up
HASH_SIDE, HASH_KEPT = 32, 8  # a perceptual hash: 8 x 8 lowest frequencies of a 32 x 32 thumbnail
HASH_DISTANCE = 5  # of 64 bits; pairs up to here count as look-alikes
SPLITS = {
    "random": "images drawn at random",
    "hash": "equal bytes or look-alikes by perceptual hash kept together",
    "source": "whole source pictures kept together",
}


def of_study(study: Study, sources: pd.DataFrame) -> pd.DataFrame:
    """The table of ``compare`` for a study's images; ``sources`` is its audited sources.csv.

    Images that come with copies, two or more a source, are taken as they are, however few the sources. Where there
    are none, as among phantoms, copies of the first PLANTED source pictures of each class are planted.
    """
    readable = sources[sources.status == "ok"].reset_index(drop=True)
    if len(readable) >= 2 * readable.source.nunique():
        seen = look(load(path) for path in places(readable, study.image_dir))
        return compare(*seen, readable, resamples=study.resamples, seed=study.seed)
    first = readable[readable.used == "yes"].drop_duplicates("source").groupby("label").head(PLANTED)
    pictures = (load(path) for path in places(first, study.image_dir))
    images, table = plant(pictures, first.label, copies=COPIES, seed=study.seed)
    return compare(*look(images), table, resamples=study.resamples, seed=study.seed)


def plant(
    pictures: Iterable[np.ndarray], labels: Iterable[int], *, copies: int = COPIES, seed: int = 0
) -> tuple[list[np.ndarray], pd.DataFrame]:
    """Families with a known source: each picture and its changed copies, made as the published study made its own.

    Images, uint8 (H, W, 3), and one row for each: ``source``, ``label``, ``pixel_sha256``. ``pictures``: grey or RGB.
    """
    images, rows = [], []
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        for copy in range(copies):
            drawn = np.random.default_rng([seed, place, copy])
            images.append(offline.change(rgb, drawn) if copy else rgb)
            rows.append((f"source {place}", int(label), manifest.digest(images[-1])))
    return images, pd.DataFrame(rows, columns=["source", "label", "pixel_sha256"])


def look(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What the model and the hash see of each image: thumbnails, float32 (n, SIDE ** 2), and hashes, uint64 (n,).

    Thumbnails have mean 0 and length 1, so that a copy made brighter stays the same.
    """
    thumbnails, hashes = [], []
    for image in images:
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
        small -= small.mean()
        thumbnails.append(small / max(float(np.linalg.norm(small)), 1e-6))
        hashes.append(perceptual_hash(grey))
    return np.stack(thumbnails), np.array(hashes, np.uint64)


def perceptual_hash(grey: np.ndarray) -> int:
    """64 bits of a grey image: which of its lowest frequencies lie above their median (as imagehash's phash)."""
    small = cv2.resize(grey, (HASH_SIDE, HASH_SIDE), interpolation=cv2.INTER_AREA).astype(float)
    low = dctn(small)[:HASH_KEPT, :HASH_KEPT].ravel()
    return int("".join("1" if bit else "0" for bit in low > np.median(low)), 2)


def look_alikes(hashes: np.ndarray, digests: Iterable[str]) -> np.ndarray:
    """The group of each image, int (n,): joined by equal pixels, or by hashes up to HASH_DISTANCE apart."""
    same = pd.factorize(pd.Series(list(digests)))[0]
    first = np.flatnonzero(~pd.Series(same).duplicated())
    kept = hashes[first]
    near = [np.flatnonzero(np.bitwise_count(kept ^ one) <= HASH_DISTANCE) for one in kept]
    start = np.repeat(np.arange(len(kept)), [len(one) for one in near])
    links = coo_array((np.ones(len(start)), (start, np.concatenate(near))), shape=(len(kept),) * 2)
    return connected_components(links, directed=False)[1][same]


def compare(
    thumbnails: np.ndarray, hashes: np.ndarray, table: pd.DataFrame, *, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """One row per split: split, value, low, high, method, shared, images, groups, sources, polycystic, normal, words.

    ``table``: source, label, pixel_sha256, one row per image. ``value``: balanced accuracy of the out-of-fold answers,
    each source counting once; its interval is a bootstrap over sources, or exact where every source is answered alike.
    ``shared``: share of test images whose source stands on the training side too. Under the source split a class
    with fewer than FEWEST_SOURCES has no value, and ``words`` say so.
    """
    label, source = table.label.to_numpy(int), table.source.to_numpy()
    groups = {"random": np.arange(len(table)), "hash": look_alikes(hashes, table.pixel_sha256), "source": source}
    of_class = table.groupby("label").source.nunique().reindex([0, 1], fill_value=0)
    rows = []
    for split, group in groups.items():
        counts = {"images": len(table), "groups": len(np.unique(group)), "sources": table.source.nunique()}
        counts |= {"polycystic": int(of_class[1]), "normal": int(of_class[0])}
        fewest = min(len(np.unique(group[label == one])) for one in (0, 1))
        needed = FEWEST_SOURCES if split == "source" else 2
        empty = {"split": split, "value": np.nan, "low": np.nan, "high": np.nan, "method": "none", "shared": np.nan}
        if fewest < needed:
            of = many(counts["sources"], "source") if split == "source" else many(counts["groups"], "group")
            rows.append(empty | counts | {"words": f"cannot be estimated: {of}"})
            continue
        right, shared = np.empty(len(table)), np.empty(len(table))
        for fit, held in _folds(label, group, split, min(FOLDS, fewest), seed):
            model = KNeighborsClassifier(1).fit(thumbnails[fit], label[fit])
            right[held] = model.predict(thumbnails[held]) == label[held]
            shared[held] = np.isin(source[held], source[fit])
        value, low, high, method = score(table.assign(right=right), resamples, seed)
        measured = {"value": value, "low": low, "high": high, "method": method, "shared": shared.mean()}
        rows.append(empty | measured | counts | {"words": ""})
    return pd.DataFrame(rows)


def score(table: pd.DataFrame, resamples: int, seed: int) -> tuple[float, float, float, str]:
    """Balanced accuracy over sources with its 95 % interval and how that was made. Columns: source, label, right."""
    each = table.groupby(["label", "source"]).right.mean()
    parts = [each.xs(label, level="label").to_numpy() for label in (0, 1)]
    value = float(np.mean([part.mean() for part in parts]))
    if all(np.ptp(part) == 0 for part in parts):
        # A bootstrap of equal values knows no uncertainty; each class's own exact interval, averaged, is on the safe
        # side.
        ends = [uncertainty.exact_interval(part.sum(), len(part)) for part in parts]
        return value, *(float(end) for end in np.mean(ends, axis=0)), "exact"
    rng = np.random.default_rng(seed)
    drawn = [part[rng.integers(len(part), size=(resamples, len(part)))].mean(axis=1) for part in parts]
    low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    return value, float(low), float(high), "bootstrap"


def _folds(label, group, split: str, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if split == "random":
        return StratifiedKFold(folds, shuffle=True, random_state=seed).split(label, label)
    return StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(label, label, group)


def sentence(table: pd.DataFrame) -> str:
    """What the three splits say, from the table of ``compare``."""
    rows = table.set_index("split")
    random, hashed, honest = (rows.loc[split] for split in SPLITS)
    text = (
        f"The same model on the same {many(random.images, 'image')} of {many(random.sources, 'source picture')}: with "
        f"images drawn at random its balanced accuracy is {_value(random)}, because {random.shared:.0%} of the test "
        f"images have a copy on the training side; with look-alikes by hash kept together it is {_value(hashed)}"
    )
    if pd.isna(honest.value):
        return (
            text + f"; with whole sources kept together it {honest.words} ({honest.polycystic} polycystic, "
            f"{honest.normal} normal, {FEWEST_SOURCES} of each are needed)."
        )
    lost = f"{100 * (random.value - honest.value):.0f}"
    return text + f"; with whole sources kept together it is {_value(honest)}. Leakage was worth {lost} points."


def _value(row: pd.Series) -> str:
    if pd.isna(row.value):
        return f"not to be had ({row.words})"
    return f"{number(row.value)} [{number(row.low)}, {number(row.high)}]"
