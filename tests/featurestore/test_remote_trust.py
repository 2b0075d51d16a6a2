"""What an object store holds is believed as far as its checksums go, and its names lead nowhere.

A folder with an address stands for the object store; `test_remote.py` has a server.
"""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from featurestore import FeatureStore
from featurestore import open as open_store
from featurestore.catalog.maintenance import verify
from featurestore.errors import FeatureStoreError, IntegrityError, QueryError, StoreError
from featurestore.storage import records, remote
from featurestore.storage.manifest import manifest_path
from featurestore.storage.state import read_state


def opened(there: Path, snapshot: str | None = None) -> FeatureStore:
    return open_store(f"file://{there}", snapshot=snapshot)


def kinds(names: list[str]) -> list[str]:
    """Of files that were read, the folders of the tables."""
    return sorted(name.rpartition("/")[0] or name for name in names)


def planted(there: Path, table: str, *fields: object) -> None:
    """Let the state there, which is whole, name a manifest, which is whole, with one more part of ``table``."""
    state = read_state(there)
    manifest = json.loads((there / manifest_path(state.tables[table])).read_text())
    manifest["parts"].append([*fields, *manifest["parts"][0][len(fields) :]])
    content = json.dumps(manifest).encode()
    name = hashlib.sha256(content).hexdigest()
    (there / manifest_path(name)).write_bytes(content)
    (there / "state.json").write_bytes(replace(state, tables={**state.tables, table: name}).to_record())


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
        f"images/part-{'0' * 32}.parquet",
        f"movies/deep/part-{'0' * 32}.parquet",
    ],
)
def test_a_manifest_names_nothing_but_parts_of_its_table(there: Path, path: str) -> None:
    name = path.rpartition("/")[2]
    for folder in (there, *there.parents[:4]):
        (folder / name).write_bytes(b"planted")
    planted(there, "movies", path)
    store = opened(there)
    with pytest.raises(IntegrityError, match=r"is damaged: it (names|is not a manifest)"):
        store.layout.parts("movies")
    with pytest.raises(QueryError, match="movies is damaged"):
        store.sql("FROM movies")
    assert len(store.sql("FROM images")) == 24, "the other tables are readable"
    home = there.parents[4] / "home"
    assert not [found for found in home.rglob("*") if found.is_file() and found.read_bytes() == b"planted"]
    assert not Path("/tmp/planted").exists()


@pytest.mark.parametrize("fields", [("x",), (2**70,), (-1,), (1, "large"), (1, 5, "0" * 64)], ids=str)
def test_a_manifest_says_what_a_part_can_be(there: Path, fields: tuple[object, ...]) -> None:
    (part,) = (there / "movies").iterdir()
    planted(there, "movies", f"movies/{part.name}", *fields)
    with pytest.raises(IntegrityError, match="is damaged"):
        opened(there).layout.parts("movies")


@pytest.mark.parametrize("name", ["../../x", "/etc", "cache", "a\\b", "embeddings/backbone=../revision=x"])
def test_a_state_names_no_folder_elsewhere(there: Path, name: str) -> None:
    state = read_state(there)
    (there / "state.json").write_bytes(replace(state, tables={**state.tables, name: "0" * 64}).to_record())
    with pytest.raises(IntegrityError, match="names the table"):
        opened(there)


@pytest.mark.parametrize("name", ["../../state", "0" * 63, ""])
def test_a_state_names_no_manifest_elsewhere(there: Path, name: str) -> None:
    state = read_state(there)
    (there / "state.json").write_bytes(replace(state, tables={**state.tables, "movies": name}).to_record())
    with pytest.raises(IntegrityError, match="names the manifest"):
        opened(there)


def test_of_a_listing_only_records_are_read(there: Path, asked: list[str], recwarn: pytest.WarningsRecorder) -> None:
    strangers = ["snapshots/x y.json", "snapshots/deep/x.json", "snapshots/x.sh", "other/x.json"]
    for name in strangers:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("{}")
    store = opened(there)
    with pytest.warns(UserWarning, match="names the snapshot 'x y'"):
        assert [info.name for info in listing(store)] == ["kept"]
    assert kinds(asked) == ["snapshots", "state.json", "state.json"]
    assert "snapshots/x y.json" in verify(store.objects).damaged
    assert not set(strangers) & set(asked)


def listing(store: FeatureStore) -> list:  # type: ignore[type-arg]
    from featurestore.catalog import snapshots

    return snapshots.listing(store.objects)


