"""The report says what the tables say, opens without a network, and never holds a real pixel."""

import re
import subprocess
import zlib

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcos_utils import config
from pcos_utils.data import audit, splits
from pcos_utils.evaluation import leakage, metrics, page, plan, readings, report, results, shortcuts
from pcos_utils.evaluation.paper import pictures
from pcos_utils.files import write_csv
from pcos_utils.models import sweep

matplotlib.use("agg")


def described(study, table):
    """Nothing: the tables that notebook 02 writes are there."""
    report.save_table(audit.summary(table), study, "audit")
    measured = shortcuts.measure(table, study.image_dir)
    report.save_table(shortcuts.separation(measured, resamples=study.resamples), study, "shortcuts")
    write_csv(study.report_dir / "sources.csv", table)


@pytest.fixture(scope="module")
def evaluated(small):
    """The small study with IustNet trained and evaluated."""
    study, table, place = small
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(place))
        described(study, table)
        plan.write(study)
        report.save_runs(sweep.run("iustnet", study), study, "iustnet")
        yield study, table, results.evaluate(study)


def test_each_source_is_judged_once_and_metrics_have_n(evaluated):
    study, table, made = evaluated
    test = report.predictions(study, "iustnet", "grouped")
    assert sorted(test.source) == sorted(table.source[table.used == "yes"])
    table = made["metrics"]
    assert set(table.level) == {"source", "image"} and set(table.protocol) == {"grouped", "published"}
    assert table[table.protocol == "grouped"].sources.eq(24).all()
    assert {"iustnet", "follicles", "local_contrast"} <= set(table.model)


def test_a_missing_fold_is_named(evaluated):
    study, _, _ = evaluated
    path = next((study.runs_dir / "iustnet").glob("ours/**/predictions.csv"))
    kept = path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(config.StudyError, match="1 of 2 runs under the grouped protocol"):
            report.predictions(study, "iustnet", "grouped")
    finally:
        kept.rename(path)


def test_swapping_the_labels_turns_the_auc_around(evaluated):
    study, _, made = evaluated
    judged = results.by_source(study, "iustnet")
    value = results.main_rows(made["metrics"]).set_index(["model", "metric"]).value["iustnet", "auc_pooled"]
    turned = metrics.auc(1 - judged.label.to_numpy(), judged.probability.to_numpy(), np.ones(len(judged)))
    assert turned == pytest.approx(1 - value)


def test_a_shuffled_prediction_file_is_named(evaluated):
    study, _, _ = evaluated
    path = next((study.runs_dir / "iustnet").glob("ours/**/predictions.csv"))
    before = path.read_bytes()
    try:
        table = pd.read_csv(path)
        write_csv(path, table.assign(logit=table.logit.to_numpy()[::-1]))
        with pytest.raises(config.StudyError, match="predictions.csv is not what its run wrote"):
            report.predictions(study, "iustnet", "grouped")
    finally:
        path.write_bytes(before)


def test_the_report_holds_the_answers_and_asks_nothing_of_the_network(evaluated):
    study, _, made = evaluated
    figure, ax = plt.subplots()
    ax.plot([0, 1])
    report.show(figure, study, "1_line", "A **rising** line.")
    text = page.build(study, made).read_text()
    assert (
        readings.model_sentence("iustnet", made["metrics"]).split(". **")[0] in text
        and "A <strong>rising</strong> line." in text
    )
    assert config.CAVEAT in text and "synthetic" in text and "data:image/png;base64," in text
    assert "24 readable images show 24 pictures" in text and "No source picture carries both labels" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)


def noise(name: str) -> np.ndarray:
    """A picture that goes with a name alone."""
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, 255, (80, 120, 3), np.uint8)


