"""One answer: the training loader's pixels, the network's logits, a refusal for what cannot be used; no torch."""

import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from pcos_utils.config import ROOT, StudyError
from pcos_utils.data import images, phantom
from pcos_utils.data.grey import grey
from pcos_utils.models import architectures, follicles, unet
from pcos_utils.serving import command, evidence, export, fit, predict
from tests.serving.made import SIDE, fitted


@pytest.fixture(scope="module")
def model(served):
    """The served model, loaded."""
    return predict.Served(served)


def frame(seed: int = 3_000_000_000) -> np.ndarray:
    """A phantom's frame, uint8 (200, 300)."""
    return phantom.simulate(seed, seed % 2).image


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """The image as a file's bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("side", [32, 64])
def test_more_channels_say_the_same(side):
    network = architectures.IustNet(side).eval()
    wider, x = fit.padded(network).eval(), torch.rand(5, 3, side, side)
    assert wider.block_1[0].out_channels % fit.BLOCK == 0 and wider.block_1[0].out_channels > 45
    with torch.inference_mode():
        torch.testing.assert_close(wider(x), network(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["iustnet", "densenet121d", "densenet201"])
def test_logits_are_torchs_on_200_images(name, tmp_path):
    network = fitted(name).network
    torch.manual_seed(0)
    trained = architectures.build(name, SIDE).eval()  # what was exported, before it was made ready for it
    example = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    assert export.to_onnx(network, example, tmp_path / "one.onnx", "pixels") <= export.AGREEMENT
    session = predict._session(tmp_path / "one.onnx", 1)
    drawn = np.random.default_rng(1).integers(0, 256, (200, SIDE, SIDE, 3), dtype=np.uint8)
    # The published order of normalising and turning grey is that of training, asked of training's own function.
    with torch.inference_mode():
        wanted = trained(architectures.prepare(name, torch.from_numpy(drawn))).squeeze(1).numpy()
    for batch in (1, 50):
        found = np.concatenate([session.run(None, {"pixels": part})[0] for part in np.split(drawn, 200 // batch)])
        assert np.abs(found - wanted).max() < 1e-4


def test_maps_are_those_that_pretraining_judges(tmp_path):
    torch.manual_seed(0)
    network = unet.follicle_unet()
    export.to_onnx(export.Outlining(network), np.zeros((1, 128, 192), np.uint8), tmp_path / "one.onnx", "grey")
    drawn = np.random.default_rng(1).integers(0, 256, (3, 128, 192), dtype=np.uint8)
    found = predict._session(tmp_path / "one.onnx", 1).run(None, {"grey": drawn})[0]
    np.testing.assert_allclose(found, follicles.predict_maps(network, drawn), atol=1e-5)


def test_an_answer_is_the_calibrated_logit_of_the_loaders_pixels(model):
    content = png(frame(), "JPEG")
    answer = model.answer(content, "a.jpg")
    pixels = images.resize(images.load(io.BytesIO(content)), SIDE)
    logit = model.logits(pixels[None])[0]
    wanted = evidence.calibrated(float(logit), **model.card["calibration"])
    if answer.refusal in ("", predict.BOTH):
        assert answer.probability == pytest.approx(float(wanted), abs=1e-4)
        assert answer.interval[0] <= answer.probability <= answer.interval[1]
        assert answer.follicles == follicles.instances(model.maps(grey(images.load(io.BytesIO(content))))).max()
    else:
        pytest.fail(f"a phantom was refused: {answer.reasons}")


def test_the_record_says_what_it_must(model):
    record = model.answer(png(frame()), "a.png").record()
    wanted = {"image", "decision", "probability", "interval", "follicles", "reasons", "model", "seconds", "data", "run"}
    assert wanted <= set(record) and "Research only" in record["use"]
    assert record["model"] == "iustnet" and record["run"] == "0123456789ab" and record["seconds"] > 0
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize(
    ("probability", "normal", "polycystic", "decision"),
    [
        (0.9, 0.5, 0.5, "polycystic"),
        (0.1, 0.5, 0.5, "not polycystic"),
        (0.5, 0.6, 0.6, "cannot say"),  # both classes fit
        (0.5, 0.4, 0.4, "polycystic"),  # none fits: the threshold alone speaks
        (0.35, 0.5, 0.5, "cannot say"),  # the threshold calls what does not fit
    ],
)
def test_the_decision(model, monkeypatch, probability, normal, polycystic, decision):
    limits = {"alpha": 0.1, "normal": normal, "polycystic": polycystic}
    monkeypatch.setitem(model.card, "conformal", limits)
    monkeypatch.setitem(model.card, "threshold", 0.3)
    said, reason = model.decide(probability)
    assert said == decision and bool(reason) == (decision == "cannot say")


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


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_used_is_refused_with_its_reason(model, name):
    content, refusal = HOSTILE[name]
    answer = model.answer(content, "upload")
    assert answer.decision == "cannot say" and answer.refusal == refusal
    assert answer.probability is None and len(answer.reasons) == 1 and "Traceback" not in answer.reasons[0]


def run(*words, cwd, **environment) -> subprocess.CompletedProcess:
    """The finished command."""
    command = [sys.executable, "-m", "pcos_utils.cli", *map(str, words)]
    given = os.environ | {"PYTHONPATH": str(ROOT), "PCOS_HOME": str(cwd)} | environment
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=given)


def mutated(number: int, whole: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """A file with some bytes changed; every third is cut short too, and every fifth has foreign bytes behind it."""
    content = bytearray(list(whole.values())[number % len(whole)])
    for place in rng.integers(0, len(content), int(rng.integers(1, 40))):
        content[place] = rng.integers(0, 256)
    if number % 3 == 0:
        content = content[: int(rng.integers(1, len(content)))]
    return bytes(content) + (b"<script>alert(1)</script>" if number % 5 == 0 else b"")


def test_a_thousand_mutated_images_are_answered_or_refused_in_time(served, tmp_path):
    grey, colour = Image.fromarray(frame()), Image.fromarray(frame()).convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds = {
        "jpg": (grey, {}), "png": (grey, {}), "bmp": (colour, {}), "gif": (grey, {}), "tif": (colour, {}),
        "webp": (colour, {}), "cmyk.jpg": (colour.convert("CMYK"), {}), "turned.jpg": (colour, {"exif": turned}),
        "deep.png": (Image.fromarray(frame().astype(np.uint16) * 257), {}),
        "moving.gif": (grey, {"save_all": True, "append_images": [grey.rotate(9)] * 3}),
    }  # fmt: skip
    whole = {}
    for kind, (image, more) in kinds.items():
        image.save(tmp_path / f"whole.{kind}", **more)
        whole[kind] = (tmp_path / f"whole.{kind}").read_bytes()
    rng, folder = np.random.default_rng(0), tmp_path / "mutated"
    folder.mkdir()
    for number in range(1000):
        (folder / f"{number:04d}.{list(whole)[number % len(whole)]}").write_bytes(mutated(number, whole, rng))
    done = run("predict", folder, "--model", served, "--json", cwd=tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["image"] for row in rows] == [str(path) for path in sorted(folder.iterdir())]
    assert max(row["seconds"] for row in rows) < 2
    assert {row["decision"] for row in rows} <= set(predict.DECISIONS)
    assert all(bool(row["reasons"]) == bool(row["refusal"]) == (row["decision"] == "cannot say") for row in rows)
    refused = [row["refusal"] for row in rows if row["probability"] is None]
    assert 300 < len(refused) < 900 and len(set(refused)) > 2  # both ways are well trodden


def test_onnxruntime_does_not_report_to_its_makers(served, tmp_path):
    (tmp_path / "a.png").write_bytes(png(frame()))
    # It keeps a session's number in the temporary folder when it reports; in CI it is silent by itself.
    silent = ("ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "ORT_RUNNING_UNIT_TESTS")
    plain = {name: value for name, value in os.environ.items() if name not in silent}
    for code, reports in (
        ("import onnxruntime as o; o.SessionOptions()", True),
        (f"from pcos_utils.serving.predict import Served; Served({str(served)!r}).answer('a.png')", False),
    ):
        place = tmp_path / f"reports-{reports}"
        place.mkdir()
        words = {"PYTHONPATH": str(ROOT), "TMPDIR": str(place), "https_proxy": "http://127.0.0.1:9"}
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=plain | words)
        assert (place / ".ses").exists() == reports, list(place.iterdir())


def test_torch_is_not_imported_to_answer(served, tmp_path):
    (tmp_path / "a.png").write_bytes(png(frame()))
    code = (
        "import sys\nfrom pcos_utils.serving import saliency\nfrom pcos_utils.serving.predict import Served\n"
        f"model = Served({str(served)!r})\nanswer = model.answer({str(tmp_path / 'a.png')!r})\n"
        "saliency.occlusion(model, answer.pixels)\n"
        "print(sorted({'torch', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_folder_becomes_json_lines_and_a_bad_file_is_a_row(served, tmp_path):
    folder = tmp_path / "scans"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.png").write_bytes(png(frame()))
    (folder / "inner" / "b.txt").write_text("no image")
    done = run("predict", folder, "--model", served, "--json", cwd=tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(rows) == 2, done.stderr
    assert rows[1]["refusal"] == "not an image" and rows[1]["probability"] is None and rows[1]["reasons"]
    done = run("predict", folder, folder / "none.png", "--model", served, "--csv", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("image,decision,probability") and len(lines) == 4 and "there is none" in lines[3]
    assert "Research only" in run("predict", folder, "--model", served, cwd=tmp_path).stdout


def test_a_finished_run_is_exported_once_when_it_is_named(served, tmp_path, monkeypatch):
    monkeypatch.setenv("PCOS_HOME", str(tmp_path))
    asked = []

    def exported(model, out, given, err):
        asked.append((model, given, err))
        shutil.copytree(served, out)

    monkeypatch.setattr(command, "_exported", exported)
    for study in ("phantom-demo", "local-mine-demo"):
        record = tmp_path / "runs" / study / "iustnet" / "ours" / "run.json"
        record.parent.mkdir(parents=True)
        record.write_text("{}")
    named = str(tmp_path / "runs" / "phantom-demo" / "iustnet")
    places = [command._served(named) for _ in range(2)]
    assert places == [tmp_path / "runs" / "served" / "phantom-demo-iustnet"] * 2
    assert asked == [("phantom-demo/iustnet", {}, True)] and predict.Served(places[0]).card["model"] == "iustnet"
    assert command._served(str(served)) == served
    with pytest.raises(StudyError, match="of your own images: 'pcos export --model iustnet --data FOLDER' first"):
        command._served(str(tmp_path / "runs" / "local-mine-demo" / "iustnet"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["predict", "a.png"], "no served model"),
        (["predict", ".", "--model", "."], "no image to answer"),
        (["predict", "a.png", "--model", "nowhere"], "model.json is missing"),
        (["predict", "a.png", "--json", "--csv"], "exclude each other"),
        (["export", "--model", "resnet"], "MODEL=resnet"),
        (["export", "--model", "iustnet"], "run notebook 02"),
        (["app"], "no served model"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, words, named):
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert named in done.stderr or named == "run notebook 02" and "missing" in done.stderr
