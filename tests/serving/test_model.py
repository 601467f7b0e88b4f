"""One answer: the training loader's pixels, the network's logits, a refusal for what cannot be used; no torch."""

import io
import json
import os
import shutil

import numpy as np
import pytest

from pcos_utils.config import ROOT
from pcos_utils.data import images
from pcos_utils.data.images import grey
from pcos_utils.evaluation import calibration
from pcos_utils.follicles import counting
from pcos_utils.serving import model as models
from pcos_utils.serving import scan_check
from pcos_utils.serving.answer import FIELDS
from tests.conftest import python, refused
from tests.serving.made import SIDE, frame, png


def test_an_answer_is_the_calibrated_logit_of_the_loaders_pixels_and_its_record_says_what_it_must(model):
    content = png(frame(), "JPEG")
    answer, pixels = model.answer(content, "a.jpg"), images.load(io.BytesIO(content))
    fitted, record = model.card["calibration"], answer.record()
    logit = fitted["slope"] * model.logits(images.resize(pixels, SIDE)[None])[0] + fitted["intercept"]
    assert answer.refusal in ("", models.BOTH), answer.reasons
    assert answer.value == pytest.approx(float(calibration.probability(logit)), abs=1e-4)
    assert answer.interval[0] <= answer.value <= answer.interval[1]
    assert answer.follicles == counting.instances(model.maps(grey(pixels))).max()
    assert set(record) == {*FIELDS} - {"low", "high"} | {"interval"} and "Research only" in record["use"]
    assert record["scale"] == "share polycystic among phantoms" and record["seconds"] > 0
    assert record["model"] == "iustnet" and record["run"] == "0123456789ab"
    assert json.loads(json.dumps(record)) == record and tuple(answer.row()) == FIELDS


@pytest.mark.parametrize(("value", "normal", "polycystic", "decision"), [
    (0.9, 0.5, 0.5, "polycystic"),
    (0.1, 0.5, 0.5, "not polycystic"),
    (0.5, 0.6, 0.6, "cannot say"),  # both classes fit
    (0.5, 0.4, 0.4, "polycystic"),  # none fits: the threshold alone speaks
    (0.35, 0.5, 0.5, "cannot say"),  # the threshold calls what does not fit
])  # fmt: skip
def test_the_decision(value, normal, polycystic, decision):
    limits = {"alpha": 0.1, "normal": normal, "polycystic": polycystic}
    said, reason = models.decide(value, {"conformal": limits, "threshold": 0.3})
    assert said == decision and bool(reason) == (decision == "cannot say")


@pytest.mark.parametrize(("normal", "polycystic", "clause"), [
    (0.436, 0.872, "up to 6 outlined follicles it says not polycystic, from 10 on polycystic; with 7 to 9 it"),
    (0.3, 0.8, "up to 7 outlined follicles it says not polycystic, from 9 on polycystic; with 8 it cannot say"),
    (0.2, 0.8, "up to 7 outlined follicles it says not polycystic, from 8 on polycystic"),
])  # fmt: skip
def test_the_decisions_of_a_count_are_told_in_follicles(normal, polycystic, clause):
    conformal = {"alpha": 0.1, "normal": normal, "polycystic": polycystic}
    fitted = {"slope": 0.825, "intercept": -7.686}  # 7, 8, 9 and 10 follicles are .129, .252, .435 and .637
    rule = {"calibration": fitted, "threshold": 0.25, "conformal": conformal}
    assert models.in_follicles(rule).startswith(f"with {clause}")
    assert models.in_follicles(rule | {"calibration": {"slope": -1.0, "intercept": 2.0}}) == ""
    assert models.in_follicles(rule | {"conformal": {"alpha": 0.1, "normal": 1.0, "polycystic": 1.0}}) == ""


HOSTILE = {
    "empty": (b"", "empty"),
    "a page": (b"<html><script>alert(1)</script>", "not an image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "not an image"),
    "cut short": (png(frame())[:400], "damaged"),
    "one pixel": (png(np.zeros((1, 1), np.uint8)), "too small"),
    "one row": (png(np.zeros((1, 30_000), np.uint8)), "too large"),
    "bomb": (png(np.zeros((9_000, 9_000), np.uint8)), "too large"),
    "colours": (png(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)), "not an ovarian scan"),
}


@pytest.mark.parametrize(("content", "refusal"), HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_used_is_refused_with_its_reason(model, content, refusal):
    answer = model.answer(content, "upload")
    assert answer.decision == "cannot say" and answer.refusal == refusal
    assert answer.value is None and "Traceback" not in "".join(answer.reasons)
    assert answer.reasons[1:] == ["No ovary was found; draw a box around one."] * (refusal == "not an ovarian scan")


def test_a_negative_is_refused_and_not_searched_for_an_ovary(model):
    negative = 255 - np.repeat(frame()[..., None], 3, axis=2)
    for box in (None, (40, 30, 240, 170)):
        answer = model.reply(negative, "negative.png", box=box)
        assert answer.refusal == "not an ovarian scan" and answer.reasons == [scan_check.NEGATIVE]
    assert scan_check.NEGATIVE not in model.reply(255 - negative, "scan.png").reasons


@pytest.mark.parametrize("broken", ["model.json", "model.onnx", "follicles.onnx", "locator.onnx"])
def test_a_folder_that_is_no_served_model_is_told_in_a_sentence(served, tmp_path, broken):
    place = shutil.copytree(served, tmp_path / "served")
    (place / broken).unlink()
    refused(broken, models.Served, place)
    (place / broken).write_bytes(b"{}")
    refused(broken, models.Served, place)


def test_an_answer_imports_no_torch_and_reports_nothing_to_the_makers_of_onnxruntime(served, tmp_path):
    (tmp_path / "a.png").write_bytes(png(frame()))
    # It keeps a session's number in the temporary folder when it reports; in CI it is silent by itself.
    silent = ("ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "ORT_RUNNING_UNIT_TESTS")
    plain = {name: value for name, value in os.environ.items() if name not in silent}
    answer = (
        "import sys\nfrom pcos_utils.serving import maps\nfrom pcos_utils.serving.model import Served\n"
        f"model = Served({str(served)!r})\nlist(maps.rests_on(model, model.answer('a.png').pixels))\n"
        "print({'torch', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    for code, reports, said in (("import onnxruntime as o; o.SessionOptions()", True, ""), (answer, False, "set()\n")):
        (place := tmp_path / f"reports-{reports}").mkdir()
        words = {"PYTHONPATH": str(ROOT), "TMPDIR": str(place), "https_proxy": "http://127.0.0.1:9"}
        assert python(code, cwd=tmp_path, env=plain | words).stdout == said
        assert (place / ".ses").exists() == reports, list(place.iterdir())


def test_a_damaged_rule_or_another_network_is_told_when_it_is_loaded(served, tmp_path):
    place = shutil.copytree(served, tmp_path / "served")
    card = json.loads((place / "model.json").read_text())
    for change in ({"threshold": "x"}, {"interval": {}}, {"calibration": None}, {"sources": {}}):
        (place / "model.json").write_text(json.dumps(card | change))
        refused("model.json is missing, damaged or of an earlier version", models.Served, place)
    (place / "model.json").write_text(json.dumps(card))
    shutil.copy(place / "locator.onnx", place / "follicles.onnx")
    refused("follicles.onnx is not the file that model.json names", models.Served, place)
