"""Commits: rows added twice count twice, small parts are merged, a crash leaves files that nobody names."""

import os
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import CountingBackbone, manifest_of

from featurestore import FeatureStore
from featurestore.catalog import commit as commits
from featurestore.catalog import maintenance, swap
from featurestore.catalog.writer import open_writer
from featurestore.collections.movies.recipe import MOVIES
from featurestore.embedding.staging import open_run
from featurestore.errors import InputError, IntegrityError
from featurestore.storage.parts import read_part

pytestmark = pytest.mark.shell_file

NO_AGE = timedelta(0)
ROW = pa.table({"x": [7]})


def test_equal_rows_that_are_appended_twice_count_twice(store: FeatureStore) -> None:
    for _ in range(3):
        store.append({"notes": ROW})
    assert store.sql("SELECT count(*) AS n, sum(x) AS s FROM notes").to_pylist() == [{"n": 3, "s": 21}]
    assert len(set(store.parts("notes"))) == 1, "one file, named three times"
    report = maintenance.verify(store.path)
    assert report.damaged == {}
    store.create_snapshot("kept")
    assert maintenance.compact(store.path)["notes"] == (3, 1)
    assert store.refresh().sql("SELECT count(*) AS n FROM notes").to_pylist() == [{"n": 3}]
    maintenance.gc(store.path, older_than=NO_AGE)
    assert FeatureStore(store.path, snapshot="kept").sql("SELECT count(*) AS n FROM notes").to_pylist() == [{"n": 3}]


def test_equal_rows_in_one_commit_count_twice(store: FeatureStore) -> None:
    with open_writer(store.path) as writer, writer.commit() as commit:
        commit.append("notes", ROW)
        commit.append("notes", ROW)
    assert store.refresh().sql("SELECT sum(x) AS s FROM notes").to_pylist() == [{"s": 14}]


def appended(store: FeatureStore, count: int, *, rows: int = 1, start: int = 0) -> None:
    with open_writer(store.path) as writer:
        for step in range(start, start + count):
            with writer.commit() as commit:
                commit.append("notes", pa.table({"x": [step] * rows}))


def test_many_small_parts_are_merged_and_no_row_is_lost(store: FeatureStore) -> None:
    appended(store, commits.MANY_PARTS)
    assert len(store.refresh().parts("notes")) == commits.MANY_PARTS
    appended(store, 1, rows=commits.SMALL_ROWS, start=900)
    assert len(store.refresh().parts("notes")) == commits.MANY_PARTS + 1, "a large one is none of them"
    appended(store, 1, start=500)
    assert len(store.refresh().parts("notes")) == 2
    rows = store.sql("SELECT x, count(*) AS n FROM notes GROUP BY x ORDER BY x").to_pylist()
    steps = [*range(commits.MANY_PARTS), 500]
    assert rows == [*({"x": step, "n": 1} for step in steps), {"x": 900, "n": commits.SMALL_ROWS}]
    maintenance.gc(store.path, older_than=NO_AGE)
    assert len(list((store.path / "notes").iterdir())) == 2
    assert maintenance.verify(store.path).damaged == {}


def test_a_damaged_small_part_is_not_merged_and_stops_no_commit(store: FeatureStore) -> None:
    """Merged, its rows would get a checksum of their own."""
    appended(store, commits.MANY_PARTS)
    part = Path(store.refresh().parts("notes")[5])
    content = part.read_bytes()
    part.write_bytes(content[:60] + bytes([content[60] ^ 4]) + content[61:])
    appended(store, 1, start=500)
    assert len(store.refresh().parts("notes")) == commits.MANY_PARTS + 1
    assert [Path(name).name for name in maintenance.verify(store.path).damaged] == [part.name]
    part.write_bytes(content)
    appended(store, 1, start=501)
    assert len(store.refresh().parts("notes")) == 1


