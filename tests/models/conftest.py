"""A study that is ready to be trained."""

import pytest

from pcos_utils.files import write_csv, write_json
from pcos_utils.models import sweep


@pytest.fixture
def place(small, home, monkeypatch):
    """A PCOS_HOME with the small study's images, table and plan of one run, and no runs."""
    study, table, there = small
    (home / "data").symlink_to(there / "data")
    write_csv(study.report_dir / "sources.csv", table)
    write_json(study.plan_path, {})
    whole = sweep.plan(study)
    monkeypatch.setattr(sweep, "plan", lambda *_: whole.query("arm == 'ours'").head(1))
    return home
