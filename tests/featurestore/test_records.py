"""Records that anybody can edit who has the folder: each of them is believed, left out, or told of in one sentence."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.catalog import maintenance, snapshots
from featurestore.catalog.repair import repair
from featurestore.catalog.writer import open_writer
from featurestore.errors import FeatureStoreError, IntegrityError, StoreLocked
from featurestore.storage.parts import recorded_part

PART = f"part-{'0' * 32}.parquet"
HUGE = 2**70
NESTED = "[" * 200_000
COMMANDS: dict[str, Callable[[FeatureStore], object]] = {
    "info": lambda store: store.backbones(),
    "sql": lambda store: store.sql("SELECT count(*) FROM movies"),
    "verify": lambda store: maintenance.verify(store.path),
    "repair": lambda store: repair(store.path),
    "compact": lambda store: maintenance.compact(store.path),
    "gc": lambda store: maintenance.gc(store.path),
    "embed": lambda store: store.embed(CountingBackbone()),
    "append": lambda store: store.append({"more": pa.table({"x": [1]})}),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with vectors, a table of its own and a snapshot; each test edits a copy."""
    root = tmp_path_factory.mktemp("template")
    collection, store = Collection(root, 24), FeatureStore(root / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    store.append({"notes": pa.table({"x": [1]})})
    return store.path


@pytest.fixture
def embedded(template: Path, tmp_path: Path) -> FeatureStore:
    return FeatureStore(shutil.copytree(template, tmp_path / "store"))


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.parquet")}


def refused(store: FeatureStore, words: str = "") -> None:
    """Every command says one sentence, and no part is touched."""
    before = files(store.path.parent)
    for command, run in COMMANDS.items():
        with pytest.raises(FeatureStoreError, match=words) as caught:
            run(FeatureStore(store.path))
        assert len(str(caught.value)) < 800, command
    assert files(store.path.parent) == before


STATES: list[tuple[str, dict[str, Any]]] = [
    ("number", {"number": -1}),
    ("number", {"number": HUGE}),
    ("number", {"number": "3"}),
    ("number", {"number": None}),
    ("number", {"number": True}),
    ("images", {"tables": {}}),
    ("images", {"tables": {"movies": 0}}),
    ("state record", {"tables": []}),
    ("state record", {"tables": None}),
    ("state record", {"settings": {}}),
    ("top_genres", {"settings": {"top_genres": 0}}),
    ("top_genres", {"settings": {"top_genres": HUGE}}),
    ("top_genres", {"settings": {"top_genres": "4"}}),
    ("revision 'y'", {"revisions": {"x": "y"}}),
    ("revision '../../x'", {"revisions": {"counting": "../../x"}}),
    ("revision '7'", {"revisions": {"counting": 7}}),
    ("backbone '../x'", {"revisions": {"../x": "0" * 16}}),
    ("view", {"views": {"v": 7}}),
    ("state record", {"views": {"v": "SELECT '\ud800' AS ImgId"}}),
    ("state record", {"more": 1}),
    ("format", {"format": "1"}),
    ("format", {"format": None}),
    ("upgrade the package", {"format": 3}),
]


@pytest.mark.parametrize(("words", "change"), STATES, ids=lambda value: json.dumps(value)[:40])
def test_a_state_that_was_edited_is_one_sentence(embedded: FeatureStore, words: str, change: dict[str, Any]) -> None:
    record = json.loads((embedded.path / "state.json").read_text())
    del record["id"]
    (embedded.path / "state.json").write_text(json.dumps(record | change))
    refused(embedded, words)


@pytest.mark.parametrize("backbone", ["counting", "unknown"])
def test_a_revision_without_a_record_is_one_sentence(embedded: FeatureStore, backbone: str) -> None:
    record = json.loads((embedded.path / "state.json").read_text())
    del record["id"]
    (embedded.path / "state.json").write_text(json.dumps(record | {"revisions": {backbone: "0" * 16}}))
    for command in ("info", "sql", "gc", "append"):
        with pytest.raises(IntegrityError, match="neither a record nor a vector"):
            COMMANDS[command](FeatureStore(embedded.path))
    assert list(maintenance.verify(embedded.path).damaged) == ["state.json"]


@pytest.mark.parametrize("version", [-1, HUGE, 2**62, 99, 1.5, None, "0", True, [0]])
@pytest.mark.parametrize("table", ["movies", "notes"])
def test_a_version_that_no_log_has_is_one_sentence(embedded: FeatureStore, table: str, version: object) -> None:
    record = json.loads((embedded.path / "state.json").read_text())
    del record["id"]
    record["tables"][table] = version
    (embedded.path / "state.json").write_text(json.dumps(record))
    for command in ("verify", "gc", "embed"):
        with pytest.raises(IntegrityError, match="restore it from a copy"):
            COMMANDS[command](FeatureStore(embedded.path))


@pytest.mark.parametrize(
    "name", ["../other", "/etc", "a/b", "cache", "staging", "snapshots", "Movies", "", "a\0b", "a b", "..", "x" * 64]
)
def test_a_table_of_another_place_is_refused_by_name(embedded: FeatureStore, name: str) -> None:
    record = json.loads((embedded.path / "state.json").read_text())
    del record["id"]
    record["tables"][name] = 0
    (embedded.path / "state.json").write_text(json.dumps(record))
    refused(embedded, "names the table")


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b'"x"', b"7", NESTED.encode(), b'{"number": ' + b"1" * 5000 + b"}", b"\xff\xfe{}"]
)
@pytest.mark.parametrize("name", ["state.json", "snapshots/kept.json"])
def test_a_state_that_is_none_is_one_sentence(embedded: FeatureStore, name: str, content: bytes) -> None:
    embedded.create_snapshot("kept")
    (embedded.path / name).write_bytes(content)
    for command in ("verify", "gc"):
        with pytest.raises(IntegrityError, match="is damaged"):
            COMMANDS[command](FeatureStore(embedded.path))
    with pytest.raises(IntegrityError, match="is damaged"):
        _ = FeatureStore(embedded.path, snapshot="kept").state


