"""A frozen method meets a new folder: what developed it is left out, every look is counted, every edit is named."""

import json
import re
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcos_utils.audit.sources import find_sources
from pcos_utils.data.survey import survey
from pcos_utils.evaluation.calibration import probability
from pcos_utils.files import write_json
from pcos_utils.follicles import training_set
from pcos_utils.phantom import simulator
from pcos_utils.serving import confirm, export, freeze
from pcos_utils.serving.model import Served
from tests.conftest import refused

CLASSES = ("normal", "pco")


def turned(image: np.ndarray) -> np.ndarray:
    """Return a picture as somebody else might keep it: turned by 12 degrees and cropped."""
    height, width = image.shape[:2]
    around = cv2.getRotationMatrix2D((width / 2, height / 2), 12, 1)
    return cv2.warpAffine(image, around, (width, height))[20:-20, 30:-30]


def put(folder, name: str, label: int, image: np.ndarray) -> None:
    (folder / CLASSES[label]).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / CLASSES[label] / name)


def scan(seed: int) -> np.ndarray:
    return simulator.simulate(seed, seed % 2).image


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A plan of somebody's own scores, the folder that developed it, and a new one with a copy in it."""
    place = tmp_path_factory.mktemp("own")
    for seed in range(6):
        put(place / "developed", f"Jane Doe {seed}.png", seed % 2, scan(4_000_000_000 + seed))
    for seed in range(8):
        put(place / "new", f"new{seed}.png", seed % 2, scan(4_000_001_000 + seed))
    put(place / "new", "again.png", 0, turned(scan(4_000_001_000)))
    put(place / "new", "known.png", 1, turned(scan(4_000_000_001)))
    sources = find_sources(survey(place / "developed"), place / "developed")
    facts = {"method": {"kind": "predictions"}, "threshold": 0.5, "expected_auc": None}
    freeze.freeze(place / "plan", sources, place / "developed", facts)
    return place


@pytest.fixture
def plan(own, tmp_path):
    return shutil.copytree(own / "plan", tmp_path / "plan")


def table(own, **scores) -> pd.DataFrame:
    """Return scores that rank perfectly, but for those given by name."""
    paths = sorted((own / "new").glob("*/*.png"))
    told = [scores.get(path.stem, 0.9 if path.parent.name == "pco" else 0.1) for path in paths]
    return pd.DataFrame({"image": [f"{path.parent.name}/{path.name}" for path in paths], "score": told})


def look(own, plan, rows: pd.DataFrame, labels=None, new=None):
    rows.to_csv(plan.parent / "scores.csv", index=False)
    return confirm.confirm(plan, new or own / "new", labels, plan.parent / "scores.csv")


