"""A headless Chromium, and explorers of small stores for it."""

import os
from collections.abc import Callable, Iterator

import pytest
from bench_store import make_store
from browser.chrome import Chrome, Page, find

from featurestore import FeatureStore

NO_CHROMIUM = "there is no chromium, chromium-browser or google-chrome: `make browser` installs one"


@pytest.fixture(scope="session")
def chrome() -> Iterator[Chrome]:
    """Chromium; without one a test is skipped, but fails where the Makefile was asked to install it for CI."""
    binary = find()
    if binary is None and os.environ.get("CI") == "true" and os.environ.get("FEATURESTORE_BROWSER") == "1":
        pytest.fail(NO_CHROMIUM)
    if binary is None:
        pytest.skip(NO_CHROMIUM)
    with Chrome(binary) as running:
        yield running


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Sixty posters with the backbones `a` and `b`, for tests that leave the store as it is."""
    return make_store(tmp_path_factory.mktemp("sixty"))


@pytest.fixture(scope="module")
def address(sixty: FeatureStore) -> Iterator[str]:
    """The address of an explorer of `sixty`."""
    with sixty.explore() as exploration:
        yield exploration.url


@pytest.fixture
def opened(chrome: Chrome, address: str) -> Iterator[Callable[..., Page]]:
    """Opens the explorer of `sixty`; at the end the console must be empty, and no request have left this machine."""
    pages = []

    def call(fragment: str = "", *, width: int = 1280, height: int = 800, dark: bool = False) -> Page:
        page = chrome.open(address + fragment, width=width, height=height, dark=dark)
        page.ready()
        pages.append(page)
        return page

    yield call
    for page in pages:
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith((address, "data:", "blob:"))] == []
        assert any(url.startswith(f"{address}api/points") for url in page.requests)
