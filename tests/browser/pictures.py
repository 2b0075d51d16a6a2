"""Takes the picture of the explorer for the README, as ``python tests/browser/pictures.py STORE FILE.webp``.

The folder ``tests`` must be in PYTHONPATH. The store is that of `make bench`, whose posters are drawn: real ones are
not ours to publish.
"""

import io
import sys
import tempfile
from pathlib import Path

from browser.chrome import Chrome, find
from browser.looking import circle
from PIL import Image

from featurestore import FeatureStore

WIDTH, HEIGHT = 1280, 760


def main() -> None:
    """Open the explorer, draw a lasso, and keep what the browser shows then."""
    store, target = sys.argv[1:]
    binary = find()
    if binary is None:
        raise SystemExit("there is no chromium: `make browser` installs one")
    with FeatureStore.open(store).explore(read_only=True) as exploration, Chrome(binary) as chrome:
        page = chrome.open(exploration.url, width=WIDTH, height=HEIGHT)
        page.ready()
        everything = page.text("#count")
        page.drag(circle(page))
        page.wait(f"document.documentElement.dataset.shown != '{everything}'")
        images = "[...document.querySelectorAll('#run img')]"
        page.wait(f"{images}.length && {images}.every(one => one.complete && one.naturalWidth > 0)")
        page.wait("[...document.querySelectorAll('#run button > span')].every(one => one.innerText.trim())")
        page.hover((WIDTH / 2, 20))
        with tempfile.TemporaryDirectory() as folder:
            content = page.picture(Path(folder, "page.png")).read_bytes()
    Image.open(io.BytesIO(content)).convert("RGB").save(target, quality=88, method=6)


if __name__ == "__main__":
    main()
