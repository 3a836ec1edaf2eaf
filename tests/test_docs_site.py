"""The documentation as a site: built without a complaint, complete, and as a browser shows it."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from chromium import gestures, logged, needs_chromium, resized, started, wait
from selenium.webdriver.common.by import By

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="needs the extra docs"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build in a copy, so that nothing of an earlier build helps."""
    folder = tmp_path_factory.mktemp("docs")
    for part in ("docs", "sld"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("mkdocs.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / file, folder)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "docs"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0 and "No issues found" in done.stdout + done.stderr, done.stdout + done.stderr
    return folder / "site"


class Page(HTMLParser):
    """What a page links to, loads and can be linked at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.loads, self.anchors = list[str](), list[str](), set[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses and names of an element."""
        found = dict(attrs)
        self.anchors |= {str(found[key]) for key in ("id", "name") if key in found}
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        elif tag in ("link", "script", "img", "iframe"):
            self.loads += [str(found[key]) for key in ("src", "href") if found.get(key)]


def pages(site: Path) -> list[Path]:
    return [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]


def test_every_page_is_built(site: Path) -> None:
    written = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path.relative_to(site) for path in pages(site)} == written
    assert "0.1.0" in (site / "changelog.html").read_text(encoding="utf-8")
    for verb in ("discover", "fit", "predict"):
        assert f"sld.{verb}" in (site / "reference.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in pages(site):
        assert [address for address in Page(path).loads if urlsplit(address).netloc] == [], path.name


def test_links_and_pictures_lead_somewhere(site: Path) -> None:
    read = {path.resolve(): Page(path) for path in pages(site)}
    for path, page in read.items():
        for address in (*page.links, *page.loads):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path.name} leads to {address}"
            anchors = read[target].anchors if target in read else set()
            assert not parts.fragment or unquote(parts.fragment) in anchors | {"__skip"}, f"{path.name}: {address}"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Serve the site on loopback, as a search in it needs."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    driver = started(tmp_path_factory.mktemp("profile"))
    try:
        yield driver
    finally:
        driver.quit()


@needs_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_pages_open_without_a_complaint_and_do_not_scroll_sideways(
    browser: Chrome, site: Path, address: str, width: int
) -> None:
    resized(browser, width)
    browser.get("about:blank")  # away from the page of a new tab, which loads files of its own
    logged(browser, "performance")
    for path in pages(site):
        logged(browser, "browser")
        browser.get(address + path.relative_to(site).as_posix())
        wait(browser).until(lambda b: b.find_elements(By.TAG_NAME, "h1"))  # the first page may come a moment late
        script = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        scroll, client = browser.execute_script(script)
        assert scroll <= client <= width, path.name
        widths = browser.execute_script("return Array.from(document.images, image => image.naturalWidth)")
        assert 0 not in widths, f"{path.name}: a picture is missing"
        assert [entry["message"] for entry in logged(browser, "browser")] == [], path.name
    asked = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert urls and all(url.startswith((address, "data:", "blob:")) for url in urls)


@needs_chromium
def test_the_search_finds_a_guide(browser: Chrome, address: str) -> None:
    resized(browser, 1280)
    browser.get(address + "index.html")
    button = wait(browser).until(lambda b: b.find_element(By.CSS_SELECTOR, ".md-search__button"))
    button.click()
    shown = (
        "return Array.from(document.querySelectorAll('*')).filter(e => e.shadowRoot)"
        ".map(e => e.shadowRoot.textContent).join(' ')"
    )
    wait(browser).until(lambda b: b.execute_script("return document.activeElement.shadowRoot !== null"))
    gestures(browser).send_keys("isoFLOP").perform()
    wait(browser).until(lambda b: "I have isoFLOP sweeps" in b.execute_script(shown))