@pytest.mark.parametrize("made", [None, 5, "yesterday", [], {}, "9999-99-99"])
def test_a_snapshot_that_does_not_say_when_is_one_sentence(embedded: FeatureStore, made: object) -> None:
    embedded.create_snapshot("kept")
    path = embedded.path / "snapshots" / "kept.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"created_at": made}))
    with pytest.raises(IntegrityError, match="does not say when"):
        snapshots.listing(embedded.path)


def test_snapshots_made_with_and_without_a_time_zone_are_listed(embedded: FeatureStore) -> None:
    for name, made in (("a", "2026-01-01T00:00:00"), ("b", "2026-01-02T00:00:00+00:00")):
        embedded.create_snapshot(name)
        path = embedded.path / "snapshots" / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"created_at": made}))
    assert [info.name for info in snapshots.listing(embedded.path)] == ["a", "b"]


def test_a_file_that_is_no_snapshot_is_refused_by_name(embedded: FeatureStore) -> None:
    embedded.create_snapshot("kept")
    (embedded.path / "snapshots" / "kept.json").rename(embedded.path / "snapshots" / "kept copy.json")
    with pytest.raises(IntegrityError, match="snapshot 'kept copy'"):
        maintenance.gc(embedded.path)


RECORDS: list[Any] = [{}, [], "x", None, {"parts": {}}]
PARTS: list[Any] = [
    *(None, {}, [], 7, [[]], [7]),
    *([fields] for fields in (["../../x.parquet", 1, 1, {}], [PART, -1, 1, {}], [PART, 1, HUGE, {}])),
    *([fields] for fields in ([PART, "1", 1, {}], [PART, 1, 1, []], [PART, 1, 1, {}, 1], [PART, True, 1, {}])),
]


def check_cache_is_not_believed(store: FeatureStore, record: object) -> None:
    write_cache(store.path / "cache" / "layout.json", json.dumps(record).encode())
    store.refresh()
    assert len(store.features("counting", view="collection")) == 24
    assert store.sql("FROM notes").to_pylist() == [{"x": 1}]


