"""The README says what the committed tables say, and its commands exist."""

import json
import re
import subprocess

import pandas as pd
import pytest

from benchmarks import (
    ablations,
    audit_planted,
    densenet121d_folds,
    equal_quality,
    phantom_weights,
    stress_report,
    training_report,
)
from pcos_utils import runner
from pcos_utils.config import ROOT
from pcos_utils.evaluation import unfitted

TEXT = (ROOT / "README.md").read_text()


@pytest.fixture
def committed(tmp_path):
    """The reports as committed: a run with a network, and so with ImageNet weights, may have replaced them."""
    for name in runner.ANSWERS.values():
        (tmp_path / name / "tables").mkdir(parents=True)
        tables = [f"tables/{table}.csv" for table in ("metrics", "comparisons", "gains", "unfitted")]
        for part in ("plan.json", *tables):
            done = subprocess.run(["git", "show", f"HEAD:reports/{name}/{part}"], cwd=ROOT, capture_output=True)
            there = ROOT / "reports" / name / part
            (tmp_path / name / part).write_bytes(there.read_bytes() if done.returncode else done.stdout)
    return tmp_path


@pytest.mark.parametrize("block", runner.ANSWERS)
def test_the_answers_are_those_of_the_tables(committed, block):
    stated = re.search(rf"<!-- {block}:.*?-->\n(.*)\n<!-- /{block} -->", TEXT, re.DOTALL).group(1)
    assert stated == unfitted.block(committed / runner.ANSWERS[block])


def test_every_make_target_that_it_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", TEXT)) - {"made"} <= targets


def test_every_file_that_it_links_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert len(links) >= 8 and [link for link in links if not (ROOT / link).exists()] == []


def test_the_benchmark_is_the_one_in_its_tables():
    tables = [pd.read_csv(ROOT / "benchmarks" / f"audit_{name}.csv") for name in ("planted", "planted_recall")]
    block = TEXT.split("<!-- benchmark:")[1].split("-->", 1)[1].split("<!-- /benchmark -->")[0]
    assert block.strip() == audit_planted.markdown(*tables)


@pytest.mark.parametrize("name", ["training", "training_float32"])
def test_the_training_ratios_are_those_of_its_table(name):
    table = pd.read_csv(ROOT / "reports" / "benchmarks" / f"{name}.csv")
    block = TEXT.split(f"<!-- {name}:")[1].split("-->", 1)[1].split(f"<!-- /{name} -->")[0]
    assert block.strip() == training_report.markdown(table) and training_report.name_of(table) == name


def test_what_speed_costs_is_what_its_table_says():
    table = pd.read_csv(ROOT / "reports" / "benchmarks" / "equal_quality.csv")
    block = TEXT.split("<!-- equal-quality:")[1].split("-->", 1)[1].split("<!-- /equal-quality -->")[0]
    assert block.strip() == equal_quality.block(table)


def test_what_densenet121d_shows_is_what_its_tables_say():
    tables = [pd.read_csv(path) for path in sorted((ROOT / "reports" / "benchmarks").glob("densenet121d_*.csv"))]
    block = TEXT.split("<!-- densenet121d:")[1].split("-->", 1)[1].split("<!-- /densenet121d -->")[0]
    assert block.strip() == densenet121d_folds.block(*tables)


@pytest.mark.parametrize(
    ("name", "files"), [("ablations", ["ablations"]), ("phantom-weights", ["", "_pairs", "_leanings"])]
)
def test_what_phantoms_teach_is_what_the_tables_say(name, files):
    script = ablations if name == "ablations" else phantom_weights
    stem = "" if name == "ablations" else "phantom_weights"
    tables = [pd.read_csv(ROOT / "reports" / "benchmarks" / f"{stem}{part}.csv") for part in files]
    block = TEXT.split(f"<!-- {name}:")[1].split("-->", 1)[1].split(f"<!-- /{name} -->")[0]
    assert block.strip() == script.block(*tables)


def test_what_breaks_the_readers_is_what_its_tables_say():
    block = TEXT.split("<!-- stress:")[1].split("-->", 1)[1].split("<!-- /stress -->")[0]
    assert block.strip() == stress_report.markdown(stress_report.read())


def test_the_numbers_about_the_public_sets_are_those_of_the_audit():
    summary = json.loads((ROOT / "benchmarks" / "audit_public.json").read_text())
    a, b = (summary[name]["summary"] for name in ("dataset-a", "dataset-b"))
    assert f"{a['readable images']:,} readable images" in TEXT and a["source pictures"] == 8
    assert (a["polycystic sources"], a["normal sources"]) == (4, 4) and "**eight pictures**, four of each class" in TEXT
    assert a["sources in both the train and the test folder"] == 8 and "all eight stand in its train folder" in TEXT
    assert b["images of the most copied source"] == 3 and b["sources that carry both labels"] == 1
    assert f"In {b['readable images']} frames of Dataset B, three are one picture, and one picture carries" in TEXT
