"""Tables of one's own may have any type that can be read again; whatever becomes of one, the others stay readable."""

import datetime
import decimal
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import Collection

from featurestore import FeatureStore
from featurestore.catalog import maintenance
from featurestore.errors import FeatureStoreError, InputError

pytestmark = pytest.mark.shell_file

DAY, MOMENT = datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, 12)
STORED: list[tuple[pa.DataType, Any]] = [
    *((kind, 1) for kind in (pa.int8(), pa.int16(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float32())),
    *((kind, DAY) for kind in (pa.date32(), pa.date64())),
    *((pa.timestamp(unit), MOMENT) for unit in ("ms", "us", "ns")),
    (pa.timestamp("s"), MOMENT),
    *((pa.timestamp(unit, tz=zone), MOMENT) for unit, zone in (("us", "UTC"), ("s", "UTC"), ("ns", "Europe/Berlin"))),
    *((kind, datetime.time(12, 30)) for kind in (pa.time32("s"), pa.time64("us"), pa.time64("ns"))),
    (pa.decimal128(10, 2), decimal.Decimal("1.50")),
    *((kind, b"abcd") for kind in (pa.binary(), pa.binary(4), pa.large_binary())),
    *((kind, "a") for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view())),
    (pa.struct([("a", pa.int8()), ("b b", pa.list_(pa.string()))]), {"a": 1, "b b": ["x"]}),
    (pa.map_(pa.string(), pa.int32()), [("a", 1)]),
    (pa.list_(pa.list_(pa.int16())), [[1], []]),
    (pa.large_list(pa.string()), ["a"]),
    (pa.list_(pa.float32(), 3), [1.0, 2.0, 3.0]),
    (pa.list_(pa.struct([("day", pa.date32())])), [{"day": DAY}]),
]
REFUSED = [
    *(
        pa.duration("s"),
        pa.list_(pa.struct([("took", pa.duration("us"))])),
        pa.dictionary(pa.int32(), pa.duration("ms")),
        pa.float16(),
        pa.decimal256(50, 2),
        pa.month_day_nano_interval(),
    ),
    *(pa.struct([]), pa.list_(pa.float32(), 0)),
    *(pa.run_end_encoded(pa.int32(), pa.string()), pa.dense_union([pa.field("a", pa.int32())]), pa.list_(pa.float16())),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    collection = Collection(root, 4)
    FeatureStore(root / "store").ingest(metadata=collection.metadata, images=collection.images)
    return root / "store"


@pytest.fixture
def store(template: Path, tmp_path: Path) -> FeatureStore:
    return FeatureStore(shutil.copytree(template, tmp_path / "store"))


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(
            b"" if how == "empty" else content[:20] + b"x" + content[21:] if how == "byte" else content[:-9]
        )


def tables(rows: int) -> dict[str, pa.Table]:
    """One for each type, named by its place; a second row is null."""
    return {
        f"t{number}": pa.table({"x": pa.array([value, None][:rows], kind)})
        for number, (kind, value) in enumerate(STORED)
    }


def test_tables_of_any_type_can_be_read_and_added_to(store: FeatureStore) -> None:
    store.append(tables(0))
    store.append(tables(2))
    store.append(tables(1))
    for name, rows in tables(1).items():
        assert store.sql(f"SELECT count(*) AS n, count(x) AS some FROM {name}").to_pylist() == [{"n": 3, "some": 2}], (
            rows
        )


@pytest.mark.parametrize("how", ["missing", "byte"])
def test_damaged_tables_of_any_type_leave_the_others_readable(store: FeatureStore, how: str) -> None:
    store.append(tables(2) | {f"none_{name}": rows for name, rows in tables(0).items()})
    parts = [next((store.path / name).glob("part-*.parquet")) for name in tables(0)]
    for part in parts:
        damage(part, how)
    assert store.refresh().sql("SELECT count(*) AS n FROM movies").to_pylist() == [{"n": 4}]
    for name in tables(0):
        with pytest.raises(FeatureStoreError, match=f"a part of {name} is damaged, see `featurestore verify`"):
            store.sql(f"SELECT x FROM {name}")
    assert len(maintenance.verify(store.path).damaged) == len(parts)


@pytest.mark.parametrize("kind", REFUSED, ids=str)
def test_a_type_that_cannot_be_read_again_is_refused(store: FeatureStore, kind: pa.DataType) -> None:
    before = store.state.id
    schema = pa.schema([("x", pa.int32()), ("y", kind)])
    rows = pa.Table.from_batches([], schema)
    with pytest.raises(InputError, match=r"the column 'y' of the table 'notes' is of the type .*: cast it"):
        store.append({"notes": rows})
    assert store.refresh().state.id == before
    assert not (store.path / "notes").exists()


def test_rows_of_another_type_are_told_with_their_types(store: FeatureStore) -> None:
    store.append({"notes": pa.table({"x": pa.array([1], pa.int16())})})
    with pytest.raises(InputError, match="has the columns x int16, got x int32"):
        store.append({"notes": pa.table({"x": pa.array([1], pa.int32())})})