def test_tables_that_did_not_change_keep_their_manifest(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    before = store.state.tables
    store.append({"notes": ROW})
    after = store.state.tables
    assert {table: after[table] for table in before} == before
    assert store.state.number == FeatureStore(store.path).state.number


def test_a_commit_of_nothing_leaves_the_state(store: FeatureStore) -> None:
    before = (store.path / "state.json").read_bytes()
    with open_writer(store.path) as writer, writer.commit() as commit:
        commit.replace("movies", read_part(Path(store.parts("movies")[0])))
        commit.set_collection(MOVIES, {"top_genres": 4})
    assert (store.path / "state.json").read_bytes() == before


def test_a_part_that_went_before_it_was_published_is_told(store: FeatureStore) -> None:
    state = store.state
    with pytest.raises(
        IntegrityError, match="was removed before it was published, and nothing of this commit is stored"
    ):
        _commit_without_its_part(store)
    assert store.refresh().state == state
    store.append({"notes": ROW})
    assert store.sql("FROM notes").to_pylist() == [{"x": 7}]


def _commit_without_its_part(store: FeatureStore) -> None:
    with open_writer(store.path) as writer, writer.commit() as commit:
        commit.append("notes", ROW)
        (part,) = (store.path / "notes").glob("part-*.parquet")
        part.unlink()


class Crash(BaseException):
    """What no handler expects."""


STEPS = ["write_part", "publish", "write_manifests", "after the manifests", "write_atomic", "none"]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_leaves_files_that_nobody_names_and_nothing_else(
    store: FeatureStore, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts, manifests, state: wherever it stops before the last, all readers see what they saw, and `gc` tidies up."""
    state, before = store.state, {path: path.stat().st_mtime_ns for path in store.path.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch, pytest.raises(Crash):
        _commit_and_crash(store, step, patch)
    if step == "none":  # behind the swap all of it is there
        assert store.refresh().sql("SELECT sum(notes.x + more.x) AS s FROM notes, more").to_pylist() == [{"s": 14}]
        return
    assert store.refresh().state == state
    left = {path for path in store.path.rglob("*") if path.is_file()} - before.keys() - {store.path / ".lock"}
    assert {path.parent.name for path in left} <= {"notes", "more", "manifests"}
    assert maintenance.verify(store.path).damaged == {}
    removed = maintenance.gc(store.path, older_than=NO_AGE).removed
    assert {store.path / name for name in removed} == left
    store.append({"notes": ROW})
    assert store.sql("FROM notes").to_pylist() == [{"x": 7}]


def _commit_and_crash(store: FeatureStore, step: str, patch: pytest.MonkeyPatch) -> None:
    with open_writer(store.path) as writer, writer.commit() as commit:
        if step in ("write_part", "write_manifests", "write_atomic"):
            patch.setattr(swap if step == "write_atomic" else commits, step, _crash)
        commit.append("notes", ROW)
        commit.append("more", ROW)
        if step == "publish":
            raise Crash
        if step == "after the manifests":
            patch.setattr(swap.LockedSwap, "put", _crash)
        if step == "none":
            commit.publish()
            raise Crash


def _crash(*_: object) -> None:
    raise Crash


def test_all_that_a_state_names_is_on_disk_before_it(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut, what was not synced may be missing: part, folder, new parents, manifest, then the state."""
    root = store.path.resolve()
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def name(path: str | Path) -> str:
        found = Path(path).resolve()
        return str(found.relative_to(root)) if found.is_relative_to(root) else ""

    def synced(handle: int) -> None:
        events.append(f"sync {name(os.readlink(f'/proc/self/fd/{handle}'))}")
        fsync(handle)

    def renamed(source: str | Path, target: str | Path) -> None:
        events.append(f"rename {name(source)} {name(target)}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    made = {path for path in root.rglob("*") if path.is_dir()}
    store.embed(CountingBackbone())
    commit = [
        place for place, event in enumerate(events) if event.startswith("rename") and event.endswith("state.json")
    ]
    assert len(commit) == 1
    done = events[: commit[0]]
    state = store.refresh().state
    needed = [*(part.path for table in state.tables for part in store.layout.parts(table)), *_manifests(state.tables)]
    new = [file for file in needed if any(event.startswith("rename") and event.endswith(f" {file}") for event in done)]
    assert {file.split("/")[0] for file in new} == {"backbones", "extractions", "embeddings", "manifests"}
    for file in new:
        (rename,) = (place for place, event in enumerate(done) if event.endswith(f" {file}"))
        source = done[rename].split(" ")[1]
        earlier = [event.split(" ")[1] for event in done[:rename] if event.endswith(f" {source}") and "rename" in event]
        assert f"sync {(earlier or [source])[0]}" in done[:rename], "its bytes before it gets its name, or was staged"
        assert f"sync {Path(file).parent}" in done[rename:], "then its name"
    for folder in {path for path in root.rglob("*") if path.is_dir()} - made:
        assert f"sync {name(folder.parent)}" in done, "and the name of each new folder"
    last_part = max(place for place, event in enumerate(done) if event.endswith(".parquet"))
    first_manifest = min(place for place, event in enumerate(done) if "manifests/" in event)
    assert last_part < first_manifest
    assert events[commit[0] - 1].startswith("sync .state.json")
    assert events[commit[0] + 1] == "sync ."


def _manifests(tables: dict[str, str]) -> list[str]:
    return [f"manifests/{name}.json" for name in tables.values()]


def aged(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 3 * 86_400,) * 2)


def test_gc_leaves_what_was_written_within_the_age(store: FeatureStore) -> None:
    with open_writer(store.path) as writer, writer.commit() as commit:
        commit.append("notes", ROW)
    kept = [*map(Path, store.refresh().parts("notes")), manifest_of(store.path, "notes")]
    with open_writer(store.path) as writer, writer.commit() as commit:
        commit.remove_table("notes")
    assert maintenance.gc(store.path).removed == [], "a reader of the older state may be at work"
    assert maintenance.gc(store.path, older_than=timedelta(hours=1)).removed == []
    aged(kept[0])
    assert maintenance.gc(store.path, older_than=timedelta(days=4)).removed == []
    assert maintenance.gc(store.path).removed == [str(kept[0].relative_to(store.path))]
    assert maintenance.gc(store.path, older_than=NO_AGE).removed == [str(kept[1].relative_to(store.path))]
    with pytest.raises(InputError, match="as the minimum age of files to remove, expected"):
        maintenance.gc(store.path, older_than=timedelta(seconds=-1))


def test_what_a_writer_puts_again_is_as_new(store: FeatureStore) -> None:
    """Its commit may come any time later: no `gc` between the two removes the part or manifest that it found there."""
    store.append({"notes": ROW})
    (part,), manifest = map(Path, store.parts("notes")), manifest_of(store.path, "notes")
    with open_writer(store.path) as writer, writer.commit() as commit:
        commit.remove_table("notes")
    aged(part, manifest)
    assert len(maintenance.gc(store.path, dry_run=True).removed) == 2
    with pytest.raises(Crash), open_writer(store.path) as writer, writer.commit() as commit:
        _append_and_crash(commit)
    assert maintenance.gc(store.path).removed == [str(manifest.relative_to(store.path))]
    aged(part)
    store.append({"notes": ROW})
    assert maintenance.gc(store.path).removed == []
    assert store.sql("FROM notes").to_pylist() == [{"x": 7}]


def _append_and_crash(commit: commits.Commit) -> None:
    commit.append("notes", ROW)
    raise Crash


def test_gc_leaves_what_a_living_run_has_staged(store: FeatureStore) -> None:
    with open_run(store.path, CountingBackbone().spec) as run:
        run.add(["a" * 64], np.arange(16, dtype=np.float32)[None])
        staged = list((store.path / "staging").rglob("part-*"))
        aged(*staged)
        assert maintenance.gc(store.path, older_than=NO_AGE).removed == []
        assert all(path.is_file() for path in staged)
    assert [name for name in maintenance.gc(store.path).removed if "/part-" in name]
    assert not list((store.path / "staging").rglob("part-*"))
