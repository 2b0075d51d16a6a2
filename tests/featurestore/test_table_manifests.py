"""Manifests of tables: what an edited one is refused for, and what a damaged or missing one leaves readable."""

import base64
import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import CountingBackbone, edit_manifest, edit_record, manifest_of

from featurestore import FeatureStore
from featurestore.catalog import maintenance
from featurestore.catalog.repair import repair
from featurestore.errors import FeatureStoreError, IntegrityError
from featurestore.storage.layout import Layout
from featurestore.storage.manifest import Manifest, read_manifest, write_manifests
from featurestore.storage.parts import Part

HUGE = 2**70
NO_AGE = timedelta(0)
HASH = "0123456789abcdef" * 4
NAME = f"notes/part-{HASH[:32]}.parquet"
PART: list[Any] = [NAME, 1, 1, HASH, None, None]


def schema(*fields: tuple[str, pa.DataType]) -> str:
    return base64.b64encode(pa.schema(fields).serialize()).decode()


def with_part(**changed: Any) -> Callable[[dict[str, Any]], object]:
    """The manifest names one part, that of `PART` but for what is given."""
    names = ("path", "rows", "size", "sha256", "first", "last")
    return lambda record: record.update(parts=[[changed.get(name, PART[place]) for place, name in enumerate(names)]])


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no format": lambda record: record.pop("format"),
    "a later format": lambda record: record.update(format=2),
    "no parts": lambda record: record.pop("parts"),
    "parts are no list": lambda record: record.update(parts=7),
    "a part is a number": lambda record: record.update(parts=[7]),
    "a part lacks a field": lambda record: record.update(parts=[PART[:-1]]),
    "a part has one more": lambda record: record.update(parts=[[*PART, 1]]),
    "no schema": lambda record: record.pop("schema"),
    "the schema is no base64": lambda record: record.update(schema="%%"),
    "the schema is no schema": lambda record: record.update(schema=base64.b64encode(b"x" * 40).decode()),
    "the schema is a number": lambda record: record.update(schema=7),
    "rows below none": with_part(rows=-1),
    "more rows than can be": with_part(rows=HUGE),
    "rows are text": with_part(rows="1"),
    "rows are true": with_part(rows=True),
    "more bytes than can be": with_part(size=HUGE),
    "bytes are part of one": with_part(size=1.5),
    "another hash than the name's": with_part(sha256="f" * 64),
    "a short hash": with_part(sha256=HASH[:32]),
    "the hash is a number": with_part(sha256=7),
    "half a range of ids": with_part(first=1),
    "a range that ends before it starts": with_part(first=2, last=1),
    "a range of text": with_part(first="1", last="2"),
}
FILE = NAME.partition("/")[2]
PATHS: list[Any] = [
    *(f"../{FILE}", f"/tmp/{FILE}", f"notes/../{FILE}", f"notes/a/{FILE}", f"s3://bucket/{FILE}", FILE, "", None, 7),
    *(f"%2e%2e/{FILE}", f"..%2f{FILE}", f"..\\{FILE}", f"x=../{FILE}", f"file:///etc/{FILE}", "notes/data.parquet"),
    *(f"{NAME}\n", f"{NAME}\0", NAME.upper(), NAME.replace("f.parquet", ".parquet"), f"cache/{FILE}", f"movies/{FILE}"),
    f"embeddings/backbone=x/revision={'0' * 16}/{FILE}",
]


def check_refused(store: FeatureStore, path: Path) -> None:
    """The table can't be read, the others can; `verify` names the manifest; nothing is written or removed."""
    before = sorted(store.path.rglob("*.parquet"))
    store.refresh()
    with pytest.raises(FeatureStoreError, match=f"a part of notes is damaged, see `featurestore verify`.*{path.name}"):
        store.sql("FROM notes")
    assert store.sql("SELECT count(*) AS n FROM labeled_counting").to_pylist() == [{"n": 20}]
    for run in (
        lambda: store.append({"notes": pa.table({"x": [2]})}),
        lambda: store.parts("notes"),
        lambda: maintenance.gc(store.path, older_than=NO_AGE),
        lambda: maintenance.compact(store.path),
    ):
        with pytest.raises(IntegrityError, match=path.name):
            run()
    assert list(maintenance.verify(store.path).damaged) == [f"manifests/{path.name}"]
    assert list(repair(store.path).left) == [f"manifests/{path.name}"]
    assert sorted(store.path.rglob("*.parquet")) == before
    store.append({"more": pa.table({"x": [1]})})
    assert store.embed(CountingBackbone()).present == 24


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_a_manifest_that_was_edited_is_one_sentence(
    embedded: FeatureStore, change: Callable[[dict[str, Any]], object]
) -> None:
    """Whoever edited it named it by its new hash, in a state that was sealed again."""
    check_refused(embedded, edit_manifest(embedded.path, "notes", change))


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_manifest_that_names_a_file_elsewhere_is_one_sentence(embedded: FeatureStore, path: object) -> None:
    check_refused(embedded, edit_manifest(embedded.path, "notes", with_part(path=path)))


def test_another_stores_part_is_neither_read_nor_removed(embedded: FeatureStore, tmp_path: Path) -> None:
    other = tmp_path / "other" / "notes"
    other.mkdir(parents=True)
    (part,) = (embedded.path / "notes").glob("part-*.parquet")
    shutil.copy(part, other)

    def lead_there(record: dict[str, Any]) -> None:
        record["parts"][0][0] = f"../other/notes/{part.name}"

    check_refused(embedded, edit_manifest(embedded.path, "notes", lead_there))
    assert (other / part.name).is_file()


