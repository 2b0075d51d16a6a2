"""States, snapshots and lock holders that anybody can edit who has the folder: believed, or told of in one sentence."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import CountingBackbone, edit_record

from featurestore import FeatureStore
from featurestore.catalog import maintenance, snapshots
from featurestore.catalog.repair import repair
from featurestore.catalog.writer import open_writer
from featurestore.errors import FeatureStoreError, IntegrityError, StoreLocked

HUGE = 2**70
NESTED = "[" * 200_000
NO_AGE = timedelta(0)
COMMANDS: dict[str, Callable[[FeatureStore], object]] = {
    "info": lambda store: store.backbones(),
    "sql": lambda store: store.sql("SELECT count(*) FROM movies"),
    "repair": lambda store: repair(store.path),
    "compact": lambda store: maintenance.compact(store.path),
    "gc": lambda store: maintenance.gc(store.path, older_than=NO_AGE),
    "embed": lambda store: store.embed(CountingBackbone()),
    "append": lambda store: store.append({"more": pa.table({"x": [1]})}),
}


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.parquet")}


def refused(store: FeatureStore, words: str = "") -> None:
    """Every command says one sentence, `verify` names the state, and no part is touched."""
    before = files(store.path)
    for command, run in COMMANDS.items():
        with pytest.raises(FeatureStoreError, match=words) as caught:
            run(FeatureStore(store.path))
        assert len(str(caught.value)) < 800, command
    assert list(maintenance.verify(store.path).damaged) == ["state.json"]
    assert files(store.path) == before


STATES: list[tuple[str, dict[str, Any]]] = [
    ("number", {"number": -1}),
    ("number", {"number": HUGE}),
    ("number", {"number": "3"}),
    ("number", {"number": None}),
    ("number", {"number": True}),
    ("images", {"tables": {}}),
    ("images", {"tables": {"movies": "0" * 64}}),
    ("manifest '../../x'", {"tables": {"images": "../../x"}}),
    ("manifest '7'", {"tables": {"images": 7}}),
    ("manifest 'None'", {"tables": {"images": None}}),
    ("manifest", {"tables": {"images": "A" * 64}}),
    ("store and commit", {"store": ""}),
    ("store and commit", {"commit": "x" * 32}),
    ("store and commit", {"commit": 7}),
    ("collection '../x'", {"collection": "../x"}),
    ("collection", {"collection": None}),
    ("state record", {"tables": []}),
    ("state record", {"tables": None}),
    ("top_genres", {"settings": {"top_genres": 0}}),
    ("top_genres", {"settings": {"top_genres": HUGE}}),
    ("revision 'y'", {"revisions": {"x": "y"}}),
    ("revision '../../x'", {"revisions": {"counting": "../../x"}}),
    ("revision '7'", {"revisions": {"counting": 7}}),
    ("backbone '../x'", {"revisions": {"../x": "0" * 16}}),
    ("view", {"views": {"v": 7}}),
    ("state record", {"views": {"v": "SELECT '\ud800' AS ImgId"}}),
    ("state record", {"more": 1}),
    ("no table of the vectors", {"revisions": {"counting": "0" * 16}}),
    ("no table of the vectors", {"revisions": {"unknown": "0" * 16}}),
    ("format", {"format": "3"}),
    ("format", {"format": None}),
    ("format", {"format": 0}),
]


@pytest.mark.parametrize(("words", "change"), STATES, ids=lambda value: json.dumps(value)[:40])
def test_a_state_that_was_edited_is_one_sentence(embedded: FeatureStore, words: str, change: dict[str, Any]) -> None:
    """Sealed again by whoever edited it: what is refused is the field, not the checksum."""
    edit_record(embedded.path / "state.json", **change)
    refused(embedded, words)


def test_a_setting_of_a_wrong_type_is_one_sentence(embedded: FeatureStore) -> None:
    """Only the collection type knows which type it must have."""
    edit_record(embedded.path / "state.json", settings={"top_genres": "4"})
    with pytest.raises(IntegrityError, match="setting top_genres is '4', expected a number"):
        FeatureStore(embedded.path).sql("FROM labeled")


@pytest.mark.parametrize("change", [{"number": 1}, {"revisions": {}}, {"sha256": "0" * 64}, {"id": "7-x"}])
def test_a_state_that_was_edited_and_not_sealed_is_damaged(embedded: FeatureStore, change: dict[str, Any]) -> None:
    path = embedded.path / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(embedded, r"state\.json is damaged: its fields don't match its checksum")


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_an_early_version_is_one_sentence(embedded: FeatureStore, version: int) -> None:
    old = {"format": version, "number": 3, "tables": {"movies": 0, "images": 0}, "settings": {"top_genres": 4}}
    (embedded.path / "state.json").write_text(json.dumps({**old, "revisions": {}, "views": {}, "id": "3-0"}))
    before = files(embedded.path)
    for run in (*COMMANDS.values(), lambda store: maintenance.verify(store.path)):
        with pytest.raises(FeatureStoreError, match=r"written before the first release.*ingest"):
            run(FeatureStore(embedded.path))
    assert files(embedded.path) == before


def test_a_store_of_a_later_version_is_one_sentence(embedded: FeatureStore) -> None:
    edit_record(embedded.path / "state.json", format=99)
    for run in (*COMMANDS.values(), lambda store: maintenance.verify(store.path)):
        with pytest.raises(FeatureStoreError, match="has format 99, this version reads 3: upgrade the package"):
            run(FeatureStore(embedded.path))


TABLES = ["../other", "/etc", "a/b", "cache", "manifests", "Movies", "", "a\0b", "a b", "..", "x" * 64]
VECTORS = ["backbone=x", "backbone=../x/revision=" + "0" * 16, "backbone=x/revision=0", "x/y"]


@pytest.mark.parametrize("name", [*TABLES, "embeddings", *(f"embeddings/{name}" for name in VECTORS)])
def test_a_table_of_another_place_is_refused_by_name(embedded: FeatureStore, name: str) -> None:
    edit_record(embedded.path / "state.json", tables={**embedded.state.tables, name: "0" * 64})
    refused(embedded, "names the table")


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b'"x"', b"7", NESTED.encode(), b'{"number": ' + b"1" * 5000 + b"}", b"\xff\xfe{}"]
)
@pytest.mark.parametrize("name", ["state.json", "snapshots/kept.json"])
def test_a_record_that_is_none_is_one_sentence(embedded: FeatureStore, name: str, content: bytes) -> None:
    embedded.create_snapshot("kept")
    (embedded.path / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{name}.* see `featurestore verify`|is damaged"):
        COMMANDS["gc"](FeatureStore(embedded.path))
    assert list(maintenance.verify(embedded.path).damaged) == [name]
    with pytest.raises(IntegrityError, match="is damaged"):
        _ = FeatureStore(embedded.path, snapshot="kept").state


@pytest.mark.parametrize("made", [None, 5, "yesterday", [], {}, "9999-99-99"])
def test_a_snapshot_that_does_not_say_when_is_named_and_the_others_listed(embedded: FeatureStore, made: object) -> None:
    embedded.create_snapshot("kept")
    embedded.create_snapshot("other")
    edit_record(embedded.path / "snapshots" / "kept.json", created_at=made)
    with pytest.warns(UserWarning, match=r"kept\.json is damaged: .*, or remove the snapshot"):
        assert [info.name for info in snapshots.listing(embedded.path)] == ["other"]
    with pytest.raises(IntegrityError, match=r"kept\.json is damaged"):
        FeatureStore.open(embedded.path, snapshot="kept")
    with pytest.raises(IntegrityError, match=r"kept\.json; see `featurestore verify`"):
        COMMANDS["gc"](embedded)
    snapshots.remove(embedded.path, "kept")
    assert COMMANDS["gc"](embedded)


def test_snapshots_made_with_and_without_a_time_zone_are_listed(embedded: FeatureStore) -> None:
    for name, made in (("a", "2026-01-01T00:00:00"), ("b", "2026-01-02T00:00:00+00:00")):
        embedded.create_snapshot(name)
        edit_record(embedded.path / "snapshots" / f"{name}.json", created_at=made)
    assert [info.name for info in snapshots.listing(embedded.path)] == ["a", "b"]


@pytest.mark.parametrize("name", ["kept copy", "other"])
def test_a_snapshot_under_another_name_is_refused_by_name(embedded: FeatureStore, name: str) -> None:
    embedded.create_snapshot("kept")
    (embedded.path / "snapshots" / "kept.json").rename(embedded.path / "snapshots" / f"{name}.json")
    assert list(maintenance.verify(embedded.path).damaged) == [f"snapshots/{name}.json"]
    with pytest.raises(IntegrityError, match=f"{name}.json"):
        COMMANDS["gc"](embedded)


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