def test_with_too_few_sources_the_report_describes_and_gives_no_score(evaluated, home):
    study, table, _ = evaluated
    few = table[table.groupby("label").cumcount() < 4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortcuts, "load", lambda path: np.full((40, 60, 3), len(str(path)), np.uint8))
        patch.setattr(leakage, "load", lambda path: noise(str(path)))
        described(study, splits.draw(few.drop(columns=["used", "split", "r0"]), study))
        with pytest.raises(config.TooFewSources, match="4 polycystic and 4 normal"):
            page.need_test_set(study)
    text = (study.report_dir / "report.html").read_text()
    assert "8 readable images show 8 pictures" in text and "a test set needs 6 of each class" in text
    assert "cannot be estimated" in text and 'id="figure-8_leakage"' in text
    assert "Results on held-out sources" not in text and "recall" not in text
    assert 'id="table-data"' in text and 'id="table-performance"' not in text and "no reader is judged" in text
    inside = set(re.findall(r'href="#([^"]+)"', text))
    assert inside and inside <= set(re.findall(r'id="([^"]+)"', text))


@pytest.mark.parametrize("models", ["iustnet", "follicles"])
def test_a_report_of_some_models_speaks_of_those_alone(evaluated, models):
    study, _, _ = evaluated
    some = study.model_copy(update={"models": (models,)})
    table = report.table_path(study, "runs_iustnet")
    away = table.rename(table.with_suffix(".away")) if models == "follicles" else None
    try:
        text = page.build(some, results.evaluate(some)).read_text()
    finally:
        if away:
            away.rename(table)
    other = {"iustnet": "follicles", "follicles": "iustnet"}[models]
    assert f'id="card-{models}"' in text and f'id="card-{other}"' not in text
    inside = set(re.findall(r'href="#([^"]+)"', text))
    assert inside <= set(re.findall(r'id="([^"]+)"', text))


def test_figures_carry_their_provenance(evaluated):
    study, _, _ = evaluated
    figure, _ = plt.subplots()
    report.show(figure, study, "2_empty", "Nothing.")
    note = Image.open(study.report_dir / "figures" / "2_empty.png").text["Description"]
    assert "phantom-demo, seed 0, synthetic" in note and "manifest.csv" in note
    assert "phantom-demo" in (study.report_dir / "figures" / "2_empty.svg").read_text()


def test_real_pixels_stay_in_the_folder_that_git_ignores(small, home, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    study = config.study(data=str(folder))
    for name, pixels in (("plain", False), ("pictures", True)):
        figure, _ = plt.subplots()
        report.show(figure, study, name, "Reading.", pixels=pixels)
    assert {path.stem for path in (study.report_dir / "figures").iterdir()} == {"plain"}
    cards = {card["name"]: card for card in pictures.cards(study)}
    assert "data" in cards["plain"] and cards["pictures"]["link"] == "local/pictures.png"
    assert "data" not in cards["pictures"]
    _, table, _ = small
    few = splits.draw(table[table.groupby("label").cumcount() < 4].drop(columns=["used", "split", "r0"]), study)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortcuts, "load", lambda path: np.full((40, 60, 3), len(str(path)), np.uint8))
        patch.setattr(leakage, "load", lambda path: noise(str(path)))
        described(study, few)
        with pytest.raises(config.TooFewSources):
            page.need_test_set(study)
    text = (study.report_dir / "report.html").read_text()
    assert text.count("<img") == 2 and 'href="local/pictures.png"' in text and "Known to its owner" in text
    assert 'href="local/notebooks/02_explore.html"' in text and "synthetic phantoms</strong>" not in text


def test_git_ignores_every_report_of_real_data():
    names = ["reports/local-scans-demo/report.html", "reports/phantom-demo/local/x.png", "data/a/b.jpg", "runs/a"]
    done = subprocess.run(["git", "check-ignore", *names], cwd=config.ROOT, capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("not a git checkout")
    assert done.stdout.split() == names


def test_seconds_never_reach_a_table(evaluated):
    study, _, _ = evaluated
    for path in (study.report_dir / "tables").glob("*.csv"):
        assert ("seconds" in pd.read_csv(path).columns) == (path.stem == "timings")
    assert np.isfinite(pd.read_csv(report.table_path(study, "timings")).seconds).all()
