"""The export to Delta Lake: read back by two other engines, row for row."""

from collections.abc import Callable
from pathlib import Path

import deltalake
import numpy as np
import polars
import pyarrow as pa
import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.errors import InputError
from featurestore.features.delta import write_delta


@pytest.fixture
def two(store: FeatureStore) -> FeatureStore:
    store.embed(CountingBackbone())
    store.embed(CountingBackbone(name="other", weights="blocks-2"))
    return store.refresh()


def test_each_backbone_is_a_table_that_other_engines_read_alike(two: FeatureStore, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    features = [two.features(name) for name in ("counting", "other")]
    tables = write_delta(features, tmp_path / "delta", on_progress=lambda *step: seen.append(step))
    assert [table.name for table in tables] == ["counting", "other"]
    assert seen == [(20, 40), (40, 40)]
    for table, one in zip(tables, features, strict=True):
        by_delta = pa.table(deltalake.DeltaTable(str(table)).to_pyarrow_table()).sort_by("ImgId")
        by_polars = polars.scan_delta(str(table)).sort("ImgId").collect()
        assert by_delta.to_pylist() == by_polars.to_dicts()
        assert by_delta["ImgId"].to_pylist() == one.ids.tolist()
        assert by_delta["Genre1"].to_pylist() == one.table["Genre1"].to_pylist()
        np.testing.assert_array_equal(np.array(by_delta["embedding"].to_pylist(), np.float32), one.X)
        about = deltalake.DeltaTable(str(table)).metadata()
        assert one.revision in str(about.description)
        assert two.state.id in str(about.description)


def test_the_verb_and_the_command_write_the_same(
    two: FeatureStore, tmp_path: Path, invoke: Callable[..., tuple[int, str, str]]
) -> None:
    report = two.export(["counting", "other"], tmp_path / "verb", format="delta", where="ImgId < 110")
    assert (report.rows, report.embed_dim, report.lock) == (
        2 * len(two.features("counting", where="ImgId < 110")),
        16,
        None,
    )
    options = ["--backbone", "counting", "--backbone", "other", "--where", "ImgId < 110", "--format", "delta"]
    code, out, _ = invoke("export", "--store", str(two.path), *options, "--output", str(tmp_path / "command"))
    assert (code, f"{report.rows} rows of 16 values" in out) == (0, True)
    for path in report.files:
        ours, theirs = (
            polars.scan_delta(str(place)).sort("ImgId").collect() for place in (path, tmp_path / "command" / path.name)
        )
        assert ours.equals(theirs)


def test_a_table_without_rows_has_its_columns(two: FeatureStore, tmp_path: Path) -> None:
    (table,) = write_delta([two.features("counting", limit=0)], tmp_path / "delta")
    read = polars.scan_delta(str(table)).collect()
    assert (len(read), read.columns[0], read.columns[-1]) == (0, "ImgId", "embedding")


def test_what_is_there_is_replaced_only_when_asked_for(two: FeatureStore, tmp_path: Path) -> None:
    target = tmp_path / "delta"
    features = [two.features("counting")]
    write_delta(features, target)
    with pytest.raises(InputError, match="exists: name a new folder for the tables, or use --force"):
        write_delta(features, target)
    write_delta([two.features("other")], target, force=True)
    assert [path.name for path in target.iterdir()] == ["other"]
    (target / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="holds other files than Delta tables"):
        write_delta(features, target, force=True)
    assert (target / "mine.txt").read_text() == "kept"


def test_a_column_that_delta_has_no_type_for_is_one_sentence(
    store: FeatureStore, collection: Collection, tmp_path: Path
) -> None:
    store.embed(CountingBackbone())
    store.append({"times": pa.table({"ImgId": pa.array([101], pa.int32()), "at": pa.array([5], pa.time64("us"))})})
    features = store.features("counting", view="times")
    with pytest.raises(InputError, match=r"no type for the column 'at', time64\[us\]: leave it out"):
        write_delta([features], tmp_path / "delta")
    assert not (tmp_path / "delta").exists()
