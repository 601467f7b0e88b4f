"""A finished study becomes a served model: its networks say what torch says, its rule what the study predicted."""

import numpy as np
import pandas as pd
import pytest
import torch

from pcos_utils import config
from pcos_utils.evaluation import calibration
from pcos_utils.follicles import network as follicle_network
from pcos_utils.models import architectures
from pcos_utils.serving import commands, export, model
from pcos_utils.serving.tabulate import limit, tabulate
from tests.conftest import refused
from tests.serving.made import SIDE, fitted, out_of_fold


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iustnet", "densenet121d", "densenet201"])
def test_logits_are_torchs_on_200_images(name, tmp_path):
    network, _, _ = fitted(name)
    torch.manual_seed(0)
    trained = architectures.build(name, SIDE).eval()  # what was exported, before it was made ready for it
    assert export.to_onnx(network, (SIDE, SIDE, 3), tmp_path / "one.onnx", "pixels") <= export.AGREEMENT
    session = model._session(tmp_path / "one.onnx", 1)
    drawn = np.random.default_rng(1).integers(0, 256, (200, SIDE, SIDE, 3), dtype=np.uint8)
    # The published order of normalising and turning grey is that of training, asked of training's own function.
    with torch.inference_mode():
        expected = trained(architectures.prepare(name, torch.from_numpy(drawn))).squeeze(1).numpy()
    for batch in (1, 50):
        logits = np.concatenate([session.run(None, {"pixels": part})[0] for part in np.split(drawn, 200 // batch)])
        assert np.abs(logits - expected).max() < 1e-4


def test_maps_are_those_that_pretraining_judges(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TRIED", 2)
    torch.manual_seed(0)
    network = follicle_network.UNet()
    export.to_onnx(follicle_network.Outlining(network), (128, 192), tmp_path / "one.onnx", "grey")
    drawn = np.random.default_rng(1).integers(0, 256, (3, 128, 192), dtype=np.uint8)
    maps = model._session(tmp_path / "one.onnx", 1).run(None, {"grey": drawn})[0]
    np.testing.assert_allclose(maps, follicle_network.predict_maps(network, drawn), atol=1e-5)


@pytest.fixture
def finished(evaluated, served, monkeypatch):
    """The small study with its tables, where PCOS_HOME names its home; the phantoms of an export are made already."""
    phantoms = [*served.parent.rglob("shards/*.npz")]
    monkeypatch.setattr(export.training_set, "shards", lambda *_: phantoms)
    monkeypatch.setenv("PCOS_HOME", str(evaluated[2]))
    monkeypatch.setattr(export, "TRIED", 2)
    return evaluated[:2]


@pytest.mark.parametrize("name", [pytest.param("iustnet", marks=pytest.mark.slow), "follicles"])
def test_a_finished_study_is_served_by_its_best_model(finished, tmp_path, name):
    study, tables = finished
    auc = tables["metrics"].query("protocol == 'grouped' and metric == 'auc'").set_index("model").value
    assert commands.best(study) == auc[["iustnet", "follicles"]].idxmax()
    card = export.export(name, study, tmp_path / "model")
    assert card["auc"] == pytest.approx(auc[name]) and card["sources"] == {"normal": 12, "polycystic": 12}
    served = model.Served(tmp_path / "model")
    assert served.counts == (name == "follicles") and len(list((tmp_path / "model" / "examples").iterdir())) == 4
    answer = served.look(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8))
    assert answer.refusal == "not an ovarian scan"
    text = (tmp_path / "model" / "card.md").read_text()
    assert "{" not in text and study.name in text and "send no patient's picture" in text
    assert "is the share polycystic among phantoms" in text.replace("\n", " ")
    assert ("41 sources of Dataset B, 12 of them polycystic" in text) == (name == "follicles")


@pytest.mark.slow
def test_a_count_answers_what_is_sent_by_real_frames_and_phantoms_by_phantoms(finished, monkeypatch, tmp_path):
    card = export.export("follicles", finished[0], tmp_path / "model")
    assert card["real"]["sources"] == {"normal": 29, "polycystic": 12}
    count = model.Served(tmp_path / "model")
    monkeypatch.setattr(model.scan_check, "judge", lambda *_: None)
    monkeypatch.setattr(model.counting, "instances", lambda maps: np.full(maps.shape[1:], found, np.int32))
    said = {}
    for found in (4, 8, 12):
        said[found], of_phantoms = (
            count.look(np.zeros((200, 300, 3), np.uint8), of_study=of_study) for of_study in (False, True)
        )
        assert "Dataset B" in said[found].facts["calibrated"] and "24 phantoms" in of_phantoms.facts["calibrated"]
        assert said[found].threshold == card["real"]["threshold"] and of_phantoms.threshold == card["threshold"]
    assert [answer.decision for answer in said.values()] == ["not polycystic", "cannot say", "polycystic"]
    assert said[4].facts["scale"] == "probability of polycystic morphology"


@pytest.mark.slow
def test_nothing_half_written_passes_for_a_model(served, tmp_path, monkeypatch):
    (tmp_path / "model.json").write_bytes((served / "model.json").read_bytes())
    monkeypatch.setattr(export, "AGREEMENT", -1)
    monkeypatch.setattr(export, "TRIED", 2)
    monkeypatch.setattr(export, "fit_served", fitted)
    monkeypatch.setenv("PCOS_HOME", str(served.parent))  # whose phantoms are made already
    refused("differs from its network", export.export, "iustnet", config.study(), tmp_path, 12)
    assert not (tmp_path / "model.json").exists()


def test_the_served_network_stops_where_the_folds_stopped_on_the_folds_own_schedule(finished, monkeypatch):
    study, _ = finished
    recorded, asked = export.read_record, {}
    monkeypatch.setattr(export, "read_record", lambda folder: recorded(folder) | {"chosen_epoch": 1})
    monkeypatch.setattr(export.training, "fit", lambda *of, **how: asked.update(recipe=of[4], stop=how["stop"]))
    _, _, facts = export.fit_served("iustnet", study)
    assert asked["recipe"].epochs == study.epochs == 2 and asked["stop"] == facts["epochs"] == 1


def test_the_interval_holds_the_probability_and_narrows_with_sources():
    widths = []
    for n in (20, 400):
        made = tabulate(out_of_fold(n), resamples=200)
        grid, low, high = (np.array(made["interval"][name]) for name in ("logit", "low", "high"))
        middle = calibration.probability(made["calibration"]["slope"] * grid + made["calibration"]["intercept"])
        assert (low <= middle + 1e-4).all() and (middle <= high + 1e-4).all() and (np.diff(middle) >= 0).all()
        widths.append((high - low)[len(grid) // 2])
    assert widths[1] < 0.6 * widths[0]


def test_calibration_and_threshold_are_those_of_the_study():
    made, each = tabulate(out_of_fold(40), resamples=100), calibration.by_network(out_of_fold(40))
    rule = calibration.fit(each.raw_logit.to_numpy(), each.label.to_numpy())
    assert made["calibration"] == pytest.approx({"slope": rule.slope, "intercept": rule.intercept})
    assert made["threshold"] == pytest.approx(float(calibration.probability(np.array(rule.threshold))))


@pytest.mark.parametrize("more", ["networks", "copies"])
def test_the_unit_is_the_source_however_many_networks_judged_it_and_copies_it_has(more):
    once = out_of_fold(40).assign(repeat=0, fold=0, inner=0)
    again = [once.assign(repeat=repeat if more == "networks" else 0) for repeat in range(3)]
    first, second = (tabulate(table, resamples=100) for table in (once, pd.concat(again, ignore_index=True)))
    assert first["sources"] == second["sources"] == {"normal": 20, "polycystic": 20}
    assert second["calibration"] == pytest.approx(first["calibration"])
    assert second["interval"]["low"] == pytest.approx(first["interval"]["low"], abs=1e-4)
    assert second["conformal"] == pytest.approx(first["conformal"])


def test_each_class_stays_in_its_set_as_often_as_promised():
    drawn = [np.random.default_rng(seed).random(40) for seed in range(300)]
    inside = [each[0] <= limit(each[1:], np.ones(39)) for each in drawn]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.05)
    assert limit(np.zeros(8), np.ones(8)) == 1  # too few to leave anything out
