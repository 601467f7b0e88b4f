"""What several tests share: a small study on phantoms, in a folder of its own."""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from pcos_utils import cli, config
from pcos_utils.audit.sources import find_sources
from pcos_utils.data import download, splits
from pcos_utils.evaluation import plan, predictions, tables
from pcos_utils.files import sha256, write_csv, write_json
from pcos_utils.follicles import counts
from pcos_utils.models import sweep
from pcos_utils.reporting import store


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty place for data, runs and reports."""
    monkeypatch.setenv("PCOS_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def pcos(home, monkeypatch, capfd):
    """Call the command line in an empty folder, which is home too; return exit code, output and errors."""
    monkeypatch.chdir(home)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["pcos", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capfd.readouterr()

    return call


def refused(words: str, call, *given, **how) -> None:
    """Check that a call ends with a study's sentence that holds these words, a regular expression."""
    with pytest.raises(config.StudyError, match=words) as caught:
        call(*given, **how)
    assert "\n" not in str(caught.value)


def python(code: str, *more: str, **how) -> subprocess.CompletedProcess:
    """Return what a Python of its own says to some code; it must end well."""
    done = subprocess.run([sys.executable, "-c", code, *more], capture_output=True, text=True, **how)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.fixture(scope="session")
def untouched(tmp_path_factory) -> tuple[config.Study, pd.DataFrame, Path]:
    """A study of 24 phantoms at 32 pixels with its drawn table, and its folder, which no test may write to."""
    place = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(place))
        study = config.study(phantoms_per_class=12, image_side=32, folds=2, epochs=2, weights="none")
        table = splits.draw(find_sources(download.prepare(study), study.image_dir), study)
        write_csv(study.report_dir / "sources.csv", table)
        write_json(study.plan_path, {"supersedes": []})
    return study, table, place


@pytest.fixture(scope="module")
def small(untouched, tmp_path_factory) -> tuple[config.Study, pd.DataFrame, Path]:
    """The small study in a folder of each module's own, which PCOS_HOME must name: no module sees another's plan."""
    study, table, place = untouched
    return study, table, shutil.copytree(place, tmp_path_factory.mktemp("small") / "home")


@pytest.fixture(scope="session")
def evaluated(untouched, tmp_path_factory) -> tuple[config.Study, dict[str, pd.DataFrame], Path]:
    """The small study with IustNet trained, the follicles counted and all evaluated, its tables, and its home.

    No test may write to it but with ``spoiled``, which puts back what was there.
    """
    study, _, place = untouched
    home = shutil.copytree(place, tmp_path_factory.mktemp("evaluated") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(home))
        plan.write(study)
        counts.run(study)
        store.save_runs(sweep.run("iustnet", study), study, "iustnet")
        results = evaluate(study)
        store.save_tables(results, study)
    return study, results, home


def evaluate(study: config.Study) -> dict[str, pd.DataFrame]:
    """Return the tables of a study, with few resamples."""
    return tables.evaluate(loaded := predictions.load(study), tables.judge(loaded), resamples=300)


@contextmanager
def spoiled(path: Path, table: pd.DataFrame, *, hidden: bool = False):
    """Put another table into ``path`` for a while; ``hidden``: run.json vouches for it, as a careful hand would do."""
    record = path.with_name("run.json")
    contents = {place: place.read_bytes() for place in (path, record) if place.exists()}
    try:
        write_csv(path, table)
        if hidden:
            facts = json.loads(contents[record])
            write_json(record, facts | {"files": facts["files"] | {path.name: sha256(path)}})
        yield
    finally:
        for place, content in contents.items():
            place.write_bytes(content)
