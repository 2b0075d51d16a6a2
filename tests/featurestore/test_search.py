"""Search is exact: the ids that plain SQL gives, for one query or many, with and without a filter."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import Collection, CountingBackbone, jpeg

from featurestore import FeatureStore
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import BackboneError, InputError, QueryError
from featurestore.explore.search import METRICS


class _Broken(CountingBackbone):
    """Fails at every image."""

    def embed(self, images):  # type: ignore[no-untyped-def]
        raise ZeroDivisionError("by the user")


SQL = {
    "cosine": "array_cosine_similarity(q.embedding, o.embedding) DESC",
    "inner_product": "array_inner_product(q.embedding, o.embedding) DESC",
    "euclidean": "array_distance(q.embedding, o.embedding) ASC",
}


@pytest.fixture
def embedded(store: FeatureStore, collection: Collection) -> FeatureStore:
    """A store with vectors, among them two that are equal."""
    (collection.images / "110.jpg").write_bytes((collection.images / "103.jpg").read_bytes())
    store.embed(CountingBackbone())
    return store


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("where", [None, "Genre1 = 'Drama'", "IMDBScore > 6 AND ImgId % 2 = 0"])
def test_ids_are_those_of_plain_sql(embedded: FeatureStore, metric: str, where: str | None) -> None:
    ids = [101, 103, 110, 124]
    found = embedded.similar(ids, backbone="counting", k=6, metric=metric, where=where)
    assert found.ids.dtype == np.int32
    for place, img_id in enumerate(ids):
        rows = embedded.query(
            f"SELECT o.ImgId FROM embeddings_counting q, embeddings_counting o JOIN collection c ON c.ImgId = o.ImgId "
            f"WHERE q.ImgId = {img_id} AND o.ImgId <> {img_id} AND ({(where or 'true').replace('ImgId', 'c.ImgId')}) "
            f"ORDER BY {SQL[metric]}, o.ImgId LIMIT 6"
        )
        got = [i for i in found.ids[place].tolist() if i >= 0]
        assert got == rows["ImgId"].to_pylist()


def test_the_macro_in_sql_agrees(embedded: FeatureStore) -> None:
    rows = embedded.sql("SELECT * FROM similar_counting(105, 4)")
    found = embedded.similar(105, backbone="counting", k=4)
    assert rows["ImgId"].to_pylist() == found.ids[0].tolist()
    np.testing.assert_allclose(rows["score"].to_numpy(), found.scores[0], rtol=1e-5)


def test_distances_in_sql_are_those_of_numpy(embedded: FeatureStore) -> None:
    rows = embedded.sql(
        "SELECT cosine(a.embedding, b.embedding) AS c, inner_product(a.embedding, b.embedding) AS i, "
        "euclidean(a.embedding, b.embedding) AS e FROM embeddings_counting a, embeddings_counting b "
        "ORDER BY a.ImgId, b.ImgId"
    )
    X = embedded.features("counting", view="collection").X.astype(np.float64)
    products = X @ X.T
    lengths = np.linalg.norm(X, axis=1)
    np.testing.assert_allclose(rows["c"].to_numpy(), (products / np.outer(lengths, lengths)).ravel(), rtol=1e-5)
    np.testing.assert_allclose(rows["i"].to_numpy(), products.ravel(), rtol=1e-5)
    distances = np.linalg.norm(X[:, None] - X[None], axis=2)
    np.testing.assert_allclose(rows["e"].to_numpy(), distances.ravel(), rtol=1e-4, atol=1e-6)


def test_a_backbone_that_needs_no_more_than_its_name_is_loaded(store: FeatureStore, collection: Collection) -> None:
    store.embed("descriptors")
    found = store.similar(collection.images / "107.jpg", backbone="descriptors", k=2)
    assert found.ids[0, 0] == 107
    assert found.queries == (None,)


def test_a_store_chooses_no_weights(store: FeatureStore, collection: Collection) -> None:
    claims = CountingBackbone(name="descriptors", weights="sha256:others")
    store.embed(claims)
    with pytest.raises(InputError, match="'descriptors' has other weights"):
        store.similar(collection.images / "107.jpg", backbone="descriptors")
    store.embed(CountingBackbone(name="tflite"))
    with pytest.raises(InputError, match="needs a path"):
        store.similar(collection.images / "107.jpg", backbone="tflite")


def test_a_vector_and_an_image_are_queries_too(embedded: FeatureStore, collection: Collection, tmp_path: Path) -> None:
    by_id = embedded.similar(107, backbone="counting", k=3, include_self=True)
    assert by_id.ids[0, 0] == 107
    assert by_id.scores[0, 0] == pytest.approx(1)
    vector = embedded.features("counting", view="collection").X[6]
    assert embedded.similar(vector, backbone="counting", k=3).ids.tolist() == by_id.ids.tolist()
    file = collection.images / "107.jpg"
    by_file = embedded.similar(file, backbone="counting", k=3, model=CountingBackbone())
    assert by_file.ids.tolist() == by_id.ids.tolist()
    many = embedded.similar(np.stack([vector, vector * 2]), backbone="counting", k=3)
    assert many.ids.tolist() == [by_id.ids[0].tolist()] * 2


def test_more_neighbours_than_images(embedded: FeatureStore) -> None:
    found = embedded.similar(101, backbone="counting", k=50)
    assert (found.ids[0] >= 0).sum() == 23
    assert found.to_arrow().num_rows == 23
    assert embedded.similar(101, backbone="counting", k=5, where="false").to_arrow().num_rows == 0


def test_search_sees_what_was_added(embedded: FeatureStore, collection: Collection) -> None:
    embedded.similar(101, backbone="counting")
    (collection.images / "900.jpg").write_bytes(jpeg(101))
    embedded.embed(CountingBackbone())
    found = embedded.similar(101, backbone="counting", k=1)
    assert found.ids[0, 0] == 900, "the same picture under another id, though it has no metadata"


@pytest.mark.parametrize(
    ("query", "options", "error", "sentence"),
    [
        (999, {}, InputError, "ImgId 999 has no embedding"),
        (101, {"metric": "taxicab"}, InputError, "expected cosine"),
        (101, {"k": 0}, InputError, "expected 1 or more"),
        (np.zeros(3), {}, InputError, "expected vectors of length 16"),
        (np.full(16, np.nan), {}, InputError, "NaN"),
        ("101.jpg", {"model": CountingBackbone(weights="others")}, InputError, "between them are meaningless"),
        (Path(__file__), {"model": CountingBackbone()}, InputError, "test_search.py' can't be used"),
        ("101.jpg", {"model": _Broken()}, BackboneError, "ZeroDivisionError"),
        ("none.jpg", {}, InputError, "not remembered on this machine"),
        ("none.jpg", {"model": CountingBackbone()}, InputError, "can't be read"),
        (101, {"where": "Genre1 = "}, QueryError, "can't be used"),
        (101, {"where": "true) UNION SELECT 1 FROM read_text('/etc/passwd') --"}, QueryError, "read_text"),
        (101, {"where": "nothing > 3"}, QueryError, "nothing"),
    ],
)
def test_bad_queries(embedded: FeatureStore, collection: Collection, query, options, error, sentence) -> None:  # type: ignore[no-untyped-def]
    if isinstance(query, str) and query == "101.jpg":
        query = collection.images / query
    with pytest.raises(error, match=sentence):
        embedded.similar(query, backbone="counting", **options)


def test_the_contact_sheet_is_one_file_and_escapes(embedded: FeatureStore, collection: Collection) -> None:
    from support import movie, write_metadata

    rows = [movie(i, "Drama", "<script>alert('x')</script> & \"more\"") for i in collection.ids]
    embedded.ingest(metadata=write_metadata(collection.metadata, rows), images=collection.images)
    page = embedded.contact_sheet(embedded.similar([101, 102], backbone="counting", k=3), title="A <b>")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 8
    assert "http" not in page.replace("http-equiv", "")
    (collection.images / "101.jpg").unlink()
    assert "no image file" in embedded.contact_sheet(embedded.similar([101], backbone="counting", k=3), title="t")


def test_the_sheet_shows_the_image_that_was_asked_for(embedded: FeatureStore, collection: Collection) -> None:
    file = collection.images / "107.jpg"
    found = embedded.similar(file, backbone="counting", k=2, model=CountingBackbone())
    assert embedded.contact_sheet(found, title="t", image=file).count("data:image/jpeg;base64,") == 3
    assert embedded.contact_sheet(found, title="t").count("data:image/jpeg;base64,") == 2


def test_the_command(embedded: FeatureStore, tmp_path: Path, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    page = tmp_path / "sheet.html"
    arguments = ["similar", "--store", str(embedded.path), "--backbone", "counting", "--id", "101", "-k", "2"]
    monkeypatch.setattr("sys.argv", ["featurestore", *arguments, "--html", str(page)])
    assert run_command(cli, "featurestore") == 0
    assert capfd.readouterr().out.splitlines()[0].startswith("101    1 ")
    assert page.read_text().startswith("<!doctype html>")
    monkeypatch.setattr(
        "sys.argv", ["featurestore", "similar", "--store", str(embedded.path), "--backbone", "counting"]
    )
    assert run_command(cli, "featurestore") == 2
    assert "either --id, --image, --vector or --text" in capfd.readouterr().err


def test_the_command_takes_vectors(embedded: FeatureStore, tmp_path: Path, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    base = ["featurestore", "similar", "--store", str(embedded.path), "--backbone", "counting", "-k", "1", "--vector"]
    file = tmp_path / "queries.npy"
    np.save(file, embedded.features("counting", view="collection").X[[4, 8]])
    monkeypatch.setattr("sys.argv", [*base, str(file), "--json"])
    assert run_command(cli, "featurestore") == 0
    rows = json.loads(capfd.readouterr().out)
    assert [(row["query"], row["ImgId"]) for row in rows] == [(f"{file}[0]", 105), (f"{file}[1]", 109)]
    np.save(file, np.array([{}]), allow_pickle=True)
    huge = tmp_path / "huge.npy"
    with huge.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**15, 8)}
        np.lib.format.write_array_header_1_0(stream, header)
    for bad in (file, huge, tmp_path / "none.npy", Path(__file__)):
        monkeypatch.setattr("sys.argv", [*base, str(bad)])
        assert run_command(cli, "featurestore") == 1
        assert "holds no vectors" in capfd.readouterr().err
