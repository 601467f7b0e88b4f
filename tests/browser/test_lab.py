"""JupyterLab as a reader meets it: ``make lab``, each of the six notebooks opened, Run All, figures on the screen.

A finished demo, that of `make test`'s nbval or of `make reproduce`, is copied beside the notebooks, so that each shows
its result within a minute. Where none is finished yet the notebooks make it here, which takes as long as it takes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from selenium.common.exceptions import StaleElementReferenceException

from pcos_utils.config import ROOT, study
from tests.browser.window import outside
from tests.serving.made import free_port, running

NAMES = [path.name for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
PATIENCE = 900  # seconds for one notebook; with a finished demo and a quiet machine it takes about thirty
PROMPTS = "return [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')].map((one) => one.innerText)"


def finished() -> Path | None:
    """Where a finished demo lies: its last table is there."""
    name = study().name
    for place in (ROOT / ".nbval", ROOT):
        if (place / "reports" / name / "tables" / "metrics.csv").exists() and (place / "runs" / name).is_dir():
            return place
    return None


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the notebooks and, where there is one, a finished demo: all of it copies."""
    place, made = tmp_path_factory.mktemp("lab"), finished()
    shutil.copytree(ROOT / "notebooks", place / "notebooks", ignore=shutil.ignore_patterns(".*"))
    for room in ("data", "runs", "reports") if made else ():
        shutil.copytree(made / room / study().name, place / room / study().name)
    return place


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """JupyterLab's own files: settings, log, and what it tells of itself."""
    return tmp_path_factory.mktemp("jupyter")


@pytest.fixture(scope="module")
def lab(home, own) -> str:
    """The address of JupyterLab, started as ``make lab`` starts it but with settings and port of its own."""
    said = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = next(line for line in said.replace("\\\n", "").splitlines() if " -m jupyter lab" in line).split()
    port, settings = (
        free_port(),
        own / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings",
    )
    settings.parent.mkdir(parents=True)
    # Cells that are not on the screen stay in the page, where they can be looked at.
    settings.write_text(json.dumps({"windowingMode": "none"}))
    words = [sys.executable, *words[1:], f"--port={port}", "--ip=127.0.0.1", "--allow-root"]
    words += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
    places = {"CONFIG": "config", "DATA": "data", "RUNTIME": "runtime"}
    environment = os.environ | {f"JUPYTER_{name}_DIR": str(own / part) for name, part in places.items()}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(own / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(own / "spaces")}
    environment |= {"PCOS_HOME": str(home), "PYTHONPATH": str(ROOT), "PCOS_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    # In place of a browser: keeps the page that sends the browser to where JupyterLab opens.
    recorder = own / "browser"
    recorder.write_text(
        f'#!/bin/sh\ncat "${{1#file://}}" > {own / "page"} && mv {own / "page"} {own / "opened.html"}\n'
    )
    recorder.chmod(0o755)
    environment |= {"BROWSER": f"{recorder} %s"}
    environment.pop("PCOS_PLAIN", None)  # a reader sees the bars
    with running(words, f"http://127.0.0.1:{port}", own / "log.txt", cwd=home, env=environment) as address:
        yield address


@pytest.mark.usefixtures("lab")
def test_make_lab_opens_the_first_notebook(own):
    deadline = time.monotonic() + 60
    while not (own / "opened.html").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "/lab/tree/01_download.ipynb" in (own / "opened.html").read_text()


@pytest.mark.parametrize("name", NAMES, ids=[name[:2] for name in NAMES])
def test_a_notebook_runs_from_top_to_bottom(lab, home, window, name):
    window.open(f"{lab}/lab/tree/{name}?reset", ".jp-Notebook .jp-CodeCell")
    window.wait(".jp-MarkdownCell h1")
    time.sleep(1)  # stored outputs are drawn
    assert "Error displaying widget" not in window.wait(".jp-Notebook").text
    run_all(window)
    prompts = settled(window)
    said = [one.text for one in window.find(".Toastify__toast")]
    assert all("notified about official Jupyter news" in text for text in said), said  # JupyterLab's own first question
    window.script("(document.querySelector('.jp-RenderedImage') || document.querySelector('h1')).scrollIntoView()")
    window.picture(f"lab-{name[:2]}")
    assert prompts == [f"[{number}]:" for number in range(1, len(prompts) + 1)], prompts
    assert window.find(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']") == []
    assert "Error displaying widget" not in window.wait(".jp-Notebook").text
    sizes = window.script(
        "return [...document.querySelectorAll('.jp-RenderedImage img')].map((one) => one.naturalWidth * one.width)"
    )
    stored = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    outputs = [output for cell in stored.cells for output in cell.get("outputs", [])]
    assert len(sizes) == sum("image/png" in output.get("data", {}) for output in outputs) and all(sizes)
    assert outside(window.addresses()) == []
    end_kernels(lab)


def run_all(window) -> None:
    """Nothing; the menu's Run All Cells was chosen, and the cells wait for the kernel."""
    window.click(".lm-MenuBar-itemLabel", "Run")
    window.click("[data-command='runmenu:run-all'] .lm-Menu-itemLabel")
    deadline = time.monotonic() + 120
    while not any("*" in prompt for prompt in window.script(PROMPTS)):
        assert time.monotonic() < deadline, "no cell began to run"
        time.sleep(0.05)


def settled(window) -> list[str]:
    """The cells' prompts, once none waits any more and the kernel is idle."""
    deadline, idle = time.monotonic() + PATIENCE, ".jp-Notebook-ExecutionIndicator[data-status='idle']"
    while time.monotonic() < deadline:
        try:
            prompts = window.script(PROMPTS)
            if not any("*" in prompt for prompt in prompts) and window.find(idle):
                return [re.sub(r"\s", "", prompt) for prompt in prompts]
        except StaleElementReferenceException:
            pass
        time.sleep(0.5)
    pytest.fail(f"after {PATIENCE} s cells still wait: {prompts}", pytrace=False)


def end_kernels(lab: str) -> None:
    """Nothing; no kernel runs any more."""
    for session in json.load(urllib.request.urlopen(f"{lab}/api/sessions")):
        request = urllib.request.Request(f"{lab}/api/sessions/{session['id']}", method="DELETE")
        urllib.request.urlopen(request).close()
