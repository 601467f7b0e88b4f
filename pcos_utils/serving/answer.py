"""An answer to one image: what it holds, in plain values, as a row of a table, and as a sentence."""

from dataclasses import dataclass, field

import numpy as np

from pcos_utils.serving import boxes

DECISIONS = ("not polycystic", "polycystic", "cannot say")
BOTH = "both classes fit"
FEW, SEVERAL, CYST = "too few pixels", "several ovaries", "no ovary"
TWO, SECTOR = "two scans", "whole sector"
FIELDS = ("image", "box", "decision", "value", "low", "high", "follicles", "follicle_pixels", "follicle_mm")
FIELDS += ("box_mm", "size_from", "refusal", "reasons", "model", "data", "run", "scale", "calibrated", "use", "seconds")

# Of 157 ovaries of phantoms of known scale, outlined in the ovary's box, 90 % have an average follicle that is off by
# less than so many % in diameter, and half by less than 13. Of those with less than 60 pixels it is too small: by 25.
ROUGH = 40
UNREAD = ("empty", "not a file", "unreadable", "not an image", "damaged", "too large", boxes.UNUSABLE)  # refusals


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
    follicle_mm: float | None = None  # diameter of a disc as large as an average follicle
    box_mm: str = ""  # width,height
    size_from: str = ""  # what the sizes in mm rest on; "" where there are none

    def record(self) -> dict:
        """Return the answer as plain values, for one line of JSON."""
        names = ("decision", "value", "interval", "follicles", "follicle_pixels", "follicle_mm", "box_mm", "size_from")
        names += ("refusal", "reasons")
        record = {"image": self.image, "box": boxes.text(self.box)} | {name: getattr(self, name) for name in names}
        return record | self.facts | {"seconds": round(self.seconds, 4)}

    def measure(self, width: float, height: float, source: str) -> None:
        """Set the sizes in mm, from the width and the height of a pixel in mm and what these are known from."""
        self.size_from = source
        if self.follicles:
            self.follicle_mm = round(2 * float(np.sqrt(self.follicle_pixels * width * height / np.pi)), 1)
        if self.box:
            self.box_mm = f"{(self.box[2] - self.box[0]) * width:.0f},{(self.box[3] - self.box[1]) * height:.0f}"

    def sizes(self) -> str:
        """Return the sizes in mm as a sentence, or "" where there are none."""
        follicle = f"an average follicle is as large as a disc of {self.follicle_mm} mm (± {ROUGH} %)"
        box = f"the box is {self.box_mm.replace(',', ' x ')} mm"
        said = [text for text, known in ((follicle, self.follicle_mm), (box, self.box_mm)) if known]
        return f"By {self.size_from}, {' and '.join(said)}." if said else ""

    def row(self) -> dict:
        """Return the answer as one row of a table, columns FIELDS."""
        low, high = self.interval or (None, None)
        values = self.record() | {"low": low, "high": high, "reasons": " ".join(self.reasons)}
        return {name: values[name] for name in FIELDS}

    def sentence(self) -> str:
        """Return the answer as one line for a person."""
        # Escapes stand for what moves a terminal's cursor or colours it.
        text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in self.image)
        text += f" [{boxes.text(self.box)}]" * bool(self.box) + f": {self.decision}"
        if self.interval:
            text += ", {} {:.2f} [{:.2f}, {:.2f}], ".format(self.facts["scale"], self.value, *self.interval)
            text += f"{self.follicles} follicle{'s' * (self.follicles != 1)} outlined"
            text += f", {self.follicle_pixels} pixels each" * bool(self.box)
        return " ".join(filter(None, [f"{text}.", self.sizes(), *self.reasons]))
