"""Answer one image with a served model: a folder that ``pcos export`` made. torch is not imported."""

import io
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pcos_utils.config import CAVEAT, StudyError
from pcos_utils.data import images
from pcos_utils.follicles import counting
from pcos_utils.serving import scan_check

DECISIONS = ("not polycystic", "polycystic", "cannot say")
BOTH = "both classes fit"
FIELDS = ("image", "decision", "value", "low", "high", "follicles", "refusal", "reasons", "model", "data", "run")
FIELDS += ("scale", "calibrated", "use", "seconds")


@dataclass
class Answer:
    """The answer to one image and, for the page, the pixels and the numbered follicles behind it."""

    image: str
    decision: str
    value: float | None = None  # calibrated, in [0, 1]; facts["scale"] says what it is
    interval: list[float] | None = None  # of the value, 95 %
    follicles: int | None = None
    refusal: str = ""  # why "cannot say", in a word or two
    reasons: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)  # of the model, and what it was calibrated on
    threshold: float | None = None  # the value from which on it is called polycystic
    seconds: float = 0.0
    pixels: np.ndarray | None = None
    numbered: np.ndarray | None = None
    exact: float | None = None  # the value before it was rounded

    def record(self) -> dict:
        """Return the answer as plain values, for one line of JSON."""
        names = ("image", "decision", "value", "interval", "follicles", "refusal", "reasons")
        return {name: getattr(self, name) for name in names} | self.facts | {"seconds": round(self.seconds, 4)}

    def row(self) -> dict:
        """Return the answer as one row of a table, columns FIELDS."""
        low, high = self.interval or (None, None)
        values = self.record() | {"low": low, "high": high, "reasons": " ".join(self.reasons)}
        return {name: values[name] for name in FIELDS}

    def sentence(self) -> str:
        """Return the answer as one line for a person."""
        text = f"{self.image}: {self.decision}"
        if self.interval:
            text += ", {} {:.2f} [{:.2f}, {:.2f}], ".format(self.facts["scale"], self.value, *self.interval)
            text += f"{self.follicles} follicle{'s' * (self.follicles != 1)} outlined"
        return f"{text}. {' '.join(self.reasons)}".strip()


