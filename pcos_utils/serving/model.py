"""Answer one image with a served model: a folder that ``pcos export`` made. torch is not imported."""

import hashlib
import io
import json
import os
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pcos_utils.config import CAVEAT, StudyError
from pcos_utils.data import clinic, images
from pcos_utils.data.levels import brightest
from pcos_utils.follicles import counting, locator
from pcos_utils.serving import boxes, scan_check, screen
from pcos_utils.serving.answer import BOTH, CYST, DECISIONS, FEW, SECTOR, SEVERAL, TWO, Answer

# What decides an answer, for digests of code and for a Space.
PARTS = ("answer", "boxes", "model", "scan_check", "screen")
CODE = (*images.CODE, "follicles/counting.py", "follicles/locator.py", *(f"serving/{name}.py" for name in PARTS))
MOST = 4  # ovaries that are looked at in a frame
MOST_OUTLINED = 60  # follicles in one section, far above all that were seen


class Served:
    """A served model, loaded from its folder. Raises StudyError where the folder cannot be used."""

    def __init__(self, folder: str | Path, threads: int | None = None):
        self.folder = Path(folder)
        try:
            self.card = json.loads((self.folder / "model.json").read_text(encoding="utf-8"))
            self.side, self.counts = int(self.card["side"]), self.card["kind"] == "count"
            self.usual = {False: self.card["suitability"], True: self.card["boxed"]}  # by whether it is a box
            # Calibration, threshold, interval and limits, by whether they are the study's, else of real frames if any.
            self.rules = {False: self.card.get("real", self.card), True: self.card}
            facts = {name: self.card[name] for name in ("model", "data", "run")} | {"use": CAVEAT}
            self.facts = {}  # told with each answer, by whether the study's rule decides
            for own, rule in self.rules.items():
                self.facts[own] = facts | on(rule.get("data", self.card["data"]), rule["sources"])
                decide(rule["calibration"]["slope"] + rule["interval"]["low"][0], rule)  # a damaged rule fails here
        except (OSError, ValueError, KeyError, TypeError):
            reason = "model.json is missing, damaged or of an earlier version; make one with pcos export"
            raise StudyError(f"{folder} is no served model: {reason}.") from None
        for name, digest in self.card.get("files", {}).items():
            if (path := self.folder / name).is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise StudyError(f"{path} is not the file that model.json names; make both with pcos export.")
        # By whether the study's rule decides: the decisions of a count, told in follicles.
        self.told = {own: in_follicles(rule) if self.counts else "" for own, rule in self.rules.items()}
        self.network = None if self.counts else _session(self.folder / "model.onnx", threads)
        self.outliner = _session(self.folder / "follicles.onnx", threads)
        self.finder = _session(self.folder / "locator.onnx", threads)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return raw logits, float32 (n,), of images uint8 (n, side, side, 3)."""
        return self.network.run(None, {"pixels": pixels})[0]

    def maps(self, frame: np.ndarray) -> np.ndarray:
        """Return probabilities of follicle, core and ovary, (3, 128, 192), of a grey frame uint8 (128, 192)."""
        return self.outliner.run(None, {"grey": frame[None]})[0][0]

    def ovaries(self, pixels: np.ndarray) -> list[boxes.Box]:
        """Return boxes around the ovaries that are found in a whole frame, uint8 (H, W, 3), the surest first."""
        found = locator.locate(brightest(pixels), lambda frame: self.finder.run(None, {"grey": frame[None]})[0][0])
        return [each.box for each in found[:MOST]]

    def calibrated(
        self, pixels: np.ndarray, count: int, rule: dict, doubt: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[float, list[float], list[float]]:
        """Return the calibrated value of an image, uint8 (H, W, 3), with ``count`` follicles, its interval and reach.

        ``doubt``: by how much a count may be too high and too low. The reach is from one of these to the other.
        """
        logit = float(count if self.counts else self.logits(images.resize(pixels, self.side)[None])[0])
        if not np.isfinite(logit):
            raise StudyError(f"The model {self.card['model']} gave no number; export it again.")
        fitted, table = rule["calibration"], rule["interval"]
        less, more = doubt if self.counts else (0.0, 0.0)  # what few pixels do to another network was not measured
        logits = np.array([logit - less, logit, logit + more])
        low, value, high = 1 / (1 + np.exp(-np.clip(fitted["slope"] * logits + fitted["intercept"], -30, 30)))
        least = np.interp(logits[0], table["logit"], table["low"])
        most = np.interp(logits[2], table["logit"], table["high"])
        return float(value), [float(min(least, value)), float(max(most, value))], [float(low), float(high)]

    def answer(
        self, file: str | Path | bytes | BinaryIO, name: str | None = None, *, box: boxes.Box | None = None,
        of_study: bool = False,
    ) -> Answer:  # fmt: skip
        """Return the answer to an image file, given by path or content. An unusable file is refused; nothing raises.

        ``box``: the part of the frame, in pixels of it as loaded, that is answered. Without one the frame is, or where
        it is no crop of an ovary, the ovary that is found in it. ``of_study``: calibrated on the study's own images, as
        its phantoms must be, and not on real frames.
        """
        started = time.perf_counter()
        name = name or (str(file) if isinstance(file, (str, Path)) else "image")
        try:
            pixels = images.load(io.BytesIO(file) if isinstance(file, bytes) else file, name)
            scale = clinic.millimetres(Path(file), name) if isinstance(file, (str, Path)) else None
            answer = self.reply(pixels, name, box=box, of_study=of_study, scale=scale)
        except images.ImageError as error:
            answer = self.refused(name, error.status, f"The file cannot be used: {error.reason}.")
        except FileNotFoundError:  # a link to nowhere
            answer = self.refused(name, "unreadable", "The file cannot be used: there is none of this name.")
        answer.seconds = time.perf_counter() - started
        return answer

    def reply(
        self, pixels: np.ndarray, name: str, *, box: boxes.Box | None = None, of_study: bool = False,
        scale: tuple[float, float] | None = None,
    ) -> Answer:  # fmt: skip
        """Return the answer to a decoded image, uint8 (H, W, 3), searched for an ovary where it is no crop of one.

        ``scale``: width and height of a pixel in mm, where the file states them.
        """
        started = time.perf_counter()
        answer = self.look(pixels, name, box=box, of_study=of_study)
        if not box and answer.refusal in (SECTOR, scan_check.UNLIKE) and answer.reasons != [scan_check.NEGATIVE]:
            answer = self.found(answer)
        if answer.interval and (known := (*scale, "the file's header") if scale else screen.scale(pixels)):
            answer.measure(*known)
        answer.seconds = time.perf_counter() - started
        return answer

    def found(self, answer: Answer) -> Answer:
        """Return the answer to the one ovary that is found in a refused frame, or what to do where it is not one."""
        # The locator was shown sectors alone and finds ovaries in noise, too; what is answered there is no stranger.
        looks = [self.look(answer.pixels, answer.image, box=box) for box in self.ovaries(answer.pixels)]
        looks = [each for each in looks if each.interval]
        if len(looks) == 1:
            answer = looks[0]
        elif looks:
            number = "Two" if len(looks) == 2 else len(looks)
            answer.refusal, answer.reasons = SEVERAL, [f"{number} ovaries were found; choose one."]
        else:
            answer.reasons.append("No ovary was found; draw a box around one.")
        answer.suggested = [each.box for each in looks]
        return answer

    def look(
        self, pixels: np.ndarray, name: str = "image", *, box: boxes.Box | None = None, of_study: bool = False
    ) -> Answer:
        """Return the answer to one decoded image, uint8 (H, W, 3), or to a box of it."""
        if box and (misfit := boxes.misfit(box, pixels.shape)):
            return self.refused(name, boxes.UNUSABLE, misfit, pixels)
        height, width = pixels.shape[:2]
        if min(height, width) < boxes.LEAST_SIDE:
            reason = f"The picture has {width} x {height} pixels; {boxes.LEAST_SIDE} a side are needed."
            return self.refused(name, "too small", reason, pixels)
        found = [] if box else screen.scans(pixels)
        part = boxes.window(box, pixels.shape) if box else found[0] if found else None
        drawn, box = box is not None, box or part
        scan, seen = boxes.of(pixels, part), boxes.of(pixels, box)
        if scan_check.negative(seen):
            return self.refused(name, scan_check.UNLIKE, scan_check.NEGATIVE, pixels, box)
        apart = not drawn and (len(found) > 1 or screen.seam(scan))
        if not drawn and not apart and screen.sector(scan):
            return self.refused(name, SECTOR, "The frame shows a whole sector, and one ovary is answered.", pixels, box)
        cut = boxes.enlarged(screen.unmarked(scan))
        frame = images.grey(cut)
        maps = self.maps(frame)
        # A file with fewer pixels than the network reads is a box that somebody cut out.
        usual = self.usual[drawn or cut.shape != scan.shape]
        unusable = scan_check.judge(seen, frame, maps, usual)
        # Two scans are a little strange; a page of text, which has seams too, is far away.
        if apart and not scan_check.judge(seen, frame, maps, usual | {"limit": 2 * usual["limit"]}):
            unusable = TWO, "Two scans side by side were sent; send one, or draw a box around one ovary."
        if unusable:
            return self.refused(name, *unusable, pixels, box)
        if drawn and boxes.cyst(pixels, box):
            reason = "The box holds mostly one dark region: a bladder, or a cyst that is larger than a follicle."
            return self.refused(name, CYST, reason, pixels, box)
        numbered = counting.instances(maps)
        numbered = boxes.inside(numbered, box, part) if drawn else numbered
        count = int(numbered.max())
        each = scan[..., 0].size * (float((numbered > 0).mean()) / count if count else boxes.TYPICAL)
        rule = self.rules[of_study]
        doubt = boxes.doubt(each, min(seen.shape[:2]))
        value, interval, reach = self.calibrated(cut, count, rule, doubt)
        decision, reasons = decide(value, rule)
        refusal = BOTH if reasons else ""
        if not reasons and (reach[0] >= rule["threshold"]) != (reach[1] >= rule["threshold"]):
            decision, refusal = DECISIONS[2], FEW
            few = f"An average follicle has {each:.0f} pixels here"
            reasons = [f"{few}: there may be {doubt[0]:.0f} follicles fewer or {doubt[1]:.0f} more."]
        edges = [round(edge, 4) for edge in interval]
        return Answer(
            name, decision, round(value, 4), edges, count, round(each), refusal, reasons, self.facts[of_study],
            rule["threshold"], 0.0, pixels, boxes.onto(numbered, part, pixels.shape) if part else numbered, box, part,
            exact=value, counted=self.told[of_study],
        )  # fmt: skip

    def refused(
        self, name: str, refusal: str, reason: str, pixels: np.ndarray | None = None, box: boxes.Box | None = None
    ) -> Answer:
        """Return the answer to an image or a box that cannot be used."""
        reasons, facts = [reason], self.facts[False]
        return Answer(name, DECISIONS[2], refusal=refusal, reasons=reasons, pixels=pixels, box=box, facts=facts)


def decide(value: float, rule: dict) -> tuple[str, list[str]]:
    """Return the decision at the threshold fixed beforehand and, where it is "cannot say", the reason."""
    limits, polycystic = rule["conformal"], value >= rule["threshold"]
    fits = (value <= limits["normal"], 1 - value <= limits["polycystic"])
    # The class called by the threshold must be the only one that fits. If none fits, the threshold alone decides.
    if not (all(fits) or (any(fits) and not fits[polycystic])):
        return DECISIONS[int(polycystic)], []
    confidence = f"(Value {value:.2f}; confidence {100 - 100 * limits['alpha']:.0f} % for each class.)"
    return DECISIONS[2], [f"Neither of the two answers can be ruled out at the stated confidence. {confidence}"]


def in_follicles(rule: dict) -> str:
    """Return the decisions of a count as a clause in outlined follicles, or "" where a class is never called."""
    fitted = rule["calibration"]
    logits = np.clip(fitted["slope"] * np.arange(MOST_OUTLINED) + fitted["intercept"], -30, 30)
    calls = [decide(float(value), rule)[0] for value in 1 / (1 + np.exp(-logits))]
    if fitted["slope"] <= 0 or not {*DECISIONS[:2]} <= {*calls}:
        return ""
    most, least = calls.count(DECISIONS[0]) - 1, calls.index(DECISIONS[1])
    between = f"; with {most + 1} to {least - 1} it cannot say" if least - most > 2 else ""
    between = f"; with {most + 1} it cannot say" if least - most == 2 else between
    return f"with up to {most} outlined follicles it says not polycystic, from {least} on polycystic{between}"


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
    # Else one network's threads still wait for work, on all cores, while the next one computes.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own, which all mean the same here
        raise StudyError(f"{path} cannot be loaded ({type(error).__name__}); export the model again.") from None
