"""The explorer in the frame that a notebook shows: a page of another server on this machine."""

import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser.chrome import Chrome

from featurestore import FeatureStore

SECONDS = 15


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[str]:
    """The address of a server of ``tmp_path``, as Jupyter's would be."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_page_works_in_the_frame_of_a_notebook(
    chrome: Chrome, sixty: FeatureStore, notebook: str, tmp_path: Path
) -> None:
    with sixty.explore() as exploration:
        (tmp_path / "notebook.html").write_text(f'<link rel="icon" href="data:,">{exploration._repr_html_()}')
        page = chrome.open(f"{notebook}/notebook.html")
        page.wait("!!document.querySelector('iframe')")
        wanted = [f"{exploration.url}{name}" for name in ("api/points", "thumb/")]
        end = time.monotonic() + SECONDS
        while not all(any(seen.startswith(one) for seen in page.requests) for one in wanted):
            assert time.monotonic() < end, page.requests
            page.js("1")  # takes in what the browser has told meanwhile
            time.sleep(0.05)
        assert page.complaints == []
