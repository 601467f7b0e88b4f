"""Measure an image without a network: size, grey levels, dark blobs, texture. Only numbers are kept."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pandas as pd
from skimage.feature import graycomatrix, graycoprops

from pcos_utils.config import Study
from pcos_utils.data import images, manifest
from pcos_utils.files import appearing, cached, code, write_csv

SIZE = (300, 200)  # px, width and height that every frame is brought to before blobs and textures are counted
THUMBNAIL = 16  # px a side
LEVELS = 32  # grey levels that textures are counted in
DISTANCES = (1, 2, 4)  # px
ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "ASM")  # Haralick et al. 1973
BLUR = 2.0  # px, SD; calms speckle before a global threshold
BLOB = (60, 4000)  # px of area: a follicle of about 1 to 10 mm
BLACK = 10  # grey levels, below which a border is empty
CODE = ("evaluation/image_measures.py", *images.CODE)  # what decides the measures

# A place is dark below this share of its surroundings' brightness. ``fine``: px, SD of the blur that calms speckle;
# ``coarse``: of the blur that makes the surroundings; ``least``, ``most``: px of area of a follicle. The best of a grid
# on 400 phantoms (table: reports/studies/contrast_choice.csv); no real frame had a say.
CONTRAST = {"share": 0.6, "fine": 1.0, "coarse": 45.0, "least": 150, "most": 4000}


def measured(study: Study, used: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the measures of the used images, a row each in their order, and their thumbnails, float32 (n, 256).

    Computed once, then read. Raises StudyError where a file is no longer the one that was listed.
    """
    manifest.need_unchanged(used.rename(columns={"path": "file"}), study.image_dir)
    folder, facts = study.cache_dir / "measures", {"images": used.sha256.tolist(), "code_sha256": code(*CODE)}

    def seen(path: str) -> tuple[dict, np.ndarray]:
        """Return the measures and the thumbnail of an image."""
        pixels = images.load(study.image_dir / path)
        return measures(pixels), thumbnail(pixels)

    def make() -> dict:
        """Measure every image, and write both files."""
        with ThreadPoolExecutor(2) as pool:  # Pillow and OpenCV work outside Python's lock
            rows, thumbnails = zip(*pool.map(seen, used.path), strict=True)
        write_csv(folder / "image_measures.csv", pd.DataFrame(list(rows)))
        with appearing(folder / "thumbnails.npy") as temporary:
            np.save(temporary, np.stack(thumbnails))
        return {}

    cached(folder, facts, make)
    # Read back even when it was just made, so that the first call and the second see the same rounding.
    return pd.read_csv(folder / "image_measures.csv").set_index(used.index), np.load(folder / "thumbnails.npy")


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Return a small grey picture, float32 (256,), of an image, uint8 (H, W, 3): mean 0 and length 1.

    So a copy made brighter stays the same; no follicle can be counted in it.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def measures(pixels: np.ndarray) -> dict[str, float]:
    """Return the measures of one image, uint8 (height, width, 3).

    ``border``: mean of the outer tenth; ``black``: its empty share; ``otsu_count``, ``otsu_area``: number and share of
    area of dark blobs below one threshold for the whole frame; ``contrast_count``: of blobs that are dark against their
    surroundings; ``glcm_*``: texture.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    outer = grey[outer_tenth(grey.shape)]
    frame = cv2.resize(grey, SIZE, interpolation=cv2.INTER_AREA)
    otsu_count, otsu_area = otsu_blobs(frame)
    values = {
        "width": grey.shape[1], "height": grey.shape[0], "mean": grey.mean(), "sd": grey.std(),
        "border": outer.mean(), "black": (outer < BLACK).mean(), "otsu_count": otsu_count, "otsu_area": otsu_area,
        "contrast_count": contrast_count(pixels), **texture(frame),
    }  # fmt: skip
    return {name: float(value) for name, value in values.items()}


def outer_tenth(shape: tuple[int, int]) -> np.ndarray:
    """Return which pixels lie in the outer tenth of an image of ``shape`` (height, width), bool (height, width)."""
    height, width = shape
    outer = np.ones(shape, bool)
    outer[height // 10 : height - height // 10, width // 10 : width - width // 10] = False
    return outer


def otsu_blobs(frame: np.ndarray) -> tuple[int, float]:
    """Return number and share of area of the dark blobs of a follicle's size below Otsu's threshold of a grey frame."""
    calm = cv2.GaussianBlur(frame, (0, 0), BLUR)
    _, dark = cv2.threshold(calm, 0, 1, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    areas = _areas(dark, *BLOB)
    return len(areas), float(areas.sum() / frame.size)


def contrast_count(image: np.ndarray) -> int:
    """Return the number of regions of a follicle's size, in an image, uint8 (H, W, 3), darker than their surroundings.

    The count without a network that every method has to beat. A place is dark where the frame, slightly blurred, falls
    below a share of its own strongly blurred self.
    """
    grey = cv2.resize(image.mean(axis=2).astype(np.float32), SIZE, interpolation=cv2.INTER_AREA)
    fine = cv2.GaussianBlur(grey, (0, 0), CONTRAST["fine"], borderType=cv2.BORDER_REPLICATE)
    coarse = cv2.GaussianBlur(grey, (0, 0), CONTRAST["coarse"], borderType=cv2.BORDER_REPLICATE)
    dark = (fine < CONTRAST["share"] * coarse).astype(np.uint8)
    return len(_areas(dark, CONTRAST["least"], CONTRAST["most"]))


def _areas(dark: np.ndarray, least: int, most: int) -> np.ndarray:
    areas = cv2.connectedComponentsWithStats(dark)[2][1:, cv2.CC_STAT_AREA]
    return areas[(areas >= least) & (areas <= most)]


def texture(frame: np.ndarray) -> dict[str, float]:
    """Return each property of the grey-level co-occurrence: its mean and range over four angles, for each distance.

    Mean and range, as Haralick et al. 1973 have it, so that a turned frame keeps nearly the same texture.
    """
    counts = graycomatrix(frame // (256 // LEVELS), DISTANCES, ANGLES, LEVELS, symmetric=True, normed=True)
    values = {}
    for name in PROPERTIES:
        for distance, of_angles in zip(DISTANCES, graycoprops(counts, name), strict=True):
            values[f"glcm_{name}_{distance}_mean"] = of_angles.mean()
            values[f"glcm_{name}_{distance}_range"] = np.ptp(of_angles)
    return values
