"""The report in a browser: sorting, values on hover, images of a cell by mouse and keys, phone, dark, paper."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_store import make_store
from browser.chrome import Chrome, Page

import benchmarks

pytestmark = pytest.mark.browser
HEADS = ["knn", "logistic_regression", "majority"]
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run of three heads over sixty posters with two backbones."""
    folder = tmp_path_factory.mktemp("report")
    store = make_store(folder)
    benchmarks.compare(store, heads=HEADS, quick=True, workers=1, progress=False).to_html(folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def opened(chrome: Chrome, report: Path) -> Callable[..., Page]:
    def call(*, width: int = 1280, dark: bool = False) -> Page:
        page = chrome.open(f"file://{report}", width=width, height=900, dark=dark)
        page.wait("document.documentElement.classList.contains('scripted')")
        return page

    return call


def quiet(page: Page) -> None:
    """Nothing was asked of the network, and the console is empty: the policy lets the page's own script run."""
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert page.complaints == []


def middle(page: Page, selector: str) -> list[float]:
    """Where the middle of an element is, once it is in view and at rest."""
    page.js(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
    page.js(DRAWN)
    found = page.js(
        f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({selector!r}).getBoundingClientRect())"
    )
    return list(found)


def test_a_heading_sorts_both_ways_and_back(opened: Callable[..., Page]) -> None:
    page = opened()

    def column(place: int) -> list[str]:
        rows = "[...document.querySelector('table').tBodies[0].rows]"
        return list(page.js(f"{rows}.map(row => row.cells[{place}].innerText)"))

    headings = page.js("[...document.querySelector('table').tHead.rows[0].cells].map(one => one.innerText)")
    for name, first_is_high in (("accuracy", True), ("log loss", False)):
        place = headings.index(name)
        before, heading = column(place), f"table thead th:nth-child({place + 1}) [role=button]"
        page.click(heading)
        assert column(place) == sorted(before, key=float, reverse=first_is_high)
        page.click(heading)
        assert column(place) == sorted(before, key=float, reverse=not first_is_high)
        page.js(f"document.querySelector({heading!r}).focus()")
        page.key("Enter")
        assert column(place) == before
        assert page.count("[aria-sort]") == 0
    quiet(page)


def test_marks_tell_their_values(opened: Callable[..., Page]) -> None:
    page = opened()
    page.hover(middle(page, ".panels svg circle"))
    assert re.fullmatch(r"\w+: accuracy, 95 % interval 0\.\d{3}, 0\.\d{3} to 0\.\d{3}", page.text(".tip"))
    middle(page, "svg[data-map]")
    place = page.js(
        "(path => { const [x, y] = path.getAttribute('d').slice(1).split(/[ h]/).map(Number);"
        "const at = new DOMPoint(x, y).matrixTransform(path.getScreenCTM()); return [at.x, at.y]; })"
        "(document.querySelector('svg[data-map] path'))"
    )
    page.hover(place)
    assert re.search(r"(always|mostly) (right|wrong)$", page.text(".tip"))
    page.hover([1, 1])
    assert page.js("document.querySelector('.tip').hidden")
    quiet(page)


def test_a_cell_shows_its_images(opened: Callable[..., Page]) -> None:
    page = opened()
    cell = "[data-columns] [data-cell='0-0-0-1']"
    page.click(cell)
    assert re.match(r"\w+ predicted as \w+: \d+ of \d+ predictions \(\d+%\), of \d+ images", page.text(".strip p"))
    assert 1 <= page.count(".strip figure") <= 8
    page.wait("[...document.querySelectorAll('.strip img')].every(one => one.complete && one.naturalWidth > 0)")
    page.key("ArrowLeft")
    page.key("Enter")
    assert "predicted correctly" in page.text(".strip p")
    assert page.js("document.activeElement.ariaPressed") == "true"
    page.key("Escape")
    assert page.js("document.querySelector('.strip').hidden")
    quiet(page)


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(opened: Callable[..., Page], dark: bool) -> None:
    page = opened(width=390, dark=dark)
    assert page.js("document.documentElement.scrollWidth") == 390
    light = page.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light != dark
    quiet(page)


def test_the_printed_table_is_whole(opened: Callable[..., Page]) -> None:
    page = opened(dark=True)
    page.send("Emulation.setEmulatedMedia", media="print", features=[])
    page.send("Emulation.setDeviceMetricsOverride", width=710, height=1000, deviceScaleFactor=1, mobile=False)
    wide, inside = page.js("(one => [one.scrollWidth, one.clientWidth])(document.querySelector('.wide'))")
    assert wide <= inside
    assert page.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    paper = base64.b64decode(page.send("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 8


def test_without_scripts_it_is_whole(chrome: Chrome, report: Path) -> None:
    page = chrome.open("about:blank")
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    page.send("Page.navigate", url=f"file://{report}")
    page.wait("document.querySelectorAll('.panels svg').length > 10")
    assert page.count(".panels title") > 50
    assert page.js("[...document.querySelectorAll('.live')].every(one => getComputedStyle(one).display == 'none')")
    page.send("Emulation.setScriptExecutionDisabled", value=False)
