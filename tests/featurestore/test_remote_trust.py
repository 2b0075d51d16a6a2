"""What an object store holds is believed as far as its checksums go; its names never lead out of the local copy."""

import json
import os
import shutil
from pathlib import Path

import pytest
from support import Collection, CountingBackbone, edit_manifest, edit_record, manifest_of

from featurestore import FeatureStore
from featurestore import open as open_store
from featurestore.errors import FeatureStoreError, IntegrityError, StoreError
from featurestore.storage import remote


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with vectors and a snapshot, deep enough for a few `..`."""
    root = tmp_path_factory.mktemp("template")
    collection, store = Collection(root, 24), FeatureStore(root / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    store.create_snapshot("kept")
    return store.path


@pytest.fixture
def there(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place behind the address of a store, a copy of the template."""
    monkeypatch.setenv("FEATURESTORE_CACHE", str(tmp_path / "home" / "x" / "cache"))
    return shutil.copytree(template, tmp_path / "away" / "a" / "b" / "c" / "store")


def opened(there: Path) -> FeatureStore:
    return open_store(f"file://{there}")


@pytest.mark.parametrize("record", ["", "snapshots/kept.json"])
@pytest.mark.parametrize(
    "path",
    [
        "../../../../planted",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/planted",
        "..%2F..%2F..%2F..%2Fplanted",
        "x=../../../../../planted",
        "x/../../../../../planted",
        "/tmp/planted",
        "..\\planted",
        f"../../../../part-{'0' * 32}.parquet",
        f"movies/../images/part-{'0' * 32}.parquet",
    ],
)
def test_a_manifest_writes_nothing_but_parts(there: Path, path: str, record: str) -> None:
    """Of the current state and of a snapshot; both sealed again, by whoever put them there."""
    name = path.rpartition("/")[2]
    for folder in (there, *there.parents[:4]):
        (folder / name).write_bytes(b"planted")
    edit_manifest(there, "movies", lambda fields: fields["parts"][0].__setitem__(0, path), state=record)
    with pytest.raises(IntegrityError, match="names the part"):
        opened(there).sql("FROM movies")
    home = there.parents[4] / "home"
    assert not [found for found in home.rglob("*") if found.is_file() and found.read_bytes() == b"planted"]
    assert not Path("/tmp/planted").exists()


@pytest.mark.parametrize("name", ["../../x", "/etc", "cache", "a\\b", "manifests"])
def test_a_state_names_no_folder_elsewhere(there: Path, name: str) -> None:
    tables = json.loads((there / "state.json").read_text())["tables"]
    edit_record(there / "state.json", tables=tables | {name: "0" * 64})
    with pytest.raises(IntegrityError, match="names the table"):
        opened(there)


@pytest.mark.parametrize("name", ["../../../../planted", "/tmp/planted", "..%2fplanted", "0" * 63, ""])
def test_a_state_names_no_manifest_elsewhere(there: Path, name: str) -> None:
    (there.parents[1] / "planted.json").write_text("{}")
    tables = json.loads((there / "state.json").read_text())["tables"]
    edit_record(there / "state.json", tables=tables | {"movies": name})
    with pytest.raises(IntegrityError, match="names the manifest"):
        opened(there)
    assert not list((there.parents[4] / "home").rglob("planted*"))


def test_a_manifest_damaged_there_is_one_sentence(there: Path) -> None:
    path = manifest_of(there, "movies")
    path.write_bytes(path.read_bytes().replace(b"parts", b"party"))
    with pytest.raises(IntegrityError, match=path.name):
        opened(there).sql("FROM movies")


def test_of_a_listing_only_records_are_fetched(there: Path) -> None:
    strangers = ["snapshots/x y.json", "snapshots/deep/x.json", "manifests/x.sh", f"manifests/{'0' * 64}.json"]
    for name in strangers:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("{}")
    store = opened(there)
    assert not [name for name in strangers if (store.path / name).exists()]
    assert store.sql("SELECT count(*) AS n FROM movies").to_pylist() == [{"n": 24}]


def test_a_link_in_the_copy_leads_nowhere(there: Path, tmp_path: Path) -> None:
    local = opened(there).path
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(local / "movies")
    (local / "movies").symlink_to(elsewhere)
    with pytest.raises(IntegrityError, match="leads out of"):
        opened(there)
    assert not list(elsewhere.iterdir())


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
        return
    if how == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes({"flipped": content, "truncated": content[:-7], "longer": content + b"x", "empty": b""}[how])


@pytest.mark.parametrize("how", ["missing", "flipped", "truncated", "longer", "empty"])
@pytest.mark.parametrize("table", ["movies", "embeddings"])
def test_a_part_damaged_in_the_copy_is_fetched_again(there: Path, table: str, how: str) -> None:
    before = opened(there).features("counting", view="labeled")
    (part,) = (opened(there).path / table).rglob("part-*.parquet")
    content = part.read_bytes()
    damage(part, how)
    after = opened(there).features("counting", view="labeled")
    assert part.read_bytes() == content
    assert (after.X.tobytes(), after.table) == (before.X.tobytes(), before.table)


@pytest.mark.parametrize("how", ["flipped", "truncated", "longer", "empty"])
def test_a_part_damaged_there_is_one_sentence_and_no_file(there: Path, how: str) -> None:
    (part,) = (there / "movies").glob("part-*.parquet")
    damage(part, how)
    with pytest.raises(FeatureStoreError, match=rf"the object .*{part.name}.*copy"):
        opened(there)
    assert not list((there.parents[4] / "home").rglob(f"*{part.name}*"))
    assert not list((there.parents[4] / "home").rglob("*.tmp"))


def test_a_part_is_read_once_and_not_at_every_opening(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(there)

    def refuse(*_: object) -> None:
        pytest.fail("a part was read again")

    monkeypatch.setattr(remote, "check_part", refuse)
    opened(there)


@pytest.mark.parametrize("name", ["state.json", "snapshots/kept.json", "manifest"])
def test_records_that_are_too_large_are_not_fetched(there: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "RECORD_BYTES", 10_000)
    path = manifest_of(there, "movies") if name == "manifest" else there / name
    with path.open("ab") as file:
        os.ftruncate(file.fileno(), 10**10)  # takes no room
    with pytest.raises(IntegrityError, match="has more than 10,000 bytes"):
        opened(there).sql("FROM movies")


def test_a_state_there_that_is_no_text_is_one_sentence(there: Path) -> None:
    (there / "state.json").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match="is damaged"):
        opened(there)


def test_a_snapshot_removed_there_is_gone_here(there: Path) -> None:
    assert open_store(f"file://{there}", snapshot="kept").state.number
    (there / "snapshots" / "kept.json").unlink()
    assert not list((opened(there).path / "snapshots").iterdir())