@pytest.fixture(scope="module")
def confirmed(evaluated, served, tmp_path_factory):
    """The small study's IustNet, frozen, and its first look at 10 of its frames, 10 that taught it and 30 new ones."""
    study, _, home = evaluated
    place = tmp_path_factory.mktemp("confirmed")
    shards = [*served.parent.rglob("shards/*.npz")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(home))
        patch.setattr(freeze, "home", lambda: place)
        patch.setattr(export.training_set, "shards", lambda *_: shards)
        patch.setattr(export, "TRIED", 2)
        patch.setattr(freeze.kept, "phantoms_per_class", lambda path: 5)
        freeze.freeze_study(place / "plan", "iustnet", study)
        frames = [sorted((study.image_dir / name).glob("*.png"))[:5] for name in simulator.FOLDERS]
    for number, path in enumerate(sum(frames, [])):
        put(place / "new", f"own{number}.png", number // 5, turned(np.array(Image.open(path).convert("L"))))
    for seed in training_set.seeds(5):
        put(place / "new", f"taught{seed}.png", seed % 2, scan(seed))
    for seed in range(30):
        put(place / "new", f"new{seed}.png", seed % 2, scan(4_000_002_000 + seed))
    return place, *confirm.confirm(place / "plan", place / "new")


@pytest.mark.slow
def test_what_developed_the_method_is_named_and_left_out_and_the_endpoint_is_that_of_the_served_model(confirmed):
    place, record, _ = confirmed
    out = {row["image"].rpartition("/")[2]: row for row in record["left_out"]}
    assert len(out) == 20 and all(name.startswith(("own", "taught")) for name in out)
    assert {row["why"] for row in out.values()} == {"developed the method"}
    assert all("keypoints" in out[f"own{number}.png"]["copy"] for number in range(10))
    assert record["new_sources"] == 30 and record["polycystic"] == 15
    text = "\n".join(confirm.sentences(record))
    assert "look 1 at these images" in text and "own3.png: " in text and "30 new sources (30 images), 15" in text
    served, rows = Served(place / "plan" / "model"), pd.DataFrame(record["answers"])
    answers = [served.answer(place / "new" / name) for name in rows.image]
    values = np.array([answer.value for answer in answers], float)
    assert rows.refusal.tolist() == [answer.refusal for answer in answers]
    np.testing.assert_allclose(probability(rows.score), values, rtol=0, atol=1e-4)
    measured = {row["metric"]: row for row in record["endpoint"] if row["of"] == "sources with a value"}
    called = values[(rows.label == 1) & rows.score.notna()] >= served.card["threshold"]
    assert measured["recall"]["value"] == pytest.approx(called.mean())
    assert measured["auc"]["sources"] == rows.score.notna().sum() == 30 - record["refused_sources"]


@pytest.mark.slow
def test_a_second_look_is_marked_the_first_one_stays_and_changed_weights_are_named(confirmed, tmp_path):
    place, _, path = confirmed
    first = path.read_bytes()
    for name in CLASSES:  # some images less are still a second look
        shutil.copytree(place / "new" / name, tmp_path / name, ignore=shutil.ignore_patterns("*9.png", "own*"))
    record, second = confirm.confirm(place / "plan", tmp_path)
    assert record["look"] == 2 and record["earlier_looks_at_these_images"] == ["look-0001.json"]
    assert "NOT A FIRST LOOK" in confirm.sentences(record)[1]
    assert second.name == "look-0002.json" and path.read_bytes() == first
    spoiled = shutil.copytree(place / "plan", tmp_path / "plan")
    with open(spoiled / "model" / "model.onnx", "ab") as weights:
        weights.write(b"x")
    named = "model.onnx is not the file that was frozen; restore it, or freeze again"
    refused(named, confirm.confirm, spoiled, place / "new")


@pytest.mark.slow
def test_no_picture_and_no_name_travels(own, confirmed):
    for place in (own, confirmed[0]):
        files = [path for path in (place / "plan").rglob("*") if path.is_file()]
        texts = b"".join(path.read_bytes() for path in files if "looks" not in path.parts)
        assert b"Jane" not in texts and not any(path.stem.encode() in texts for path in place.rglob("developed/*/*"))
        with np.load(place / "plan" / "signatures.npz") as stored:
            assert set(stored) == {"points", "descriptors", "shapes", "sizes"}


def test_a_plan_is_never_overwritten_and_an_edit_or_other_code_is_named(own, plan):
    refused("holds a frozen plan, which stays", freeze.need_new, plan)
    frozen = json.loads((plan / "plan.json").read_text())
    write_json(plan / "plan.json", frozen | {"threshold": 0.4})
    refused("plan.json was edited after it was frozen; restore it", look, own, plan, table(own))
    other = frozen | {"code": frozen["code"] | {"audit/matching.py": "0"}}
    write_json(plan / "plan.json", other | {"sha256": freeze.seal(other)})
    refused(r"other code than this \(audit/matching.py differs.*check out the commit", look, own, plan, table(own))
    assert not (plan / "looks").exists()


def test_copies_are_one_source_refusals_are_counted_and_sources_of_one_patient_told(own, plan):
    rows = table(own, new0=0.2, again=0.6, new2="", new3="", new5=0.3)
    labels = rows.assign(label=rows.image.str.startswith("pco").astype(int), patient="p" + rows.image.str[-5])
    labels.to_csv(plan.parent / "labels.csv", columns=["image", "label", "patient"], index=False)
    record, _ = look(own, plan, rows, plan.parent / "labels.csv")
    assert [row["image"] for row in record["left_out"]] == ["pco/known.png"]
    assert (record["images"], record["new_sources"], record["polycystic"], record["refused_sources"]) == (9, 8, 4, 2)
    values = {(row["of"].split()[0], row["metric"]): row["value"] for row in record["endpoint"]}
    # Of 3 x 3 answered pairs 8 are right: new0, whose two images have a mean of .4, stands above new5.
    assert values["sources", "auc"] == pytest.approx(8 / 9) and values["sources", "recall"] == pytest.approx(2 / 3)
    assert values["every", "auc"] == pytest.approx(8 / 16) and values["every", "recall"] == pytest.approx(2 / 4)
    assert values["sources", "specificity"] == 1 and values["every", "specificity"] == pytest.approx(3 / 4)
    assert record["patients"] == 9 and "patients or clips" not in " ".join(confirm.sentences(record))
    assert "They are of 3 patients or clips" in " ".join(confirm.sentences(record | {"patients": 3}))


def test_files_that_are_no_scans_are_named(own, plan):
    new = shutil.copytree(own / "new", plan.parent / "new")
    Image.fromarray(scan(4_000_001_005)).resize((40, 30)).save(new / "pco" / "icon.png")
    (new / "pco" / "torn.png").write_bytes((new / "pco" / "new1.png").read_bytes()[:900])
    record, _ = look(own, plan, table(own), new=new)
    lines = confirm.sentences(record)
    place = lines.index("set apart: 2 files")
    assert lines[place + 1] == "  pco/icon.png: a small copy" and lines[place + 2].startswith("  pco/torn.png: ")


def test_scores_come_in_any_usual_table(tmp_path):
    rows = pd.DataFrame({"Filename": ["a", "pco\\b.png", "c.png"], "Probability": ["0,25", "NaN", " 1 "], "by": "us"})
    rows.to_csv(tmp_path / "european.csv", sep=";", index=False, encoding="utf-8-sig")
    rows.to_csv(tmp_path / "scores.tsv", sep="\t", index=False)
    rows.to_excel(tmp_path / "scores.xlsx", index=False)
    for name in ("european.csv", "scores.tsv", "scores.xlsx"):
        scores = confirm.read_scores(tmp_path / name, ["a.png", "pco/b.png", "c.png"], ["a.png"])
        assert scores.score.fillna(-1).to_dict() == {"a.png": 0.25, "pco/b.png": -1, "c.png": 1}
        assert scores.refusal.tolist() == ["", "no score", ""]


@pytest.mark.parametrize(("change", "words"), [
    (lambda rows: rows[1:], "lacks normal/again.png (1 in all); add a row"),
    (lambda rows: pd.concat([rows, rows[:1].assign(image="x.png")]), "names 'x.png', which is not in the folder"),
    (lambda rows: pd.concat([rows, rows[:1]]), "has normal/again.png twice"),
    (lambda rows: rows.astype({"score": object}).replace({"score": {0.1: "high"}}), "has 'high' for normal/again"),
    (lambda rows: rows.rename(columns={"score": "answer"}), "needs a column 'image' and a column 'score'"),
    (lambda rows: rows.assign(score=""), "refused every image"),
])  # fmt: skip
def test_scores_that_cannot_be_used_are_one_sentence(own, plan, change, words):
    refused(re.escape(words), look, own, plan, change(table(own)))
    assert not list(plan.glob("looks/*.json"))


@pytest.mark.parametrize(("words", "named"), [
    (["confirm", "PLAN", "NEW"], "holds no weights; add --predictions CSV"),
    (["confirm", "NEW", "NEW"], "holds no plan that can be read; make one with 'pcos freeze'"),
    (["confirm", "PLAN", "nowhere"], "nowhere is no folder"),
    (["freeze", "--threshold", "0.5"], "needs --threshold, --developed and --out"),
    (["power", "--from", "0.9", "--to", "0.85"], "is no gain"),
    (["power", "--prevalence", "30"], "--prevalence 30 lies outside 0 to 1"),
    (["power", "--from", "0.9", "--to", "0.9001"], "sources would be needed"),
])  # fmt: skip
def test_a_mistake_on_the_command_line_is_one_sentence(own, plan, pcos, words, named):
    places = {"PLAN": plan, "NEW": own / "new"}
    code, _, said = pcos(*(places.get(word, word) for word in words))
    assert code == 2 and said.count("\n") == 1 and named in said, said
