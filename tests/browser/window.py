"""What a person does in a browser window: open, resize, type, wait, look, and what the window asked of the network."""

import base64
import json
from pathlib import Path
from urllib.parse import urlsplit

from selenium.common.exceptions import StaleElementReferenceException as Stale
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Window:
    """One window of a driven browser; ``kept`` is the folder of its screenshots."""

    def __init__(self, driver, kept: Path):
        self.driver, self.kept = driver, kept

    def reset(self) -> None:
        """A desktop window on an empty page, in the light, with empty logs."""
        # A page that listens for unload events would ask before it goes.
        self.command("Emulation.clearDeviceMetricsOverride")
        self.command("Emulation.setEmulatedMedia", features=[])
        self.driver.get("about:blank")
        self.driver.set_window_size(1280, 900)
        self.addresses()
        self.complaints()

    def command(self, name: str, **words) -> dict:
        """What the browser's own protocol answers."""
        return self.driver.execute_cdp_cmd(name, words)

    def open(self, address: str, ready: str) -> None:
        """Nothing; the address is open and holds what the selector ``ready`` finds."""
        self.driver.get(address)
        self.wait(ready)

    def find(self, selector: str) -> list:
        """The elements that a selector finds."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, selector: str, text: str = "", seconds: float = 180):
        """The first element that the selector finds and that holds the text, visible, once there is one."""

        def found(_):
            seen = [one for one in self.find(selector) if one.is_displayed() or one.tag_name == "input"]
            return next((one for one in seen if text in one.text), None)

        return WebDriverWait(self.driver, seconds, 0.1, [Stale]).until(found, f"no {selector} with {text!r}")

    def click(self, selector: str, text: str = "") -> None:
        """Nothing; the element is scrolled to and clicked."""
        element = self.wait(selector, text)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def keys(self, *pressed: str) -> None:
        """Nothing; the keys are pressed, whatever has the focus."""
        ActionChains(self.driver).send_keys(*pressed).perform()

    def script(self, text: str, *values):
        """What a script returns."""
        return self.driver.execute_script(text, *values)

    def phone(self, width: int = 360, height: int = 740) -> None:
        """Nothing; the window is a phone's."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=True)

    def dark(self) -> None:
        """Nothing; the visitor's system is set to dark."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def picture(self, name: str) -> None:
        """Nothing; the whole page is kept as a PNG."""
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 8000), "scale": 1}
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        self.kept.mkdir(exist_ok=True)
        (self.kept / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def events(self) -> list[dict]:
        """What the browser's protocol told since the last time it was asked."""
        return [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]

    def addresses(self) -> list[str]:
        """Every address that was asked since the last time, blocked ones too."""
        sent = ("Network.requestWillBeSent", "Network.webSocketCreated")
        told = [event["params"] for event in self.events() if event["method"] in sent]
        return [one["request"]["url"] if "request" in one else one["url"] for one in told]

    def complaints(self) -> list[str]:
        """The errors in the browser's console since the last time."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]


def outside(addresses: list[str]) -> list[str]:
    """The addresses that are neither of this machine nor inside the page itself."""
    parts = [(address, urlsplit(address)) for address in addresses]
    return [
        address
        for address, part in parts
        if part.scheme not in ("data", "blob", "about") and part.hostname not in LOOPBACK
    ]
