"""What can be measured of an image without a network: size, grey levels, blobs, texture. Only numbers are kept."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from skimage.feature import graycomatrix, graycoprops

from pcos_utils.config import Study
from pcos_utils.data import cache, images
from pcos_utils.evaluation import contrast
from pcos_utils.files import alone_in, write_csv

THUMBNAIL = 16  # px a side
LEVELS = 32  # grey levels that textures are counted in
DISTANCES = (1, 2, 4)  # px
ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "ASM")  # Haralick et al. 1973
BLUR = 2.0  # px, SD; calms speckle before a global threshold
BLOB = (60, 4000)  # px of area, of a frame of contrast.SIZE: a follicle of about 1 to 10 mm
BLACK = 10  # grey levels, below which a border is empty


def measured(study: Study, used: pd.DataFrame) -> pd.DataFrame:
    """The traits of the used images, one row each in their order; computed once, then read from the cache.

    Columns: width, height, mean, sd, border, black, otsu_count, otsu_area, contrast_count, and ``glcm_*``. The file
    bears a digest of the images' digests and of the code that measures; those of earlier images or code are removed.
    """
    folder = study.data_dir / "cache"
    path = folder / f"traits-{_key(used)}.csv"
    with alone_in(folder, lambda: None):
        if not path.exists():
            for earlier in folder.glob("traits-*.csv"):
                earlier.unlink()
            with ThreadPoolExecutor(2) as pool:  # Pillow and OpenCV work outside Python's lock
                rows = list(pool.map(lambda name: traits(images.load(study.image_dir / name)), used.path))
            write_csv(path, pd.DataFrame(rows))
        # Read back even when it was just made, so that the first call and the second see the same rounding.
        return pd.read_csv(path).set_index(used.index)


def thumbnails(study: Study, used: pd.DataFrame) -> np.ndarray:
    """The used images as small grey pictures, float (n, THUMBNAIL ** 2), from the study's cache of pixels."""
    files = used.rename(columns={"path": "file"}).assign(copy=0)
    small = cache.stack(files, study.image_dir, THUMBNAIL, study.data_dir / "cache")
    return small.mean(axis=3).reshape(len(used), -1)


def traits(pixels: np.ndarray) -> dict[str, float]:
    """The traits of one image, uint8 (height, width, 3).

    ``mean`` and ``sd`` of its grey levels; ``border``: mean of the outer tenth; ``black``: share of the outer tenth
    that is empty; ``otsu_count`` and ``otsu_area``: number and share of area of dark blobs below one threshold for
    the whole frame; ``contrast_count``: of those that are dark against their surroundings.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    outer = np.ones(grey.shape, bool)
    outer[height // 10 : height - height // 10, width // 10 : width - width // 10] = False
    frame = cv2.resize(grey, contrast.SIZE, interpolation=cv2.INTER_AREA)
    made = {"width": width, "height": height, "mean": grey.mean(), "sd": grey.std()}
    made |= {"border": grey[outer].mean(), "black": (grey[outer] < BLACK).mean()}
    made |= dict(zip(("otsu_count", "otsu_area"), dark_blobs(frame), strict=True))
    made |= {"contrast_count": contrast.count(pixels, contrast.CHOSEN)} | dict(texture(frame))
    return {name: float(value) for name, value in made.items()}


def dark_blobs(frame: np.ndarray) -> tuple[int, float]:
    """Number and share of area of the dark blobs of a follicle's size below Otsu's threshold, of a grey frame."""
    calm = cv2.GaussianBlur(frame, (0, 0), BLUR)
    _, dark = cv2.threshold(calm, 0, 1, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    areas = cv2.connectedComponentsWithStats(dark)[2][1:, cv2.CC_STAT_AREA]
    fitting = areas[(areas >= BLOB[0]) & (areas <= BLOB[1])]
    return len(fitting), float(fitting.sum() / frame.size)


def texture(frame: np.ndarray) -> Iterator[tuple[str, float]]:
    """Name and value of each property of the grey-level co-occurrence: mean and range over four angles, per distance.

    Mean and range, as Haralick et al. 1973 have it, so that a turned frame keeps nearly the same texture.
    """
    counted = graycomatrix(frame // (256 // LEVELS), DISTANCES, ANGLES, LEVELS, symmetric=True, normed=True)
    for name in PROPERTIES:
        for distance, values in zip(DISTANCES, graycoprops(counted, name), strict=True):
            yield f"glcm_{name}_{distance}_mean", values.mean()
            yield f"glcm_{name}_{distance}_range", np.ptp(values)


def _key(used: pd.DataFrame) -> str:
    code = [Path(place).read_text() for place in (__file__, contrast.__file__, images.__file__)]
    return hashlib.sha256(json.dumps([used.sha256.tolist(), code]).encode()).hexdigest()[:20]
