"""Back and forward, a store that changes beneath the page, and stores that lack what the page shows."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bench_store import make_store
from browser.chrome import Chrome, Page
from browser.looking import circle
from PIL import Image

import benchmarks
from featurestore import FeatureStore

pytestmark = pytest.mark.browser
SHOWN = "document.documentElement.dataset.shown"


def test_back_to_the_bare_address_keeps_backbone_and_colour(opened: Callable[..., Page]) -> None:
    page = opened()
    before = page.text("#legend")
    page.click("#tab-filters")
    page.wait("document.querySelectorAll('button.level').length > 1")
    page.js("history.back()")
    page.wait("!location.hash && !document.getElementById('page-images').hidden")
    page.click("#tab-results")  # what Back has asked for was answered by now
    page.wait("document.getElementById('page-results').innerText.includes('No head')")
    assert (page.text("#error"), page.text("#legend")) == ("", before)
    assert page.js("[backbone.value, document.getElementById('map').dataset.drawn]") == ["a", "60"]


def test_closing_an_image_takes_its_step_back(opened: Callable[..., Page]) -> None:
    page = opened()
    length = page.js("history.length")
    for _ in range(3):
        page.click("#run .card button")
        page.wait("document.getElementById('detail').open")
        page.key("Escape")
        page.wait("!document.getElementById('detail').open && !location.hash.includes('i=')")
    assert page.js("history.length") == length + 1  # the last one, forward of here
    page.js("history.forward()")
    page.wait("document.getElementById('detail').open")
    page.js("history.back()")
    page.wait("!document.getElementById('detail').open")


def test_a_slow_lasso_of_many_corners_selects(opened: Callable[..., Page]) -> None:
    page = opened()
    x, y = np.mean(circle(page), axis=0)
    turns = np.linspace(0, 4 * math.pi, 1600)  # twice around: more corners than an address holds
    page.drag([(x + 250 * math.cos(turn), y + (100 + 10 * turn) * math.sin(turn)) for turn in turns])
    page.wait("location.hash.includes('l=')")
    assert page.js("new URLSearchParams(location.hash.slice(1)).get('l').split(';').length") <= 500
    page.wait(f"{SHOWN} != '60'")


def test_a_label_that_is_corrected_elsewhere_is_seen(chrome: Chrome, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with store.explore() as exploration:
        page = chrome.open(exploration.url + "#q=Genre1%20%3D%20'Crime'")
        page.ready()
        page.wait(f"{SHOWN} == '0'")
        assert page.js("[save.disabled, relabel.disabled, wall.hidden]") == [True, True, True]
        store.correct_labels([100, 101], "Crime")
        page.js("dispatchEvent(new Event('focus'))")  # the person comes back to this tab
        page.wait(f"{SHOWN} == '2'")
        page.wait("document.querySelector('#run .card small')?.innerText == 'Crime'")
        assert "Crime" in page.text("#legend")
        assert page.complaints == []


def test_a_correction_of_many_images_is_undone_at_once(chrome: Chrome, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with store.explore(where="Genre1 = 'Comedy'") as exploration:
        page = chrome.open(exploration.url)
        page.ready()
        page.click("#relabel")
        page.click("#ask form.label input")
        page.type("Drama")
        page.key("Enter")
        page.wait("document.getElementById('ask').innerText.includes('Undo for 20 images')")
        assert store.refresh().corrections().num_rows == 20
        page.click("#ask p button")
        page.wait("document.getElementById('ask').innerText.includes('is undone')")
        assert store.refresh().corrections().num_rows == 0


def test_a_store_without_vectors_and_labels_says_what_it_lacks(chrome: Chrome, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(3):
        Image.new("RGB", (12, 9), (80 * number, 0, 0)).save(tmp_path / "images" / f"{number}.png")
    store = FeatureStore(tmp_path / "store")
    store.ingest(images=tmp_path / "images")
    with store.explore() as exploration:
        page = chrome.open(exploration.url + "#i=0")
        page.ready()
        page.wait("document.getElementById('detail').open")  # an ImgId may be 0
        page.key("Escape")
        page.wait("!document.getElementById('detail').open")
        page.resize(1200, 700)  # what is said stays when the map is drawn again
        page.wait("Number(getComputedStyle(document.body).width.replace('px', '')) == 1200")
        assert "run featurestore embed" in page.text("#sampled")
        assert page.js("document.getElementById('colour').selectedOptions[0].text") == "one colour"
        page.click("#tab-results")
        page.wait("document.getElementById('page-results').innerText.includes('featurestore embed')")
        assert page.count("#page-results button") == 0
        assert page.complaints == []


def test_heads_of_many_classes_show_their_most_frequent_confusions(chrome: Chrome, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.create_view("fine", "SELECT *, 'c' || (ImgId % 30) AS class FROM labeled")
    options = {"heads": ["majority"], "folds": 2, "quick": True, "workers": 1, "progress": False}
    benchmarks.compare(store, view="fine", label="class", **options)
    with store.refresh().explore() as exploration:
        page = chrome.open(exploration.url + "#p=heads")
        page.ready()
        page.wait("document.querySelectorAll('.pairs button').length > 10")
        assert page.count(".pairs button") <= 80
        assert page.count(".matrix table") == 0
        count = int(page.text(".pairs b"))
        page.click(".pairs button")
        page.wait(f"document.querySelectorAll('.cellimages .card').length == {count}")
        assert page.complaints == []