@pytest.mark.parametrize("record", RECORDS, ids=str)
def test_a_cache_of_other_fields_is_not_believed(embedded: FeatureStore, record: object) -> None:
    check_cache_is_not_believed(embedded, record)
    assert embedded.embed(CountingBackbone()).present == 24


@pytest.mark.parametrize("parts", PARTS, ids=str)
def test_a_cache_of_other_parts_is_not_believed(embedded: FeatureStore, parts: object) -> None:
    record = json.loads((embedded.path / "cache" / "layout.json").read_bytes().partition(b"\n")[2])
    check_cache_is_not_believed(embedded, record | {"parts": dict.fromkeys(record["parts"], parts)})
    del record["parts"]
    check_cache_is_not_believed(embedded, record)


def write_cache(path: Path, body: bytes) -> None:
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


@pytest.mark.parametrize("body", [b"", b"{", NESTED.encode(), b'{"state": ' + b"1" * 5000 + b"}", b"\xff"])
def test_a_cache_that_is_no_record_is_not_believed(embedded: FeatureStore, body: bytes) -> None:
    write_cache(embedded.path / "cache" / "layout.json", body)
    assert len(FeatureStore(embedded.path).features("counting", view="collection")) == 24


HOLDERS = [
    "",
    "{}",
    "[]",
    '"x"',
    "null",
    "7",
    NESTED,
    "1" * 5000,
    '{"pid": 1}',
    '{"pid": {}, "host": [], "purpose": 1}',
]


@pytest.mark.parametrize("record", [*(text.encode() for text in HOLDERS), b"\xff\xfe", b" " * 100_000])
def test_a_holder_that_was_edited_is_another_process(embedded: FeatureStore, record: bytes) -> None:
    def write() -> None:
        with open_writer(embedded.path):
            pytest.fail("two writers at once")

    with open_writer(embedded.path):
        (embedded.path / ".lock.holder.json").write_bytes(record)
        with pytest.raises(StoreLocked, match="being written by another process: try again"):
            write()


@pytest.mark.parametrize(
    ("path", "partition"),
    [
        (f"../{PART}", {}),
        (f"/tmp/{PART}", {}),
        (f"a/../{PART}", {}),
        (f"backbone=../{PART}", {"backbone": ".."}),
        (f"backbone=x\\y/{PART}", {"backbone": "x\\y"}),
        (f"backbone=x/{PART}", {"backbone": "y"}),
        (f"backbone=x/{PART}", {}),
        (PART, {"backbone": "x"}),
        (PART.replace(".parquet", ".parquet\n"), {}),
        (PART.replace("0.parquet", ".parquet"), {}),
        (PART.replace("00.parquet", "0G.parquet"), {}),
        (f"s3://bucket/{PART}", {}),
        (f"{PART}\0", {}),
        ("", {}),
        (None, {}),
        (7, {}),
    ],
)
def test_a_path_that_is_none_of_a_part_is_refused_by_name(path: object, partition: dict[str, str]) -> None:
    with pytest.raises(IntegrityError, match="the log is damaged: it"):
        recorded_part("the log", path, 1, 1, partition)


@pytest.mark.parametrize(
    "path",
    ["../other/notes/{}", "%2e%2e/other/notes/{}", "..%2fother%2fnotes%2f{}", "file:///etc/{}", "s3://b/{}", "x/{}"],
)
def test_a_log_that_names_a_file_elsewhere_moves_nothing(embedded: FeatureStore, path: str, tmp_path: Path) -> None:
    """Another store's part: no query shows its rows, and `gc` removes nothing of it."""
    other = tmp_path / "other" / "notes"
    other.mkdir(parents=True)
    (part,) = (embedded.path / "notes").glob("part-*.parquet")
    (other / part.name).write_bytes(part.read_bytes())
    (log,) = (embedded.path / "notes" / "_delta_log").glob("*.json")
    log.write_text(log.read_text().replace(part.name, path.format(part.name)))
    (embedded.path / "cache" / "layout.json").unlink()
    refused(embedded, "notes")
    assert (other / part.name).is_file()