def test_a_link_in_the_cache_leads_nowhere(there: Path, tmp_path: Path) -> None:
    store = opened(there)
    (part,) = store.layout.parts("movies")
    local = store.layout.path(part).parent
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in (local, local.parent / "manifests"):
        shutil.rmtree(folder)
        folder.symlink_to(elsewhere)
    with pytest.raises(IntegrityError, match="leads out of"):
        store.layout.path(part)
    with pytest.raises(IntegrityError, match="leads out of"):
        opened(there).layout.parts("movies")
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
@pytest.mark.parametrize("table", ["movies", "embeddings/backbone=counting", "manifests"])
def test_what_is_damaged_in_the_cache_is_fetched_again(there: Path, table: str, how: str) -> None:
    before = opened(there).features("counting", view="labeled")
    path = next(path for path in (opened(there).path / table).rglob("*") if path.is_file())
    content = path.read_bytes()
    damage(path, how)
    after = opened(there).features("counting", view="labeled")
    assert path.read_bytes() == content
    assert (after.X.tobytes(), after.table) == (before.X.tobytes(), before.table)


def test_verify_finds_and_mends_what_rots_in_the_cache(there: Path) -> None:
    """A bit that flips on the disk changes neither size nor time."""
    store = opened(there)
    (part,) = store.layout.parts("movies")
    path = store.layout.path(part)
    content, status = path.read_bytes(), path.stat()
    damage(path, "flipped")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.layout.path(part).read_bytes() != content
    assert verify(store.objects).damaged == {}
    assert path.read_bytes() == content


@pytest.mark.parametrize("how", ["missing", "flipped", "truncated", "longer", "empty"])
def test_a_part_damaged_there_is_one_sentence_and_no_file(there: Path, how: str) -> None:
    (part,) = (there / "movies").glob("part-*.parquet")
    damage(part, how)
    store = opened(there)
    with pytest.raises(IntegrityError, match=f"{part.name}.*copy"):
        store.layout.files("movies")
    with pytest.raises(QueryError, match=f"{part.name}.*copy"):
        store.sql("FROM movies")
    assert len(store.sql("FROM images")) == 24
    damaged = verify(store.objects).damaged
    assert list(damaged) == [f"movies/{part.name}"]
    assert not list((there.parents[4] / "home").rglob(f"*{part.name}*"))
    assert not list((there.parents[4] / "home").rglob("*.tmp"))


@pytest.mark.parametrize("how", ["missing", "flipped", "truncated", "longer", "empty"])
def test_a_manifest_damaged_there_is_one_sentence_and_no_file(there: Path, how: str) -> None:
    name = manifest_path(read_state(there).tables["movies"])
    damage(there / name, how)
    store = opened(there)
    with pytest.raises(IntegrityError, match=f"{name} is (damaged|missing)"):
        store.layout.parts("movies")
    assert not (store.path / name).exists()
    assert name in verify(store.objects).damaged


def test_a_part_is_read_once_and_not_at_every_opening(there: Path, asked: list[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    paths = opened(there).layout.files("movies")
    asked.clear()
    monkeypatch.setattr(remote, "file_hash", lambda path: pytest.fail("a part was read again"))
    assert opened(there).layout.files("movies") == paths
    assert asked == ["state.json"]


def test_a_part_is_larger_than_its_manifest_says(there: Path) -> None:
    (part,) = (there / "movies").iterdir()
    with part.open("ab") as file:
        os.ftruncate(file.fileno(), 10**10)  # takes no room
    with pytest.raises(IntegrityError, match=f"{part.name} has more than .* bytes"):
        opened(there).layout.files("movies")


@pytest.mark.parametrize("name", ["state.json", "snapshots/kept.json", "manifests"])
def test_records_that_are_too_large_are_not_fetched(there: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RECORD_BYTES", 10_000)
    name = manifest_path(read_state(there).tables["movies"]) if name == "manifests" else name
    with (there / name).open("ab") as file:
        os.ftruncate(file.fileno(), 10**10)  # takes no room
    for place in (f"file://{there}", there):  # a folder is no better than an object store
        with pytest.raises(IntegrityError, match="has more than 10,000 bytes"):
            open_store(place, snapshot="kept" if "kept" in name else None).layout.parts("movies")


def test_a_state_there_that_is_no_text_is_one_sentence(there: Path) -> None:
    (there / "state.json").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match="is damaged"):
        opened(there)


def test_a_snapshot_removed_there_is_gone_here(there: Path) -> None:
    assert opened(there, "kept").state.number
    (there / "snapshots" / "kept.json").unlink()
    with pytest.raises(FeatureStoreError, match="has no snapshot 'kept'"):
        opened(there, "kept")
    assert listing(opened(there)) == []
