"""The bench in the page: results that sort, cells that open their images, and the whole loop of a new user."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_store import make_store
from browser.chrome import Chrome, Page
from browser.looking import circle

import benchmarks
from featurestore import FeatureStore

pytestmark = pytest.mark.browser
HEADS = ["knn", "logistic_regression", "majority"]
CELL = ".matrix:first-child td button:not(:disabled)"
SHOW_RESULTS = "[...document.querySelectorAll('#ask button')].find(one => one.innerText == 'Show the results').click()"
REVIEW = "[...document.querySelectorAll('#page-review .switch button')].find(one => one.innerText == '{}').click()"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Sixty posters with two backbones, and a run of three heads over them."""
    store = make_store(tmp_path_factory.mktemp("compared"))
    benchmarks.compare(store, heads=HEADS, quick=True, workers=1, progress=False)
    return store.refresh()


@pytest.fixture
def page(chrome: Chrome, compared: FeatureStore) -> Iterator[Page]:
    """The explorer of `compared`."""
    with compared.explore() as exploration:
        page = chrome.open(exploration.url)
        page.ready()
        yield page
        assert page.complaints == []


def column(page: Page, place: int) -> list[str]:
    """The cells of one column of the table of results."""
    return list(
        page.js(f"[...document.querySelectorAll('.sorted tbody tr')].map(row => row.children[{place}].innerText)")
    )


def test_the_table_sorts_both_ways_and_back(page: Page) -> None:
    page.click("#tab-results")
    page.wait("document.querySelectorAll('.sorted tbody tr').length == 6")
    headings = page.js("[...document.querySelectorAll('.sorted thead th')].map(one => one.innerText.trim())")
    place = headings.index("accuracy")
    before = column(page, place)
    heading = f".sorted thead th:nth-child({place + 1}) button"
    page.click(heading)
    assert column(page, place) == sorted(before, key=float, reverse=True)
    page.click(heading)
    assert column(page, place) == sorted(before, key=float)
    page.click(heading)
    assert column(page, place) == before


def test_a_cell_of_a_confusion_matrix_opens_its_images(page: Page) -> None:
    page.click("#tab-heads")
    page.wait(f"document.querySelectorAll('{CELL}').length > 0")
    numbers = page.js(
        "[...document.querySelectorAll('.matrix:first-child td button')].map(one => Number(one.innerText))"
    )
    assert sum(numbers) == 60
    count = int(page.text(CELL))
    page.click(CELL)
    page.wait(f"document.querySelectorAll('.cellimages .card').length == {count}")
    page.click(".cellimages .bar button")
    page.wait(f"document.documentElement.dataset.shown == '{count}'")
    assert "predicted as" in page.text("#chips")


def test_the_run_and_the_heads_are_chosen_on_a_phone(page: Page) -> None:
    page.resize(390, 844)
    for tab in ("results", "heads", "review"):
        page.click(f"#tab-{tab}")
        page.wait(f"document.querySelectorAll('#page-{tab} .bar select').length > 0")
        selects = f"[...document.querySelectorAll('#page-{tab} .bar select')]"
        assert max(page.js(f"{selects}.map(one => one.getBoundingClientRect().right)")) <= 390
        assert page.js(f"(one => one.scrollWidth <= one.clientWidth)(document.getElementById('page-{tab}'))")


def test_points_are_coloured_by_prediction_and_by_error(page: Page) -> None:
    page.wait("document.querySelectorAll('#colour option').length > 6")
    for value in ("predicted:a/knn", "wrong"):
        page.js(f"colour.value = '{value}'; colour.dispatchEvent(new Event('change'))")
        page.wait("document.getElementById('legend').innerText.trim().length > 0")
        assert page.js("new URLSearchParams(location.hash.slice(1)).get('c')") == value
    page.wait("!!document.querySelector('#legend .ramp')")


def test_the_whole_loop_of_a_new_user(chrome: Chrome, tmp_path: Path) -> None:
    """Lasso, view, quick bench, confusion cell, doubtful label, corrected label, bench again."""
    store = make_store(tmp_path)
    with store.explore(backbone="a") as exploration:
        page = chrome.open(exploration.url)
        page.ready()
        page.drag(circle(page, 0.42))
        page.wait("document.documentElement.dataset.shown != '60'")
        count = int(page.text("#count"))
        page.click("#save")
        page.type("mine")
        page.key("Enter")
        bench(page)
        assert store.refresh().sql("SELECT count(*) AS n FROM mine")["n"].to_pylist() == [count]
        page.js(SHOW_RESULTS)
        page.wait("document.querySelectorAll('.sorted tbody tr').length > 3")
        assert "mine" in page.text("#page-results .caption")
        page.click("#tab-heads")
        page.wait(f"document.querySelectorAll('{CELL}').length > 0")
        page.click(CELL)
        page.wait("document.querySelectorAll('.cellimages .card').length > 0")
        page.click("#tab-review")
        page.wait("document.querySelectorAll('#page-review .switch button').length == 4")
        page.js(REVIEW.format("Surest errors"))
        page.wait("document.querySelectorAll('#page-review .oneclick button').length > 0")
        wanted = page.text("#page-review .oneclick button")
        page.click("#page-review .oneclick button")
        page.wait("document.querySelector('#page-review .oneclick .good')?.innerText.includes('corrected to')")
        assert wanted.startswith("Correct to ")
        assert store.refresh().corrections().num_rows == 1
        page.js(REVIEW.format("Corrections"))
        page.wait("document.querySelectorAll('#page-review .card').length == 1")
        page.click("#tab-results")
        page.click("#page-results .bar button")
        page.js("document.querySelector('#ask select').value = 'mine'")
        bench(page)
        page.js(SHOW_RESULTS)
        page.wait("document.getElementById('page-results').innerText.includes('corrected')")
        assert page.complaints == []
        assert [
            url for url in page.requests if not url.startswith((exploration.url.partition("#")[0], "data:", "blob:"))
        ] == []


def bench(page: Page) -> None:
    """Run the quick bench from the dialog of a saved selection, and wait for its end."""
    page.wait("!!document.querySelector('#ask .bench button')")
    page.click("#ask .bench button")
    page.wait("document.querySelector('#ask .bench')?.innerText.includes('Show the results')", seconds=120)
