"""Search by text in the page, by a backbone with a text tower."""

from pathlib import Path

import made_text_backbone
import numpy as np
import pytest
from browser.chrome import Chrome
from made_text_backbone import COLOURS, ColourBackbone
from PIL import Image

from featurestore import FeatureStore
from featurestore.backbones.records import RECORDS, BackboneRecord

pytestmark = pytest.mark.browser


@pytest.fixture
def coloured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """Nine images, three of each colour, with vectors of a backbone that reads the names of colours."""
    monkeypatch.setitem(RECORDS, "colour", BackboneRecord("colour", "made_text_backbone:load", "mean colours"))
    monkeypatch.setattr(made_text_backbone, "LOADED", ColourBackbone())
    for name, colour in COLOURS.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.broadcast_to(np.array(colour) * 255 / (1 + number), (12, 12, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / name / f"{number}.png")
    store = FeatureStore(tmp_path / "store")
    store.ingest(images=tmp_path / "images")
    store.embed(ColourBackbone())
    return store.refresh()


def test_a_text_orders_the_wall(chrome: Chrome, coloured: FeatureStore) -> None:
    with coloured.explore() as exploration:
        page = chrome.open(exploration.url + "#s=text:colour|a%20red%20car")
        page.ready()
        page.wait("document.getElementById('chips').innerText.includes('a red car')")
        first = (
            "[...document.querySelectorAll('#run .card small')].slice(0, 3).map(one => one.innerText.split(' · ')[1])"
        )
        page.wait(f"{first}.join() == 'red,red,red'")
        assert page.complaints == []
