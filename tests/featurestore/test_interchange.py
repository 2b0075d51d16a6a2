"""Features are taken by other libraries as they are: as a table, as a matrix, by the name of a snapshot."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from support import CountingBackbone, needs

from featurestore import Features, FeatureStore, open_bundle
from featurestore.backbones.base import Preprocessing
from featurestore.errors import InputError, StoreError


@pytest.fixture(scope="module")
def features(kept_store: FeatureStore) -> Features:
    """Labelled features of one backbone."""
    return kept_store.features("counting", label="Genre1")


def matrix(values: list[list[float]]) -> np.ndarray:
    return np.array(values, np.float32)


def test_arrow_and_duckdb_read_the_table(kept_store: FeatureStore, features: Features) -> None:
    table = pa.table(features)
    assert table.equals(features.to_arrow())
    assert table.schema.metadata == features.to_arrow().schema.metadata
    assert duckdb.sql("SELECT count(*), count(DISTINCT ImgId) FROM features").fetchall() == [(20, 20)]
    found = duckdb.sql("SELECT embedding FROM features WHERE Genre1 = 'Drama' ORDER BY ImgId").fetchall()
    np.testing.assert_array_equal(matrix([row[0] for row in found]), features.X[features.y == 3])
    batches = kept_store.feature_batches("counting")
    assert pa.table(batches).equals(kept_store.features("counting").to_arrow())
    assert duckdb.sql("SELECT sum(ImgId) FROM batches").fetchall() == [(int(features.ids.sum()),)]


def test_the_vectors_are_not_copied(features: Features) -> None:
    address = features.X.__array_interface__["data"][0]
    assert pa.table(features)["embedding"].chunk(0).values.buffers()[1].address == address
    assert np.asarray(features) is features.X or np.shares_memory(np.asarray(features), features.X)
    assert np.shares_memory(np.from_dlpack(features), features.X)
    assert not np.shares_memory(np.array(features), features.X)
    assert np.asarray(features, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.asarray(features, dtype=np.float64, copy=False)
    assert features.__dlpack_device__() == (1, 0)


def test_polars_pandas_and_narwhals_read_the_table(kept_store: FeatureStore, features: Features) -> None:
    needs("polars", "pandas", "narwhals")
    import narwhals
    import pandas
    import polars

    frame = polars.DataFrame(features)
    assert frame["ImgId"].to_list() == features.ids.tolist()
    np.testing.assert_array_equal(frame["embedding"].to_numpy(), features.X)
    assert frame.equals(features.to_polars())
    frame = pandas.DataFrame.from_arrow(features)
    np.testing.assert_array_equal(np.stack(frame["embedding"]), features.X)
    assert frame["Genre1"].tolist() == features.table["Genre1"].to_pylist()
    for backend in ("polars", "pyarrow"):
        made = narwhals.from_arrow(features, backend=backend)
        assert made["ImgId"].to_list() == features.ids.tolist()
    found = kept_store.similar([101, 102], backbone="counting", k=3)
    assert polars.DataFrame(found)["ImgId"].to_list() == found.ids.ravel().tolist()
    assert pa.table(found).equals(found.to_arrow())


def test_a_classifier_and_torch_take_the_matrix(features: Features) -> None:
    needs("sklearn", "torch")
    import torch
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    assert KNeighborsClassifier(1).fit(features, features.y).score(features, features.y) == 1.0
    plain = cross_val_score(KNeighborsClassifier(1), features.X, features.y, cv=2)
    np.testing.assert_array_equal(cross_val_score(KNeighborsClassifier(1), features, features.y, cv=2), plain)
    tensor = torch.from_dlpack(features)
    assert tensor.data_ptr() == features.X.__array_interface__["data"][0]
    assert torch.as_tensor(np.asarray(features)).shape == features.X.shape


def test_features_of_a_snapshot(embedded: FeatureStore, tmp_path: Path) -> None:
    before = embedded.features("counting")
    embedded.create_snapshot("before")
    changed = CountingBackbone(preprocessing=Preprocessing(16, 16, "signed"))
    embedded.embed(changed)
    embedded.embed(CountingBackbone(name="other", weights="blocks-2"))
    embedded.create_snapshot("after")
    found = embedded.features("counting@before", label="Genre1")
    assert (found.X.tobytes(), found.revision, found.state_id) == (before.X.tobytes(), before.revision, before.state_id)
    assert (found.backbone, found.dims) == ("counting", (("counting", 16),))
    assert embedded.features("counting").revision == changed.spec.revision
    both = embedded.features(["counting@after", "other@after"])
    assert both.backbone == "counting+other"
    assert [name for name in embedded.memo if "snapshot" in name] == ["snapshot before", "snapshot after"]
    snapshot = FeatureStore.open(embedded.path, snapshot="before")
    assert snapshot.features("counting@before").state_id == snapshot.features("counting@before").state_id
    assert snapshot.features("counting@after").revision == changed.spec.revision
    batches = embedded.feature_batches("counting@before")
    assert pa.table(batches)["embedding"].equals(before.to_arrow()["embedding"])
    (tmp_path / "ids.txt").write_text("103\n101\n")
    lock = embedded.export("counting@before", tmp_path / "x", format="bundle", ids=tmp_path / "ids.txt").lock
    assert open_bundle(tmp_path / "x", lock=lock).ids.tolist() == [103, 101]
    assert open_bundle(tmp_path / "x").state_id == before.state_id


def test_a_wrong_snapshot_is_one_sentence(embedded: FeatureStore) -> None:
    embedded.create_snapshot("before")
    with pytest.raises(InputError, match=r"has no snapshot 'none' \(it has: before\)"):
        embedded.features("counting@none")
    with pytest.raises(InputError, match=r"has no snapshot '\.\./x'"):
        embedded.features("counting@../x")
    with pytest.raises(InputError, match="backbones of several snapshots \\('before' and none\\), expected one"):
        embedded.features(["counting@before", "counting"])
    with pytest.raises(InputError, match="got no backbone"):
        embedded.features([])
    with pytest.raises(InputError, match="the store has no backbone 'other'"):
        embedded.features("other@before")
    for strange in ("counting@", "@before"):
        with pytest.raises((InputError, StoreError)):
            embedded.features(strange)
