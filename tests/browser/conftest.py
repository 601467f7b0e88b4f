"""A real browser, Debian's Chromium, and the page as a visitor meets it: the running command behind a served model.

Where the browser, its driver or npm is missing the tests fail and name the package; they never skip.
"""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException as Stale
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from pcos_utils.config import ROOT
from tests.serving.made import export_served, page_running

HERE = Path(__file__).parent
PICTURES = ROOT / ".browser"  # screenshots of the last run, where git does not look
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Window:
    """One window of a driven browser, on an empty desktop page with empty logs; screenshots go to ``folder``."""

    def __init__(self, driver, folder: Path):
        self.driver, self.folder, self.script = driver, folder, driver.execute_script
        self.command("Emulation.clearDeviceMetricsOverride")
        self.command("Emulation.setEmulatedMedia", features=[])
        driver.get("about:blank")
        driver.set_window_size(1280, 900)
        self.addresses()
        self.complaints()

    def command(self, name: str, **words) -> dict:
        return self.driver.execute_cdp_cmd(name, words)

    def open(self, address: str, ready: str) -> None:
        """Open the address and wait for what the selector ``ready`` finds."""
        self.driver.get(address)
        self.wait(ready)

    def find(self, selector: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, selector: str, text: str = "", seconds: float = 60):
        """Wait for the first visible element that the selector finds and that holds the text, and return it."""

        def first(_):
            seen = (each for each in self.find(selector) if each.is_displayed() or each.tag_name == "input")
            return next((each for each in seen if text in each.text), None)

        return WebDriverWait(self.driver, seconds, 0.1, [Stale]).until(first, f"no {selector} with {text!r}")

    def until(self, holds, seconds: float = 20):
        return WebDriverWait(self.driver, seconds, 0.1, [Stale]).until(lambda _: holds())

    def click(self, selector: str, text: str = "") -> None:
        element = self.wait(selector, text)
        self.script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def give(self, selector: str, *paths) -> None:
        self.wait(selector).send_keys("\n".join(map(str, paths)))

    def keys(self, *pressed: str) -> None:
        ActionChains(self.driver).send_keys(*pressed).perform()

    def phone(self, width: int) -> None:
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=740, deviceScaleFactor=2, mobile=True)

    def dark(self) -> None:
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def picture(self, name: str) -> None:
        time.sleep(0.3)  # scrolling and colours come to rest
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 8000), "scale": 1}
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def events(self) -> list[dict]:
        return [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]

    def addresses(self) -> list[str]:
        """Return every address that was asked since the last call, blocked ones too."""
        sent = ("Network.requestWillBeSent", "Network.webSocketCreated")
        requests = [event["params"] for event in self.events() if event["method"] in sent]
        return [request.get("request", request)["url"] for request in requests]

    def complaints(self) -> list[str]:
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]


def outside(addresses: list[str]) -> list[str]:
    parts = [(address, urlsplit(address)) for address in addresses]
    inside = ("data", "blob", "about")
    return [address for address, part in parts if part.scheme not in inside and part.hostname not in LOOPBACK]


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
