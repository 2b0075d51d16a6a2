"""Writers of a store on an object store: no lock, no clock, and yet nothing is lost and nothing counts twice."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from s3_server import S3Server
from support import Collection, CountingBackbone, needs

from featurestore import FeatureStore
from featurestore.catalog import garbage
from featurestore.catalog.commit import Commit
from featurestore.catalog.swap import TaggedSwap
from featurestore.catalog.writer import Writer, open_writer
from featurestore.collections.movies.recipe import MOVIES
from featurestore.errors import Conflict, InputError, IntegrityError, StoreError
from featurestore.storage import state as states
from featurestore.storage.bucket import Bucket
from featurestore.storage.objects import Objects, Tag
from featurestore.storage.remote import objects_at
from featurestore.storage.schemas import IMAGES

needs("moto", "obstore")
NO_AGE = timedelta(0)


@pytest.fixture(autouse=True)
def nothing_lost(server: S3Server, keys: None) -> Iterator[None]:
    """At the end of each test."""
    yield
    server.lose = lambda method, path: ""


@pytest.fixture
def away(server: S3Server, tmp_path: Path) -> FeatureStore:
    """An empty store on the server."""
    store = FeatureStore(server.address(tmp_path.name))
    store.create()
    return store


def rows(store: FeatureStore, table: str = "notes") -> list[int]:
    return sorted(store.refresh().sql(f"SELECT x FROM {table}")["x"].to_pylist())


def note(*values: int) -> dict[str, pa.Table]:
    return {"notes": pa.table({"x": list(values)})}


def once(loss: str, *, name: str = "/state.json") -> Callable[[str, str], str]:
    """Lose the first put of ``name``."""
    left = [loss]

    def lose(method: str, path: str) -> str:
        return left.pop() if left and method == "PUT" and path.endswith(name) else ""

    return lose


def test_it_holds_what_a_folder_does(
    store: FeatureStore, collection: Collection, server: S3Server, tmp_path: Path
) -> None:
    away = FeatureStore(server.address(tmp_path.name))
    np.save(tmp_path / "x.npy", np.eye(24, dtype=np.float32))
    (tmp_path / "ids").write_text("\n".join(map(str, store.sql("SELECT ImgId FROM images")["ImgId"].to_pylist())))
    for place in (store, away):
        place.ingest(metadata=collection.metadata, images=collection.images)
        place.embed(CountingBackbone())
        place.import_embeddings(tmp_path / "x.npy", ids=tmp_path / "ids", backbone="theirs")
        place.append(note(1, 2))
        place.create_view("mine", "SELECT ImgId FROM collection")
        place.create_snapshot("first")
        place.rename_backbone("counting", "count")
        place.append(note(3))
        place.compact()
    for view in ("labeled", "embeddings_count", "embeddings_theirs", "mine", "notes", "images"):
        assert away.sql(f"FROM {view} ORDER BY ALL").equals(store.sql(f"FROM {view} ORDER BY ALL")), view
    assert away.state.tables == {**store.state.tables, **{name: away.state.tables[name] for name in ("extractions",)}}
    assert (
        away.features("count", view="collection").X.tobytes() == store.features("count", view="collection").X.tobytes()
    )
    assert [info.name for info in away.snapshots()] == ["first"]
    assert away.verify().damaged == {}
    assert not list(objects_at(away.location).list("staging")), "nothing staged is left"
    again = away.embed(CountingBackbone(name="count"))
    assert (again.computed, again.present) == (0, 24)
    away.remove_backbone("theirs")
    away.remove_snapshot("first")
    assert away.snapshots() == []


def test_appends_of_two_writers_both_land(away: FeatureStore) -> None:
    other = FeatureStore(away.location)
    with open_writer(away.objects) as writer, writer.commit() as commit:
        commit.append("notes", note(1)["notes"])
        other.append(note(2))
        other.append(note(1))
    assert rows(away) == [1, 1, 2]
    assert rows(other) == [1, 1, 2]


def images(*numbers: int) -> pa.Table:
    blank = dict.fromkeys(("content_hash", "source", "file", "member"), "") | {"size_bytes": 0, "synthetic": False}
    rows = [{**blank, "ImgId": number, "ImgName": f"{number}.jpg", "status": "external"} for number in numbers]
    return pa.Table.from_pylist(rows, schema=IMAGES)


Changes = Callable[[Commit], None]


@pytest.mark.parametrize(
    ("mine", "theirs", "what"),
    [
        (lambda c: c.replace("images", images(1)), lambda c: c.replace("images", images(2)), "the table 'images'"),
        (lambda c: c.append("notes", note(1)["notes"]), lambda c: c.append("notes", images(1)), "the columns of the"),
        (lambda c: c.set_view("a", "FROM images"), lambda c: c.set_view("b", "FROM images"), "the views"),
        (lambda c: c.set_collection(MOVIES, {}), lambda c: c.set_collection(MOVIES, {"top_genres": 2}), "the settings"),
    ],
)
def test_what_rests_on_what_another_changed_is_one_sentence(
    away: FeatureStore, mine: Changes, theirs: Changes, what: str
) -> None:
    with open_writer(away.objects) as writer, open_writer(FeatureStore(away.location).objects) as other:
        with pytest.raises(Conflict, match=f"another writer has changed {what}.*meanwhile, and nothing was stored"):
            changed(writer, mine, lambda: changed(other, theirs))
        assert away.refresh().state == other.state
        with pytest.raises(Conflict):  # a later commit of this writer rests on the old state too
            changed(writer, mine)


def changed(writer: Writer, change: Changes, meanwhile: Callable[[], None] = lambda: None) -> None:
    with writer.commit() as commit:
        change(commit)
        meanwhile()


@pytest.mark.parametrize("loss", ["reply", "request"])
def test_a_lost_reply_counts_once(away: FeatureStore, server: S3Server, loss: str) -> None:
    server.lose = once(loss)
    away.append(note(7))
    away.append(note(8))
    assert rows(away) == [7, 8]


def test_a_lost_reply_is_recognised_below_commits_of_others(
    away: FeatureStore, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, after = FeatureStore(away.location), TaggedSwap._after

    def later(self: TaggedSwap, failed: StoreError | None) -> states.State:
        with monkeypatch.context() as patch:
            patch.setattr(TaggedSwap, "_after", after)
            for value in (2, 3):
                other.append(note(value))
        return after(self, failed)

    server.lose = once("reply")
    with monkeypatch.context() as patch:
        patch.setattr(TaggedSwap, "_after", later)
        away.append(note(1))
    assert rows(away) == [1, 2, 3]


def test_what_is_unknown_is_said(away: FeatureStore, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(method: str, path: str) -> str:
        return "reply" if path.endswith("/state.json") and (method == "PUT" or lost) and not lost.append(1) else ""

    lost: list[int] = []
    server.lose = never
    monkeypatch.setattr("featurestore.storage.bucket.RETRIES", {"max_retries": 0})
    with pytest.raises(StoreError, match=r"it is unknown whether the last change .* was stored"):
        FeatureStore(away.location).append(note(1))
    server.lose = lambda method, path: ""
    assert rows(away) == [1]


def test_an_object_store_that_ignores_conditions_is_refused(
    away: FeatureStore, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap, store = Bucket.swap, FeatureStore(server.address(f"{tmp_path.name}-careless"))

    def careless(self: Bucket, name: str, content: bytes, tag: Tag | None) -> Tag | None:
        self.delete([name])
        return swap(self, name, content, None)

    monkeypatch.setattr(Bucket, "swap", careless)
    with pytest.raises(StoreError, match="ignores the conditions of a put"):
        store.create()
    assert [
        entry.name for entry in store.objects.entries() if "json" in entry.name and "manifests" not in entry.name
    ] == []


def test_two_that_embed_the_same_store_each_vector_once(
    store: FeatureStore, collection: Collection, server: S3Server, tmp_path: Path
) -> None:
    away = FeatureStore(server.address(tmp_path.name))
    away.ingest(metadata=collection.metadata, images=collection.images)
    other, begun = FeatureStore(away.location), []

    class Slow(CountingBackbone):
        def embed(self, images: object) -> object:  # the other one runs from start to end meanwhile
            if not begun:
                begun.append(True)
                other._opened._read["objects"] = objects_at(away.location)
                object.__setattr__(other.objects, "root", tmp_path / "other machine")
                other.embed(CountingBackbone())
            return super().embed(images)

    report = away.embed(Slow())
    assert report.computed == 24
    assert away.sql("SELECT count(*) AS n, count(DISTINCT ImgId) AS ids FROM embeddings").to_pylist() == [
        {"n": 24, "ids": 24}
    ]
    store.embed(CountingBackbone())
    assert away.features("counting").X.tobytes() == store.features("counting").X.tobytes()


def test_staged_vectors_are_adopted_on_another_machine(
    collection: Collection, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = FeatureStore(server.address(tmp_path.name))
    away.ingest(metadata=collection.metadata, images=collection.images)
    script = f"""
