"""A real browser, Debian's Chromium, and the page as a visitor meets it: the running command behind a served model.

Where the browser, its driver or npm is missing the tests fail and name the package; they never skip.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from selenium import webdriver

from pcos_utils.config import ROOT
from tests.browser.window import Window
from tests.serving.made import export_served, page_running

HERE = Path(__file__).parent
PICTURES = ROOT / ".browser"  # screenshots of the last run, where git does not look


def program(package: str, *names: str) -> str:
    """Return the path of the first of the programs that is installed; where none is, the test fails."""
    path = next(filter(None, map(shutil.which, names)), None)
    if not path:
        pytest.fail(f"{names[0]} is missing; install Debian's package {package}.", pytrace=False)
    return path


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, the pinned one, fetched by npm when it is not there yet."""
    script = HERE / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists() or script.stat().st_ctime < (HERE / "package-lock.json").stat().st_mtime:
        command = [program("npm", "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
        if done.returncode:
            pytest.fail(f"npm could not fetch axe-core: {done.stderr.strip()[-300:]}", pytrace=False)
    return script.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """The browser, once for all tests."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium", "chromium", "google-chrome")
    # A container has neither a sandbox's rights nor a large /dev/shm.
    switches = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en"]
    # What the browser fetches for itself would count as the page's.
    switches += ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
    for switch in (*switches, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    # Selenium would look for a driver to download if it were given none.
    driver = webdriver.Chrome(options, webdriver.ChromeService(program("chromium-driver", "chromedriver")))
    driver.set_page_load_timeout(180)
    yield driver
    driver.quit()


@pytest.fixture
def window(chromium):
    """The browser as a desktop window, with nothing left of an earlier test."""
    return Window(chromium, PICTURES)


@pytest.fixture(scope="session")
def shown(tmp_path_factory) -> Path:
    """A served model that knows a scan when it sees one: the committed follicle network, an untrained IustNet."""
    return export_served(tmp_path_factory.mktemp("shown"), phantoms=36)


@pytest.fixture(scope="session")
def page(shown, tmp_path_factory) -> str:
    """The address of the page, served by ``pcos app``."""
    with page_running(shown, tmp_path_factory.mktemp("log") / "page.txt") as address:
        yield address
