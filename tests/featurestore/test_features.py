"""The same features through every library: equal ids, equal values, nothing filled in."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Collection, CountingBackbone, jpeg, needs

from featurestore import Features, FeatureStore, arrow
from featurestore.backbones.base import Preprocessing
from featurestore.catalog import views
from featurestore.catalog.connection import release_unused
from featurestore.errors import InputError, IntegrityError, MissingExtra
from featurestore.features import pull
from featurestore.features.places import named
from featurestore.storage.parts import Part, VectorBlocks


@pytest.fixture
def features(store: FeatureStore) -> Features:
    """Labelled features of one backbone."""
    store.embed(CountingBackbone())
    return store.features("counting", label="Genre1")


def test_numpy_shares_memory(features: Features) -> None:
    X, y, ids = features.to_numpy()
    assert X is features.X
    assert X.dtype == np.float32
    assert X.flags.c_contiguous
    assert ids.dtype == np.int32
    assert (np.diff(ids) > 0).all()
    assert y is not None
    assert [features.classes[code] for code in y] == features.table["Genre1"].to_pylist()


@pytest.mark.skipif(sys.platform != "linux", reason="what is resident is read from /proc")
def test_memory_of_the_query_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    settings = "SELECT current_setting('threads'), current_setting('memory_limit')"
    with duckdb.connect(":memory:") as connection:
        release_unused(connection)  # what other tests left must not be there to be used again
        before = resident(), connection.sql(settings).fetchall()
        connection.sql("SELECT sha256(i::VARCHAR) AS h FROM range(400_000) AS r(i) ORDER BY h").to_arrow_table()
        release_unused(connection)
        assert resident() - before[0] < 25e6, "without it 58 MB on two threads, of an answer that is gone already"
        assert connection.sql(settings).fetchall() == before[1]


def test_one_chunk_is_not_copied() -> None:
    column = pa.chunked_array([pa.array(["a", "b"])])
    assert arrow.one_chunk(column).buffers()[2].address == column.chunk(0).buffers()[2].address
    assert arrow.one_chunk(pa.chunked_array([["a"], ["b"]])).to_pylist() == ["a", "b"]
    assert len(arrow.one_chunk(pa.chunked_array([], pa.string()))) == 0


def test_arrow(features: Features) -> None:
    table = features.to_arrow()
    assert table.schema.field("embedding").type == pa.list_(pa.field("element", pa.float32(), nullable=False), 16)
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), features.X)
    assert table["ImgId"].to_pylist() == features.ids.tolist()


def test_pandas(features: Features) -> None:
    frame = features.to_pandas()
    assert frame.index.tolist() == features.ids.tolist()
    np.testing.assert_array_equal(frame[[str(i) for i in range(16)]].to_numpy(), features.X)
    assert frame["Genre1"].tolist() == features.table["Genre1"].to_pylist()


def test_polars(features: Features) -> None:
    needs("polars")
    frame = features.to_polars()
    assert frame["ImgId"].to_list() == features.ids.tolist()
    np.testing.assert_array_equal(frame["embedding"].to_numpy(), features.X)


def test_torch(features: Features) -> None:
    dataset = features.to_torch()
    assert len(dataset) == len(features) == 20
    vector, label = dataset[3]
    np.testing.assert_array_equal(vector.numpy(), features.X[3])
    assert features.classes[int(label)] == features.table["Genre1"][3].as_py()
    assert dataset.tensors[0].data_ptr() == features.X.ctypes.data, "the matrix is shared"


@pytest.mark.filterwarnings("ignore")
def test_tensorflow(features: Features) -> None:
    needs("tensorflow")
    batches = list(features.to_tf().batch(8).as_numpy_iterator())
    np.testing.assert_array_equal(np.concatenate([X for X, _ in batches]), features.X)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), features.y)


@pytest.mark.filterwarnings("ignore")
def test_huggingface(features: Features) -> None:
    needs("datasets")
    dataset = features.to_huggingface()
    assert dataset["ImgId"][:] == features.ids.tolist()
    assert dataset.features["Genre1"].names == list(features.classes)
    np.testing.assert_array_equal(np.array(dataset["embedding"][:], np.float32), features.X)


@pytest.mark.filterwarnings("ignore")
def test_huggingface_takes_labels_that_are_numbers(store: FeatureStore) -> None:
    """A decade is a class, not the code of one; and a view without rows is a data set without rows."""
    needs("datasets")
    store.embed(CountingBackbone())
    views.create(store.path, "decades", "SELECT ImgId, ImgId // 10 * 10 AS decade FROM collection")
    views.create(store.path, "nobody", "SELECT ImgId, Genre1 FROM collection WHERE ImgId < 0")
    features = store.refresh().features("counting", view="decades", label="decade")
    dataset = features.to_huggingface()
    names = dataset.features["decade"].names
    assert [int(names[code]) for code in dataset["decade"][:]] == [img_id // 10 * 10 for img_id in features.ids]
    empty = store.features("counting", view="nobody", label="Genre1")
    assert len(empty.to_huggingface()) == len(empty.to_arrow()) == len(empty.to_polars()) == 0


def test_a_missing_library_is_one_sentence(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def missing(name: str) -> object:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(
        MissingExtra, match=r"to_polars needs the package 'polars'.*pip install 'featurestore\[export\]'"
    ):
        features.to_polars()


def test_several_backbones(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    (collection.images / "900.jpg").write_bytes(jpeg(900))
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone(name="other", preprocessing=Preprocessing(16, 16, "signed")))
    both = store.features(["counting", "other"], view="images_usable")
    assert both.X.shape == (24, 32)
    assert both.missing == 1, "900 has one of the two: it is left out, not filled"
    np.testing.assert_array_equal(both.X[:, :16], store.features("counting", view="images_usable").X)
    np.testing.assert_array_equal(both.X[:, 16:], store.features("other", view="images_usable").X[:24])
    table = both.to_arrow()
    assert [table.schema.field(name).type.list_size for name in ("counting", "other")] == [16, 16]


def test_rows_that_are_left_out_leave_the_others_where_they_belong(store: FeatureStore, collection: Collection) -> None:
    """Gaps at the start, in the middle and at the end."""
    store.embed(CountingBackbone())
    whole = store.features("counting", view="images_usable")
    for img_id in (101, 111, 112, 124):
        (collection.images / f"{img_id}.jpg").write_bytes(jpeg(img_id + 1000))
    store.ingest(metadata=collection.metadata, images=collection.images)
    cut = store.features("counting", view="images_usable")
    assert cut.missing == 4, "the vectors of the old bytes are not those of the new"
    kept = ~np.isin(whole.ids, [101, 111, 112, 124])
    np.testing.assert_array_equal(cut.ids, whole.ids[kept])
    np.testing.assert_array_equal(cut.X, whole.X[kept])
    assert cut.X.flags.c_contiguous


def test_a_column_that_is_called_as_the_vectors_are_is_refused(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    views.create(store.path, "clash", "SELECT ImgId, 'x' AS embedding, 'y' AS \"0\" FROM collection")
    store.refresh()
    features = store.features("counting", view="clash", columns="embedding")
    with pytest.raises(InputError, match=r"has the column 'embedding'.*leave it out"):
        features.to_arrow()
    with pytest.raises(InputError, match="has the column '0'"):
        store.features("counting", view="clash", columns=["0"]).to_pandas()


def test_arrow_says_where_it_came_from(features: Features) -> None:
    about = json.loads(features.to_arrow().schema.metadata[b"featurestore"])
    assert about["revision"] == features.revision
    assert about["state"] == features.state_id
    assert about["synthetic"] is False
    assert about["classes"] == list(features.classes)


def test_rows_are_asked_for_once_a_state(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.embed(CountingBackbone())
    asked = []
    query = FeatureStore.query
    monkeypatch.setattr(FeatureStore, "query", lambda *given: asked.append(given[1]) or query(*given))
    views_asked = lambda: sum('FROM "labeled"' in text for text in asked)  # noqa: E731
    first = store.features("counting", label="Genre1")
    first.groups[:] = -1
    first.X[:] = 0
    again = store.features("counting", label="Genre1")
    assert views_asked() == 1
    assert (again.groups > 0).all()
    assert np.abs(again.X).sum() > 0
    assert again.table.equals(first.table)
    with pytest.raises(ValueError, match="read-only"):
        again.ids[0] = 7
    # Other columns, another label or another state are asked for anew.
    assert store.features("counting", columns=["Title"]).table.column_names == ["ImgId", "Title"]
    assert views_asked() == 2
    store.embed(CountingBackbone(name="second"))
    store.features("counting", columns=["Title"])
    assert views_asked() == 3


def test_columns_and_labels_are_checked(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    assert store.features("counting", columns=["Title"]).table.column_names == ["ImgId", "Title"]
    for options in ({"columns": ["Titel"]}, {"label": "Genre9"}):
        with pytest.raises(InputError, match="has no column"):
            store.features("counting", **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has no backbone 'x'"):
        store.features(["counting", "x"])
    with pytest.raises(InputError, match="got no backbone"):
        store.features([])
    with pytest.raises(InputError, match="has no view 'nothing'"):
        store.features("counting", view="nothing")


def test_missing_labels_are_minus_one(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    features = store.features("counting", view="collection", label="Genre3")
    values = features.table["Genre3"].to_pylist()
    assert features.y is not None
    assert [code == -1 for code in features.y] == [value is None for value in values]
    assert None in values


def test_a_large_store_is_pulled_in_order(store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several parts, several row groups, rows in another order than they were stored, some of them stale."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9000, 8)).astype(np.float32)
    ids = rng.permutation(np.arange(1, 9001))
    for part in range(3):
        rows = slice(part * 3000, (part + 1) * 3000)
        np.save(tmp_path / f"X{part}.npy", X[rows])
        np.save(tmp_path / f"ids{part}.npy", ids[rows])
    pq.write_table(pa.table({"ImgId": ids, "embedding": list(X)}), tmp_path / "all.parquet")
    store.import_embeddings(tmp_path / "all.parquet", backbone="many")
    features = store.features("many", view="images_usable")
    part = store.path / store.layout.embedding_parts("many")[0].path
    with pq.ParquetFile(part) as file:
        vectors = VectorBlocks.of(file.metadata)
        rows = file.metadata.row_group(1).num_rows
        decoded = file.read_row_group(1, columns=["embedding"])["embedding"].combine_chunks().flatten().to_numpy()
    assert rows == 4096
    assert vectors is not None
    assert np.fromfile(part, np.float32, rows * 8, offset=vectors.starts[1]).tobytes() == decoded.tobytes()
    # The values that are read as they lie in the file are those that Parquet decodes, where a part does not say where.
    monkeypatch.setattr(VectorBlocks, "of", lambda _: None)
    assert FeatureStore(store.path).features("many", view="images_usable").X.tobytes() == features.X.tobytes()
    np.testing.assert_array_equal(features.ids, np.arange(1, 9001))
    np.testing.assert_array_equal(features.X, X[np.argsort(ids)])


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (range(1000), range(1000)),
        (range(1000), range(500, 1500)),
        (range(0, 1000, 3), range(334)),
        ([0, 511, 512, 999], [3, 1, 0, 2]),
        # The ends lie as far apart as in a run without gaps, and yet it is none.
        ([4, 5, 6, 7], [10, 12, 11, 13]),
    ],
)
def test_values_are_read_to_their_places(tmp_path: Path, source: Sequence[int], target: Sequence[int]) -> None:
    values = np.random.default_rng(0).random((1000, 3), np.float32)
    path = tmp_path / "values"
    path.write_bytes(b"before" + values.tobytes())
    X = np.full((1500, 3), -1, np.float32)
    expected = X.copy()
    expected[list(target)] = values[list(source)]
    task = pull._Task(Part("", 0, 0, "", None, None), 0, np.array(target), np.array(source), 6, None)
    pull._read(path, task, X)
    np.testing.assert_array_equal(X, expected)


def test_a_part_that_was_cut_is_named(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    part = store.path / store.layout.embedding_parts("counting")[0].path
    task = pull._Task(Part("", 0, 0, "", None, None), 0, np.arange(1), np.arange(1), part.stat().st_size - 8, None)
    with pytest.raises(IntegrityError, match=part.name), named(part):
        pull._read(part, task, np.empty((1, 3), np.float32))
