"""The report's figures: small enough to travel inside the page, numbered, with words for those who cannot see them."""

import base64
import io
import json
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd
from PIL import Image

from pcos_utils.config import Study
from pcos_utils.evaluation.bootstrap import LEVEL
from pcos_utils.evaluation.figures import MODEL_NAMES

WORDS = Path(__file__).parent / "figures.csv"
HEAVY = 150_000  # bytes of a lean PNG of pictures, above which it is made of photographs and stored like one
QUALITY = 85  # of those, in the page; figures/ keeps them in full


def lean(picture: bytes) -> bytes:
    """A PNG of 256 colours at most, a third of the size, unless the picture was smaller."""
    small = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(256).save(small, "PNG", optimize=True)
    return min(small.getvalue(), picture, key=len)


def embedded(path: Path, *, pixels: bool) -> str:
    """The picture as a data URI: lean PNG, its SVG where that is smaller, or JPEG where it shows many pictures."""
    kinds = {"image/png": lean(path.read_bytes())}
    drawn = path.with_suffix(".svg")
    if drawn.exists() and not pixels:
        kinds["image/svg+xml"] = drawn.read_bytes()
    if pixels and len(kinds["image/png"]) > HEAVY:
        small = io.BytesIO()
        with Image.open(path) as image:
            image.convert("RGB").save(small, "JPEG", quality=QUALITY, optimize=True)
        kinds["image/jpeg"] = small.getvalue()
    kind = min(kinds, key=lambda name: len(kinds[name]))
    return f"data:{kind};base64,{base64.b64encode(kinds[kind]).decode()}"


def cards(study: Study) -> list[dict]:
    """The figures in order: name, section, title, shows, caption, alt, provenance, and the data URI or a local link.

    A figure that figures.csv does not know has its name for a title, and goes to the section of further figures.
    """
    words, made = pd.read_csv(WORDS, keep_default_na=False), []
    for path in sorted(study.report_dir.glob("figures/*.json")) + sorted(study.report_dir.glob("local/*.json")):
        card = json.loads(path.read_text()) | {"name": path.stem}
        card |= _words(path.stem, words)
        picture = path.with_suffix(".png")
        # A figure with real pixels is only linked, so that the report itself may travel.
        if path.parent.name == "figures":
            card |= {"data": embedded(picture, pixels=card["pixels"]), "full": f"figures/{picture.name}"}
        else:
            card["link"] = f"local/{picture.name}"
        made.append(card)
    return sorted(made, key=lambda card: card["name"])


def _words(name: str, words: pd.DataFrame) -> dict:
    fits = words[[fnmatch(name, pattern) for pattern in words.name]]
    model = next((title for key, title in MODEL_NAMES.items() if name.endswith(key)), name)
    if fits.empty:
        plain = name.split("_", 1)[-1].replace("_", " ")
        alt = f"Figure about: {plain}. Its reading stands in the caption."
        return {"section": "results-further", "title": plain.capitalize(), "shows": "", "alt": alt}
    row = fits.iloc[0]
    return {key: row[key].format(model=model, level=f"{LEVEL:.0%}") for key in ("section", "title", "shows", "alt")}
