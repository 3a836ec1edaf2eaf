"""The report as a browser shows it: charts explored by pointer and keyboard, on a phone, on paper, in the dark."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import logged, needs_chromium, resized, started
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

import sld

pytestmark = [pytest.mark.slow, needs_chromium]
AXE = os.environ.get("AXE_JS", "")  # axe.min.js of the package axe-core


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    driver = started(tmp_path_factory.mktemp("profile"))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two scale variables with held-out rows; groups; no law at all."""
    folder = tmp_path_factory.mktemp("pages")
    N = np.geomspace(1e6, 1e9, 10)
    noise = np.random.default_rng(0).normal(size=20)
    grouped = {"N": np.tile(N, 2), "y": np.tile(1 + 50 * N**-0.3, 2) + 0.01 * noise, "g": ["a"] * 10 + ["ü"] * 10}
    noisy = {"N": np.tile(N, 2), "y": 5 + noise}
    found = {
        "task": sld.discover("nanolm_chinchilla", budget="300fits", workers=1),
        "grouped": sld.discover(grouped, target="y", scale="N", group="g", budget="50fits", workers=1),
        "nothing": sld.discover(noisy, target="y", scale="N", budget="50fits", workers=1),
    }
    for name, one in found.items():
        sld.report(one, folder / f"{name}.html", data="nanolm_chinchilla" if name == "task" else None)
    return {name: folder / f"{name}.html" for name in found}


def view(browser: Chrome, path: Path, *, width: int = 1400, scheme: str = "light", media: str = "") -> None:
    resized(browser, width)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    logged(browser, "browser")
    browser.get(path.as_uri())


def chart(browser: Chrome, which: int = 0) -> WebElement:
    return browser.find_elements(By.CSS_SELECTOR, ".plot svg.chart")[which]


def told(browser: Chrome, which: int = 0) -> str:
    return browser.find_elements(By.CSS_SELECTOR, ".readout")[which].text


def control(browser: Chrome, name: str) -> WebElement:
    return browser.find_element(By.XPATH, f"//div[@class='controls']/button[.='{name}']")


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_open_without_a_complaint_and_do_not_scroll_sideways(
    browser: Chrome, pages: dict[str, Path], width: int, scheme: str
) -> None:
    for name, path in pages.items():
        view(browser, path, width=width, scheme=scheme)
        assert [entry["message"] for entry in logged(browser, "browser")] == [], name
        script = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        scroll, client = browser.execute_script(script)
        assert scroll <= client <= width, name
        background = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        assert (sum(map(int, background.strip("rgba()").split(",")[:3])) < 300) == (scheme == "dark")
        assert chart(browser).size["width"] > min(300, width - 100) and chart(browser).size["height"] > 200


def point(browser: Chrome, x: float, y: float) -> None:
    """Point at a place of the first chart, given in shares of its width and height."""
    script = """const svg = document.querySelector('.plot svg.chart'), box = svg.getBoundingClientRect();
    svg.dispatchEvent(new PointerEvent('pointermove',
      {clientX: box.left + arguments[0] * box.width, clientY: box.top + arguments[1] * box.height}));"""
    browser.execute_script(script, x, y)


def test_the_pointer_tells_runs_and_values_of_the_lines(browser: Chrome, pages: dict[str, Path]) -> None:
    view(browser, pages["task"])
    assert told(browser).startswith("Point at the chart")
    point(browser, 0.97, 0.04)
    assert " to " in told(browser) and told(browser).startswith("N (parameters)"), "values with their intervals"
    script = """const svg = document.querySelector('.plot svg.chart').getBoundingClientRect();
    const run = document.querySelector('.plot svg.chart .m.s0').getBoundingClientRect();
    return [(run.left + 4 - svg.left) / svg.width, (run.top + 4 - svg.top) / svg.height];"""
    point(browser, *browser.execute_script(script))
    assert "run at 6144" in told(browser) and browser.find_elements(By.CSS_SELECTOR, ".plot .ring")
    point(browser, 0.5, -0.2)
    assert told(browser).startswith("Point at the chart")


def test_the_keyboard_reaches_every_line_and_run(browser: Chrome, pages: dict[str, Path]) -> None:
    view(browser, pages["task"])
    browser.execute_script("arguments[0].focus()", chart(browser))
    keys = browser.switch_to.active_element
    keys.send_keys(Keys.ARROW_RIGHT)
    first = told(browser)
    keys.send_keys(Keys.ARROW_RIGHT)
    assert told(browser) != first and "—" in first
    keys.send_keys(Keys.ARROW_DOWN)
    series = told(browser)
    assert series.partition("—")[2].partition(":")[0] != first.partition("—")[2].partition(":")[0]
    keys.send_keys(Keys.END)
    assert told(browser) != series
    keys.send_keys(Keys.ESCAPE)
    assert told(browser).startswith("Point at the chart")
    browser.execute_script("arguments[0].focus()", chart(browser, 1))
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert "measured" in told(browser, 1) and "predicted" in told(browser, 1)


