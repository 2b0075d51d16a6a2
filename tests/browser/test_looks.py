"""Keys, the phone, the dark page and titles from strangers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench_store import add_backbone
from browser.chrome import Chrome, Page
from support import jpeg, movie, write_metadata

from featurestore import FeatureStore

pytestmark = pytest.mark.browser
FOCUSED = "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
HOSTILE = [
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "\u202egnp.exe & \"quotes' `ticks`",
    "A" * 400,
]


def test_everything_is_reached_by_keys(opened: Callable[..., Page]) -> None:
    page = opened()
    page.js("document.body.focus()")
    page.key("/")
    assert page.js(FOCUSED) == "q"
    stops = []
    for _ in range(40):
        page.key("Tab")
        stops.append(page.js(FOCUSED))
    wanted = ["backbone", "colour", "lasso", "pan", "map", "zin", "zout", "fit", "tab-images", "order", "save"]
    assert [one for one in stops if one in wanted][: len(wanted)] == wanted
    page.js("document.getElementById('map').focus()")
    for key in ("+", "+", "+", "ArrowLeft", "Enter"):
        page.key(key)
    page.wait("document.documentElement.dataset.shown != '60'")
    page.key("Escape")
    page.wait("document.documentElement.dataset.shown == '60'")
    page.js("document.getElementById('tab-images').focus()")
    page.key("ArrowRight")
    assert page.js(FOCUSED) == "tab-filters"
    assert page.js("document.getElementById('page-filters').hidden") is False
    page.key("ArrowLeft")
    page.js("document.querySelector('#run [tabindex=\"0\"]').focus()")
    page.key("ArrowRight")
    page.key("End")
    assert page.js("document.activeElement.parentNode.getAttribute('aria-posinset')") == "60"
    page.key("Enter")
    page.wait("document.getElementById('detail').open")
    page.key("ArrowLeft")
    page.wait("location.hash.includes('i=158')")
    page.key("Escape")
    page.wait("!document.getElementById('detail').open")


def test_a_phone_shows_all_of_it_without_scrolling_sideways(opened: Callable[..., Page]) -> None:
    page = opened(width=390, height=844)
    for tab in ("images", "filters", "results", "heads", "review"):
        page.click(f"#tab-{tab}")
        assert page.js("document.documentElement.scrollWidth") == 390
        assert page.js(f"document.getElementById('tab-{tab}').getBoundingClientRect().right") <= 390
    page.click("#tab-images")
    page.click("#run .card button")
    page.wait("document.getElementById('detail').open")
    assert page.js("document.getElementById('detail').scrollWidth") <= 390


def test_the_dark_page_is_dark_and_the_light_one_light(opened: Callable[..., Page]) -> None:
    light, dark = [
        opened(dark=dark).js(
            """(() => {
              const map = document.getElementById('map');
              const [pixel] = map.getContext('2d').getImageData(1, 1, 1, 1).data;
              const [ink] = getComputedStyle(document.body).color.match(/\\d+/g).map(Number);
              return [pixel, ink];
            })()"""
        )
        for dark in (False, True)
    ]
    assert light[0] > 240 > 60 > light[1]
    assert dark[0] < 40 < 200 < dark[1]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an explorer of four images with titles that would harm a careless page."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    images = folder / "posters"
    images.mkdir()
    for number in range(60):
        (images / f"{100 + number}.jpg").write_bytes(jpeg(number))
    rows = [movie(100 + number, HOSTILE[number % 3], HOSTILE[number % 4]) for number in range(60)]
    store = FeatureStore(folder / "store")
    store.ingest(metadata=write_metadata(folder / "m.csv", rows), images=images)
    add_backbone(store, "a", 1)
    with store.explore() as exploration:
        yield exploration.url


def test_titles_of_strangers_are_text(chrome: Chrome, hostile: str) -> None:
    page = chrome.open(hostile + "#i=100")
    page.ready()
    page.wait("document.querySelector('#run .card span').innerText.includes('onerror')")
    page.wait("!!document.querySelector('dialog[open] .detailbar')")
    page.key("Escape")
    page.wait("!document.querySelector('dialog[open]')")
    page.click("#tab-filters")
    page.wait("document.querySelectorAll('button.level').length > 2")
    assert page.js("document.title").endswith("featurestore explore")
    assert page.count("img[src=x]") == 0
    assert page.complaints == []
    assert page.js("document.documentElement.scrollWidth") == 1280
