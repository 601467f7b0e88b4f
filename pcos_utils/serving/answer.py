"""An answer to one image: what it holds, in plain values, as a row of a table, and as a sentence."""

from dataclasses import dataclass, field

import numpy as np

from pcos_utils.serving import boxes

DECISIONS = ("not polycystic", "polycystic", "cannot say")
BOTH = "both classes fit"
FEW, SEVERAL, CYST = "too few pixels", "several ovaries", "no ovary"
TWO, SECTOR = "two scans", "whole sector"
FIELDS = ("image", "box", "decision", "value", "low", "high", "follicles", "follicle_pixels", "refusal", "reasons")
FIELDS += ("model", "data", "run", "scale", "calibrated", "use", "seconds")


@dataclass
class Answer:
    """The answer to one image or a box of it and, for the page, the pixels and the numbered follicles behind it."""

    image: str
    decision: str
    value: float | None = None  # calibrated, in [0, 1]; facts["scale"] says what it is
    interval: list[float] | None = None  # of the value, 95 %
    follicles: int | None = None
    follicle_pixels: int | None = None  # of the frame, that an average follicle has
    refusal: str = ""  # why "cannot say", in a word or two
    reasons: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)  # of the model, and what it was calibrated on
    threshold: float | None = None  # the value from which on it is called polycystic
    seconds: float = 0.0
    pixels: np.ndarray | None = None  # the whole frame
    numbered: np.ndarray | None = None  # over the whole frame
    box: boxes.Box | None = None  # the part of the frame that is answered
    part: boxes.Box | None = None  # what was cut out with it
    suggested: list[boxes.Box] = field(default_factory=list)
    counted: str = ""  # of a count: the decisions, told in follicles
    exact: float | None = None  # the value before it was rounded

    def record(self) -> dict:
        """Return the answer as plain values, for one line of JSON."""
        names = ("decision", "value", "interval", "follicles", "follicle_pixels", "refusal", "reasons")
        record = {"image": self.image, "box": boxes.text(self.box)} | {name: getattr(self, name) for name in names}
        return record | self.facts | {"seconds": round(self.seconds, 4)}

    def row(self) -> dict:
        """Return the answer as one row of a table, columns FIELDS."""
        low, high = self.interval or (None, None)
        values = self.record() | {"low": low, "high": high, "reasons": " ".join(self.reasons)}
        return {name: values[name] for name in FIELDS}

    def sentence(self) -> str:
        """Return the answer as one line for a person."""
        text = self.image + f" [{boxes.text(self.box)}]" * bool(self.box) + f": {self.decision}"
        if self.interval:
            text += ", {} {:.2f} [{:.2f}, {:.2f}], ".format(self.facts["scale"], self.value, *self.interval)
            text += f"{self.follicles} follicle{'s' * (self.follicles != 1)} outlined"
            text += f", {self.follicle_pixels} pixels each" * bool(self.box)
        return f"{text}. {' '.join(self.reasons)}".strip()
