"""Test what breaks the counts: the demo's images changed a little, and the truth defined in other ways.

    python -m studies.stress      after `make reproduce`

Nothing is trained. Only the follicle count and the count of dark blobs are tested, because no network of the demo is
shown to beat chance, and a method at chance cannot get worse. Falls are corrected by Holm's method for all changes of
one count.
"""

import cv2
import numpy as np
import pandas as pd

from pcos_utils import config
from pcos_utils.config import COUNT
from pcos_utils.data import images, manifest
from pcos_utils.evaluation import auc, comparison, image_measures, predictions
from pcos_utils.evaluation.baselines import REFERENCE
from pcos_utils.evaluation.intervals import resample
from pcos_utils.follicles import kept
from pcos_utils.follicles import network as follicle_network
from pcos_utils.reporting.text import TITLES, interval, listed, many
from studies import arguments, publish, source_pairs

FEWEST = {12: "Rotterdam 2003", 20: "international guidelines 2018 and 2023", 25: "AE-PCOS 2014"}  # follicles
LARGE_OVARY = 10.0  # mL, in each of these guidelines
LIGHT = (0.5, 0.71, 1, 1.41, 2)  # factor or exponent
GRAINS = 100  # of speckle across a picture, whatever its size
SOURCES = 150  # a half of each class


