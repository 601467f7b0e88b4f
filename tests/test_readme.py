"""The README says what the committed tables say, and its commands exist."""

import re

from pcos_utils.config import ROOT, study
from pcos_utils.evaluation import report

TEXT = (ROOT / "README.md").read_text()


def test_the_answer_is_the_tables(monkeypatch):
    monkeypatch.setenv("PCOS_HOME", str(ROOT))
    stated = re.search(r"<!-- answer:.*?-->\n(.*)\n<!-- /answer -->", TEXT, re.DOTALL).group(1)
    assert stated == report.answer(study())


def test_every_make_target_that_it_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", TEXT)) - {"made"} <= targets


def test_every_file_that_it_links_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert len(links) >= 8 and [link for link in links if not (ROOT / link).exists()] == []
