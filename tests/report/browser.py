"""A headless Chromium, driven by Selenium: the one that tests/browser.sh fetches, or the system's.

Run as a program, it checks whether there is one: exit code 0, or 1 with the reason.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FETCHED = Path(__file__).resolve().parents[2] / ".venv" / "browser"
BROWSERS = (str(FETCHED / "run"), "chromium", "google-chrome")
DRIVERS = (str(FETCHED / "driver"), "chromedriver")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--mute-audio",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--autoplay-policy=no-user-gesture-required",
    "--window-size=1200,1600",
)
PATIENCE = 300.0  # seconds to wait for the browser


def find_browser() -> tuple[str, str]:
    """The paths of a browser and of its driver. LookupError names what is missing."""
    try:
        import selenium  # noqa: F401
    except ImportError as error:
        raise LookupError(f"Selenium cannot be imported ({error}): pip install selenium") from None
    browser, driver = (next(filter(None, map(shutil.which, names)), None) for names in (BROWSERS, DRIVERS))
    if browser is None or driver is None:
        missing = [name for name, path in (("browser", browser), ("chromedriver", driver)) if path is None]
        raise LookupError(f"no {' and no '.join(missing)}: tests/browser.sh fetches them on Debian")
    if (ours := _version(browser)) != (theirs := _version(driver)):
        raise LookupError(f"{browser} is version {ours}, {driver} version {theirs}: they should be the same")
    return browser, driver


def _version(program: str) -> str:
    """The major version of a program, from the output of --version."""
    result = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=PATIENCE)
    version = re.search(r"(\d+)\.\d", result.stdout)
    if result.returncode or not version:
        message = (result.stderr or result.stdout).strip().splitlines()[:1]
        raise LookupError(f"{program} does not start: {' '.join(message) or result.returncode}")
    return version[1]


class Tab:
    """The page of a Selenium driver."""

    def __init__(self, driver: Any):
        self._driver, self._logged = driver, []

    def open(self, path: Path) -> None:
        """Load a file and wait until it is loaded."""
        self._driver.get(path.as_uri())

    def visit(self, address: str) -> None:
        """Load the page of an address and wait until it is loaded."""
        self._driver.get(address)

    def upload(self, selector: str, path: Path) -> None:
        """Choose a file in a field for files."""
        self._driver.find_element("css selector", selector).send_keys(str(path))

    @contextmanager
    def frame(self, selector: str) -> Iterator[None]:
        """Within the block, everything is about the page in a frame."""
        self._driver.switch_to.frame(self._driver.find_element("css selector", selector))
        try:
            yield
        finally:
            self._driver.switch_to.default_content()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        return self._driver.execute_script(f"return ({expression});")

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression is true; TimeoutException after PATIENCE seconds."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self._driver, PATIENCE, 0.02).until(lambda _: self.evaluate(condition), condition)

    def resize(self, width: int, height: int) -> None:
        """Show the page in a window of this size, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def colour_scheme(self, name: str) -> None:
        """Prefer "light" or "dark" colours."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def press(self, *keys: str) -> None:
        """Press keys one after the other: characters, or names of Selenium's Keys such as TAB."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        ActionChains(self._driver).send_keys(*(getattr(Keys, key, key) for key in keys)).perform()

    def count(self, selector: str) -> int:
        """The number of elements that match a CSS selector."""
        return len(self._driver.find_elements("css selector", selector))

    @property
    def logged(self) -> list[str]:
        """All messages on the page's console, errors and blocked requests included."""
        self._logged += [entry["message"] for entry in self._driver.get_log("browser")]
        return self._logged

    def picture(self):
        """A screenshot, array (H, W, 4) in [0, 1]."""
        from matplotlib import image

        return image.imread(io.BytesIO(self._driver.get_screenshot_as_png()))


@contextmanager
def browsing(browser: str, driver: str, profile: Path, *more: str) -> Iterator[Tab]:
    """A browser tab, closed at the end of the block. `profile` is a new folder for the browser's data, `more` are
    further options of the browser."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS, *more, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        chrome.set_script_timeout(PATIENCE)
        chrome.set_page_load_timeout(PATIENCE)
        yield Tab(chrome)
    finally:
        chrome.quit()


if __name__ == "__main__":
    try:
        find_browser()
    except LookupError as lacking:
        sys.exit(str(lacking))
