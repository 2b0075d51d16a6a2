"""Forty thousand points and a million: shown, and how long it takes. The times are printed; none is asserted."""

import statistics
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from browser.chrome import Chrome, Page
from browser.looking import circle, inside, lasso_of

from featurestore import FeatureStore
from featurestore.explore.page.projection import all_points

pytestmark = pytest.mark.browser
KINDS = np.array(["red", "green", "blue", "white", "black"])
DRAWN = "Number(document.getElementById('map').dataset.drawn) > 0"
# From the release of the mouse to the next picture, with the count, the wall and the facets in it.
WATCH = """(() => {
  window.times = [];
  document.getElementById('map').addEventListener('pointerup', () => { window.began = performance.now(); }, true);
  new MutationObserver(() => requestAnimationFrame(() => setTimeout(() => {
    window.times.push(performance.now() - window.began);
  }))).observe(document.documentElement, { attributes: true, attributeFilter: ['data-shown'] });
})()"""


def made(folder: Path, count: int) -> FeatureStore:
    """A store of ``count`` images without files, with vectors in five heaps."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, len(KINDS), count)
    X = (rng.normal(size=(count, 8)) + 2 * rng.normal(size=(5, 8))[kind]).astype(np.float32)
    ids = pa.array([f"p{number:07d}" for number in range(count)])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 8).cast(pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": ids, "embedding": vectors}), folder / "v.parquet")
    pc.write_csv(pa.table({"id": ids, "kind": pa.array(KINDS[kind])}), folder / "m.csv")
    store = FeatureStore(folder / "store")
    store.import_embeddings(
        folder / "v.parquet", backbone="made", metadata=folder / "m.csv", key="id", label="kind", synthetic=True
    )
    return store.refresh()


def lassos(page: Page) -> list[float]:
    """Milliseconds that each of ten lassos took."""
    page.js(WATCH)
    times = []
    for number in range(10):
        page.js("window.times.length = 0")
        page.drag(circle(page, 0.18 + number / 100))
        page.wait("window.times.length > 0 && document.documentElement.dataset.exact == 'true'")
        times.append(page.js("window.times[0]"))
    return times


@pytest.mark.parametrize("count", [40_000, 1_000_000])
def test_many_points_are_shown(chrome: Chrome, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = made(tmp_path, count)
    with store.explore() as exploration:
        started = time.monotonic()
        page = chrome.open(exploration.url)
        page.wait(DRAWN, seconds=60)
        first = time.monotonic() - started
        page.ready()
        assert page.text("#count") == f"{count:,}"
        assert page.text("#synthetic") == page.text("#mapmark") == "SYNTHETIC"
        sampled = count > 50_000
        assert page.js("document.getElementById('map').dataset.drawn") == str(min(count, 50_000))
        assert page.js("!document.getElementById('sampled').hidden") is sampled
        times = lassos(page)
        everything = all_points(store, "made").xy
        page.wait(f"document.getElementById('count').innerText == '{inside(lasso_of(page), everything).sum():,}'")
        assert page.count("#run .card") < 100
        if sampled:
            page.wait("document.getElementById('sampled').innerText.includes('as density')")
            for _ in range(9):
                page.click("#zin")
            page.wait("document.getElementById('sampled').innerText.startsWith('Every point in view')")
        with capsys.disabled():
            median = statistics.median(times)
            print(f"\n{count:,} points: first picture after {first:.2f} s, a lasso {median:.0f} ms (median of ten)")
