"""Of a store at an address only what is used is fetched, once, by however many processes, while others write to it."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from support import Collection, CountingBackbone, movie, write_metadata

from featurestore import FeatureStore
from featurestore import open as open_store
from featurestore.catalog.maintenance import gc, verify
from featurestore.errors import IntegrityError, StoreError
from featurestore.storage.layout import Layout
from featurestore.storage.manifest import manifest_path
from featurestore.storage.parts import Part


def opened(there: Path, snapshot: str | None = None) -> FeatureStore:
    return open_store(f"file://{there}", snapshot=snapshot)


def kinds(names: list[str]) -> list[str]:
    """Of files that were read, the folders of the tables."""
    return sorted(name.rpartition("/")[0] or name for name in names)


def test_opening_reads_the_state_and_a_question_what_it_needs(there: Path, asked: list[str]) -> None:
    layout = opened(there).layout
    assert kinds(asked) == ["state.json"]
    asked.clear()
    parts = layout.embedding_parts("second")
    assert kinds(asked) == ["manifests"]
    asked.clear()
    layout.fetch(parts)
    assert kinds(asked) == [parts[0].path.rpartition("/")[0]]


def test_a_query_fetches_the_tables_that_it_names(there: Path, asked: list[str]) -> None:
    store = opened(there)
    store.sql("SELECT 1")
    assert kinds(asked) == ["state.json"]
    asked.clear()
    assert len(store.sql("FROM movies")) == 24
    assert kinds(asked) == ["manifests", "movies"]


def test_a_pull_of_one_backbone_fetches_no_other(there: Path, asked: list[str]) -> None:
    assert len(opened(there).features("second")) == 20
    assert {kind.split("/")[1] for kind in kinds(asked) if "/" in kind} == {"backbone=second"}


@pytest.fixture
def ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """A store whose backbone has three parts, of the images 101 to 108, 109 to 116 and 117 to 124."""
    monkeypatch.setenv("FEATURESTORE_CACHE", str(tmp_path / "cache"))
    collection, store = Collection(tmp_path, 24), FeatureStore(tmp_path / "store")
    images = sorted(collection.images.iterdir())
    for path in images:
        path.rename(tmp_path / path.name)
    for first in (0, 8, 16):
        for path in images[first : first + 8]:
            (tmp_path / path.name).rename(path)
        store.ingest(metadata=collection.metadata, images=collection.images)
        store.embed(CountingBackbone())
    assert [(p.first_id, p.last_id) for p in store.layout.embedding_parts("counting")] == [
        (101, 108),
        (109, 116),
        (117, 124),
    ]
    return store


def test_a_pull_looks_into_the_parts_that_can_hold_its_ids(ranges: FeatureStore, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    whole = ranges.features("counting", view="images_usable")
    brought: list[Part] = []
    fetch = Layout.fetch

    def noted(self: Layout, parts: list[Part], **options: object) -> None:
        brought.extend(part for part in parts if part.path.startswith("embeddings/"))
        fetch(self, parts)

    for path in (str(ranges.path), f"file://{ranges.path}"):
        store = open_store(path)
        store.query("FROM images")
        monkeypatch.setattr(Layout, "fetch", noted)
        for ids, parts in (([124, 119], [117]), ([120], []), ([108, 101], [101]), ([101, 112, 124], [109])):
            brought.clear()
            some = store.features("counting", view="images_usable", ids=ids)
            assert [part.first_id for part in brought] == parts
            assert some.X.tobytes() == whole.X[np.searchsorted(whole.ids, ids)].tobytes()
        brought.clear()
        assert store.features("counting", view="images_usable").X.tobytes() == whole.X.tobytes()
        assert brought == []
        monkeypatch.undo()
        monkeypatch.setenv("FEATURESTORE_CACHE", str(ranges.path.parent / "cache"))


def test_a_range_that_is_not_that_of_the_part_is_noticed(ranges: FeatureStore) -> None:
    table = next(table for table in ranges.state.tables if table.startswith("embeddings/"))
    first = ranges.layout.parts(table)[0]
    state = ranges.state
    manifest = json.loads((ranges.path / manifest_path(state.tables[table])).read_text())
    manifest["parts"][0][4] = 100
    content = json.dumps(manifest).encode()
    name = hashlib.sha256(content).hexdigest()
    (ranges.path / manifest_path(name)).write_bytes(content)
    (ranges.path / "state.json").write_bytes(replace(state, tables={**state.tables, table: name}).to_record())
    with pytest.raises(IntegrityError, match=f"{Path(first.path).name}.*its ids are 101 to 108, its manifest says 100"):
        ranges.refresh().features("counting")


def test_a_state_that_changes_meanwhile(ranges: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader keeps its state; where its files are gone it says so, also for a manifest that it never read."""
    address = f"file://{ranges.path}"
    reader = open_store(address)
    monkeypatch.setenv("FEATURESTORE_CACHE", str(ranges.path.parent / "another"))
    late = open_store(address)
    old = reader.sql("FROM movies")
    before = reader.state
    write_metadata(ranges.path.parent / "MovieGenre.csv", [movie(101)])
    ranges.ingest(metadata=ranges.path.parent / "MovieGenre.csv", images=ranges.path.parent / "posters")
    gc(ranges.path, older_than=timedelta(0))
    assert reader.sql("FROM movies").equals(old)
    assert reader.state == before
    for query in (late.sql, late.query):
        with pytest.raises(StoreError, match=r"`gc` or `forget` removed files that this reader .*refresh"):
            query("FROM movies")
    assert len(late.refresh().sql("FROM movies")) == 1


FILL = """
import sys
import featurestore
store = featurestore.open(sys.argv[1])
print(sum(len(store.features(name)) for name in ("counting", "second", "third")))
"""


def test_several_processes_fill_one_cache(there: Path) -> None:
    command = [sys.executable, "-c", FILL, f"file://{there}"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=120)[0].strip() for process in running] == ["60"] * 3
    assert not list((there.parents[4] / "home").rglob("*.tmp"))
    assert verify(opened(there).objects).damaged == {}


def test_a_cache_that_cannot_be_written_is_one_sentence(there: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / "x").mkdir(parents=True)
    (tmp_path / "home" / "x" / "cache").write_text("")
    with pytest.raises(StoreError, match=r"the cache .* can't be written .*FEATURESTORE_CACHE"):
        opened(there).layout.files("movies")