@pytest.mark.parametrize("table", ["images", "backbones"])
def test_a_table_of_the_store_with_other_columns_is_refused(embedded: FeatureStore, table: str) -> None:
    path = edit_manifest(embedded.path, table, lambda record: record.update(schema=schema(("x", pa.int64()))))
    assert list(maintenance.verify(embedded.path).damaged) == [f"manifests/{path.name}"]
    with pytest.raises(FeatureStoreError, match=f"a part of {table} is damaged"):
        embedded.refresh().sql(f"SELECT count(*) FROM {table}")


def test_metadata_without_the_columns_of_their_type_are_refused(embedded: FeatureStore) -> None:
    """Only the collection type knows them: the manifest alone does not tell."""
    edit_manifest(embedded.path, "movies", lambda record: record.update(schema=schema(("x", pa.int64()))))
    for view in ("movies", "labeled"):
        with pytest.raises(FeatureStoreError, match="the table movies has no column 'Genre'"):
            embedded.refresh().sql(f"SELECT count(*) FROM {view}")
    assert len(embedded.sql("FROM images")) == 24


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 16), pa.string()], ids=str)
def test_vectors_of_another_type_are_refused(embedded: FeatureStore, kind: pa.DataType) -> None:
    table = next(name for name in embedded.state.tables if name.startswith("embeddings/"))
    columns = [("ImgId", pa.int32()), ("content_hash", pa.string()), ("extraction", pa.string()), ("embedding", kind)]
    path = edit_manifest(embedded.path, table, lambda record: record.update(schema=schema(*columns)))
    assert list(maintenance.verify(embedded.path).damaged) == [f"manifests/{path.name}"]
    with pytest.raises(IntegrityError, match=path.name):
        Layout(embedded.path, embedded.refresh().state).dim("counting")


def test_a_manifest_of_another_table_is_refused(embedded: FeatureStore) -> None:
    """Each is whole and has its name; the state was edited, and sealed again, to let a table have the other's."""
    tables = embedded.state.tables
    edit_record(embedded.path / "state.json", tables={**tables, "notes": tables["movies"]})
    check_refused(embedded, manifest_of(embedded.path, "movies"))


@pytest.mark.parametrize("name", ["../../etc/x", "0" * 63, "A" * 64, ""])
def test_a_state_names_manifests_by_their_hash_alone(embedded: FeatureStore, name: str) -> None:
    edit_record(embedded.path / "state.json", tables={**embedded.state.tables, "notes": name})
    with pytest.raises(IntegrityError, match="names the manifest"):
        _ = embedded.refresh().state


CONTENTS = [
    None,
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"[" * 200_000,
    b'{"format": ' + b"1" * 5000 + b"}",
    b"\xff\xfe{}",
]


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: repr(content)[:20])
def test_a_manifest_that_is_none_is_one_sentence(embedded: FeatureStore, content: bytes | None) -> None:
    path = manifest_of(embedded.path, "notes")
    path.unlink() if content is None else path.write_bytes(content)
    check_refused(embedded, path)


def test_what_only_a_snapshot_needs_is_kept_though_its_manifest_is_damaged(embedded: FeatureStore) -> None:
    embedded.create_snapshot("kept")
    path = manifest_of(embedded.path, "notes")
    embedded.append({"notes": pa.table({"x": [2]})})
    maintenance.compact(embedded.path)
    content, before = path.read_bytes(), sorted(embedded.path.rglob("*.parquet"))
    path.write_bytes(content.replace(b"parts", b"party"))
    with pytest.raises(IntegrityError, match=path.name):
        maintenance.gc(embedded.path, older_than=NO_AGE)
    assert sorted(embedded.path.rglob("*.parquet")) == before
    path.write_bytes(content)
    assert maintenance.gc(embedded.path, older_than=NO_AGE).removed, "the part that compaction merged and one manifest"
    assert FeatureStore(embedded.path, snapshot="kept").sql("FROM notes").to_pylist() == [{"x": 1}]


def test_a_table_that_is_a_link_to_another_store_is_not_written(embedded: FeatureStore, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (embedded.path / "notes").rename(other)
    (embedded.path / "notes").symlink_to(other)
    before = sorted(other.rglob("*"))
    with pytest.raises(IntegrityError, match="leads out of"):
        embedded.append({"notes": pa.table({"x": [2]})})
    maintenance.gc(embedded.path, older_than=NO_AGE)
    assert sorted(other.rglob("*")) == before


def test_a_manifest_reads_back_and_is_named_by_its_bytes(tmp_path: Path) -> None:
    parts = (Part(NAME, 3, 700, HASH, 1, 9), Part(NAME, 3, 700, HASH, None, None), Part(NAME, 3, 700, HASH, 1, 9))
    manifest = Manifest(pa.schema([pa.field("x", pa.list_(pa.decimal128(10, 2)), nullable=False)]), parts)
    other = Manifest(manifest.schema, parts[::-1][:2])
    names = write_manifests(tmp_path, {"notes": manifest, "same": manifest, "other": other})
    name = names["notes"]
    assert names == {"notes": name, "same": name, "other": names["other"]}
    assert names["other"] != name
    assert write_manifests(tmp_path, {"notes": manifest}) == {"notes": name}
    assert read_manifest(tmp_path, "notes", name) == manifest
    assert read_manifest(tmp_path, "notes", names["other"]) == other
    assert {path.name for path in (tmp_path / "manifests").iterdir()} == {f"{name}.json", f"{names['other']}.json"}
    assert json.loads((tmp_path / "manifests" / f"{name}.json").read_text())["parts"][0][:2] == [NAME, 3]
