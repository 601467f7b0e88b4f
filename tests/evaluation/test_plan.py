"""A plan binds from the first result on, and a changed one names those before it."""

import json

import pytest

from pcos_utils.evaluation import plan
from pcos_utils.files import sha256, write_csv, write_json
from pcos_utils.reporting import sentences_results as sentences


@pytest.fixture
def study(small, monkeypatch):
    """The small study, planned with nothing trained."""
    made, table, place = small
    monkeypatch.setenv("PCOS_HOME", str(place))
    plan.write(made)
    yield made, table
    for path in (made.runs_dir / "run.json", made.report_dir / "tables" / "metrics.csv"):
        path.unlink(missing_ok=True)


def test_the_same_plan_is_left_as_it_is_and_without_results_a_changed_one_replaces_it(study):
    before = study[0].plan_path.stat().st_mtime_ns
    assert plan.write(study[0])["supersedes"] == [] and study[0].plan_path.stat().st_mtime_ns == before
    assert "before anything was trained" in sentences.planned(study[0])
    assert plan.write(study[0].model_copy(update={"epochs": 3}))["supersedes"] == []


@pytest.mark.parametrize("result", ["run", "scores without their runs"])
def test_after_results_a_changed_plan_names_the_old_and_the_report_says_so(study, result):
    made, table = study
    first = sha256(made.plan_path)
    if result == "run":
        write_json(made.runs_dir / "run.json", {"plan_sha256": first, "study": {"seed": made.seed}, "files": {}})
    else:
        write_csv(made.report_dir / "tables" / "metrics.csv", table)
    plan.write(made.model_copy(update={"epochs": 4}))
    assert json.loads(made.plan_path.read_text())["supersedes"] == [first]
    assert "changed after results were there" in sentences.planned(made)
    made.plan_path.unlink()  # a next test begins without a plan
