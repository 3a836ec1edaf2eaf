"""Chromium without a screen, driven by its own driver, for the tests that look at pages.

They are skipped, with the reason, where either is absent (Debian: chromium, chromium-driver). What drives it takes a
third of a second to import, and is imported when a browser is started.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import ActionChains, Chrome
    from selenium.webdriver.support.ui import WebDriverWait

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()

needs_chromium = pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="Chromium or its driver is not installed")


def started(profile: Path) -> Chrome:
    """Return a browser that logs what its console says and what it asks of a network; quit it."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return Chrome(options=options, service=Service(str(DRIVER)))


def gestures(browser: Chrome) -> ActionChains:
    """Return what presses keys and moves the mouse, wherever the page has put the focus."""
    from selenium.webdriver import ActionChains

    return ActionChains(browser)


def wait(browser: Chrome) -> WebDriverWait[Chrome]:
    """Return what waits until a page is as wanted, 20 seconds at most."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20)


def logged(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    """Return the entries of a log since it was last read."""
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


def resized(browser: Chrome, width: int) -> None:
    """Give the page another width, and the manners of a telephone where it is narrow."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
