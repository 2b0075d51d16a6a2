"""Batches of rows are those of `features`, whatever their size; no more than one is in memory."""

import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import CountingBackbone, needs

import featurestore
from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.catalog.writer import open_writer
from featurestore.collections.ingest import images_of
from featurestore.errors import InputError, IntegrityError, MissingExtra, QueryError, StoreError
from featurestore.features import batches, export, rows
from featurestore.storage.parts import ROW_GROUP

ALL = {"view": "images_usable"}


@pytest.mark.parametrize("size", [1, 5, 7, 20, 65_536])
@pytest.mark.parametrize("block", [3, 2**20])
def test_batches_are_the_rows_of_features(
    kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch, size: int, block: int
) -> None:
    monkeypatch.setattr(batches, "BLOCK_ROWS", block)
    expected = kept_store.features("counting", label="Genre1").to_arrow()
    with kept_store.feature_batches("counting", label="Genre1").to_reader(batch_rows=size) as reader:
        assert reader.schema.equals(expected.schema, check_metadata=True)
        found = list(reader)
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert pa.Table.from_batches(found).equals(expected, check_metadata=True)


@pytest.mark.parametrize(
    "chosen",
    [
        {"where": "Genre1 = 'Drama'", "limit": 3},
        {"ids": [110, 101, 110, 105]},
        {"ids": [110, 101, 105], "where": "ImgId > 101"},
        {"columns": []},
        {"columns": ["Title"], "limit": 0},
        {"where": "false"},
    ],
    ids=str,
)
def test_rows_are_selected_as_by_features(
    kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch, chosen: dict
) -> None:
    monkeypatch.setattr(batches, "BLOCK_ROWS", 2)
    expected = kept_store.features("counting", **chosen)
    found = kept_store.feature_batches("counting", **chosen)
    assert (len(found), found.missing, found.ids.tolist()) == (len(expected), expected.missing, expected.ids.tolist())
    assert found.to_reader(batch_rows=2).read_all().equals(expected.to_arrow(), check_metadata=True)


