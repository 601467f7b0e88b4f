"""Pictures of noise, as arrays, as files and as bytes."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int = 0, shape: tuple = (150, 200)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8))


def put(folder: Path, *names: str, **pictures: Image.Image) -> None:
    """Save noise at each path below a folder, and pictures under names in which two underscores stand for a slash."""
    for name, picture in (pictures | {name: noise(seed) for seed, name in enumerate(names)}).items():
        path = folder / name.replace("__", "/").replace("_JPG", ".jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path if path.suffix else path.with_suffix(".png"))


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    """Return the bytes of the image's file; ``turn`` is its EXIF orientation."""
    if "turn" in options:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = options.pop("turn")
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, kind, **options)
    return stream.getvalue()
