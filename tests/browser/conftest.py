"""A real browser, Debian's Chromium, and the page as a visitor meets it: the running command behind a served model.

Where the browser, its driver or npm is missing the tests fail and name the package; they never skip.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

from pcos_utils.config import ROOT
from tests.browser.window import Window
from tests.serving.made import export_served

HERE = Path(__file__).parent
KEPT = ROOT / ".browser"  # screenshots of the last run, where git does not look


def program(package: str, *names: str) -> str:
    """The path of the first of the programs that is installed; where none is, the test fails."""
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.fail(f"{names[0]} is missing; install Debian's package {package}.", pytrace=False)
    return found


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, the pinned one, fetched by npm when it is not there yet."""
    script = HERE / "node_modules" / "axe-core" / "axe.min.js"
    lock = HERE / "package-lock.json"
    if not script.exists() or script.stat().st_ctime < lock.stat().st_mtime:
        npm = program("npm", "npm")
        words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(words, cwd=HERE, capture_output=True, text=True)
        if done.returncode:
            pytest.fail(f"npm could not fetch axe-core: {done.stderr.strip()[-300:]}", pytrace=False)
    return script.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """The browser, once for all tests."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium", "chromium", "google-chrome")
    # A container has neither a sandbox's rights nor a large /dev/shm.
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en"):
        options.add_argument(word)
    # What the browser fetches for itself would count as the page's.
    for word in ("--disable-background-networking", "--disable-component-update", "--no-first-run"):
        options.add_argument(word)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    # Selenium would look for a driver to download if it were given none.
    driver = webdriver.Chrome(options, webdriver.ChromeService(program("chromium-driver", "chromedriver")))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def window(chromium):
    """The browser as a desktop window, with nothing left of an earlier test."""
    made = Window(chromium, KEPT)
    made.reset()
    return made


@pytest.fixture(scope="session")
def shown(tmp_path_factory) -> Path:
    """A served model that knows a scan when it sees one: the committed follicle network, an untrained IustNet."""
    return export_served(tmp_path_factory.mktemp("shown"), phantoms=24, outline=None)


@pytest.fixture(scope="session")
def page(shown, tmp_path_factory) -> str:
    """The address of the page, served by ``pcos app``."""
    port = free_port()
    command = [sys.executable, "-m", "pcos_utils.cli", "app", "--model", str(shown), "--port", str(port)]
    log = tmp_path_factory.mktemp("log") / "page.txt"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with log.open("w") as told, stopped(subprocess.Popen(command, stdout=told, stderr=told, env=environment)) as run:
        yield opened(f"http://127.0.0.1:{port}", run, log)


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def stopped(run: subprocess.Popen):
    """The running program, asked to stop at the end and ended if it does not."""
    try:
        yield run
    finally:
        run.terminate()
        try:
            run.wait(20)
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()


def opened(address: str, run: subprocess.Popen, log: Path, patience: float = 120) -> str:
    """The address, once it answers."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if run.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return address
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"{address} did not answer: {log.read_text()[-2000:]}", pytrace=False)
