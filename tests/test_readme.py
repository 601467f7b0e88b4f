"""The README says what the committed tables say, and its commands exist."""

import re
import subprocess

import pytest

from pcos_utils.config import ROOT, study
from pcos_utils.evaluation import report

TEXT = (ROOT / "README.md").read_text()


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """The demo's tables as committed: a run with a network, and so with ImageNet weights, may have replaced them."""
    monkeypatch.setenv("PCOS_HOME", str(tmp_path))
    folder = report.table_path(study(), "metrics").parent
    folder.mkdir(parents=True)
    for path in (ROOT / folder.relative_to(tmp_path)).glob("*.csv"):
        name = path.relative_to(ROOT).as_posix()
        done = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True)
        (folder / path.name).write_bytes(path.read_bytes() if done.returncode else done.stdout)


@pytest.mark.usefixtures("committed")
def test_the_answer_is_the_tables():
    stated = re.search(r"<!-- answer:.*?-->\n(.*)\n<!-- /answer -->", TEXT, re.DOTALL).group(1)
    assert stated == report.answer(study())


def test_every_make_target_that_it_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", TEXT)) - {"made"} <= targets


def test_every_file_that_it_links_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert len(links) >= 8 and [link for link in links if not (ROOT / link).exists()] == []