import os
from featurestore import FeatureStore
from support import CountingBackbone
class Dies(CountingBackbone):
    seen = 0
    def embed(self, images):
        Dies.seen += 1
        if Dies.seen > 3:
            os._exit(9)
        return super().embed(images)
FeatureStore({away.location!r}).embed(Dies(), batch_size=4)
"""
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[1] / "helpers").returncode == 9
    assert list(objects_at(away.location).entries("staging"))
    monkeypatch.setenv("FEATURESTORE_CACHE", str(tmp_path / "another"))
    report = FeatureStore(away.location).embed(CountingBackbone(), batch_size=4)
    assert report.reused >= 4
    assert report.computed + report.reused == 24
    assert not list(objects_at(away.location).entries("staging"))


def test_shards_are_computed_from_it_and_published_into_it(
    store: FeatureStore, collection: Collection, server: S3Server, tmp_path: Path
) -> None:
    away = FeatureStore(server.address(tmp_path.name))
    away.ingest(metadata=collection.metadata, images=collection.images)
    before = set(away.objects.entries())
    for shard in ("2/2", "1/2"):
        FeatureStore(away.location).embed(CountingBackbone(), shard=shard, out=tmp_path / "out")
    assert set(away.objects.entries()) == before, "nothing was written there"
    (report,) = away.publish(sorted((tmp_path / "out").iterdir()))
    assert (report.added, report.missing) == (24, 0)
    store.embed(CountingBackbone())
    assert away.features("counting").X.tobytes() == store.features("counting").X.tobytes()
    assert away.publish(sorted((tmp_path / "out").iterdir()))[0].added == 0


def test_gc_spares_what_is_young_or_put_again(away: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    away.append(note(1))
    (part,) = (f"notes/{Path(path).name}" for path in away.parts("notes"))
    away.append({"more": pa.table({"x": [1, 2]})})
    away.compact()
    with open_writer(away.objects) as writer, writer.commit() as commit:
        commit.remove_table("notes")
    assert away.gc().removed == []
    assert part in away.gc(older_than=NO_AGE, dry_run=True).removed
    listed = garbage.trusted_records

    def meanwhile(objects: Objects) -> object:  # a writer puts the part again after `gc` has listed it
        found = listed(objects)
        time.sleep(1.1)
        FeatureStore(away.location).append(note(1))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(garbage, "trusted_records", meanwhile)
        assert part not in away.gc(older_than=NO_AGE).removed
    monkeypatch.setenv("FEATURESTORE_CACHE", f"{away.path}-elsewhere")
    assert rows(FeatureStore(away.location)) == [1]
    assert FeatureStore(away.location).verify().damaged == {}


def test_a_snapshot_is_of_a_state_that_was_current_when_it_was_there(
    away: FeatureStore, monkeypatch: pytest.MonkeyPatch, server: S3Server
) -> None:
    other = FeatureStore(away.location)
    left = [True]

    def lose(method: str, path: str) -> str:
        if method == "PUT" and path.endswith("/first.json") and left:
            left.pop()
            return "reply"
        return ""

    server.lose = lose
    info = away.create_snapshot("first")
    assert info.state_id == away.state.id
    with pytest.raises(InputError, match="there is a snapshot 'first' already"):
        other.create_snapshot("first")


def test_a_missing_part_is_found_and_repaired(collection: Collection, server: S3Server, tmp_path: Path) -> None:
    away = FeatureStore(server.address(tmp_path.name))
    away.ingest(metadata=collection.metadata, images=collection.images)
    away.embed(CountingBackbone())
    (part,) = (Path(path).relative_to(away.path.resolve()).as_posix() for path in away.parts("counting"))
    away.objects.delete([part])
    assert list(away.verify().damaged) == [part]
    assert away.repair().vectors == {"counting": 24}
    assert away.embed(CountingBackbone()).computed == 24
    assert away.verify().damaged == {}


def test_a_state_lists_the_commits_before_it(away: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurestore.catalog.swap.EARLIER", 2)
    commits = []
    for value in range(4):
        away.append(note(value))
        commits.insert(0, away.state.commit)
    assert away.state.earlier == tuple(commits[1:3])
    assert away.state.id == replace(away.state, earlier=()).id, "equal content has an equal id in every store"
    fields = away.state.fields()
    for wrong in ("x", ["x"], [1], {"a": 1}):
        with pytest.raises(IntegrityError, match="not a list of names"):
            states.state_of({**fields, "earlier": wrong}, "state.json")


def test_a_correction_is_stored_and_one_that_another_has_overtaken_is_not(
    server: S3Server, collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = FeatureStore(server.address(tmp_path.name))
    away.ingest(metadata=collection.metadata, images=collection.images)
    away.correct_labels(101, "Crime")
    other = FeatureStore(away.location)
    publish = Commit.publish

    def overtaken(self: Commit) -> object:
        monkeypatch.setattr(Commit, "publish", publish)
        other.correct_labels(102, "Drama")
        return publish(self)

    monkeypatch.setattr(Commit, "publish", overtaken)
    with pytest.raises(Conflict, match="another writer has changed the table 'corrections'"):
        away.correct_labels(103, "Drama")
    with FeatureStore(away.location) as third:
        assert third.corrections()["ImgId"].to_pylist() == [101, 102]
        assert third.sql("SELECT Genre1 FROM collection WHERE ImgId = 101")["Genre1"].to_pylist() == ["Crime"]