def test_a_table_that_is_a_link_to_another_store_is_not_written(embedded: FeatureStore, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (embedded.path / "notes").rename(other)
    (embedded.path / "notes").symlink_to(other)
    before = sorted(other.rglob("*"))
    for write in (
        lambda: embedded.append({"notes": pa.table({"x": [2]})}),
        lambda: maintenance.gc(embedded.path),
    ):
        with pytest.raises(IntegrityError, match="leads out of"):
            write()
    assert sorted(other.rglob("*")) == before


LOGS = [
    ("movies", '"add"', '"ade"'),
    ("embeddings", '"add"', '"ade"'),
    ("notes", '"add"', '"ade"'),
    ("images", '"size":', '"size":1'),
    ("notes", 'numRecords\\":', 'numRecords\\":1'),
]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(("table", "old", "new"), LOGS)
def test_a_log_that_no_longer_says_what_it_said_loses_nothing(
    embedded: FeatureStore, table: str, old: str, new: str, cached: bool
) -> None:
    (log,) = (embedded.path / table / "_delta_log").glob("*.json")
    whole = log.read_text()
    assert old in whole
    log.write_text(whole.replace(old, new, 1))
    if not cached:
        (embedded.path / "cache" / "layout.json").unlink()
    before = files(embedded.path)
    for command in ("verify", "repair", "gc", "compact"):
        with pytest.raises(IntegrityError, match=f"the log of .*{table} is damaged"):
            COMMANDS[command](FeatureStore(embedded.path))
    assert files(embedded.path) == before
    log.write_text(whole)
    assert maintenance.gc(embedded.path).removed == []
    assert FeatureStore(embedded.path).embed(CountingBackbone()).present == 24


def test_a_removal_that_a_log_forgot_shows_no_row_twice(embedded: FeatureStore) -> None:
    embedded.append({"notes": pa.table({"x": [2]})})
    maintenance.compact(embedded.path)
    log = max((embedded.path / "notes" / "_delta_log").glob("*.json"))
    log.write_text(log.read_text().replace('"remove"', '"semove"'))
    (embedded.path / "cache" / "layout.json").unlink()
    with pytest.raises(IntegrityError, match="notes is damaged"):
        FeatureStore(embedded.path).sql("FROM notes")


def test_what_only_a_snapshot_refers_to_is_kept_though_its_log_is_damaged(embedded: FeatureStore) -> None:
    embedded.create_snapshot("kept")
    (log,) = (embedded.path / "notes" / "_delta_log").glob("*.json")
    embedded.append({"notes": pa.table({"x": [2]})})
    maintenance.compact(embedded.path)
    before = files(embedded.path)
    log.write_text(log.read_text().replace('"add"', '"ade"'))
    with pytest.raises(IntegrityError, match="notes"):
        maintenance.gc(embedded.path)
    assert files(embedded.path) == before


def test_a_state_of_an_older_version_is_read_and_goes_on(embedded: FeatureStore) -> None:
    path = embedded.path / "state.json"
    record = json.loads(path.read_text())
    old = {name: value for name, value in record.items() if name not in ("id", "digests")} | {"format": 1}
    path.write_text(json.dumps(old))
    store = FeatureStore(embedded.path)
    assert store.state.digests == {}
    assert json.loads(store.state.to_json())["format"] == 1
    assert maintenance.verify(store.path).damaged == {}
    store.append({"notes": pa.table({"x": [2]})})
    assert list(store.state.digests) == ["notes"]
    assert len(store.sql("FROM notes")) == 2


@pytest.mark.parametrize("digests", [[], {"notes": 1}, {"other": "0"}, {"notes": "0" * 64}])
def test_digests_that_were_edited_are_one_sentence(embedded: FeatureStore, digests: object) -> None:
    record = json.loads((embedded.path / "state.json").read_text())
    del record["id"]
    (embedded.path / "state.json").write_text(json.dumps(record | {"digests": digests}))
    refused(embedded, "damaged")
