"""What a notebook shows of a store and of what it returns: images, escaped text, a sentence where something lacks."""

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import Collection, CountingBackbone, movie, write_metadata

from featurestore import FeatureStore
from featurestore.errors import MissingExtra
from featurestore.explore import pictures

HOSTILE = "<script>alert(1)</script>"
IMAGE = 'src="data:image/jpeg;base64,'


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store of 12 images with a title from a stranger, of which one file is gone."""
    folder = tmp_path_factory.mktemp("hostile")
    collection = Collection(folder, 12)
    write_metadata(collection.metadata, [movie(img_id, "Drama", HOSTILE) for img_id in collection.ids])
    store = FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    (collection.images / "102.jpg").unlink()
    return store


def test_a_store_in_a_few_lines(embedded: FeatureStore) -> None:
    embedded.create_view("mine", "SELECT ImgId FROM labeled")
    embedded.create_snapshot("before")
    lines = repr(embedded).splitlines()
    assert lines[0] == f"FeatureStore({str(embedded.path)!r})"
    assert lines[2:] == [
        "  24 images, 20 labelled by Genre1: Drama 8, Adventure 4, Comedy 4, Crime 4",
        "  your views: mine",
        "  snapshots: before",
        "  backbone counting: 16 values, 24 of 24 images",
    ]
    page = embedded._repr_html_()
    assert page.count(IMAGE) == 8
    assert all(text in page for text in ("Drama 8", "24 of 24", "your views: mine", "snapshots: before", "Film 101"))
    snapshot = FeatureStore.open(embedded.path, snapshot="before")
    assert repr(snapshot).startswith(f"FeatureStore({str(embedded.path)!r}, snapshot='before')")
    assert len(page) < 60_000


def test_a_store_that_can_not_be_read_says_why(tmp_path: Path, embedded: FeatureStore) -> None:
    none = FeatureStore(tmp_path / "none")
    assert "there is no store" in repr(none)
    assert "there is no store" in none._repr_html_()
    none.create()
    assert "no backbone yet: store.embed(…)" in repr(none)
    assert IMAGE not in none._repr_html_()
    (embedded.path / "state.json").write_text("{")
    assert "state.json" in repr(FeatureStore(embedded.path))
    assert "state.json" in FeatureStore(embedded.path)._repr_html_()


def test_what_is_synthetic_says_so(tmp_path: Path, hostile: FeatureStore) -> None:
    features, found = hostile.features("counting"), hostile.similar(101, backbone="counting", k=2)
    for one in (features, found):
        assert "SYNTHETIC" not in repr(one) + one._repr_html_()
        made_up = replace(one, synthetic=True)
        assert "SYNTHETIC" in repr(made_up)
        assert "SYNTHETIC" in made_up._repr_html_()
    np.save(tmp_path / "x.npy", np.eye(3, 4, dtype=np.float32))
    (tmp_path / "ids.txt").write_text("101\n102\n103\n")
    store = FeatureStore(tmp_path / "store")
    store.import_embeddings(tmp_path / "x.npy", backbone="made", ids=tmp_path / "ids.txt", synthetic=True)
    assert "SYNTHETIC WEIGHTS" in repr(store)
    assert "SYNTHETIC WEIGHTS" in store._repr_html_()
    assert "SYNTHETIC" in repr(store.feature_batches("made", view="images_usable"))


def test_neighbours_show_their_images(hostile: FeatureStore) -> None:
    found = hostile.similar([101, 103], backbone="counting", k=3)
    assert repr(found).startswith("Neighbours: 3 nearest of 2 queries by counting, cosine\n  ImgId 101: 1")
    page = found._repr_html_()
    assert page.count("<figure") == 8
    assert page.count("<figcaption>query") == 2
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    all_of = hostile.similar(101, backbone="counting", k=11)._repr_html_()
    assert all_of.count(IMAGE) == 11, "the query and its neighbours but one"
    assert "no image file (" in all_of
    assert pickle.loads(pickle.dumps(found))._repr_html_() == page
    many = hostile.similar(np.tile(found.scores, (3, 6))[:, :16].astype(np.float32), backbone="counting", k=13)
    assert (len(many), repr(many).count("\n  query ")) == (6, 4)
    assert "shown: the first 4 queries" in many._repr_html_()


def test_a_title_does_not_reorder_what_is_beside_it() -> None:
    shown = pictures.figure({"ImgId": 1, "title": "\u202egpj.exe <b>", "label": "a\u2066"}, "", "", size=(8, 8))
    assert "1<br>\\u202egpj.exe &lt;b&gt;<br>a\\u2066" in shown


def test_neighbours_without_images_are_numbers(hostile: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    found = hostile.similar(101, backbone="counting", k=3)
    alone = replace(found, reader=None)._repr_html_()
    assert "<figure" not in alone
    assert str(found.ids[0, 0]) in alone
    lost = replace(found, reader=FeatureStore(hostile.path / "nowhere"))._repr_html_()
    assert "there is no store" in lost
    assert str(found.ids[0, 0]) in lost

    def refuse(*_: object, **__: object) -> str:
        raise MissingExtra("pip install pillow")

    monkeypatch.setattr(pictures, "_picture", refuse)
    assert "pip install pillow" in found._repr_html_()
    assert "pip install pillow" in hostile._repr_html_()


def test_images_are_read_when_they_are_shown(hostile: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    monkeypatch.setattr(pictures, "_picture", lambda *asked: read.append(asked) or "")
    found = hostile.similar(101, backbone="counting", k=3)
    _ = repr(found), repr(hostile)
    assert read == []
    found._repr_html_()
    assert len(read) == 4


def test_features_in_a_few_lines(embedded: FeatureStore) -> None:
    embedded.embed(CountingBackbone(name="other", weights="blocks-2"))
    features = embedded.features(["counting", "other"], label="Genre1")
    lines = repr(features).splitlines()
    assert lines[0] == "Features: 20 rows × 16 + 16 values of counting+other"
    assert lines[1] == "  label Genre1: Drama 8, Adventure 4, Comedy 4, Crime 4"
    assert features.state_id in lines[3]
    page = features._repr_html_()
    assert page.count("<tr>") == 6
    assert page.count("… 16 values]") == 10
    several = embedded.features("counting", view="multilabel", label="Genres")
    assert "label Genres: Drama 12" in repr(several)
    assert "0 rows" in embedded.features("counting", limit=0)._repr_html_()
    batches = repr(embedded.feature_batches("counting"))
    assert batches.startswith("FeatureBatches: 20 rows × 16 values of counting\n  columns of labeled: ImgId, ")


def test_a_label_of_any_type_can_be_shown(embedded: FeatureStore) -> None:
    embedded.create_view(
        "odd", "SELECT ImgId, {'a': 1} AS s, 1.5 AS f, ImgId % 2 = 0 AS b, [['x']] AS deep FROM labeled"
    )
    labels = {"s": "label s\n", "f": "1.5 20", "b": "False 12, True 8", "deep": "label deep\n"}
    for label, text in labels.items():
        assert text in repr(embedded.features("counting", view="odd", label=label))


def test_records_are_tables(embedded: FeatureStore) -> None:
    embedded.create_snapshot("first")
    for found, text in ((embedded.snapshots(), "first"), (embedded.backbones(), "counting")):
        assert text in found._repr_html_()
        assert text in repr(found).splitlines()[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda s: s,
        lambda s: s.features("counting"),
        lambda s: s.similar(101, backbone="counting"),
        lambda s: s.backbones(),
    ],
)
def test_what_is_shown_fits_dark_and_light(hostile: FeatureStore, make: Callable[[FeatureStore], object]) -> None:
    page = make(hostile)._repr_html_()  # type: ignore[attr-defined]
    colours = set(re.findall(r"(?<![-\w])(?:color|background):([^;}]+)", page))
    assert colours == {"none", "#e69f00", "#000"}, "only the mark has colours of its own"
    assert "<script" not in page
