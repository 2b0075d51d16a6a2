"""What the page may change: a selection becomes a view, a label is corrected and the correction undone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_store import make_store
from browser.chrome import Chrome, Page
from browser.looking import circle

from featurestore import FeatureStore

pytestmark = pytest.mark.browser


@pytest.fixture
def own(tmp_path: Path) -> FeatureStore:
    """Sixty posters of which nothing but this test knows."""
    return make_store(tmp_path)


@pytest.fixture
def page(chrome: Chrome, own: FeatureStore) -> Iterator[Page]:
    """The explorer of `own`."""
    with own.explore() as exploration:
        page = chrome.open(exploration.url)
        page.ready()
        yield page


def save_as(page: Page, name: str) -> None:
    """Save the selection under a name, by the dialog."""
    page.click("#save")
    page.type(name)
    page.key("Enter")
    page.wait("document.querySelector('#ask .good, #ask .problem')?.innerText")


def test_a_lasso_is_saved_as_rows_and_a_view(page: Page, own: FeatureStore) -> None:
    page.drag(circle(page, 0.3))
    page.wait("document.documentElement.dataset.shown != '60'")
    count = int(page.text("#count"))
    save_as(page, "mine")
    assert page.text("#ask .good") == f"Saved the view mine: {count} images."
    own.refresh()
    assert own.sql("SELECT count(*) AS n FROM mine")["n"].to_pylist() == [count]
    assert own.sql("SELECT count(*) AS n FROM selections WHERE selection = 'mine'")["n"].to_pylist() == [count]
    assert len(own.views()["mine"]) < 300  # no list of ids


def test_a_condition_is_saved_as_a_view_of_it(page: Page, own: FeatureStore) -> None:
    page.click("#q")
    page.type("Genre1 = 'Comedy'")
    page.key("Enter")
    page.wait("document.documentElement.dataset.shown == '20'")
    save_as(page, "comedies")
    assert "comedies: 20 images" in page.text("#ask .good")
    assert "Genre1 = 'Comedy'" in own.refresh().views()["comedies"]


def test_a_name_that_is_taken_is_explained(page: Page) -> None:
    save_as(page, "labeled")
    assert "labeled" in page.text("#ask .problem")
    page.key("Escape")
    page.wait("!document.getElementById('ask').open")


def test_a_label_is_corrected_where_it_is_seen_and_the_correction_undone(page: Page, own: FeatureStore) -> None:
    query = "SELECT Genre1 FROM labeled WHERE ImgId = 100"
    before = own.sql(query)["Genre1"].to_pylist()
    page.click("#run .card button")
    page.wait("document.querySelector('#detail form.label input')?.placeholder == 'Drama'")
    page.click("#detail form.label input")
    page.type("Comedy")
    page.key("Enter")
    page.wait("document.querySelector('#detail .corrected')?.innerText.includes('corrected from Drama to Comedy')")
    assert own.refresh().sql(query)["Genre1"].to_pylist() == ["Comedy"] != before
    page.wait("document.querySelector('#run .card small').innerText == 'Comedy'")
    page.click("#detail .corrected button")
    page.wait("document.querySelector('#detail .current b')?.innerText == 'Drama'")
    assert own.refresh().sql(query)["Genre1"].to_pylist() == before
    assert page.text("#error") == ""
    assert page.complaints == []


def test_read_only_offers_no_change(chrome: Chrome, own: FeatureStore) -> None:
    with own.explore(read_only=True) as exploration:
        page = chrome.open(exploration.url)
        page.ready()
        page.click("#run .card button")
        page.wait("!!document.querySelector('#detail .current')")
        assert page.count("#detail form") == 0
        assert page.js("document.getElementById('relabel').hidden") is True
        refused = page.js(
            "fetch('api/correct', {method: 'POST', headers: {'Content-Type': 'application/json'}, "
            "body: JSON.stringify({ids: [100], column: 'Genre1', to: 'Comedy'})}).then(answer => answer.status)"
        )
        assert refused == 403
