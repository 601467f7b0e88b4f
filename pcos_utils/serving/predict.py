"""One image in, one calibrated answer out, or a refusal with its reason. torch is not imported."""

import io
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pcos_utils.config import CAVEAT, StudyError
from pcos_utils.data import images
from pcos_utils.data.grey import grey
from pcos_utils.models import counting
from pcos_utils.serving import suitability

DECISIONS = ("not polycystic", "polycystic", "cannot say")
BOTH = "both classes fit"
NOTHING = "Neither of the two answers can be ruled out at the stated confidence."
FIELDS = ("image", "decision", "probability", "low", "high", "follicles", "refusal", "reasons", "model", "data", "run")
FIELDS += ("use", "seconds")


@dataclass
class Answer:
    """What is said about one image, and for the page the pixels and maps behind it."""

    image: str
    decision: str
    probability: float | None = None  # of polycystic morphology, calibrated
    interval: tuple[float, float] | None = None  # of the probability, 95 %
    follicles: int | None = None
    refusal: str = ""  # why "cannot say", in a word or two
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0
    pixels: np.ndarray | None = None
    numbered: np.ndarray | None = None
    facts: dict = field(default_factory=dict)

    def record(self) -> dict:
        """The answer as plain values, for one line of JSON."""
        made = {name: getattr(self, name) for name in ("image", "decision", "probability", "follicles", "refusal")}
        made["interval"] = list(self.interval) if self.interval else None
        return made | {"reasons": self.reasons, **self.facts, "use": CAVEAT, "seconds": round(self.seconds, 4)}

    def row(self) -> dict:
        """The answer as one row of a table, columns FIELDS."""
        low, high = self.interval or (None, None)
        made = self.record() | {"low": low, "high": high, "reasons": " ".join(self.reasons)}
        return {name: made[name] for name in FIELDS}


