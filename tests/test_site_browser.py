"""The site of the leaderboard as a browser shows it, opened from disk."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import site_samples as samples
from chromium import gestures, logged, needs_chromium, resized, started
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from sld.analysis.pages.formulas import NONE
from sld.board.site import write_site

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PAGES = {
    "overview": "index.html",
    "task": "tasks/nanolm_chinchilla.html",
    "grouped": "tasks/nanolm_mixture.html",
    "elsewhere": "tasks/sldbench_moe.html",
    "law": "laws/nanolm_chinchilla/law-1.html",
}

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    driver = started(tmp_path_factory.mktemp("profile"))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_site(samples.ordinary(), folder)
    return folder


def command(browser: Chrome, name: str, **arguments: Any) -> Any:
    return browser.execute_cdp_cmd(name, arguments)


def view(browser: Chrome, path: Path, *, width: int = 1280, scheme: str = "light", media: str = "") -> None:
    resized(browser, width)
    command(
        browser, "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    logged(browser, "browser")
    browser.get(path.as_uri())


def complaints(browser: Chrome) -> list[str]:
    return [entry["message"] for entry in logged(browser, "browser")]


def names(browser: Chrome) -> list[str]:
    rows = browser.find_elements(By.CSS_SELECTOR, "table.sortable tbody tr")
    return [row.find_element(By.CSS_SELECTOR, ".name").text for row in rows if row.is_displayed()]


def contrast(one: list[float], other: list[float]) -> float:
    def luminance(colour: list[float]) -> float:
        parts = [c / 255 for c in colour[:3]]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))
def test_pages_load_from_disk_without_a_complaint(browser: Chrome, folder: Path, page: str, scheme: str) -> None:
    view(browser, folder / page, scheme=scheme)
    assert complaints(browser) == []
    background = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert (sum(map(int, background.strip("rgba()").split(",")[:3])) < 300) == (scheme == "dark")


def test_a_policy_that_is_broken_would_be_seen(browser: Chrome, folder: Path) -> None:
    broken = folder / "broken.html"
    attack = "<p onclick='1' style='color:red'></p><main"
    broken.write_text((folder / "index.html").read_text().replace("<main", attack))
    view(browser, broken)
    assert any("Content Security Policy" in text for text in complaints(browser))
    broken.unlink()


def test_a_click_sorts_and_another_turns_it_around(browser: Chrome, folder: Path) -> None:
    view(browser, folder / PAGES["task"])
    header = browser.find_element(By.XPATH, "//th[starts-with(., 'Complexity')]")
    header.find_element(By.TAG_NAME, "button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    rows = browser.find_element(By.CSS_SELECTOR, "table.sortable").find_elements(By.CSS_SELECTOR, "tbody tr")
    column = [row.find_elements(By.CSS_SELECTOR, "th, td")[4].text for row in rows]
    assert column[-1] == NONE, "what has no value stands last"
    assert [int(c) for c in column[:-1]] == sorted(int(c) for c in column[:-1])
    assert "ascending" in browser.find_element(By.CSS_SELECTOR, "[role=status]").text
    header.find_element(By.TAG_NAME, "button").click()
    assert header.get_attribute("aria-sort") == "descending"
    cells = browser.find_elements(By.CSS_SELECTOR, "table.sortable tbody tr:first-child td")
    assert cells[3].text == max(column[:-1], key=int)
    assert len(header.find_elements(By.XPATH, "../th[@aria-sort]")) == 1
    assert complaints(browser) == []


def test_the_keyboard_sorts(browser: Chrome, folder: Path) -> None:
    view(browser, folder / PAGES["task"])
    before = names(browser)
    for _ in range(40):
        gestures(browser).send_keys(Keys.TAB).perform()
        focused = browser.switch_to.active_element
        if focused.tag_name == "button" and focused.text.startswith("Law"):
            break
    else:
        pytest.fail("the button of the column cannot be reached with the tab key")
    outline = focused.value_of_css_property("outline-style")
    assert outline == "solid", "the focus is seen"
    gestures(browser).send_keys(Keys.ENTER).perform()
    n = len(samples.CHINCHILLA) + 1
    assert names(browser)[:n] == sorted(before[:n], key=str.casefold)
    gestures(browser).send_keys(Keys.SPACE).perform()
    assert names(browser)[:n] == sorted(before[:n], key=str.casefold, reverse=True)


def test_the_first_tab_stop_skips_to_the_content(browser: Chrome, folder: Path) -> None:
    view(browser, folder / PAGES["task"])
    gestures(browser).send_keys(Keys.TAB).perform()
    link = browser.switch_to.active_element
    assert link.text == "Skip to content" and link.location["y"] >= 0
    gestures(browser).send_keys(Keys.ENTER).perform()
    assert browser.switch_to.active_element.get_attribute("id") == "content"


def test_a_search_filters_and_says_so(browser: Chrome, tmp_path: Path) -> None:
    write_site(samples.hostile(), tmp_path)
    view(browser, tmp_path / PAGES["task"])
    field = browser.find_element(By.CSS_SELECTOR, "input[type=search]")
    n = len(names(browser))
    field.send_keys("قانون")
    section = field.find_element(By.XPATH, "./ancestor::section")
    shown = [r for r in section.find_elements(By.CSS_SELECTOR, "tbody tr") if r.is_displayed()]
    assert len(shown) == 1 and len(names(browser)) < n
    assert section.find_element(By.CSS_SELECTOR, "[role=status]").text.startswith("1 of ")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE)
    assert len(names(browser)) == n


def test_every_link_between_pages_opens(browser: Chrome, folder: Path) -> None:
    found, waiting = set[str](), [(folder / "index.html").as_uri()]
    while waiting:
        address = waiting.pop()
        found.add(address)
        logged(browser, "browser")
        browser.get(address)
        assert browser.find_elements(By.TAG_NAME, "h1") and complaints(browser) == []
        script = "return Array.from(document.querySelectorAll('a[href]'), a => a.href.baseVal ?? a.href)"
        for link in browser.execute_script(script):
            target = browser.execute_script("return new URL(arguments[0], location).href", link)
            plain = target.partition("#")[0]
            if plain.startswith("file:") and plain not in found and plain not in waiting:
                waiting.append(plain)
    assert len(found) == len(list(folder.rglob("*.html")))


def test_following_a_link_by_click_and_back(browser: Chrome, folder: Path) -> None:
    view(browser, folder / "index.html")
    browser.find_element(By.CSS_SELECTOR, ".cards h3 a").click()
    assert browser.current_url.endswith(PAGES["task"])
    browser.find_element(By.CSS_SELECTOR, "table.sortable tbody a").click()
    assert "/laws/" in browser.current_url
    browser.find_element(By.CSS_SELECTOR, ".brand").click()
    assert browser.current_url.endswith("index.html")


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("board", ["ordinary", "hostile"])
def test_no_page_scrolls_sideways(browser: Chrome, tmp_path: Path, width: int, board: str) -> None:
    pages = write_site(getattr(samples, board)(), tmp_path)
    for page in [p for p in pages if p.parent.name != "nanolm_chinchilla"][:12] + pages[-3:]:
        view(browser, page, width=width)
        script = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        scroll, client = browser.execute_script(script)
        assert scroll <= client <= width, page.relative_to(tmp_path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))
def test_text_can_be_told_from_its_background(browser: Chrome, folder: Path, page: str, scheme: str) -> None:
    view(browser, folder / page, scheme=scheme)
    script = """
    const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
    const behind = (node) => { for (; node; node = node.parentElement) {
      const c = rgb(getComputedStyle(node).backgroundColor);
      if (c.length && c[3] !== 0) return c; } return [255, 255, 255]; };
    const found = {};
    for (const node of document.querySelectorAll('main *, header *, footer *')) {
      const own = Array.from(node.childNodes).some(n => n.nodeType === 3 && n.textContent.trim());
      if (!own || ['title', 'desc'].includes(node.tagName)) continue;
      const style = getComputedStyle(node);
      const ink = rgb(node.namespaceURI.endsWith('svg') ? style.fill : style.color);
      found[JSON.stringify([ink, behind(node)])] = node.tagName + '.' + (node.getAttribute('class') || '');
    }
    return found;"""
    for pair, node in browser.execute_script(script).items():
        ink, behind = json.loads(pair)
        assert contrast(ink, behind) >= 4.5, node


@pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))
def test_pages_print(browser: Chrome, folder: Path, page: str) -> None:
    view(browser, folder / page, scheme="dark", media="print")
    assert not any(t.is_displayed() for t in browser.find_elements(By.CSS_SELECTOR, ".tools, .copy, .skip"))
    pdf = base64.b64decode(command(browser, "Page.printToPDF", printBackground=False)["data"])
    assert pdf.startswith(b"%PDF-") and b"%%EOF" in pdf[-64:] and len(pdf) > 5000


def test_nothing_is_asked_of_a_network(browser: Chrome, folder: Path, tmp_path: Path) -> None:
    write_site(samples.hostile(), tmp_path)
    logged(browser, "performance")
    for page in [folder / p for p in PAGES.values()] + sorted(tmp_path.rglob("*.html"))[:10]:
        view(browser, page)
    asked = []
    for entry in logged(browser, "performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert asked and {url.partition(":")[0] for url in asked} <= {"file", "data"}


def test_hostile_names_do_nothing(browser: Chrome, tmp_path: Path) -> None:
    pages = write_site(samples.hostile(), tmp_path)
    for page in pages:
        view(browser, page)
        assert complaints(browser) == []
        assert browser.execute_script("return document.scripts.length") == 1
        assert browser.title != "owned"
        # whatever can be opened or pointed at
        for link in browser.execute_script("return Array.from(document.links, a => a.protocol)"):
            assert link in ("file:", "http:", "https:")


def test_text_from_right_to_left_stays_in_its_place(browser: Chrome, tmp_path: Path) -> None:
    write_site(samples.hostile(), tmp_path)
    view(browser, tmp_path / PAGES["task"])
    # the label behind a name stands to its right, whatever the name
    for row in browser.find_elements(By.CSS_SELECTOR, "table.sortable tbody tr"):
        name, badge = row.find_elements(By.CSS_SELECTOR, ".name"), row.find_elements(By.CSS_SELECTOR, ".badge")
        if badge and name[0].location["y"] == badge[0].location["y"]:
            assert badge[0].location["x"] > name[0].location["x"]


def test_copying_gives_the_entry(browser: Chrome, folder: Path) -> None:
    command(browser, "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    view(browser, folder / PAGES["law"])
    browser.find_element(By.TAG_NAME, "summary").click()
    button = browser.find_element(By.CSS_SELECTOR, "[data-copy=entry] button")
    button.click()
    text = browser.execute_async_script(
        "const done = arguments[0]; navigator.clipboard.readText().then(done, e => done('refused: ' + e))"
    )
    entry = next(r.entry for t in samples.ordinary().tasks for r in t.rows if r.slug == "law-1")
    assert entry is not None and json.loads(text) == json.loads(json.dumps(entry.to_json()))


def test_pages_are_complete_without_the_script(browser: Chrome, folder: Path) -> None:
    command(browser, "Emulation.setScriptExecutionDisabled", value=True)
    try:
        view(browser, folder / PAGES["task"])
        assert len(names(browser)) == len(samples.CHINCHILLA) + 2
        assert not browser.find_element(By.CSS_SELECTOR, "input[type=search]").is_displayed()
    finally:
        command(browser, "Emulation.setScriptExecutionDisabled", value=False)


def test_charts_and_formulas_are_drawn(browser: Chrome, folder: Path) -> None:
    view(browser, folder / PAGES["task"])
    for chart in browser.find_elements(By.CSS_SELECTOR, "svg.chart"):
        assert chart.size["width"] > 250 and chart.size["height"] > 150
    drawn = "document.querySelectorAll('svg.chart .m, .formula math')"
    assert min(browser.execute_script(f"return Array.from({drawn}, e => e.getBoundingClientRect().width)")) > 1
