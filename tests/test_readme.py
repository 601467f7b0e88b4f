"""The README says what the committed tables say, and its commands exist."""

import json
import re
import subprocess
from importlib import import_module

import pandas as pd
import pytest

from pcos_utils.config import ROOT
from pcos_utils.reporting import readme
from pcos_utils.reporting.sentences_results import FIRST_PLAN
from studies import audit_planted, sample_size

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {page: page.read_text(encoding="utf-8") for page in readme.PAGES}


def stated(name: str) -> str:
    (text,) = (text for text in PAGES.values() if f"<!-- {name}:" in text)
    return re.search(rf"<!-- {name}:.*?-->\n(.*)\n<!-- /{name} -->", text, re.DOTALL).group(1)


def table(name: str) -> pd.DataFrame:
    """Return a committed table of a side study; the audit's lie beside its scripts."""
    folder = ROOT / ("" if name.startswith("studies/") else "reports/studies")
    return pd.read_csv(folder / f"{name}.csv")


@pytest.fixture
def committed(tmp_path):
    """The reports as committed: a run with a network, and so with ImageNet weights, may have replaced them."""
    known = subprocess.run(["git", "cat-file", "-e", "HEAD:reports/README.md"], cwd=ROOT, capture_output=True)
    if known.returncode and (ROOT / "reports/phantom-demo/notebooks").exists():
        pytest.skip("without git, and after a run of the demo, what was committed is not known")
    for name, folder in readme.reports().items():
        (tmp_path / name / "tables").mkdir(parents=True)
        for part in ("plan.json", "tables/metrics.csv", "tables/comparisons.csv", FIRST_PLAN):
            place = f"HEAD:{(folder / part).relative_to(ROOT)}"
            done = subprocess.run(["git", "show", place], cwd=ROOT, capture_output=True)
            if done.returncode == 0 or (folder / part).exists():
                content = (folder / part).read_bytes() if done.returncode else done.stdout
                (tmp_path / name / part).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("name", readme.reports())
def test_the_answers_are_those_of_the_tables(committed, name):
    assert stated(name) == readme.block(committed / name)


def test_the_findings_are_those_of_the_tables_and_no_block_is_empty():
    assert stated("findings") == readme.findings() and stated("caption") == readme.caption() and len(TEXT) <= 8000
    names = re.findall(r"<!-- ([\w-]+): ", "".join(PAGES.values()))
    assert len(names) > 15 and [name for name in names if not stated(name).strip()] == []


def test_every_make_target_that_it_names_and_every_file_that_it_links_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", "\n".join(PAGES.values()), re.MULTILINE)) <= targets
    links = [(page.parent / link) for page, text in PAGES.items() for link in re.findall(r"\]\(([^)#:]+)\)", text)]
    assert len(links) >= 8 and [link for link in links if not link.exists()] == []


@pytest.mark.parametrize(("name", "script", "tables"), [
    ("benchmark", "audit_planted", ["studies/audit_planted", "studies/audit_planted_recall"]),
    ("clips", "audit_clips", ["studies/audit_clips"]),
    ("simulator", "simulator_fit", ["simulator_fit"]),
    ("learning-curves", "curves_report", [f"learning_curves{part}" for part in ("", "_differences", "_worth")]),
    ("stress", "stress", ["stress_curves", "stress_definitions"]),
    *((name, name.replace("-", "_"), [name.replace("-", "_")])
      for name in ("training", "real-answers", "locate-frames", "answering", "refusals", "uploads")),
])  # fmt: skip
def test_a_side_study_says_what_its_tables_say(name, script, tables):
    assert stated(name).strip() == import_module(f"studies.{script}").block(*map(table, tables))


def test_sample_sizes_and_the_audit_at_full_size_are_those_of_the_tables_and_of_the_formulas():
    told, facts = table("sample_size"), json.loads((sample_size.OUT / "sample_size.json").read_text())
    assert stated("sample-size").strip() == sample_size.block(told, facts)
    pd.testing.assert_frame_equal(told, sample_size.needed(), atol=1e-4, check_dtype=False)
    assert stated("alone") == audit_planted.sentence(table("studies/audit_planted_alone"))
