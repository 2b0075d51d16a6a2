"""The one test of the page that `make test` runs too: it opens, draws, and a lasso selects what numpy says."""

from collections.abc import Callable

from browser.chrome import Page
from browser.looking import circle, inside, lasso_of, points


def test_page_draws_its_points_and_a_lasso_selects_what_numpy_says(opened: Callable[..., Page]) -> None:
    page = opened()
    assert page.js("document.getElementById('map').dataset.drawn") == "60"
    assert page.text("#count") == "60"
    page.drag(circle(page))
    page.wait("document.documentElement.dataset.shown != '60'")
    ids, xy = points(page, "a")
    wanted = int(inside(lasso_of(page), xy).sum())
    assert 0 < wanted < len(ids)
    assert page.text("#count") == str(wanted)
    images = "[...document.querySelectorAll('#run img')]"
    page.wait(f"{images}.length && {images}.every(one => one.complete && one.naturalWidth > 0)")
