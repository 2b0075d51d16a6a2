"""What the explorer answers: facts, columns, conditions, images, neighbours; what it saves, and what it refuses."""

import base64
import datetime
import decimal
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from made_text_backbone import ColourBackbone
from numpy.typing import NDArray
from PIL import Image
from support import Collection, CountingBackbone, movie, write_metadata

import featurestore
from featurestore import FeatureStore
from featurestore.catalog.writer import open_writer
from featurestore.errors import FeatureStoreError, InputError, QueryError, StoreError, StoreLocked
from featurestore.explore.page import columns, facts, images, likeness, plugins, saved
from featurestore.explore.page.answers import routes
from featurestore.explore.page.images import Thumbnails
from featurestore.explore.page.messages import PageError, Routes
from featurestore.explore.page.shown import ShownStore

HOSTILE = "<img src=x onerror=alert(1)>\"'</script>\u202e"
Ask = Callable[..., Any]


def asker(found: Routes) -> Ask:
    """A question to the routes, without HTTP; JSON is read."""

    def ask(address: str, **query: str) -> Any:
        answer = found.get[f"api/{address}"](query)
        return json.loads(answer.body) if answer.kind == "application/json" else answer

    return ask


@pytest.fixture
def ask(kept_store: FeatureStore) -> Ask:
    return asker(routes(ShownStore(featurestore.open(kept_store.path), read_only=False)))


def unpacked(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), kind)


def ids_of(answer: dict[str, Any]) -> list[int]:
    found = unpacked(answer["ids"], "<i4").tolist()
    assert len(found) == answer["count"]
    return found


def test_the_facts_of_a_store(ask: Ask, kept_store: FeatureStore) -> None:
    meta = ask("meta")
    assert {name: meta[name] for name in ("store", "state", "count", "label", "title", "synthetic", "read_only")} == {
        "store": "store",
        "state": kept_store.state.id,
        "count": 24,
        "label": "Genre1",
        "title": "Title",
        "synthetic": False,
        "read_only": False,
    }
    assert meta["backbones"] == [{"name": "counting", "dim": 16, "rows": 24, "synthetic": False, "text": False}]
    assert meta["maps"] == [{"backbone": "counting", "method": "pca", "rows": 24}]
    assert {"name": "Genre1", "kind": "text", "distinct": 5} in meta["columns"]
    assert {"name": "IMDBScore", "kind": "number", "distinct": 1} in meta["columns"]
    assert "ImgId" not in [column["name"] for column in meta["columns"]]
    assert (meta["selections"], meta["views"], meta["problems"]) == ([], [], [])
    assert "corrections" in meta["pages"]
    assert "Genre1" in meta["columns_editable"]


def test_columns_are_in_the_order_of_the_ids(ask: Ask, kept_store: FeatureStore) -> None:
    ids = np.frombuffer(ask("ids").body, "<i4")
    assert ids.tolist() == list(range(101, 125))
    genre = ask("column", name="Genre1")
    codes = unpacked(genre["codes"], "<i2")
    rows = kept_store.sql("SELECT Genre1 FROM collection ORDER BY ImgId")["Genre1"].to_pylist()
    assert [genre["levels"][code] for code in codes] == rows
    assert genre["levels"][0] == "Drama", "the most frequent first"
    few = ask("column", name="Genre1", levels="2")
    assert few["levels"] == [*genre["levels"][:2], "other"]
    assert [few["levels"][code] if code < 2 else "other" for code in unpacked(few["codes"], "<i2")] == [
        genre if genre in few["levels"][:2] else "other" for genre in rows
    ]
    # Whole numbers and scores with few values: a score is no level, it is a number.
    assert unpacked(ask("column", name="IMDBScore")["values"], "<f4").tolist() == [6.5] * 24


