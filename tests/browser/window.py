"""What a person does in a browser window: open, resize, type, wait, look; and what the window asked of the network."""

import base64
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

from selenium.common.exceptions import StaleElementReferenceException as Stale
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Window:
    """One window of a driven browser, on an empty desktop page with empty logs; screenshots go to ``folder``."""

    def __init__(self, driver, folder: Path):
        self.driver, self.folder = driver, folder
        self.command("Emulation.clearDeviceMetricsOverride")
        self.command("Emulation.setEmulatedMedia", features=[])
        driver.get("about:blank")
        driver.set_window_size(1280, 900)
        self.addresses()
        self.complaints()

    def command(self, name: str, **words) -> dict:
        """Return the answer of the browser's own protocol."""
        return self.driver.execute_cdp_cmd(name, words)

    def open(self, address: str, ready: str) -> None:
        """Open the address and wait for what the selector ``ready`` finds."""
        self.driver.get(address)
        self.wait(ready)

    def find(self, selector: str) -> list:
        """Return the elements that a selector finds."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, selector: str, text: str = "", seconds: float = 60):
        """Wait for the first visible element that the selector finds and that holds the text, and return it."""

        def first(_):
            shown = [
                element for element in self.find(selector) if element.is_displayed() or element.tag_name == "input"
            ]
            return next((element for element in shown if text in element.text), None)

        return WebDriverWait(self.driver, seconds, 0.1, [Stale]).until(first, f"no {selector} with {text!r}")

    def until(self, holds, seconds: float = 20):
        """Wait until ``holds()`` returns something true, and return that."""
        return WebDriverWait(self.driver, seconds, 0.1, [Stale]).until(lambda _: holds())

    def click(self, selector: str, text: str = "") -> None:
        """Scroll to the element and click it."""
        element = self.wait(selector, text)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def give(self, selector: str, *paths) -> None:
        """Hand files to the field that the selector finds."""
        self.wait(selector).send_keys("\n".join(map(str, paths)))

    def keys(self, *pressed: str) -> None:
        """Press keys, whatever has the focus."""
        ActionChains(self.driver).send_keys(*pressed).perform()

    def script(self, text: str, *values):
        """Return what a script returns."""
        return self.driver.execute_script(text, *values)

    def phone(self, width: int) -> None:
        """Make the window a phone's."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=740, deviceScaleFactor=2, mobile=True)

    def dark(self) -> None:
        """Set the visitor's system to dark."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def picture(self, name: str) -> None:
        """Save the whole page as a PNG."""
        time.sleep(0.3)  # scrolling and colours come to rest
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 8000), "scale": 1}
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def events(self) -> list[dict]:
        """Return what the browser's protocol told since the last call."""
        return [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]

    def addresses(self) -> list[str]:
        """Return every address that was asked since the last call, blocked ones too."""
        sent = ("Network.requestWillBeSent", "Network.webSocketCreated")
        requests = [event["params"] for event in self.events() if event["method"] in sent]
        return [request.get("request", request)["url"] for request in requests]

    def complaints(self) -> list[str]:
        """Return the errors in the browser's console since the last call."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]


def outside(addresses: list[str]) -> list[str]:
    """Return the addresses that are neither of this machine nor inside the page itself."""
    parts = [(address, urlsplit(address)) for address in addresses]
    inside = ("data", "blob", "about")
    return [address for address, part in parts if part.scheme not in inside and part.hostname not in LOOPBACK]