def bytes_of(values: np.ndarray) -> np.ndarray:
    """Return values as grey levels, rounded."""
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def blur(image: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """Apply a Gaussian blur whose SD is a percentage of the width."""
    return cv2.GaussianBlur(image, (0, 0), percent / 100 * image.shape[1], borderType=cv2.BORDER_REPLICATE)


def speckle(image: np.ndarray, sd: float, rng: np.random.Generator) -> np.ndarray:
    """Multiply by normal noise of mean 1, in grains of a hundredth of the width, the same in each channel."""
    height, width = image.shape[:2]
    grains = rng.standard_normal((max(round(GRAINS * height / width), 1), GRAINS)).astype(np.float32)
    noise = cv2.resize(grains, (width, height), interpolation=cv2.INTER_LINEAR)
    noise *= sd / noise.std()  # the interpolation between grains has reduced the SD
    return bytes_of(image.astype(np.float32) * (1 + noise)[..., None])


def rotation(image: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Rotate about the centre; uncovered corners are black, as in training."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR)


def crop(image: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """Return the middle of the picture, each side shorter by a percentage."""
    y, x = (round(size * percent / 200) for size in image.shape[:2])
    return image[y : image.shape[0] - y, x : image.shape[1] - x]


def jpeg(image: np.ndarray, loss: float, rng: np.random.Generator) -> np.ndarray:
    """Compress as JPEG, with a quality of 100 minus the loss."""
    done = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, round(100 - loss)])[1]  # blue first
    return np.ascontiguousarray(cv2.imdecode(done, cv2.IMREAD_COLOR)[..., ::-1])


# Of each change what it does, its severities, the one of them that leaves a picture as it is, and their unit.
STRESSES = {
    "gain": (lambda image, by, rng: bytes_of(image.astype(np.float32) * by), LIGHT, 1, "factor"),
    "gamma": (lambda image, by, rng: bytes_of(255 * (image.astype(np.float32) / 255) ** by), LIGHT, 1, "exponent"),
    "blur": (blur, (0, 0.5, 1, 2), 0, "SD, % of the width"),
    "speckle": (speckle, (0, 0.2, 0.4, 0.8), 0, "SD of the factor"),
    "rotation": (rotation, (0, 10, 20, 40), 0, "degrees"),
    "crop": (crop, (0, 10, 20, 40), 0, "% of each side cut off"),
    "JPEG": (jpeg, (0, 50, 80, 95), 0, "100 minus the quality"),
}


def curves(count, pictures: list[np.ndarray], used: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one row per change and severity: stress, severity, AUC with interval, paired change with its p.

    ``count`` maps pictures, uint8 (H, W, 3), to scores (n,). ``used``: source and label of each. The seed fixes the
    noise of each picture.
    """
    rows, plain, weights = [], source_pairs(used, count(pictures)), resample(used.label, seed=seed)
    for name, (change, severities, untouched, _) in STRESSES.items():
        for severity in severities:
            ranked, same = plain, severity == untouched
            if not same:
                drawn = (np.random.default_rng(seed + place) for place in range(len(pictures)))
                changed = [change(picture, severity, rng) for picture, rng in zip(pictures, drawn, strict=True)]
                ranked = source_pairs(used, count(changed))
            compared = comparison.paired(ranked, plain, (False, False), seed=seed)
            found = auc.interval(ranked, weights)
            rows.append({
                "stress": name, "severity": severity, "value": found.value, "low": found.low, "high": found.high,
                "change": compared.difference.value, "p": np.nan if same else compared.p, "sources": len(used),
            })  # fmt: skip
    table = pd.DataFrame(rows)
    tested = table.p[table.p.notna()]
    return table.assign(p_holm=pd.Series(comparison.holm(tested, len(tested)), tested.index))


def definitions(study: config.Study) -> pd.DataFrame:
    """Return the follicle count's AUC against each definition of a polycystic ovary, over all phantoms."""
    counts = predictions.count(study)[0]
    truth = pd.read_csv(study.data_dir / "truth.csv").set_index("image").loc[counts.path]
    rows = []
    for fewest, guideline in FEWEST.items():
        label = (truth.FNPO.ge(fewest) | truth.volume.ge(LARGE_OVARY)).to_numpy(int)
        pairs = source_pairs(counts.assign(label=label), counts["count"])
        found = auc.interval(pairs, resample(pairs.label))
        row = {"follicles": fewest, "guideline": guideline, "moved": int((label != counts.label).sum())}
        rows.append(row | {"value": found.value, "low": found.low, "high": found.high, "sources": len(label)})
    return pd.DataFrame(rows)


def falls(table: pd.DataFrame, name: str) -> str:
    """Return the AUC on unchanged images and, for each kind of change under which it falls, the largest fall."""
    tested, plain = table[table.p_holm.notna()], table[table.p_holm.isna()].iloc[0]
    down = tested[(tested.change < 0) & (tested.p_holm <= 0.05)].sort_values("change").drop_duplicates("stress")
    text = f"- {name}: AUC {interval(plain)} on {many(plain.sources, 'unchanged image')}"
    shown = [
        f"{interval(row)} under {row.stress} {row.severity:g} ({STRESSES[row.stress][-1]})"
        for _, row in down.iterrows()
    ]
    looks = f"of {many(len(tested), 'change')} looked at, corrected for all of them"
    return f"{text}; it falls to {'; to '.join(shown)} ({looks})." if shown else f"{text}; no fall is shown ({looks})."


def block(table: pd.DataFrame, defined: pd.DataFrame) -> str:
    """Return the README's text on the tables."""
    lines = [falls(rows, TITLES[name]) for name, rows in table.groupby("model", sort=False)]
    redefined = [
        f"{interval(row)} where {row.follicles} follicles or {LARGE_OVARY:.0f} mL make an ovary polycystic "
        f"({row.guideline}; {many(row.moved, 'label')} moved)"
        for _, row in defined.iterrows()
    ]
    truth = f"{TITLES[COUNT]} on all {defined.sources[0]} sources, the truth defined otherwise: {listed(redefined)}."
    return "\n".join([*lines, "", truth])


def main() -> None:
    """Write the tables and the README's block."""
    arguments(__doc__)
    study = config.study()
    network = follicle_network.load(kept.networks(study)[0])
    counters = {
        COUNT: lambda pictures: follicle_network.measure_all(network, np.stack([*map(images.grey, pictures)]))["count"],
        REFERENCE: lambda pictures: [image_measures.contrast_count(picture) for picture in pictures],
    }
    used = manifest.used(study).drop_duplicates("source")
    used = used.groupby("label").sample(SOURCES // 2, random_state=study.seed).reset_index(drop=True)
    used = used.assign(source=used.index)  # resampled in this order
    pictures = [images.load(study.image_dir / path) for path in used.path]
    table = pd.concat(curves(count, pictures, used, study.seed).assign(model=name) for name, count in counters.items())
    publish("stress", block, stress_curves=table.round(6), stress_definitions=definitions(study).round(6))


if __name__ == "__main__":
    main()