def test_labels_have_the_codes_of_features(kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BLOCK_ROWS", 5)
    for label in ("Genre1", "Genre2", "ImgId"):
        expected = kept_store.features("counting", view="collection", label=label)
        found = kept_store.feature_batches("counting", view="collection", label=label)
        assert found.classes == expected.classes
        assert found.y is not None
        assert expected.y is not None
        assert (found.y.dtype, found.y.tolist()) == (np.int64, expected.y.tolist())
    assert -1 in kept_store.feature_batches("counting", view="collection", label="Genre2").y
    assert (kept_store.feature_batches("counting").classes, kept_store.feature_batches("counting").y) == ((), None)


def test_several_backbones_and_rows_without_a_vector(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    store.embed(CountingBackbone(name="other"))
    expected = store.features(["counting", "other"], **ALL)
    found = store.feature_batches(["counting", "other"], **ALL)
    assert found.to_reader(batch_rows=7).read_all().equals(expected.to_arrow(), check_metadata=True)
    views.create(store.path, "clash", "SELECT ImgId, 1 AS counting FROM collection")
    clash = store.refresh().feature_batches(["counting", "other"], view="clash")
    with pytest.raises(InputError, match="'counting', which is the name of the vectors' column"):
        clash.to_reader()


def test_wrong_arguments_are_one_sentence(kept_store: FeatureStore) -> None:
    found = kept_store.feature_batches("counting")
    for wrong in (0, -1, 1.5, "7", None, True):
        with pytest.raises(InputError, match="as batch_rows, expected a whole number of rows, 1 or more"):
            found.to_reader(batch_rows=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no backbone 'nothing'"):
        kept_store.feature_batches("nothing")
    with pytest.raises(InputError, match="has no column 'Nothing'"):
        kept_store.feature_batches("counting", columns=["Nothing"])
    with pytest.raises(InputError, match="lacks 1 of the 2 ids"):
        kept_store.feature_batches("counting", ids=[101, 7])
    with pytest.raises(QueryError, match="can't be used"):
        kept_store.feature_batches("counting", where="nothing = 1")


def test_they_stay_on_their_state(embedded: FeatureStore) -> None:
    store = FeatureStore(embedded.path)
    found = store.feature_batches("counting", **ALL)
    reader = found.to_reader(batch_rows=10)
    first = reader.read_next_batch()
    FeatureStore(embedded.path).remove_backbone("counting")
    store.refresh()
    store.close()
    rest = reader.read_all()
    assert len(first) + len(rest) == len(found) == 24
    assert found.state_id != store.state.id


def test_a_damaged_part_is_named(embedded: FeatureStore) -> None:
    (part,) = map(Path, embedded.parts("counting"))
    content = bytearray(part.read_bytes())
    found = embedded.feature_batches("counting", **ALL)
    place = content.find(embedded.features("counting", ids=[120]).X.tobytes())
    content[place] ^= 1
    part.write_bytes(content)
    reader = found.to_reader(batch_rows=10)
    assert len(reader.read_next_batch()) == 10
    with pytest.raises(IntegrityError, match=rf"{part.name} can't be read \(its vectors don't match"):
        reader.read_next_batch()
    FeatureStore(embedded.path).remove_backbone("counting")
    FeatureStore(embedded.path).gc(older_than="0")
    with pytest.raises(StoreError, match="`gc` or `forget` removed files that this reader"):
        found.to_reader().read_all()


def test_a_view_that_changes_is_refused(kept_store: FeatureStore) -> None:
    found = kept_store.feature_batches("counting", view="collection")
    lacking = found.__class__(**{**vars(found), "view": "labeled"})
    with pytest.raises(InputError, match="now has none: its query must give the same rows each time"):
        lacking.to_reader().read_all()


def test_no_more_than_a_batch_is_in_memory(tmp_path: Path) -> None:
    count, dim, some = 8 * ROW_GROUP, 128, 1024
    X = np.random.default_rng(0).standard_normal((count, dim), np.float32)
    np.savez(tmp_path / "x.npz", X=X, ids=np.array([f"{i}.jpg" for i in range(count)]))
    store = FeatureStore(tmp_path / "store")
    store.import_embeddings(tmp_path / "x.npz", backbone="theirs")
    found = store.feature_batches("theirs", columns=[], **ALL)
    expected = store.features("theirs", columns=[], **ALL).X.astype(np.float64).sum()
    reader, total = found.to_reader(batch_rows=some), 0.0
    tracemalloc.start()
    try:
        for batch in reader:
            total += batch["embedding"].flatten().to_numpy().astype(np.float64).sum()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == pytest.approx(expected)
    assert peak < X.nbytes / 3, "the matrix has 16.8 MB, a batch 0.5 MB"


def test_torch_reads_the_same(kept_store: FeatureStore) -> None:
    needs("torch")
    expected = kept_store.features("counting", label="Genre1")
    dataset = kept_store.feature_batches("counting", label="Genre1").to_torch(batch_rows=6)
    assert len(dataset) == 4
    read = list(dataset)
    assert [len(X) for X, _ in read] == [6, 6, 6, 2]
    np.testing.assert_array_equal(np.concatenate([X.numpy() for X, _ in read]), expected.X)
    np.testing.assert_array_equal(np.concatenate([y.numpy() for _, y in read]), expected.y)
    both = kept_store.feature_batches("counting", **ALL).to_torch()
    assert [tuple(map(tuple, (X.shape for X in batch))) for batch in both] == [((24, 16),)]
    with pytest.raises(InputError, match="as batch_rows"):
        kept_store.feature_batches("counting").to_torch(batch_rows=0)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning", "ignore:This DataLoader will create")
@pytest.mark.parametrize(("size", "count"), [(3, 7), (20, 1)], ids=["shared", "one-has-none"])
def test_workers_of_a_data_loader_share_the_batches(kept_store: FeatureStore, size: int, count: int) -> None:
    needs("torch")
    from torch.utils.data import DataLoader

    expected = kept_store.features("counting", label="Genre1")
    dataset = kept_store.feature_batches("counting", label="Genre1").to_torch(batch_rows=size)
    loader = DataLoader(dataset, batch_size=None, num_workers=2)
    read = list(loader)
    assert len(loader) == len(read) == count
    np.testing.assert_array_equal(np.concatenate([X.numpy() for X, _ in read]), expected.X)
    np.testing.assert_array_equal(np.concatenate([y.numpy() for _, y in read]), expected.y)


def test_a_process_that_is_not_forked_gets_the_dataset_by_pickle(kept_store: FeatureStore) -> None:
    needs("torch")
    dataset = kept_store.feature_batches("counting", label="Genre1").to_torch(batch_rows=8)
    again = pickle.loads(pickle.dumps(dataset))
    for mine, theirs in zip(dataset, again, strict=True):
        assert all((a == b).all() for a, b in zip(mine, theirs, strict=True))


def test_torch_is_optional(kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def missing(name: str) -> object:
        raise ModuleNotFoundError(name=name)

    found = kept_store.feature_batches("counting")
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=r"to_torch needs the package 'torch'.*pip install 'featurestore\[torch\]'"):
        found.to_torch()


def test_where_they_came_from_is_in_the_schema(kept_store: FeatureStore) -> None:
    found = featurestore.open(kept_store.path).feature_batches("counting", label="Genre1")
    about = json.loads(found.to_reader().schema.metadata[b"featurestore"])
    assert about == found.about == kept_store.features("counting", label="Genre1").about
    assert (about["backbones"], about["state"]) == (["counting"], kept_store.state.id)


@pytest.mark.parametrize("sparse", [0, 1000], ids=["list", "range"])
def test_ids_are_selected_by_a_list_or_by_a_range(
    kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch, sparse: int
) -> None:
    monkeypatch.setattr(rows, "SPARSE", sparse)
    ids = [101, 104, 124, 110]
    assert kept_store.features("counting", **ALL, ids=ids).ids.tolist() == ids
    odd = kept_store.features("counting", where="ImgId % 2 = 1 AND ImgId < 120", **ALL)
    assert odd.ids.tolist() == list(range(101, 120, 2))
    found = kept_store.feature_batches("counting", ids=ids, **ALL)
    assert found.to_reader().read_all().equals(kept_store.features("counting", ids=ids, **ALL).to_arrow())
    assert len(kept_store.features("counting", where="ImgId < 0", **ALL)) == 0
    with pytest.raises(InputError, match="lacks 1 of the 2 ids"):
        kept_store.features("counting", ids=[101, 2**31 - 1])


def test_images_in_another_order_than_by_id(embedded: FeatureStore) -> None:
    expected = embedded.features("counting", **ALL)
    images = images_of(embedded.layout)
    with open_writer(embedded.path) as writer, writer.commit() as commit:
        commit.replace("images", images.slice(10))
        commit.append("images", images.slice(0, 10))
    found = embedded.refresh().features("counting", **ALL)
    assert (found.ids.tolist(), found.X.tobytes()) == (expected.ids.tolist(), expected.X.tobytes())
    assert embedded.feature_batches("counting", **ALL).to_reader().read_all().equals(found.to_arrow())


@pytest.mark.parametrize("rows", [4, 4096])
def test_parquet_is_exported_in_batches(
    kept_store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(export, "GROUP_ROWS", rows)
    done = []
    report = kept_store.export(
        "counting", tmp_path / "x.parquet", label="Genre1", on_progress=lambda *one: done.append(one)
    )
    features = kept_store.features("counting", label="Genre1")
    (whole,) = export.write(features, tmp_path / "whole.parquet")
    assert report.files[0].read_bytes() == whole.read_bytes()
    assert (report.rows, report.embed_dim, report.missing, done[-1]) == (20, 16, 0, (20, 20))
    read = pq.read_table(whole)
    assert read.schema.equals(features.to_arrow().schema, check_metadata=True)
    assert read.equals(features.to_arrow())
    assert pq.ParquetFile(whole).num_row_groups == -(-20 // rows)


def test_features_in_memory_have_a_reader_too(kept_store: FeatureStore) -> None:
    features = kept_store.features("counting")
    reader = features.to_reader(batch_rows=6)
    assert reader.schema.equals(features.to_arrow().schema, check_metadata=True)
    found = list(reader)
    assert [len(batch) for batch in found] == [6, 6, 6, 2]
    assert pa.Table.from_batches(found).equals(features.to_arrow())
    with pytest.raises(InputError, match="got 0 as batch_rows, expected a whole number"):
        features.to_reader(batch_rows=0)
