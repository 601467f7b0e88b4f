"""Runs are executed once, guarded, and leave the four files that later rooms read."""

import json
import shutil

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from pcos_utils import config, files
from pcos_utils.data import images
from pcos_utils.files import write_csv
from pcos_utils.models import architectures, devices, frozen, recipes, run, runs, sweep
from tests.models.made import contents


@pytest.fixture(scope="module")
def ran(small):
    """The small study with IustNet's runs done."""
    study, table, place = small
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(place))
        yield study, table, sweep.run("iustnet", study)


def test_the_runs_are_the_published_split_and_every_fold_and_leave_what_later_rooms_read(ran):
    study, table, runs = ran
    assert runs.protocol.tolist() == sweep.plan(study).protocol.tolist() == ["published", "grouped", "grouped"]
    for one in runs.itertuples():
        folder = study.run_dir("iustnet", one)
        record, predictions = json.loads((folder / "run.json").read_text()), pd.read_csv(folder / "predictions.csv")
        assert record["crossings"] == 0 and record["packages"]["torch"] and record["start"] == "random"
        wanted = {"test"} if one.protocol == "published" else {"selection", "test"}
        assert set(predictions.role) == wanted and predictions.probability.between(0, 1).all()
        assert len(pd.read_csv(folder / "history.csv")) == 2
        assert record["plan_sha256"] == files.sha256(study.plan_path)
        assert record["files"]["predictions.csv"] == files.sha256(folder / "predictions.csv")
        assert len(load_file(folder / "weights.safetensors")) == 10
    grouped = runs[runs.protocol == "grouped"]
    assert grouped.test_sources.sum() == (table.used == "yes").sum() == 24


def test_finished_runs_are_read_and_changed_ones_trained_again(ran, monkeypatch, capsys):
    study, _, runs = ran
    first = study.run_dir("iustnet", next(runs.itertuples())) / "weights.safetensors"
    before = first.stat().st_mtime_ns
    assert sweep.run("iustnet", study).equals(runs) and first.stat().st_mtime_ns == before
    assert "trained again" not in capsys.readouterr().out
    study, threads = study.model_copy(update={"epochs": 1}), run.torch.get_num_threads()
    sweep.run("iustnet", study)
    assert first.stat().st_mtime_ns != before
    assert "iustnet: 3 of 3 runs are finished but trained again, since they differ in study" in capsys.readouterr().out
    # Another number of threads is named with the one that keeps the runs.
    monkeypatch.setattr(run.torch, "get_num_threads", lambda: 17)
    digest = files.sha256(study.report_dir / "sources.csv")
    jobs = [run.Job("iustnet", study, one, devices.Engine(), digest, "random") for one in study.runs("ours", "grouped")]
    sweep._say_what_changed("iustnet", jobs)
    said = capsys.readouterr().out
    assert f"({threads} then, 17 now); OMP_NUM_THREADS={threads} keeps them" in said and said.count("\n") == 1


def test_a_source_made_to_cross_or_a_missing_plan_stops_before_training(small, place):
    study, table, _ = small
    crossed = dict(source=[table.source[0]] * 2 + [*table.source[2:]], r0=[0, 1, *table.r0[2:]])
    write_csv(study.report_dir / "sources.csv", table.assign(**crossed))
    with pytest.raises(config.StudyError, match=r"1 source\(s\) have images on both sides of a split"):
        sweep.run("iustnet", study)
    study.plan_path.unlink()
    with pytest.raises(config.StudyError, match="plan.json.*without a plan"):
        sweep.run("iustnet", study)
    assert not list(study.runs_dir.glob("*/ours/**/weights.safetensors"))


def test_a_full_study_needs_a_gpu_or_is_smaller_where_it_is_trained_from_scratch(monkeypatch):
    """The published recipe stays as published, and an image side or epochs that the user names stay, too."""
    fast, slow = config.study("full"), config.study("full", allow_cpu=True)
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: False)
    with pytest.raises(config.StudyError, match="driver 580.*ALLOW_CPU=1"):
        devices.choose_device(fast)
    assert devices.choose_device(slow) == "cpu"
    for model, side in (("iustnet", 64), ("densenet121d", 128), ("densenet201", 224)):
        ours = [recipes.recipe(model, "ours", study) for study in (slow, fast)]
        assert (ours[0].side, ours[1].side) == (side, 224)
        assert ours[0].epochs < ours[1].epochs or model != "iustnet"
        assert recipes.recipe(model, "published", slow) == recipes.recipe(model, "published", fast)
    named = recipes.recipe("iustnet", "ours", config.study("full", allow_cpu=True, image_side=96, epochs=50))
    assert (named.side, named.epochs) == (96, 50)
    assert recipes.recipe("iustnet", "ours", config.study(allow_cpu=True)).side == 72  # the demo's own


