"""The script of stress tests asks each source's own fold, and says where its tables come from."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from benchmarks import stress, stress_report
from pcos_utils import config
from pcos_utils.evaluation import plan, report, results, robustness, within
from pcos_utils.files import sha256
from pcos_utils.models import sweep

READERS = ("iustnet", "follicles")


@pytest.fixture(scope="module")
def trained(small):
    """The small study with IustNet trained; two stresses stand for seven."""
    study, table, place = small
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(place))
        patch.setattr(stress, "READERS", READERS)
        patch.setattr(stress, "NETWORKS", ("iustnet",))
        patch.setattr(stress.config, "study", lambda: study)
        for name in ("gamma", "blur", "speckle", "rotation", "crop"):
            patch.delitem(robustness.STRESSES, name)
        plan.write(study)
        report.save_runs(sweep.run("iustnet", study), study, "iustnet")
        results.simple_readers.cache_clear()
        yield study, table


def test_sources_are_drawn_alike_from_each_fold_and_class(trained):
    _, table = trained
    rows = stress.drawn(table, 14, 0)
    assert rows.groupby(["r0", "label"]).size().tolist() == [3] * 4 and rows.source.is_unique
    assert stress.drawn(table, 1000, 0).groupby(["r0", "label"]).size().tolist() == [6] * 4
    assert stress.drawn(table, 14, 0).equals(rows) and not stress.drawn(table, 14, 1).equals(rows)


@pytest.mark.parametrize("name", READERS)
def test_untouched_answers_are_those_of_the_sources_own_fold(trained, name):
    study, table = trained
    rows = stress.drawn(table, 16, 0)
    made = stress.stress(study, name, rows)
    judged = results.by_source(study, name).set_index("source")
    for stressed, untouched in (("gain", 1), ("JPEG", 0)):
        plain = made[(made.stress == stressed) & (made.severity == untouched)].set_index("source")
        assert sorted(plain.index) == sorted(rows.source)
        np.testing.assert_allclose(plain.logit, judged.logit[plain.index], atol=1e-3)
        assert (plain.called == judged.called[plain.index]).all()


def test_a_network_of_another_fold_is_found_out(trained):
    study, table = trained
    places = [stress.folder_of(study, "iustnet", fold) / "weights.safetensors" for fold in (0, 1)]
    kept = places[0].read_bytes()
    try:
        shutil.copyfile(places[1], places[0])
        with pytest.raises(config.StudyError, match="iustnet, fold 0, does not answer as its files say"):
            stress.stress(study, "iustnet", stress.drawn(table, 16, 0))
    finally:
        places[0].write_bytes(kept)


def test_the_script_writes_tables_figures_and_where_they_come_from(trained, tmp_path, monkeypatch, capsys):
    study, _ = trained
    monkeypatch.setattr(stress_report, "OUT", tmp_path)
    monkeypatch.setattr(stress_report, "README", tmp_path / "README.md")
    stress_report.README.write_text("Before.\n<!-- stress: made -->\nold\n<!-- /stress -->\nAfter.\n")
    monkeypatch.setattr("sys.argv", ["stress", "--sources", "16", "--explained", "8"])
    stress.main()
    made = stress_report.read()
    assert set(made["curves"].stress) == {"gain", "JPEG"} and (made["curves"].sources == 16).all()
    assert made["checks"].reader.unique().tolist() == ["iustnet"] and len(made["checks"]) == 9
    assert made["shares"].reader.tolist() == ["iustnet"] * 3 + ["follicles"]
    found = made["shares"].set_index("method").loc["map of follicles"]
    assert found.value > 3 * found.uniform  # the network that outlines follicles looks at follicles
    guideline = made["definitions"].query("follicles == 20 and criterion == 'follicles or volume'")
    auc = {name: stress.relabelled.flips(within.meetings(results.judged(study, name))).lowest[0] for name in READERS}
    assert guideline.moved.eq(0).all() and guideline.value.tolist() == pytest.approx(list(auc.values()), abs=1e-5)
    block = stress_report.markdown(made)
    assert capsys.readouterr().out.strip().endswith(block)
    wanted = f"Before.\n<!-- stress: made -->\n{block}\n<!-- /stress -->\nAfter.\n"
    assert stress_report.README.read_text() == wanted
    told = json.loads((tmp_path / "stress.json").read_text())
    weights = stress.folder_of(study, "iustnet", 1) / "weights.safetensors"
    assert told["iustnet"]["sha256"]["s0r0f1/weights.safetensors"] == sha256(weights)
    assert all(told[name]["study"] == "phantom-demo" and told[name]["commit"] for name in READERS)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"stress_curves", "stress_saliency", "stress_definitions"}
    assert pd.read_csv(tmp_path / "stress_flips.csv").flips.tolist() == [0, 1, 2] * 2


def test_the_rows_of_one_reader_are_replaced_and_those_of_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(stress_report, "OUT", tmp_path)
    monkeypatch.setattr(stress, "READERS", ("iustnet", "follicles"))
    made = lambda name, value: {"flips": pd.DataFrame({"reader": [name], "value": [value]}), "checks": None}  # noqa: E731
    for name, value in (("follicles", 1), ("iustnet", 2), ("follicles", 3)):
        stress_report.keep(made(name, value), name, {"seed": value})
    assert stress_report.read()["flips"].to_dict("list") == {"reader": ["iustnet", "follicles"], "value": [2, 3]}
    assert stress_report.read()["checks"].empty
    assert json.loads((tmp_path / "stress.json").read_text()) == {"follicles": {"seed": 3}, "iustnet": {"seed": 2}}
