"""WHERE, facets, lasso, order and the address: what they select is what SQL and numpy say."""

from collections.abc import Callable

import numpy as np
import pytest
from browser.chrome import Page
from browser.looking import circle, inside, lasso_of, points

from featurestore import FeatureStore

pytestmark = pytest.mark.browser
SHOWN = "document.documentElement.dataset.shown"


def ask(page: Page, condition: str) -> None:
    """Type a condition into the WHERE box and press Enter."""
    page.click("#q")
    page.js("document.getElementById('q').select()")
    page.type(condition)
    page.key("Enter")


def shown(page: Page, count: int) -> None:
    page.wait(f"{SHOWN} == '{count}'")


def test_where_selects_what_sql_counts(opened: Callable[..., Page], sixty: FeatureStore) -> None:
    page = opened()
    ask(page, "Genre1 = 'Comedy' AND ImgId < 130")
    wanted = sixty.sql("SELECT count(*) AS n FROM collection WHERE Genre1 = 'Comedy' AND ImgId < 130")["n"][0].as_py()
    shown(page, wanted)
    assert page.count("#run .card") == wanted
    assert page.text("#chips") == "WHERE Genre1 = 'Comedy' AND ImgId < 130\n×"
    page.click("#clear")
    shown(page, 60)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("Genre9 = 'Comedy'", "Genre9"),
        ("read_csv('/etc/passwd') IS NULL", "read_csv"),
        ("1 = 1); DROP TABLE images; --", "can't be used"),
    ],
)
def test_a_refused_condition_is_explained_in_the_page(opened: Callable[..., Page], condition: str, said: str) -> None:
    page = opened()
    ask(page, condition)
    page.wait("!document.getElementById('error').hidden")
    assert said in page.text("#error")
    assert page.text("#count") == "60"
    refused = [one for one in page.complaints if "status of 400" in one]
    assert page.complaints == refused  # the browser itself notes the answer's status
    page.complaints.clear()


def test_facets_and_a_lasso_narrow_each_other(opened: Callable[..., Page], sixty: FeatureStore) -> None:
    page = opened()
    page.click("#tab-filters")
    comedies = "[...document.querySelectorAll('button.level')].find(one => one.innerText.startsWith('Comedy'))"
    page.wait(f"!!{comedies}")
    page.js(f"{comedies}.click()")
    shown(page, 20)
    page.drag(circle(page, 0.3))
    page.wait(f"{SHOWN} != '20'")
    ids, xy = points(page, "a")
    comedy = set(sixty.sql("SELECT ImgId FROM collection WHERE Genre1 = 'Comedy'")["ImgId"].to_pylist())
    wanted = np.array([one in comedy for one in ids]) & inside(lasso_of(page), xy)
    assert page.text("#count") == str(wanted.sum())
    page.click("#tab-filters")
    assert f"\n{wanted.sum()}" in page.js(f"{comedies}.innerText")


def test_a_link_shows_the_same_view_and_back_undoes_a_step(opened: Callable[..., Page]) -> None:
    page = opened()
    ask(page, "ImgId < 140")
    shown(page, 40)
    page.drag(circle(page, 0.3))
    page.wait(f"{SHOWN} != '40'")
    fragment, count = page.js("location.hash"), page.text("#count")
    again = opened(fragment)
    assert again.text("#count") == count
    again.js("history.replaceState(null, '', location.hash)")
    again.click("#chips span:last-child button")  # the lasso
    shown(again, 40)
    again.js("history.back()")
    shown(again, int(count))


def test_the_wall_sorts_by_a_column(opened: Callable[..., Page], sixty: FeatureStore) -> None:
    page = opened("#o=column%3AGenre1")
    labels = page.wait(
        "(all => all.length > 3 && all.every(one => one.trim()) && all)"
        "([...document.querySelectorAll('#run .card small')].map(one => one.innerText))"
    )
    assert len(set(labels)) == 1  # Drama is the most frequent, and 40 of them come first


def test_the_neighbours_of_an_image_become_the_selection(opened: Callable[..., Page], sixty: FeatureStore) -> None:
    page = opened("#b=b&s=similar:b|100")
    page.wait(f"{SHOWN} && document.querySelectorAll('#run .card').length > 3")
    first = page.js("[...document.querySelectorAll('#run .card img')].slice(0, 5).map(one => one.src.split('/').pop())")
    wanted = sixty.similar(100, backbone="b", k=5).ids.ravel().tolist()
    assert first == ["100", *[str(one) for one in wanted if one != 100][:4]]


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("#q=Genre9%20%3D%201", "Genre9"),
        ('#f={"__proto__":{"levels":["x"]}}', "__proto__"),
        ("#c=constructor:x", "does not know: constructor:x"),
        ("#s=foo:bar", "does not know: foo"),
        ("#f=%7B&l=1,2&z=1e308,0,1&o=column:nope&b=nope&m=tsne&r=nope&i=99999999", ""),
    ],
)
def test_a_damaged_link_shows_everything_and_says_why(opened: Callable[..., Page], fragment: str, said: str) -> None:
    page = opened(fragment)
    page.wait(f"{SHOWN} == '60' && document.querySelectorAll('#run .card').length > 3")
    assert said in page.text("#error")
    page.complaints[:] = [one for one in page.complaints if "status of 40" not in one]