class Served:
    """A served model: the folder that ``pcos export`` made, loaded. Raises StudyError where it cannot be used."""

    def __init__(self, folder: str | Path, threads: int | None = None):
        self.folder = Path(folder)
        try:
            self.card = json.loads((self.folder / "model.json").read_text(encoding="utf-8"))
            self.side = int(self.card["side"])
            self.counts = self.card["kind"] == "count"
            self.network = None if self.counts else _session(self.folder / "model.onnx", threads)
            self.outliner = _session(self.folder / "follicles.onnx", threads)
        except FileNotFoundError as error:
            missing = Path(error.filename or self.folder).name
            raise StudyError(
                f"{folder} is no served model ({missing} is missing); make one with pcos export."
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise StudyError(f"{folder} is no served model ({type(error).__name__} in model.json).") from None
        self.facts = {name: self.card[name] for name in ("model", "data", "run")}

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Raw logits, float32 (n,), of images uint8 (n, side, side, 3)."""
        return self.network.run(None, {"pixels": pixels})[0]

    def maps(self, frame: np.ndarray) -> np.ndarray:
        """Probabilities of follicle, core and ovary, (3, 128, 192), of a grey frame uint8 (128, 192)."""
        return self.outliner.run(None, {"grey": frame[None]})[0][0]

    def probability(self, pixels: np.ndarray, count: int | None = None) -> tuple[float, tuple[float, float]]:
        """The calibrated probability of polycystic morphology, and its interval, of one image uint8 (H, W, 3).

        ``count``: of its follicles, where it is known.
        """
        if self.counts:
            logit = float(counting.instances(self.maps(grey(pixels))).max() if count is None else count)
        else:
            logit = float(self.logits(images.resize(pixels, self.side)[None])[0])
        if not np.isfinite(logit):
            raise StudyError(f"The model {self.card['model']} gave no number; export it again.")
        fitted, table = self.card["calibration"], self.card["interval"]
        bent = np.clip(fitted["slope"] * logit + fitted["intercept"], -30, 30)
        middle = float(1 / (1 + np.exp(-bent)))
        low, high = (float(np.interp(logit, table["logit"], table[name])) for name in ("low", "high"))
        return middle, (min(low, middle), max(high, middle))

    def answer(self, file: str | Path | bytes | BinaryIO, name: str | None = None) -> Answer:
        """The answer to one image file, given by path or content; what cannot be used is a refusal, no error."""
        started = time.perf_counter()
        name = name or (str(file) if isinstance(file, (str, Path)) else "image")
        try:
            pixels = images.load(io.BytesIO(file) if isinstance(file, bytes) else file, name)
            made = self.look(pixels, name)
        except images.ImageError as error:
            made = self._refused(name, error.status, f"The file cannot be used: {error.reason}.")
        except FileNotFoundError:
            made = self._refused(name, "unreadable", "The file cannot be used: there is none of this name.")
        made.seconds = time.perf_counter() - started
        return made

    def look(self, pixels: np.ndarray, name: str = "image") -> Answer:
        """The answer to one decoded image, uint8 (H, W, 3)."""
        least = suitability.LEAST_SIDE
        if min(pixels.shape[:2]) < least:
            found = f"{pixels.shape[1]} x {pixels.shape[0]}"
            return self._refused(
                name, "too small", f"The picture has {found} pixels; {least} a side are needed.", pixels
            )
        frame = grey(pixels)
        maps = self.maps(frame)
        refusal, reason = suitability.judge(pixels, frame, maps, self.card["suitability"])
        if refusal:
            return self._refused(name, refusal, reason, pixels)
        numbered = counting.instances(maps)
        probability, interval = self.probability(pixels, int(numbered.max()))
        decision, reason = self.decide(probability)
        return Answer(
            name, decision, round(probability, 4), tuple(round(edge, 4) for edge in interval), int(numbered.max()),
            BOTH if reason else "", [reason] if reason else [], 0.0, pixels, numbered, self.facts,
        )  # fmt: skip

    def decide(self, probability: float) -> tuple[str, str]:
        """The decision at the threshold fixed beforehand, and, where it cannot be said, the reason."""
        limits, polycystic = self.card["conformal"], probability >= self.card["threshold"]
        fits = (probability <= limits["normal"], 1 - probability <= limits["polycystic"])
        # What the threshold calls must be the one class that fits; where none fits, the threshold alone speaks.
        if all(fits) or (any(fits) and not fits[polycystic]):
            share = 100 - 100 * limits["alpha"]
            return DECISIONS[2], f"{NOTHING} (Probability {probability:.2f}; confidence {share:.0f} % for each class.)"
        return DECISIONS[int(polycystic)], ""

    def _refused(self, name: str, refusal: str, reason: str, pixels: np.ndarray | None = None) -> Answer:
        return Answer(name, DECISIONS[2], refusal=refusal, reasons=[reason], pixels=pixels, facts=self.facts)


def _session(path: Path, threads: int | None):
    # Imported here, so that the command line answers at once where no image is read; and told first, in a Space too,
    # that it must not report to its makers.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    if not path.exists():
        raise FileNotFoundError(2, "missing", str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(2, os.cpu_count() or 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own types, all of which mean the same here
        raise StudyError(f"{path} cannot be loaded ({type(error).__name__}); export the model again.") from None


def files_of(places: Iterable[Path]) -> list[Path]:
    """The files to answer: those named, and of folders all files below them but hidden ones. Raises StudyError."""
    found = []
    for place in places:
        if place.is_dir():
            inside = [Path(root, name) for root, _, names in os.walk(place) for name in names]
            found += sorted(path for path in inside if not path.name.startswith("."))
        else:
            found.append(place)
    if not found:
        raise StudyError("There is no image to answer; name files, or a folder that holds some.")
    return found


def answers(model: Served, places: Iterable[Path]) -> Iterator[Answer]:
    """An answer for every file, in order; a bad file is an answer with its reason, not a stop."""
    for path in files_of(places):
        yield model.answer(path)