def test_switches_change_the_scales_and_put_series_aside(browser: Chrome, pages: dict[str, Path]) -> None:
    view(browser, pages["task"])

    def ticks() -> list[str]:
        return [t.text for t in chart(browser).find_elements(By.CSS_SELECTOR, ".axes text")]

    before, button = ticks(), control(browser, "log x")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert ticks() != before and button.get_attribute("aria-pressed") == "false"
    button.send_keys(Keys.SPACE)
    assert ticks() == before
    bands = len(browser.find_elements(By.CSS_SELECTOR, ".plot .band"))
    control(browser, "intervals").click()
    assert bands > 1 and not browser.find_elements(By.CSS_SELECTOR, ".plot .band")
    aside = browser.find_element(By.CSS_SELECTOR, ".explorer .legend button")
    drawn = len(browser.find_elements(By.CSS_SELECTOR, ".plot .l.dashed"))
    aside.click()
    assert len(browser.find_elements(By.CSS_SELECTOR, ".plot .l.dashed")) == drawn - 1
    assert aside.get_attribute("aria-pressed") == "false"


def test_a_chart_follows_the_width_of_the_window(browser: Chrome, pages: dict[str, Path]) -> None:
    view(browser, pages["grouped"])
    wide = chart(browser).get_dom_attribute("viewBox")
    resized(browser, 390)
    script = "const d = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => d()))"
    browser.execute_async_script(script)
    assert chart(browser).get_dom_attribute("viewBox") != wide
    size = "return parseFloat(getComputedStyle(arguments[0].querySelector('text')).fontSize)"
    zoom = chart(browser).size["width"] / float(str(chart(browser).get_dom_attribute("viewBox")).split()[2])
    assert browser.execute_script(size, chart(browser)) * zoom >= 11, "letters on a phone are still read"


def test_brackets_are_as_tall_as_what_they_hold(browser: Chrome, pages: dict[str, Path]) -> None:
    tall = pages["task"].with_name("tall.html")
    fraction = "<mfrac><mi>A</mi><msup><mi>N</mi><mi>a</mi></msup></mfrac>"
    formula = f"<math><mrow><mo>(</mo>{fraction}<mo>)</mo></mrow></math></main>"
    tall.write_text(pages["task"].read_text(encoding="utf-8").replace("</main>", formula), encoding="utf-8")
    view(browser, tall)
    script = """const signs = [...document.querySelectorAll('main > math mo')], row = signs[0].parentElement;
    return [row, ...signs].map(e => e.getBoundingClientRect()).map(b => [b.top, b.bottom])"""
    (top, bottom), *brackets = browser.execute_script(script)
    for one, other in brackets:
        assert other - one >= 0.8 * (bottom - top) and abs(one + other - top - bottom) < 0.3 * (bottom - top)


def test_pages_are_complete_without_the_script(browser: Chrome, pages: dict[str, Path]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        view(browser, pages["task"])
        assert len(browser.find_elements(By.CSS_SELECTOR, ".plot svg.chart .m")) >= 6
        assert not browser.find_elements(By.CSS_SELECTOR, ".controls, .readout")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_pages_print_without_their_controls(browser: Chrome, pages: dict[str, Path]) -> None:
    view(browser, pages["task"], scheme="dark", media="print")
    assert not any(t.is_displayed() for t in browser.find_elements(By.CSS_SELECTOR, ".controls, .readout, .copy"))
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"])
    assert pdf.startswith(b"%PDF-") and len(pdf) > 20_000


def test_the_first_paint_comes_within_a_second(browser: Chrome, pages: dict[str, Path]) -> None:
    view(browser, pages["task"])
    script = "return performance.getEntriesByType('paint').map(e => e.startTime).concat(performance.now())"
    assert min(browser.execute_script(script)) < 1000


def test_nothing_is_asked_of_a_network(browser: Chrome, pages: dict[str, Path]) -> None:
    logged(browser, "performance")
    view(browser, pages["task"])
    messages = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked and {url.partition(":")[0] for url in asked} <= {"file", "data"}


@pytest.mark.skipif(not AXE, reason="AXE_JS does not name axe.min.js of the package axe-core")
@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser: Chrome, pages: dict[str, Path], width: int, scheme: str) -> None:
    for path in pages.values():
        view(browser, path, width=width, scheme=scheme)
        browser.execute_cdp_cmd("Runtime.evaluate", {"expression": Path(AXE).read_text(encoding="utf-8")})
        script = "axe.run(document).then(r => arguments[0](r.violations.map(v => v.id + ': ' + v.nodes[0].html)))"
        assert browser.execute_async_script(script) == []
