"""In a real browser the page draws every chart, fits phones, follows light and dark, and asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import chromium
import numpy as np
import pytest
from html_runs import (
    DECISIONS,
    FAILED,
    FOUR,
    ONE_PASS,
    OWN,
    SKIPPED,
    TRAINED,
    UNSOUND,
    inference,
    workers,
)
from PIL import Image

from throughput.registry import load_report
from throughput.results import Results

WIDTHS = (390, 1280)
HOSTILE = "</script><img src=x onerror=console.error(1)><b>" + "long" * 40
PAGES: dict[str, list[Results]] = {
    "four loaders": [FOUR],
    "inference": [inference()],
    "workers": workers(1, 2, 4),
    "all kinds of rows": [
        replace(
            FOUR,
            rows=(OWN, UNSOUND, ONE_PASS, TRAINED, SKIPPED, FAILED, replace(FOUR.rows[1], loader=HOSTILE)),
            gate=DECISIONS,
            comparisons=(),
        )
    ],
}

DRAWN = """new Promise(resolve => {
    const root = document.documentElement;
    const done = () => root.dataset.drawn && resolve(Number(root.dataset.drawn));
    new MutationObserver(done).observe(root, {attributes: true});
    done();
})"""
MARKS = """[...document.querySelectorAll("[data-chart]")].map(chart =>
    chart.querySelectorAll("svg .role-mark :is(path, line, text)").length)"""
COLOURS = """[...document.querySelectorAll("svg .role-mark path")].map(mark => getComputedStyle(mark))
    .flatMap(style => [style.fill, style.stroke]).filter(colour => colour !== "none")"""
NAMELESS = """[...document.querySelectorAll("svg :is([fill^='var('], [stroke^='var('])")].filter(mark =>
    ["fill", "stroke"].some(name => (mark.getAttribute(name) ?? "").startsWith("var(")
        && ["none", "rgb(0, 0, 0)"].includes(getComputedStyle(mark)[name]))).length"""
UNFIT = """[...document.querySelectorAll("[data-chart]")].filter(place => {
    const chart = place.querySelector("svg"), drawn = chart.getBoundingClientRect();
    // Text that is shrunk with its chart cannot be read.
    const shrunk = Math.abs(drawn.width - chart.viewBox.baseVal.width) > 2;
    return shrunk || drawn.right > innerWidth || drawn.width < 0.95 * place.getBoundingClientRect().width;
}).length"""
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Page]:
    path = chromium.executable()
    if path is None:
        pytest.skip(f"none of {', '.join(chromium.NAMES)} is installed")
    with chromium.running(path) as page:
        yield page


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    paths = {name: folder / f"{name}.html" for name in PAGES}
    for name, path in paths.items():
        path.write_text(load_report("html").render(PAGES[name]), encoding="utf-8")
    return paths


def said(page: chromium.Page) -> list[chromium.Message]:
    """What the browser reports of a page: errors, warnings, refused requests."""
    kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    return [event for event in page.events if event["method"] in kinds]


def requested(page: chromium.Page) -> list[str]:
    sent = [event for event in page.events if event["method"] == "Network.requestWillBeSent"]
    return [event["params"]["request"]["url"] for event in sent]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_it_draws_and_fits(
    browser: chromium.Page, files: dict[str, Path], tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    browser.look(width, 900, scheme)
    browser.open(files[name])
    charts = browser.evaluate(DRAWN)
    marks = browser.evaluate(MARKS)
    assert len(marks) == charts > 0
    assert min(marks) > 1
    assert said(browser) == []
    assert [url for url in requested(browser) if not url.startswith("data:")] == [files[name].as_uri()]
    assert browser.evaluate(OVERFLOW) <= 0
    assert browser.evaluate(UNFIT) == 0
    browser.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape[1] == width
    assert pixels.shape[0] > 900
    assert (np.median(pixels) > 128) == (scheme == "light")
    assert len(np.unique(pixels)) > 50


def test_charts_follow_the_colour_scheme_without_being_drawn_anew(
    browser: chromium.Page, files: dict[str, Path]
) -> None:
    browser.look(1280, 900, "light")
    browser.open(files["four loaders"])
    browser.evaluate(DRAWN)
    light = browser.evaluate(COLOURS)
    browser.look(1280, 900, "dark")
    dark = browser.evaluate(COLOURS)
    assert len(light) == len(dark) > 50
    assert set(light).isdisjoint(dark)
    assert browser.evaluate(NAMELESS) == 0


def test_charts_follow_the_width_of_the_window(browser: chromium.Page, files: dict[str, Path]) -> None:
    browser.look(1280, 900, "light")
    browser.open(files["four loaders"])
    browser.evaluate(DRAWN)
    browser.look(390, 900, "light")
    browser.evaluate("new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    assert browser.evaluate(OVERFLOW) <= 0
    assert browser.evaluate(UNFIT) == 0


def test_without_scripts_every_number_can_be_seen(browser: chromium.Page, files: dict[str, Path]) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.look(390, 900, "light")
        browser.open(files["four loaders"])
        assert browser.evaluate("document.querySelectorAll('svg[class=marks]').length") == 0
        assert browser.evaluate("document.querySelectorAll('figure ~ details table').length") == 4
        assert "numbers stand below" in browser.evaluate("document.body.innerText")
        assert browser.evaluate(OVERFLOW) <= 0
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_what_is_folded_is_open_on_paper(browser: chromium.Page, files: dict[str, Path]) -> None:
    browser.look(1280, 900, "light")
    browser.open(files["four loaders"])
    browser.evaluate(DRAWN)
    assert browser.evaluate("document.querySelectorAll('details[open]').length") == 0
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate("document.querySelectorAll('details[open]').length") == 0


def test_a_script_in_a_name_is_refused_even_where_it_is_put_into_the_page(
    browser: chromium.Page, files: dict[str, Path], tmp_path: Path
) -> None:
    """The second line of defence: the page's own policy."""
    page = files["four loaders"].read_text(encoding="utf-8")
    path = tmp_path / "spoilt.html"
    path.write_text(page.replace("<main>", "<main><script>document.title = 'run'</script>"), encoding="utf-8")
    browser.open(path)
    assert browser.evaluate(DRAWN) > 0
    assert browser.evaluate("document.title") != "run"
    assert any("Content Security Policy" in str(event) for event in said(browser))