def test_columns_of_every_kind(tmp_path: Path) -> None:
    table = pa.table(
        {
            "file": ["101.jpg", "102.jpg", "103.jpg"],
            "label": ["b", "a", " "],
            "stars": [1, 2, 1],
            "seen": pa.array([datetime.date(2020, 1, 2), datetime.date(1970, 1, 1), None]),
            "price": [1.5, None, float("inf")],
            "tags": [["y", "x"], ["y"], []],
            "good": [True, None, False],
        }
    )
    parquet.write_table(table, tmp_path / "table.parquet")
    store = FeatureStore(tmp_path / "store")
    images = Collection(tmp_path, 4).images
    store.ingest(images=images, metadata=tmp_path / "table.parquet", key="file", label="label")
    ask = asker(routes(ShownStore(store, read_only=True)))
    kinds = {column["name"]: column["kind"] for column in ask("meta")["columns"]}
    assert kinds == {
        "ImgName": "text",
        "label": "text",
        "stars": "number",
        "seen": "time",
        "price": "number",
        "tags": "list",
        "good": "text",
    } | ({"file": "text"} if "file" in kinds else {})

    def levels(name: str) -> tuple[list[str], list[int]]:
        found = ask("column", name=name)
        return found["levels"], unpacked(found["codes"], "<i2").tolist()

    assert levels("label") == (["a", "b"], [1, 0, -1, -1]), "blank text is no value, and the last image has no row"
    assert levels("stars") == (["1", "2"], [0, 1, 0, -1]), "whole numbers with few values"
    assert levels("tags") == (["y", "x"], [0, 0, -1, -1]), "a list by its first value"
    assert levels("good") == (["false", "true"], [1, -1, 0, -1])
    prices = unpacked(ask("column", name="price")["values"], "<f4")
    assert np.isnan(prices).tolist() == [False, True, True, True], "none, infinite, and without a row"
    seen = ask("column", name="seen")
    assert seen["unit"] == "days since 1970-01-01"
    assert unpacked(seen["values"], "<f4")[:2].tolist() == [18263, 0]
    first = np.frombuffer(ask("ids").body, "<i4")[0]
    assert ask("rows", ids=str(first))[0]["seen"] == "2020-01-02"


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("", 24),
        ("  ", 24),
        ("Genre1 = 'Crime'", 4),
        ("Genre1 = 'Crime' --", 4),
        ("ImgId IN (SELECT ImgId FROM embeddings_counting WHERE ImgId < 105)", 4),
        ("Title LIKE '%1999%' AND IMDBScore > 6", 24),
        ("false", 0),
    ],
)
def test_conditions(ask: Ask, condition: str, count: int) -> None:
    assert ask("where", q=condition)["count"] == count
    assert len(ids_of(ask("where", q=condition))) == count


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("read_text('/etc/passwd') IS NOT NULL", "can't be used"),
        ("ImgId IN (SELECT 1 FROM read_csv('/etc/passwd'))", "read_csv"),
        ("1=1) UNION SELECT ImgId FROM images WHERE (1=1", "not one condition"),
        ("true; DROP TABLE images", "can't be used"),
        ("true) LIMIT 1 --", "can't be used"),
        ("Genre9 = 'x'", "Genre"),
        ("ImgId = getenv('HOME')", "getenv"),
        ("(", "can't be used"),
    ],
)
def test_a_condition_reads_the_store_alone(ask: Ask, condition: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        ask("where", q=condition)


def test_a_condition_has_seconds(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurestore.explore.page.answers.SECONDS", 0.2)
    started = time.monotonic()
    with pytest.raises(QueryError, match=r"took longer than 0\.2 s"):
        ask("where", q="(SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b) > 0")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "name", ['Genre1"', 'x" FROM images; --', "ImgId; DROP TABLE images", "*", "embedding", "ImgId"]
)
def test_a_column_is_one_of_the_view(ask: Ask, name: str) -> None:
    with pytest.raises(InputError, match="there is no column"):
        ask("column", name=name)


@pytest.mark.parametrize(
    ("address", "query"),
    [
        ("column", {}),
        ("column", {"name": "Genre1", "levels": "0"}),
        ("column", {"name": "Genre1", "levels": "x"}),
        ("column", {"name": "Genre1", "levels": "100000"}),
        ("points", {}),
        ("points", {"backbone": "none"}),
        ("points", {"backbone": 'counting" --'}),
        ("points", {"backbone": "counting", "map": "tsne' OR 1=1"}),
        ("points", {"backbone": "counting", "x0": "0"}),
        ("points", {"backbone": "counting", "x0": "0", "y0": "0", "x1": "nan", "y1": "1"}),
        ("points", {"backbone": "counting", "x0": "1", "y0": "0", "x1": "0", "y1": "1"}),
        ("density", {"backbone": "counting", "w": "1000000000"}),
        ("density", {"backbone": "counting", "x0": "-1e308", "y0": "-1e308", "x1": "1e308", "y1": "1e308"}),
        ("density", {"backbone": "counting", "x0": "-1e-320", "y0": "-1e-320", "x1": "1e-320", "y1": "1e-320"}),
        ("inside", {"backbone": "counting", "polygon": "-1e308,-1e308;1e308,-1e308;1e308,1e308"}),
        ("rows", {"ids": "1,x"}),
        ("rows", {"ids": "-1"}),
        ("rows", {"ids": "99999999999"}),
        ("rows", {"ids": ",".join(["1"] * 201)}),
        ("similar", {"backbone": "counting"}),
        ("similar", {"backbone": "counting", "id": "1"}),
        ("similar", {"backbone": "counting", "id": "101", "k": "0"}),
        ("similar", {"backbone": "none", "id": "101"}),
        ("image", {"id": "7"}),
        ("image", {"id": "../101"}),
    ],
)
def test_what_is_asked_wrongly_is_one_sentence(ask: Ask, address: str, query: dict[str, str]) -> None:
    with pytest.raises(FeatureStoreError) as found:
        ask(address, **query)
    assert "\n" not in str(found.value)


def test_rows_of_images(ask: Ask) -> None:
    rows = ask("rows", ids="103,101,7,103")
    assert [row["ImgId"] for row in rows] == [103, 101]
    assert (rows[0]["title"], rows[0]["name"], rows[0]["label"]) == ("Film 103 (1999)", "103.jpg", "Crime")
    assert rows[0]["IMDBScore"] == 6.5


def test_one_image(ask: Ask, kept_store: FeatureStore) -> None:
    found = ask("image", id="105")
    assert found["row"]["Title"] == "Film 105 (1999)"
    assert found["lineage"]["state"] == kept_store.state.id
    assert found["corrections"] == []
    nearest = kept_store.similar(105, backbone="counting", k=12)
    assert [one["ImgId"] for one in found["neighbours"]["counting"]] == nearest.ids[0].tolist()
    assert ask("similar", backbone="counting", id="105", k="3") == found["neighbours"]["counting"][:3]
    assert found["neighbours"]["counting"][0]["score"] == pytest.approx(nearest.scores[0][0], abs=1e-6)


def test_values_are_ready_for_json() -> None:
    given = {
        "a": float("nan"),
        "b": [float("inf"), 1.5, None, True],
        "c": datetime.date(2020, 1, 2),
        "d": decimal.Decimal("1.5"),
        "e": b"\x00",
        "f": "x" * 9000,
    }
    found = facts.jsonable(given)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {name: found[name] for name in "abcd"} == {
        "a": None,
        "b": [None, 1.5, None, True],
        "c": "2020-01-02",
        "d": 1.5,
    }
    assert len(found["f"]) == facts.MOST_CHARACTERS + 2


def test_thumbnails_are_whole_and_kept(kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Thumbnails()
    small = kept.answer(kept_store, "101", side=20)
    assert (small.kind, small.cached) == ("image/jpeg", True)
    assert Image.open(io.BytesIO(small.body)).size == (14, 20), "46 × 67 pixels, never cropped"
    assert Image.open(io.BytesIO(kept.answer(kept_store, "101", side=1600).body)).size == (46, 67), "nor enlarged"
    monkeypatch.setattr(images, "scaled_image", lambda *_, **__: pytest.fail("it is kept"))
    assert kept.answer(kept_store, "101", side=20).body == small.body
    monkeypatch.undo()
    monkeypatch.setattr(images, "KEPT_BYTES", 1)
    for img_id in range(101, 111):
        kept.answer(kept_store, str(img_id), side=20)
    assert len(kept._made) == 1


def test_an_image_that_can_t_be_shown(store: FeatureStore, collection: Collection) -> None:
    kept = Thumbnails()
    for text in ("7", "2147483647"):
        with pytest.raises(PageError, match=f"the image {text} has no file"):
            kept.answer(store, text, side=20)
    for text in ("", "x", "-1", "2147483648", "1" * 30, "../101", "١٠١"):
        with pytest.raises(InputError, match="as the ImgId of an image, expected a whole number"):
            kept.answer(store, text, side=20)
    (collection.images / "101.jpg").write_bytes((collection.images / "102.jpg").read_bytes())
    (collection.images / "103.jpg").unlink()
    with pytest.raises(PageError, match="the image 101 can't be shown: the file has changed"):
        kept.answer(store, "101", side=20)
    with pytest.raises(PageError, match="the image 103 can't be shown: the file can't be read"):
        kept.answer(store, "103", side=20)


def test_duplicates(store: FeatureStore, collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    (collection.images / "102.jpg").write_bytes((collection.images / "101.jpg").read_bytes())
    store.ingest(images=collection.images, metadata=collection.metadata)
    with Image.open(collection.images / "105.jpg") as image:
        image.resize((92, 134)).save(collection.images / "104.jpg", quality=95)
    store.ingest(images=collection.images, metadata=collection.metadata)
    found = asker(routes(ShownStore(store, read_only=True)))("duplicates")
    assert {"ids": [101, 102], "kind": "equal files"} in found
    assert {"ids": [104, 105], "kind": "similar images"} in found
    monkeypatch.setattr(likeness, "MOST_COMPARED", 10)
    assert likeness._duplicates(store) == [{"ids": [101, 102], "kind": "equal files"}]
    assert likeness.joined([[5, 4], [1, 2], [2, 3]]) == [[1, 2, 3], [4, 5]]


def test_a_text_finds_images(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = ColourBackbone()
    store.embed(backbone)
    loads = []
    monkeypatch.setattr(likeness, "backbone_of", lambda store, name: loads.append(name) or backbone)
    found = asker(routes(ShownStore(store, read_only=True)))
    expected = store.similar(text="red", backbone="colour", k=2, model=backbone).ids[0].tolist()
    for _ in range(2):
        assert [one["ImgId"] for one in found("similar", backbone="colour", text="red", k="2")] == expected
    assert loads == ["colour"], "loading a model takes seconds"
    assert likeness.has_texts({"pooling": "features"}, "hf")
    assert not likeness.has_texts({"pooling": "cls"}, "hf")


def change(found: Routes, address: str, **sent: Any) -> Any:
    return json.loads(found.post[f"api/{address}"](sent).body)


def test_a_selection_is_rows_and_a_small_view(store: FeatureStore) -> None:
    found = routes(ShownStore(store, read_only=False))
    many = list(range(101, 125))
    assert change(found, "selection", name="mine", ids=[*many, 101]) == {"name": "mine", "saved": 24, "in_view": 20}
    assert len(store.views()["mine"]) < 120
    assert store.sql("SELECT count(*) AS n FROM selections")["n"][0].as_py() == 24
    meta = asker(found)("meta")
    assert (meta["selections"], meta["views"]) == ([{"name": "mine", "count": 24}], ["mine"])
    assert asker(found)("where", q="ImgId IN (SELECT ImgId FROM selections WHERE selection = 'mine')")["count"] == 24
    assert len(store.sql("FROM mine")) == 20
    with pytest.raises(InputError, match="there is a view 'mine' already"):
        change(found, "selection", name="mine", ids=[101])
    store.remove_view("mine")
    assert asker(found)("meta")["selections"] == []
    change(found, "selection", name="other", ids=[102])
    assert change(found, "selection", name="mine", ids=[103]) == {"name": "mine", "saved": 1, "in_view": 1}
    assert store.sql("FROM selections ORDER BY ALL").to_pylist() == [
        {"selection": "mine", "ImgId": 103},
        {"selection": "other", "ImgId": 102},
    ]


def test_a_condition_is_saved_as_a_view(store: FeatureStore) -> None:
    found = routes(ShownStore(store, read_only=False))
    sent = {"name": "crimes", "where": "Genre1 = 'Crime' -- all"}
    assert change(found, "selection", **sent) == {"name": "crimes", "saved": 4, "in_view": 4}
    assert "selections" not in store.state.tables
    assert len(store.sql("FROM crimes")) == 4
    with pytest.raises(QueryError, match="always give the same rows"):
        change(found, "selection", name="some", where="random() < 0.5")


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "expected a name, and either ids or where"),
        ({"name": "x"}, "expected a name, and either ids or where"),
        ({"name": "x", "ids": [101], "where": "true"}, "expected a name, and either ids or where"),
        ({"name": 7, "ids": [101]}, "expected a name"),
        ({"name": "x", "ids": []}, "got no images"),
        ({"name": "x", "ids": "101"}, "expected a sequence of ImgIds"),
        ({"name": "x", "ids": [1.5]}, "expected a sequence of ImgIds"),
        ({"name": "x", "ids": [True]}, "expected a sequence of ImgIds"),
        ({"name": "x", "ids": {"a": 1}}, "expected a sequence of ImgIds"),
        ({"name": "x", "ids": [7]}, "no usable image with the ImgId 7"),
        ({"name": "X y", "ids": [101]}, "expected lower-case letters"),
        ({"name": "x'; DROP VIEW y; --", "ids": [101]}, "expected lower-case letters"),
        ({"name": "labeled", "ids": [101]}, "'labeled'"),
        ({"name": "selections", "ids": [101]}, "'selections'"),
        ({"name": "projections", "ids": [101]}, "'projections'"),
        ({"name": "x", "where": " "}, "got an empty condition"),
        ({"name": "embeddings_counting", "ids": [101]}, "'embeddings_counting'"),
        ({"name": "x", "where": 7}, "expected a condition in SQL"),
        ({"name": "labeled", "where": "true"}, "'labeled'"),
    ],
)
def test_a_selection_that_can_t_be_saved(kept_store: FeatureStore, sent: dict[str, Any], message: str) -> None:
    store = featurestore.open(kept_store.path)
    with pytest.raises(InputError, match=message):
        change(routes(ShownStore(store, read_only=False)), "selection", **sent)
    assert store.refresh().state == kept_store.state


def test_a_table_of_another_program_is_left_alone(store: FeatureStore) -> None:
    store.append({"selections": pa.table({"name": ["a"]})})
    state = store.state
    with pytest.raises(InputError, match="a table 'selections' with other columns"):
        saved.save_ids(store, "mine", [101])
    assert asker(routes(ShownStore(store, read_only=True)))("meta")["selections"] == []
    assert store.refresh().state == state


def test_what_is_only_read_is_not_changed(store: FeatureStore) -> None:
    store.create_snapshot("kept")
    files = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
    for opened, read_only in (
        (store, True),
        (featurestore.open(store.path, snapshot="kept"), False),
        (FeatureStore(f"file://{store.path}"), False),
    ):
        with opened.explore(read_only=read_only) as running:
            meta = json.loads(urllib.request.urlopen(f"{running.url}api/meta").read())
            assert meta["read_only"] is True
            for address in ("selection", "correct", "uncorrect"):
                request = urllib.request.Request(f"{running.url}api/{address}", b"{}", method="POST")
                request.add_header("Content-Type", "application/json")
                request.add_header("Origin", running.url.rsplit("/", 2)[0])
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(request)
                assert refused.value.code == 403
                refused.value.close()
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*")} == files


def test_another_writer_is_named(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "WAIT_SECONDS", 0.0)
    with (
        open_writer(store.path, purpose="a long ingest"),
        pytest.raises(StoreLocked, match=r"being written by process .*a long ingest"),
    ):
        saved.save_ids(store, "mine", [101])


def test_labels_are_corrected_and_undone(store: FeatureStore) -> None:
    found = routes(ShownStore(store, read_only=False))
    told = change(found, "correct", ids=[101, 102], column="Genre1", to="Crime")
    assert (told["column"], told["changed"]) == ("Genre1", 2)
    ask = asker(found)
    assert [(row["ImgId"], row["from"], row["to"]) for row in ask("corrections")] == [
        (101, "Drama", "Crime"),
        (102, "Comedy", "Crime"),
    ]
    assert ask("rows", ids="101")[0]["label"] == "Crime"
    assert ask("image", id="101")["corrections"][0]["to"] == "Crime"
    assert change(found, "uncorrect", ids=[101], column="Genre1")["changed"] == 1
    lines = ask("corrections.csv").body.decode().splitlines()
    assert (lines[0].split(",")[0], len(lines)) == ("ImgId", 3)
    for sent, message in (
        ({"ids": [101]}, "expected the new value"),
        ({"ids": [101], "to": [1]}, "expected the new value"),
        ({"ids": [101], "to": "x", "column": 7}, "expected the name of a column"),
        ({"to": "x"}, "ids"),
        ({"ids": [101], "to": "x", "column": 'Genre1" --'}, "Genre1"),
    ):
        with pytest.raises(InputError, match=message):
            change(found, "correct", **sent)


def test_hostile_titles_stay_text(tmp_path: Path) -> None:
    made = Collection(tmp_path, 4)
    metadata = write_metadata(tmp_path / "evil.csv", [movie(101, title=HOSTILE), movie(102, genre=HOSTILE)])
    store = FeatureStore(tmp_path / "store")
    store.ingest(metadata=metadata, images=made.images)
    answer = routes(ShownStore(store, read_only=True))
    found = answer.get["api/rows"]({"ids": "101"})
    assert found.kind == "application/json"
    assert json.loads(found.body)[0]["title"] == HOSTILE
    assert json.loads(answer.get["api/column"]({"name": "Genre1"}).body)["levels"] == [HOSTILE, "Drama"]


def test_the_page_sees_that_the_store_has_moved_on(store: FeatureStore) -> None:
    shown = ShownStore(featurestore.open(store.path), read_only=True)
    found = routes(shown)
    first = json.loads(found.get["api/meta"]({}).body)["state"]
    store.append({"notes": pa.table({"n": [1]})})
    assert found.get["api/ids"]({}).headers["X-State"] == first, "until the page is loaded again"
    assert json.loads(found.get["api/meta"]({}).body)["state"] == store.state.id != first
    assert found.get["api/ids"]({}).headers["X-State"] == store.state.id


def test_a_changed_label_costs_no_vector(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.embed(CountingBackbone())
    shown = ShownStore(featurestore.open(store.path), read_only=False)
    found = routes(shown)
    ask = asker(found)
    before = ask("image", id="101")["neighbours"], ask("points", backbone="counting").body
    with monkeypatch.context() as patch:
        patch.setattr("featurestore.features.rows.read_vectors", lambda *_: pytest.fail("they are kept"))
        patch.setattr("featurestore.explore.page.projection.read_vectors", lambda *_: pytest.fail("they are kept"))
        change(found, "correct", ids=[101], to="Crime")
        assert ask("image", id="101")["row"]["Genre1"] == "Crime"
        assert (ask("image", id="101")["neighbours"], ask("points", backbone="counting").body) == before
        assert "Crime" in ask("column", name="Genre1")["levels"]
    store.embed(CountingBackbone(weights="blocks-2"))
    ask("meta")
    assert "points of counting" not in shown.store.memo


class Point:
    """An entry point of another package."""

    def __init__(self, name: str, function: Callable[[Any], Any]) -> None:
        self.name = name
        self.load = lambda: function


def test_pages_of_other_packages(kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(store: object) -> Any:
        raise RuntimeError("no such thing")

    points = [
        Point("good", lambda store: {"runs": lambda query: [store.state.id, query], "meta": lambda query: "mine"}),
        Point("bad", fails),
        Point("writes", lambda store: {"POST bench": lambda sent: sent, "bench": lambda query: "idle"}),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == "featurestore.pages" else [])
    found = routes(ShownStore(kept_store, read_only=False))
    meta = asker(found)("meta")
    assert meta["count"] == 24, "no other package takes an address of the page"
    assert {"runs", "bench"} <= set(meta["pages"])
    assert meta["problems"] == ["the pages of the package 'bad' can't be used: no such thing"]
    assert asker(found)("runs", a="1") == [kept_store.state.id, {"a": "1"}]
    assert change(found, "bench", view="mine") == {"view": "mine"}
    with pytest.raises(PageError, match="only reads"):
        change(routes(ShownStore(kept_store, read_only=True)), "bench", view="mine")


def test_an_exploration_in_a_notebook(kept_store: FeatureStore) -> None:
    with kept_store.explore(where="Genre1 = 'Crime'", backbone="counting") as running:
        assert running.url.startswith("http://127.0.0.1:")
        assert running.url.endswith("#q=Genre1%20%3D%20%27Crime%27&b=counting&m=pca")
        frame = running._repr_html_()
        assert '<iframe src="http://127.0.0.1:' in frame
        assert "&amp;m=pca" in frame
        page = running.url.partition("#")[0]
        assert b"<script" in urllib.request.urlopen(page).read()
        for name in ("explore.js", "explore.html"):
            assert urllib.request.urlopen(f"{page}static/{name}").status == 200
        for name in ("../server.py", "server.py", "..%2fserver.py", "__init__.py", ""):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{page}static/{name}")
            assert refused.value.code == 404
            refused.value.close()
        assert repr(running).startswith("<Exploration of ")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(page)


def test_a_closed_exploration_has_no_thread_in_the_store(
    kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is still there when the program ends can take it down with a crash."""
    began, done = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        began.set()
        time.sleep(0.3)
        done.set()

    monkeypatch.setattr("featurestore.explore.page.start.projection.points", slow)
    with kept_store.explore():
        assert began.wait(10)
    assert done.is_set()


def test_what_an_explorer_keeps_has_an_end(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        store.embed(CountingBackbone(name=name))
    store.refresh()
    monkeypatch.setattr(likeness, "KEPT_VECTORS", 1)
    monkeypatch.setattr(columns, "KEPT", 2)
    asked = asker(routes(ShownStore(store, read_only=True)))
    for _ in range(2):
        assert {"one", "two"} <= asked("image", id="101")["neighbours"].keys()
        assert [name for name in store.memo if name.startswith(likeness.INDEX)] == [f"{likeness.INDEX}two"]
    assert {name.removeprefix(likeness.COPY) for name in store.memo if name.startswith(likeness.COPY)} <= {"two"}
    for name in ("Title", "Genre1", "IMDBScore", "Genre1"):
        asked("column", name=name)
    assert [name for name in store.memo if name.startswith(columns.VALUES)] == [
        f"{columns.VALUES}{name}" for name in ("Genre1", "IMDBScore")
    ]


def test_a_selection_without_any_label_is_of_the_collection(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    store.ingest(images=Collection(tmp_path, 4).images)
    found = routes(ShownStore(store, read_only=False))
    assert change(found, "selection", name="two", ids=[0, 1]) == {"name": "two", "saved": 2, "in_view": 2}
    assert change(found, "selection", name="first", where="ImgId = 0") == {"name": "first", "saved": 1, "in_view": 1}
    assert store.sql("SELECT ImgId FROM two ORDER BY 1")["ImgId"].to_pylist() == [0, 1]


def test_an_exploration_that_can_t_begin(kept_store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no backbone 'none'"):
        kept_store.explore(backbone="none")
    with pytest.raises(InputError, match=r"no map 'tsne' .*`featurestore project --backbone counting`"):
        kept_store.explore(map="tsne")
    with pytest.raises(QueryError, match="Genre9"):
        kept_store.explore(where="Genre9 = 1")
    empty = FeatureStore(tmp_path / "empty")
    empty.create()
    with pytest.raises(InputError, match="no backbone yet"):
        empty.explore(map="tsne")
    with empty.explore() as running:
        meta = json.loads(urllib.request.urlopen(f"{running.url}api/meta").read())
    assert (meta["count"], meta["backbones"], meta["maps"]) == (0, [], [])
    with pytest.raises(StoreError):
        FeatureStore(tmp_path / "none").explore()