class Served:
    """A served model, loaded from its folder. Raises StudyError where the folder cannot be used."""

    def __init__(self, folder: str | Path, threads: int | None = None):
        self.folder = Path(folder)
        try:
            self.card = json.loads((self.folder / "model.json").read_text(encoding="utf-8"))
            self.side, self.counts = int(self.card["side"]), self.card["kind"] == "count"
            self.facts = {name: self.card[name] for name in ("model", "data", "run")} | {"use": CAVEAT}
        except (OSError, ValueError, KeyError, TypeError):
            reason = "model.json is missing or damaged; make one with pcos export"
            raise StudyError(f"{folder} is no served model: {reason}.") from None
        self.network = None if self.counts else _session(self.folder / "model.onnx", threads)
        self.outliner = _session(self.folder / "follicles.onnx", threads)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return raw logits, float32 (n,), of images uint8 (n, side, side, 3)."""
        return self.network.run(None, {"pixels": pixels})[0]

    def maps(self, frame: np.ndarray) -> np.ndarray:
        """Return probabilities of follicle, core and ovary, (3, 128, 192), of a grey frame uint8 (128, 192)."""
        return self.outliner.run(None, {"grey": frame[None]})[0][0]

    def rule(self, of_study: bool) -> dict:
        """Return calibration, threshold, interval and limits: the study's, or those of real frames if there are any."""
        return self.card if of_study or "real" not in self.card else self.card["real"]

    def calibrated(self, pixels: np.ndarray, count: int, rule: dict) -> tuple[float, list[float]]:
        """Return the calibrated value of an image, uint8 (H, W, 3), with ``count`` follicles, and its interval."""
        logit = float(count if self.counts else self.logits(images.resize(pixels, self.side)[None])[0])
        if not np.isfinite(logit):
            raise StudyError(f"The model {self.card['model']} gave no number; export it again.")
        fitted, table = rule["calibration"], rule["interval"]
        value = float(1 / (1 + np.exp(-np.clip(fitted["slope"] * logit + fitted["intercept"], -30, 30))))
        low, high = (float(np.interp(logit, table["logit"], table[name])) for name in ("low", "high"))
        return value, [min(low, value), max(high, value)]

    def answer(self, file: str | Path | bytes | BinaryIO, name: str | None = None, *, of_study: bool = False) -> Answer:
        """Return the answer to an image file, given by path or content. An unusable file is refused; nothing raises.

        ``of_study``: calibrated on the study's own images, as its phantoms must be, and not on real frames.
        """
        started = time.perf_counter()
        name = name or (str(file) if isinstance(file, (str, Path)) else "image")
        try:
            pixels = images.load(io.BytesIO(file) if isinstance(file, bytes) else file, name)
            answer = self.look(pixels, name, of_study=of_study)
        except images.ImageError as error:
            answer = self.refused(name, error.status, f"The file cannot be used: {error.reason}.")
        except FileNotFoundError:  # a link to nowhere
            answer = self.refused(name, "unreadable", "The file cannot be used: there is none of this name.")
        answer.seconds = time.perf_counter() - started
        return answer

    def look(self, pixels: np.ndarray, name: str = "image", *, of_study: bool = False) -> Answer:
        """Return the answer to one decoded image, uint8 (H, W, 3)."""
        frame = images.grey(pixels)
        maps = self.maps(frame)
        unusable = scan_check.judge(pixels, frame, maps, self.card["suitability"])
        if unusable:
            return self.refused(name, *unusable, pixels)
        numbered = counting.instances(maps)
        count = int(numbered.max())
        rule = self.rule(of_study)
        value, interval = self.calibrated(pixels, count, rule)
        decision, reasons = decide(value, rule)
        edges, refusal = [round(edge, 4) for edge in interval], BOTH if reasons else ""
        facts = self.facts | on(rule.get("data", self.card["data"]), rule["sources"])
        return Answer(
            name, decision, round(value, 4), edges, count, refusal, reasons, facts, rule["threshold"], 0.0, pixels,
            numbered, value,
        )  # fmt: skip

    def refused(self, name: str, refusal: str, reason: str, pixels: np.ndarray | None = None) -> Answer:
        """Return the answer to an image that cannot be used."""
        rule = self.rule(False)
        facts = self.facts | on(rule.get("data", self.card["data"]), rule["sources"])
        return Answer(name, DECISIONS[2], refusal=refusal, reasons=[reason], pixels=pixels, facts=facts)


def decide(value: float, rule: dict) -> tuple[str, list[str]]:
    """Return the decision at the threshold fixed beforehand and, where it is "cannot say", the reason."""
    limits, polycystic = rule["conformal"], value >= rule["threshold"]
    fits = (value <= limits["normal"], 1 - value <= limits["polycystic"])
    # The class called by the threshold must be the only one that fits. If none fits, the threshold alone decides.
    if not (all(fits) or (any(fits) and not fits[polycystic])):
        return DECISIONS[int(polycystic)], []
    confidence = f"(Value {value:.2f}; confidence {100 - 100 * limits['alpha']:.0f} % for each class.)"
    return DECISIONS[2], [f"Neither of the two answers can be ruled out at the stated confidence. {confidence}"]


def on(data: str, sources: dict) -> dict:
    """Return what the calibrated value is, and on which pictures. Phantoms say nothing of how many women have it."""
    kind = "share polycystic among phantoms" if data == "phantom" else "probability of polycystic morphology"
    pictures = "phantoms" if data == "phantom" else f"sources of {data}"
    text = f"{sum(sources.values())} {pictures}, {sources['polycystic']} of them polycystic"
    return {"scale": kind, "calibrated": text}


def _session(path: Path, threads: int | None):
    import onnxruntime  # here, so that commands that read no image start at once

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads or min(2, os.cpu_count() or 1), 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own, which all mean the same here
        raise StudyError(f"{path} cannot be loaded ({type(error).__name__}); export the model again.") from None