def test_a_sweep_is_of_one_table_whatever_becomes_of_the_file_meanwhile(ran, monkeypatch):
    study, table, _ = ran
    path, execute, seen = study.report_dir / "sources.csv", runs.execute, []

    def rewriting(job, *given):
        seen.append(job.sources_sha256)
        path.write_text(path.read_text() + "\n")
        return execute(job, *given)

    kept = path.read_bytes()
    monkeypatch.setattr(runs, "execute", rewriting)
    try:
        sweep.run("iustnet", study)
    finally:
        path.write_bytes(kept)
    assert len(seen) == 3 and set(seen) == {files.sha256(path)}


def test_a_run_is_made_again_when_anything_changes_that_decides_it(ran, monkeypatch):
    run_of = next(ran[0].runs("ours", "grouped"))
    job = run.Job("densenet201", ran[0], run_of, devices.Engine(), "sources", "file a")
    before = job.settings
    assert job._replace(start="file b").settings != before == job.settings
    for module, name in ((run.files, "code"), (run.torch, "get_num_threads")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda *modules: 17)
            assert job.settings != before
    assert {"data/splits.py", "data/pixels.py"} < set(run.CODE)
    assert all((files.PACKAGE / module).is_file() for module in (*run.CODE, *frozen.CODE))


def test_inner_folds_take_turns_to_select(ran):
    study, table = ran[0].model_copy(update={"inners": 3, "epochs": 1}), ran[1]
    grouped = sweep.run("iustnet", study).query("protocol == 'grouped'")
    folders = [study.run_dir("iustnet", one) for one in grouped.itertuples()]
    assert len(grouped) == len(set(folders)) == 6
    for fold in (0, 1):
        of_fold = [folder for folder, of in zip(folders, grouped.fold, strict=True) if of == fold]
        rows = pd.concat([pd.read_csv(folder / "predictions.csv") for folder in of_fold])
        selected, tested = rows[rows.role == "selection"], rows[rows.role == "test"]
        outside = table.source[(table.used == "yes") & (table.r0 != fold)]
        assert sorted(selected.source) == sorted(outside)  # each training source once
        assert not set(selected.source) & set(tested.source) and tested.groupby("source").size().eq(3).all()


@pytest.mark.slow
def test_frozen_features_are_computed_once_for_all_runs(ran, monkeypatch):
    study, calls, extract = ran[0].model_copy(update={"epochs": 1}), [], frozen.extract
    monkeypatch.setattr(frozen, "extract", lambda *given, **named: calls.append(1) or extract(*given, **named))
    runs = sweep.run("densenet201", study)
    assert len(calls) == 2  # the pictures themselves, and their changes
    ours = next(one for one in runs.itertuples() if one.arm == "ours")
    folder = study.run_dir("densenet201", ours)
    assert len(load_file(folder / "weights.safetensors")) == 2  # the head alone
    network = frozen.trained("densenet201", study, folder).eval()
    rows = pd.read_csv(folder / "predictions.csv").head(3)
    pixels = images.stack([study.image_dir / name for name in rows.image], study.image_side)
    with torch.inference_mode():
        logits = network(architectures.prepare("densenet201", torch.from_numpy(pixels))).squeeze(1)
    assert logits.tolist() == pytest.approx(rows.logit.tolist(), abs=1e-4)


@pytest.mark.slow
def test_a_head_starts_the_same_whichever_run_a_process_begins_with(ran):
    study, of_model = ran[0].model_copy(update={"epochs": 1}), ran[0].runs_dir / "densenet201"
    first, second = (study.run_dir("densenet201", one) for one in sweep.plan(study).iloc[1:].itertuples())
    told = []
    for folders in ((first, second, of_model / "features"), (second,)):
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        sweep.run("densenet201", study)
        told.append(contents(second))
    assert told[0] == told[1] and first.exists()
