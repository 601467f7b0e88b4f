"""JupyterLab as a reader meets it: ``make lab``, each of the six notebooks opened, Run All, figures on the screen.

A finished demo, that of `make test-all`'s nbval or of `make reproduce`, is copied beside the notebooks, so that each
shows its result within a minute. Where none is finished yet the notebooks make it here.
"""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from pcos_utils.config import ROOT, study
from tests.browser.conftest import outside
from tests.serving.made import free_port, running

pytestmark = pytest.mark.slow
NAMES = [path.name for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
PATIENCE = 900  # seconds for one notebook; with a finished demo and a quiet machine it takes about thirty
PROMPTS = "return [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')].map((cell) => cell.innerText)"
WIDTHS = "return [...document.querySelectorAll('.jp-RenderedImage img')].map((img) => img.naturalWidth * img.width)"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the notebooks and, where there is one, a finished demo: all of it copies."""
    home, name = tmp_path_factory.mktemp("lab"), study().name
    shutil.copytree(ROOT / "notebooks", home / "notebooks", ignore=shutil.ignore_patterns(".*"))
    for place in (ROOT / ".nbval", ROOT):
        # The last table of a finished demo is there.
        if (place / "reports" / name / "tables" / "metrics.csv").exists() and (place / "runs" / name).is_dir():
            for room in ("data", "runs", "reports"):
                shutil.copytree(place / room / name, home / room / name)
            break
    return home


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory) -> Path:
    """The folder of JupyterLab's settings, its log, and the page that it opens."""
    return tmp_path_factory.mktemp("jupyter")


@pytest.fixture(scope="module")
def lab(home, jupyter) -> str:
    """The address of JupyterLab, started as ``make lab`` starts it but with settings and port of its own."""
    recipe = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = next(line for line in recipe.replace("\\\n", "").splitlines() if " -m jupyterlab" in line).split()
    port, settings = free_port(), jupyter / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # Cells that are not on the screen stay in the page, where they can be looked at.
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    command = [sys.executable, *command[1:], f"--port={port}", "--ip=127.0.0.1", "--allow-root"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
    # In place of a browser: keeps the page that sends the browser to where JupyterLab opens.
    recorder, page, opened = (jupyter / name for name in ("browser", "page", "opened.html"))
    recorder.write_text(f'#!/bin/sh\ncat "${{1#file://}}" > {page} && mv {page} {opened}\n')
    recorder.chmod(0o755)
    environment = {f"JUPYTER_{name}_DIR": str(jupyter / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment |= {
        "JUPYTERLAB_SETTINGS_DIR": str(jupyter / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(jupyter / "spaces"),
        "PCOS_HOME": str(home), "PCOS_OFFLINE": "1", "BROWSER": f"{recorder} %s",
        "PCOS_PLAIN": None,  # a reader sees the bars
    }  # fmt: skip
    log, address = jupyter / "log.txt", f"http://127.0.0.1:{port}"
    with running(command, address, log, cwd=home, environment=environment):
        yield address


@pytest.mark.usefixtures("lab")
def test_make_lab_opens_the_first_notebook(jupyter):
    deadline = time.monotonic() + 60
    while not (jupyter / "opened.html").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "/lab/tree/01_download.ipynb" in (jupyter / "opened.html").read_text()


@pytest.mark.parametrize("name", NAMES, ids=[name[:2] for name in NAMES])
def test_a_notebook_runs_from_top_to_bottom(lab, window, name):
    window.open(f"{lab}/lab/tree/{name}?reset", ".jp-Notebook .jp-CodeCell")
    window.wait(".jp-MarkdownCell h1")
    time.sleep(1)  # stored outputs are drawn
    assert "Error displaying widget" not in window.wait(".jp-Notebook").text
    window.click(".lm-MenuBar-itemLabel", "Run")
    window.click("[data-command='runmenu:run-all'] .lm-Menu-itemLabel")
    window.until(lambda: any("*" in prompt for prompt in window.script(PROMPTS)), 120)  # cells wait for the kernel
    idle = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
    window.until(lambda: not any("*" in prompt for prompt in window.script(PROMPTS)) and window.find(idle), PATIENCE)
    toasts = [toast.text for toast in window.find(".Toastify__toast")]
    assert all("notified about official Jupyter news" in text for text in toasts), toasts  # JupyterLab's own question
    window.script("(document.querySelector('.jp-RenderedImage') || document.querySelector('h1')).scrollIntoView()")
    window.picture(f"lab-{name[:2]}")
    prompts = [re.sub(r"\s", "", prompt) for prompt in window.script(PROMPTS)]
    assert prompts == [f"[{number}]:" for number in range(1, len(prompts) + 1)], prompts
    assert window.find(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']") == []
    assert "Error displaying widget" not in window.wait(".jp-Notebook").text
    widths = window.script(WIDTHS)
    stored = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    outputs = [output for cell in stored.cells for output in cell.get("outputs", [])]
    assert len(widths) == sum("image/png" in output.get("data", {}) for output in outputs) and all(widths)
    assert outside(window.addresses()) == []
    for session in json.load(urllib.request.urlopen(f"{lab}/api/sessions")):  # end the kernels
        request = urllib.request.Request(f"{lab}/api/sessions/{session['id']}", method="DELETE")
        urllib.request.urlopen(request).close()
